//! Connectors against what they will meet: files of every sort, a real OpenLDAP, a real Active Directory domain
//! controller (Samba), and a scripted server that does what real ones do only once in a while.
//!
//! The real servers are started by the tests through `tools/lab`. A machine that lacks them fails the tests; run
//! `tools/test`, or `tools/lab/install` as root.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod active_directory;
mod ad_delta;
mod contract;
mod entra;
mod entra_matching;
mod entra_passwords;
mod entra_scripted;
mod labs;
mod ldapi_passwords;
mod ldif_changes;
mod ldif_connector;
mod ldif_passwords;
mod ldif_reader;
mod lessons;
mod openldap;
mod operate;
mod quick;
mod renamed_containers;
mod replication;
mod replication_scripted;
mod scripted;
mod scripted_delta;
mod scripted_disabled;
mod seen;
mod syncrepl;
