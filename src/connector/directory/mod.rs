//! What the directory connectors (LDIF, Active Directory, OpenLDAP) have in common: which attributes are of which
//! kind, which objects are wanted, and how an entry's octets become an entry of a page.

mod entry;
mod passwords;
mod selection;
mod syntax;

pub use entry::{Gathered, ImportPlan, Known, PAGES_AHEAD};
pub(crate) use entry::{Problem, add_extended_value, add_value, strip_extended};
pub(crate) use passwords::{AccountAttributes, password_metadata};
pub use selection::{Scope, Selection, class_filter, roots_below};
pub use syntax::{KindTable, known_attributes, most_derived};
