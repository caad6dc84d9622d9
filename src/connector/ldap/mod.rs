//! LDAP: the client that all LDAP connectors share, and the connector for OpenLDAP and its like.

mod census;
mod client;
mod containers;
mod openldap;
mod raw;
mod stream;
mod survey;
mod sync;

pub use census::{Census, CensusPlan, ContainerHeads, Heads, census, first_suffix, missing_container};
pub use client::{LdapSettings, PLAIN_REFUSED};
pub use openldap::{LdapConnector, LdapConnectorSettings};
pub use survey::{DirectorySurvey, Shortfall};

pub(crate) use client::{Answer, Client, Query, extended_names, reply_control, said};
pub(crate) use containers::places;
pub(crate) use raw::{RawEntry, primitive};
pub(crate) use stream::{Question, SearchRoot, StreamPlan, complete, decode_entry, find, stream};
