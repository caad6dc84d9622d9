//! protocol

pub mod ldap;
pub mod ldif;
