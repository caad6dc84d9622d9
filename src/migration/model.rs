//! What an exported Entra Connect configuration holds, in plain types; every part knows where it stood.

use crate::model::ValueKind;
use crate::rules::PlainRule;
use std::fmt;
use std::sync::Arc;

/// A file of an export: its name as people see it, relative to the folder, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignFile {
    /// `SynchronizationRules/SynchronizationRule_{…}.xml`
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// Where something stood.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's name as [`ForeignFile::name`].
    pub file: Arc<str>,
    /// 1-based line; 0 when it belongs to no line.
    pub line: usize,
    /// 1-based column, in XML counted in octets, else in characters; 0 when the line says enough.
    pub column: usize,
}

impl Place {
    /// A whole file.
    pub fn of_file(file: &str) -> Self {
        Self { file: Arc::from(file), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// A configuration of Entra Connect, as far as Syncline understands it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntraExport {
    /// The connected directories.
    pub connectors: Vec<EntraConnector>,
    /// The metaverse's schema and the settings of the server.
    pub metaverse: EntraMetaverse,
    /// The synchronization rules.
    pub rules: Vec<EntraRule>,
}

/// A connector.
#[derive(Clone, Debug, PartialEq)]
pub struct EntraConnector {
    /// Where it stood.
    pub place: Place,
    /// Its GUID in lower case without braces.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What kind of directory it is for.
    pub kind: EntraConnectorKind,
    /// When it was made, as text that sorts by time; empty when nobody says so.
    pub created: String,
    /// The forest it reads (Active Directory).
    pub forest: Option<EntraParameter>,
    /// The domain of the account it signs in with (Active Directory).
    pub login_domain: Option<EntraParameter>,
    /// The account it signs in with.
    pub login_user: Option<EntraParameter>,
    /// Passwords are synchronized from here.
    pub password_hashes: Option<EntraParameter>,
    /// Other parameters: what rules may name, and how it connects.
    pub parameters: Vec<EntraParameter>,
    /// Its naming contexts.
    pub partitions: Vec<EntraPartition>,
    /// The attributes that were selected for reading.
    pub included_attributes: Vec<String>,
    /// Where the list of them stood.
    pub inclusion_place: Option<Place>,
    /// The names that its schema declares, for their spelling.
    pub schema: Vec<String>,
    /// Objects that a page of an import holds.
    pub page_size: Option<EntraParameter>,
}

impl EntraConnector {
    /// A connector for Active Directory that says nothing but its name.
    pub fn new(place: Place, id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            place,
            id: id.into(),
            name: name.into(),
            kind: EntraConnectorKind::ActiveDirectory,
            created: String::new(),
            forest: None,
            login_domain: None,
            login_user: None,
            password_hashes: None,
            parameters: Vec::new(),
            partitions: Vec::new(),
            included_attributes: Vec::new(),
            inclusion_place: None,
            schema: Vec::new(),
            page_size: None,
        }
    }
}

/// The kinds of connectors that the importer tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntraConnectorKind {
    /// Active Directory.
    ActiveDirectory,
    /// Entra ID.
    Cloud,
    /// A connector that only Syncline has, with its kind in a configuration; written by an export, understood again.
    Syncline(String),
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraParameter {
    /// Where it stood.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// Its value. Never that of an encrypted parameter.
    pub value: String,
}

/// A naming context with its filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraPartition {
    /// Where it stood.
    pub place: Place,
    /// Its distinguished name; `default` where there is only one without a name.
    pub name: String,
    /// It is synchronized.
    pub selected: bool,
    /// Object types that are imported.
    pub object_types: Vec<String>,
    /// Containers that are imported.
    pub include: Vec<String>,
    /// Containers that are left out.
    pub exclude: Vec<String>,
    /// What rules know as parameters of the domain.
    pub parameters: Vec<EntraParameter>,
}

/// The metaverse's schema, and the settings of the server, which stand in the same file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntraMetaverse {
    /// Attributes that the schema declares.
    pub attributes: Vec<EntraAttribute>,
    /// Object types with the names of their attributes.
    pub classes: Vec<(String, Vec<String>)>,
    /// Settings.
    pub parameters: Vec<EntraParameter>,
}

/// An attribute that a schema declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraAttribute {
    /// Where it stood.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ValueKind,
    /// It may have several values.
    pub multi: bool,
    /// It has an index, which limits the length of its text.
    pub indexed: bool,
}

/// A synchronization rule.
#[derive(Clone, Debug, PartialEq)]
pub struct EntraRule {
    /// Where it stood.
    pub place: Place,
    /// Its GUID in lower case without braces.
    pub id: String,
    /// What it says. Its connector is the GUID of one, until the conversion puts the name there.
    pub rule: PlainRule,
    /// Where its flows stood, in their order.
    pub flow_places: Vec<Place>,
}

/// The GUID of Entra ID's connector, the same in every installation.
pub const CLOUD_CONNECTOR: &str = "b891884f-051e-4a83-95af-2544101c9083";

/// The beginning of the names of parameters that only Syncline knows; what follows is a key of its configuration.
pub const SYNCLINE_PREFIX: &str = "Syncline.";

/// A GUID as it is compared: lower case, without braces.
pub(super) fn plain_guid(text: &str) -> String {
    text.trim().trim_start_matches('{').trim_end_matches('}').to_ascii_lowercase()
}

/// True for a GUID without braces.
pub(super) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, octet)| if matches!(at, 8 | 13 | 18 | 23) { octet == b'-' } else { octet.is_ascii_hexdigit() })
}

/// The longest file that is read, in octets.
pub const FILE_MAX: usize = 64 << 20;

impl ForeignFile {
    /// A file from its octets: UTF-8, or UTF-16 with its mark as Windows' own tools write it.
    ///
    /// # Errors
    /// A sentence: too long, or not text.
    pub fn decode(name: &str, octets: &[u8]) -> Result<Self, String> {
        if octets.len() > FILE_MAX {
            return Err(format!("longer than {} MiB", FILE_MAX >> 20));
        }
        let wide = |octets: &[u8], unit: fn([u8; 2]) -> u16| {
            if !octets.len().is_multiple_of(2) {
                return Err("UTF-16 text with an odd number of octets: the file is not whole".to_owned());
            }
            let units = octets.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<String, _>>().map_err(|_| "not valid UTF-16".to_owned())
        };
        let text = match octets {
            [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes)?,
            [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes)?,
            [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest)?,
            _ => utf8(octets)?,
        };
        Ok(Self { name: name.to_owned(), text })
    }
}

fn utf8(octets: &[u8]) -> Result<String, String> {
    match std::str::from_utf8(octets) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(format!("not UTF-8 at octet {}: save it as UTF-8", error.valid_up_to() + 1)),
    }
}
