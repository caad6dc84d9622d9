//! Codecs: what goes over a wire or lies in a file, as plain types and back. No I/O, no async, no clock; no decoder
//! panics on input or allocates without a bound.

pub mod dcerpc;
pub mod drsuapi;
pub mod kerberos;
pub mod ldap;
pub mod ldif;
pub mod nbfx;
pub mod provisioning;
pub mod security;
