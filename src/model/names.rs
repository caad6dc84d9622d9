//! Interned names of attributes and object types: two octets everywhere after a decoder.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// An interned attribute name. One number per name in the whole store, whatever side uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttrId(pub u16);

/// An interned object type (`user`, `group`, `person`, …); shares the name table with attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectType(pub u16);

impl AttrId {
    /// The distinguished name as a pseudo-attribute: `[dn]` in expressions, target `dn` of outbound rules.
    pub const DN: AttrId = AttrId(0);
}

/// The table of interned names: append-only, shared by rules, connectors and the store, which persists it.
///
/// Names fold ASCII case when they are looked up, as directories do; the first spelling is the one shown.
#[derive(Debug)]
pub struct Names {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_folded: HashMap<Box<str>, u16>,
    names: Vec<Arc<str>>,
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

impl Names {
    /// A table that knows `dn` only.
    pub fn new() -> Self {
        let names = Self { inner: RwLock::default() };
        names.intern("dn");
        names
    }

    /// Rebuilds a table from names in the order of their numbers, as the store kept them.
    pub fn from_ordered<'a>(ordered: impl IntoIterator<Item = &'a str>) -> Self {
        let names = Self { inner: RwLock::default() };
        for name in ordered {
            names.intern(name);
        }
        names.intern("dn");
        names
    }

    /// The number of a name, given out now if the name is new.
    ///
    /// # Panics
    /// With more than 65,535 different names: decoders bound what they let in long before.
    pub fn intern(&self, name: &str) -> AttrId {
        let folded = name.to_ascii_lowercase();
        if let Some(found) = self.read().by_folded.get(folded.as_str()) {
            return AttrId(*found);
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = inner.by_folded.get(folded.as_str()) {
            return AttrId(*found);
        }
        let number = u16::try_from(inner.names.len()).expect("at most 65,535 attribute names");
        inner.names.push(Arc::from(name));
        inner.by_folded.insert(folded.into_boxed_str(), number);
        AttrId(number)
    }

    /// The number of a name that is already known.
    pub fn find(&self, name: &str) -> Option<AttrId> {
        self.read().by_folded.get(name.to_ascii_lowercase().as_str()).copied().map(AttrId)
    }

    /// The name behind a number; `"?"` for a number this table never gave out.
    pub fn name(&self, attribute: AttrId) -> Arc<str> {
        self.read().names.get(usize::from(attribute.0)).cloned().unwrap_or_else(|| Arc::from("?"))
    }

    /// The number of an object type, given out now if it is new.
    pub fn object_type(&self, name: &str) -> ObjectType {
        ObjectType(self.intern(name).0)
    }

    /// The name of an object type.
    pub fn object_type_name(&self, object_type: ObjectType) -> Arc<str> {
        self.name(AttrId(object_type.0))
    }

    /// How many names there are. Numbers `0..len` are valid.
    pub fn len(&self) -> usize {
        self.read().names.len()
    }

    /// Never true: `dn` is always there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}
