//! Reading password hashes from Active Directory by directory replication (MS-DRSR), with an account that has
//! exactly two rights on the domain.
//!
//! A cycle asks one domain controller for all changes of a domain since the last cycle, wherever that one ended. Other
//! controllers stand in when the first does not answer. Only what is wanted is decrypted.

mod accounts;
mod auth;
mod controllers;
mod cycle;
mod diagnose;
mod kdc;
#[cfg(test)]
mod replay;
mod session;
mod settings;
mod source;
mod transport;
mod trouble;
mod wait;

pub use controllers::{Controllers, DrsCall, network};
pub(super) use session::dns_name;
pub use settings::{Authentication, ReplicationServer, ReplicationSettings};
pub use source::ReplicationSource;
