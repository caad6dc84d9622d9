//! Objects that are in no store: an entry of an LDIF file, or attributes that somebody typed, as rules read them.

use super::ServiceError;
use crate::connector::directory::{KindTable, add_value, most_derived};
use crate::connector::{Operation, PageBuilder, PageItem};
use crate::model::{
    AttrId, AttributeSource, Blob, FlatBuilder, FlatValues, INLINE_VALUE_MAX, Names, ObjectType, Value, ValueKind, ValueRef, Values,
};
use crate::protocol::ldif::{Reader, Record, RecordKind};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// An object that exists for one look.
#[derive(Clone, Debug)]
pub(super) struct LooseObject {
    object_type: ObjectType,
    dn: String,
    values: FlatValues,
    /// Names of the objects referred to, by attribute; a reference is its place in `names`.
    references: BTreeMap<AttrId, Vec<u64>>,
    names: Vec<String>,
    blobs: Vec<Vec<u8>>,
}

/// Collects the attributes of a loose object.
struct Collector {
    builder: FlatBuilder,
    object: LooseObject,
}

impl Collector {
    fn new(object_type: ObjectType, dn: &str) -> Self {
        let object = LooseObject {
            object_type,
            dn: dn.to_owned(),
            values: FlatValues::default(),
            references: BTreeMap::new(),
            names: Vec::new(),
            blobs: Vec::new(),
        };
        Self { builder: FlatBuilder::new(), object }
    }

    fn refer(&mut self, attr: AttrId, name: &str) {
        let number = self.object.names.len() as u64;
        self.object.names.push(name.to_owned());
        self.object.references.entry(attr).or_default().push(number);
    }

    fn push(&mut self, attr: AttrId, value: ValueRef<'_>) {
        let value = match value {
            ValueRef::Text(text) if text.len() > INLINE_VALUE_MAX => {
                self.object.blobs.push(text.as_bytes().to_vec());
                ValueRef::LargeText(Blob::of(text.as_bytes()))
            }
            ValueRef::Binary(octets) if octets.len() > INLINE_VALUE_MAX => {
                self.object.blobs.push(octets.to_vec());
                ValueRef::LargeBinary(Blob::of(octets))
            }
            other => other,
        };
        self.builder.push(attr, value, 0);
    }

    fn finish(mut self) -> LooseObject {
        self.object.values = self.builder.finish();
        self.object
    }
}

impl LooseObject {
    /// The one entry of an LDIF file, decoded as an import of a file decodes it.
    ///
    /// # Errors
    /// When the file cannot be read, holds no entry or several, or the entry cannot be understood; with the line.
    pub(super) fn from_ldif(path: &Path, names: &Names) -> Result<Self, ServiceError> {
        let told = |what: String| ServiceError::Usage(format!("{}: {what}", path.display()));
        let file = File::open(path).map_err(|error| told(format!("the file cannot be read: {error}")))?;
        let mut records = Reader::new(BufReader::new(file));
        let first = match records.next() {
            Some(Ok(record)) => record,
            Some(Err(error)) => return Err(told(error.to_string())),
            None => return Err(told("the file has no entry".to_owned())),
        };
        match records.next() {
            None => {}
            Some(Ok(more)) => return Err(told(format!("line {}: a second entry begins; one entry is looked at at a time", more.line))),
            Some(Err(error)) => return Err(told(error.to_string())),
        }
        if !matches!(first.kind, RecordKind::Content | RecordKind::Add) {
            return Err(told(format!("line {}: this is a change, a whole entry is needed", first.line)));
        }
        Self::from_record(&first, names).map_err(told)
    }

