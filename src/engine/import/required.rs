//! Attributes that no object of a class is without: an entry that lacks one was not read whole, since a right to read is missing or the
//! file is damaged. Rules would take what is not there for a fact, and enable, empty or delete.

use super::Import;
use super::image::Image;
use super::refused::problem_of;
use crate::connector::{ClassAttribute, Connector, DiscoveryError, EntryRef};
use crate::model::{AttrId, CsObject, CsReference, Names, ObjectErrorCode, ObjectType, StageMask, ValueState};
use crate::store::{Snapshot, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Classes of accounts in Active Directory.
const ACCOUNTS: &[&str] = &["user", "inetOrgPerson", "computer"];
/// Whoever has a security identifier there.
const PRINCIPALS: &[&str] = &["user", "inetOrgPerson", "computer", "group"];

/// Who of those whom nobody knows yet has it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum New {
    /// Nobody has to.
    May,
    /// Where the directory is known for it.
    InSome,
    /// There, and where most of those have it who are known: people write it, too.
    AsMost,
}

/// What objects of some classes always have.
#[derive(Debug)]
pub(super) struct Required {
    name: &'static str,
    classes: &'static [&'static str],
    new: New,
    /// What would follow if it were believed.
    follows: &'static str,
}

/// What every object of a class has in a directory, as far as the directory says it. It is asked when somebody new is without.
#[derive(Clone)]
pub struct AlwaysThere(Arc<dyn Fn(Vec<ClassAttribute>) -> Vec<ClassAttribute> + Send + Sync>);

impl AlwaysThere {
    /// By a function that gives of what it is asked whatever is always there.
    pub fn by(say: impl Fn(Vec<ClassAttribute>) -> Vec<ClassAttribute> + Send + Sync + 'static) -> Self {
        Self(Arc::new(say))
    }

    /// By a connector.
    pub(in crate::engine) fn of(connector: Arc<dyn Connector>) -> Self {
        Self::by(move |asked| connector.always_there(asked))
    }
}

impl Default for AlwaysThere {
    fn default() -> Self {
        Self::by(|_| Vec::new())
    }
}

impl fmt::Debug for AlwaysThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AlwaysThere")
    }
}

