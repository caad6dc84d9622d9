//! protocol

pub mod ldif;