    fn from_record(record: &Record, names: &Names) -> Result<Self, String> {
        let at = |line: u64, what: &str| format!("line {line}: {what}");
        let plain = |name: &str| name.split(';').next().unwrap_or(name).to_owned();
        let classes: Vec<&[u8]> =
            record.values().filter(|value| value.name.eq_ignore_ascii_case("objectClass")).map(|value| value.octets).collect();
        let class = most_derived(&classes).ok_or_else(|| at(record.line, "the entry has no objectClass, which makes its type"))?;
        let kinds = KindTable::built_in();
        let mut page = PageBuilder::new();
        page.begin_entry(&record.dn);
        for value in record.values() {
            let name = plain(value.name);
            page.attribute(names.intern(&name), Operation::Add);
            add_value(&mut page, kinds.kind(&name), &name, value.octets).map_err(|(_, what)| at(value.line, &what))?;
        }
        page.finish();
        let page = page.build(None);
        let mut collector = Collector::new(names.object_type(class), &record.dn);
        for item in page.items() {
            let PageItem::Entry(entry) = item else { continue };
            for (attr, _, values) in entry.attributes() {
                for (kind, value, _) in values {
                    match (kind, value) {
                        (ValueKind::Reference, ValueRef::Text(name)) => collector.refer(attr, name),
                        (_, value) => collector.push(attr, value),
                    }
                }
            }
        }
        Ok(collector.finish())
    }

    /// An object of typed attributes; references by name.
    pub(super) fn of(object_type: ObjectType, dn: &str, attributes: &[(AttrId, Option<ValueKind>, Value)]) -> Self {
        let mut collector = Collector::new(object_type, dn);
        for (attr, kind, value) in attributes {
            match (kind, value) {
                (Some(ValueKind::Reference), Value::Text(name)) => collector.refer(*attr, name),
                (_, value) => collector.push(*attr, value.as_ref()),
            }
        }
        collector.finish()
    }
}

impl AttributeSource for LooseObject {
    fn object_type(&self) -> ObjectType {
        self.object_type
    }

    fn dn(&self) -> &str {
        &self.dn
    }

    fn values(&self, attr: AttrId) -> Values<'_> {
        Values::all(&self.values, attr)
    }

    fn imported_values(&self, attr: AttrId) -> Values<'_> {
        self.values(attr)
    }

    fn count(&self, attr: AttrId) -> u64 {
        match self.references.get(&attr) {
            Some(targets) => targets.len() as u64,
            None => self.values(attr).count() as u64,
        }
    }

    fn references(&self, attr: AttrId) -> Vec<u64> {
        self.references.get(&attr).cloned().unwrap_or_default()
    }

    fn reference_dn(&self, target: u64) -> Option<String> {
        usize::try_from(target).ok().and_then(|target| self.names.get(target)).cloned()
    }

    fn blob(&self, blob: Blob) -> Option<Vec<u8>> {
        self.blobs.iter().find(|content| Blob::of(content) == blob).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(LooseObject, Names), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entry.ldif");
        std::fs::write(&path, text).unwrap();
        let names = Names::new();
        LooseObject::from_ldif(&path, &names).map(|object| (object, names)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_entry_is_decoded_as_an_import_does() {
        let long = "x".repeat(3_000);
        let text = format!(
            "dn: CN=A,DC=x\nobjectClass: top\nobjectClass: user\nuserAccountControl: 512\nobjectGUID:: EREREREREREREREREREREQ==\nmanager: CN=B,DC=x\ninfo: {long}\n"
        );
        let (object, names) = read(&text).unwrap();
        let attr = |name: &str| names.find(name).unwrap();
        assert_eq!(&*names.object_type_name(object.object_type()), "user");
        assert_eq!(object.values(attr("userAccountControl")).next(), Some(ValueRef::Number(512)));
        assert_eq!(object.values(attr("objectGUID")).next(), Some(ValueRef::Binary(&[0x11; 16])));
        let manager = object.references(attr("manager"));
        assert_eq!(object.reference_dn(manager[0]).as_deref(), Some("CN=B,DC=x"));
        let Some(ValueRef::LargeText(blob)) = object.values(attr("info")).next() else { unreachable!("it is long") };
        assert_eq!(object.blob(blob).unwrap(), long.as_bytes());
    }

    #[test]
    fn what_is_no_single_entry_is_refused_with_its_line() {
        for (text, told) in [
            ("", "no entry"),
            ("dn: CN=A\nobjectClass: user\n\ndn: CN=B\nobjectClass: user\n", "line 4"),
            ("dn: CN=A\nchangetype: delete\n", "whole entry"),
            ("dn: CN=A\ncn: A\n", "no objectClass"),
            ("dn: CN=A\nobjectClass: user\nuserAccountControl: many\n", "line 3"),
        ] {
            let error = read(text).map(|_| ()).unwrap_err();
            assert!(error.contains(told) && error.contains("entry.ldif"), "{text:?}: {error}");
        }
    }
}