/// What is known of what new objects have: by class and attribute.
pub(super) type Expected = BTreeMap<(ObjectType, &'static str), bool>;

/// So many objects are looked at to learn what most of them have.
const LOOKED_AT: usize = 1_000;
/// So many of a class tell what most of it have.
const ENOUGH: usize = 5;

/// `userAccountControl`, `sAMAccountName` and `objectSid` are set by the directory (MS-ADTS 2.2.16, 3.1.1.6), the mark of critical system
/// objects is never taken away, and a group of OpenLDAP has a member (RFC 4519, 3.5 and 3.6).
static REQUIRED: [Required; 6] = [
    Required { name: "userAccountControl", classes: ACCOUNTS, new: New::AsMost, follows: "nobody can say whether the account is disabled" },
    Required { name: "sAMAccountName", classes: PRINCIPALS, new: New::AsMost, follows: "it would leave the cloud" },
    Required { name: "objectSid", classes: PRINCIPALS, new: New::InSome, follows: "it would not be known as an account" },
    Required {
        name: "isCriticalSystemObject",
        classes: PRINCIPALS,
        new: New::May,
        follows: "an account of the system would get into the cloud",
    },
    Required { name: "member", classes: &["groupOfNames"], new: New::May, follows: "the group would leave the cloud" },
    Required { name: "uniqueMember", classes: &["groupOfUniqueNames"], new: New::May, follows: "the group would lose everybody" },
];

/// What is required of what is read. What rules write is not: whoever takes it away may be we.
pub(super) fn of(names: &Names, read: &[AttrId], managed: &BTreeSet<AttrId>) -> Vec<(AttrId, &'static Required)> {
    let known = REQUIRED.iter().filter_map(|required| Some((names.find(required.name)?, required)));
    known.filter(|(attr, _)| read.contains(attr) && !managed.contains(attr)).collect()
}

/// Classes that are one kind of thing. Of others nobody knows.
const KINDS: [&[&str]; 4] = [
    &["user", "inetOrgPerson", "organizationalPerson", "person", "residentialPerson"],
    &["group", "groupOfNames", "groupOfUniqueNames", "groupOfMembers", "posixGroup"],
    &["contact"],
    &["computer"],
];

/// True when objects of two classes are known to be different kinds of things.
fn are_two_kinds(one: &str, other: &str) -> bool {
    let kind = |class: &str| KINDS.iter().position(|kind| kind.contains(&class));
    matches!((kind(one), kind(other)), (Some(one), Some(other)) if one != other)
}

/// True when an object of one class is an account as much as one of the other.
pub(super) fn are_accounts(one: &str, other: &str) -> bool {
    ACCOUNTS.contains(&one) && ACCOUNTS.contains(&other)
}

impl Import<'_> {
    /// What is wrong with an entry that lacks what it had before, or what every one of its directory has. `known` is what was imported
    /// before; all references are among its rows for a whole entry.
    pub(super) fn lacks_required(
        &mut self,
        entry: &EntryRef<'_>,
        whole: bool,
        known: Option<&(CsObject, Vec<CsReference>)>,
        told: &Image,
        snapshot: &Snapshot,
    ) -> Result<Option<DiscoveryError>, StoreError> {
        let known = known.filter(|(object, _)| object.imported());
        let is = entry.object_type().or_else(|| known.map(|(object, _)| object.object_type));
        let Some(is) = is.filter(|_| !self.options.allow_incomplete) else { return Ok(None) };
        let class = self.store.names().object_type_name(is);
        let was = known.map_or_else(|| class.clone(), |(object, _)| self.store.names().object_type_name(object.object_type));
        let imported = |state: u8| ValueState(state).present(StageMask::IMPORTED);
        let mut lacking = None;
        for (attr, required) in self.required.clone() {
            let is_told = !told.values.attribute_range(attr).is_empty()
                || told.references.iter().any(|(told, _, targets)| *told == attr && !targets.is_empty());
            if is_told || ![&class, &was].into_iter().all(|class| required.classes.contains(&&**class)) {
                continue;
            }
            let had = match known {
                Some((object, rows)) => {
                    object.values.attribute(attr).any(|item| imported(item.flags))
                        || whole && rows.iter().any(|row| row.attr == attr && imported(row.state.0))
                }
                None => self.is_expected(is, &class, attr, required, snapshot)?,
            };
            if had {
                lacking = Some(required);
                break;
            }
        }
        let Some(Required { name, follows, .. }) = lacking else { return Ok(None) };
        let (more, stays) = if known.is_some() { (" any more", "stays as it was") } else { ("", "is not taken") };
        let detail = format!(
            "it has no {name}{more}, which nobody of its kind is without: if that were believed, {follows}. It {stays}. Let the account that reads \
             the directory read it (`syncline doctor`), or put it back into the file. If it is meant, and what follows from it, allow it once with \
             `syncline run start '{}' full-import --allow-incomplete`",
            self.options.name
        );
        Ok(Some(problem_of(entry, self.store.names(), ObjectErrorCode::MISSING_REQUIRED_ATTRIBUTE, &detail)))
    }

    /// What is wrong with an entry that comes as another kind of thing than it is known as: whoever has its key was a user and would
    /// be a contact now, which no directory does. The user would be deleted for it; whoever is tied to nobody becomes what it likes.
    pub(super) fn another_kind(&self, entry: &EntryRef<'_>, known: Option<&CsObject>) -> Option<DiscoveryError> {
        let tied = |object: &&CsObject| object.imported() && object.link.mv().is_some();
        let known = known.filter(tied).filter(|_| !self.options.allow_incomplete)?;
        let names = self.store.names();
        let (was, is) = (names.object_type_name(known.object_type), names.object_type_name(entry.object_type()?));
        if !are_two_kinds(&was, &is) {
            return None;
        }
        let detail = format!(
            "it is known as a {was}, and comes as a {is} with the same key, which no directory makes of it: if that were believed, \
             the {was} would be deleted for it. It stays as it was. Correct its class, or give the {is} a key of its own; if it is \
             meant, allow it once with `syncline run start '{}' full-import --allow-incomplete`",
            self.options.name
        );
        Some(problem_of(entry, names, ObjectErrorCode::INVALID_ATTRIBUTE_VALUE, &detail))
    }

    /// True when everybody new of a class has an attribute: most of those who are known do, or the directory says so. Looked up once.
    fn is_expected(
        &mut self,
        is: ObjectType,
        class: &str,
        attr: AttrId,
        required: &'static Required,
        snapshot: &Snapshot,
    ) -> Result<bool, StoreError> {
        if required.new == New::May {
            return Ok(false);
        }
        if let Some(expected) = self.expected.get(&(is, required.name)) {
            return Ok(*expected);
        }
        let named = required.classes.iter().find(|name| **name == class);
        let asked = named.map(|class| ClassAttribute { class, attribute: required.name });
        let expected = required.new == New::AsMost && self.most_have(is, attr, snapshot)?
            || !(self.options.always_there.0)(asked.into_iter().collect()).is_empty();
        self.expected.insert((is, required.name), expected);
        Ok(expected)
    }

    /// True when most of those of a class whom the store knows have an attribute. New ones of this import are no witnesses.
    fn most_have(&self, is: ObjectType, attr: AttrId, snapshot: &Snapshot) -> Result<bool, StoreError> {
        let (mut have, mut all) = (0, 0);
        for object in snapshot.cs_scan(self.options.connector, None, LOOKED_AT)? {
            if object.in_base && object.imported() && object.object_type == is {
                all += 1;
                have += usize::from(object.values.attribute(attr).any(|item| ValueState(item.flags).present(StageMask::BASE)));
            }
        }
        Ok(all >= ENOUGH && have * 2 > all)
    }
}
