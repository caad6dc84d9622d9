//! The messages of the Entra provisioning web service, for both sides (specification: provisioning service 2–6).
//!
//! [`Request`] and [`Response`] are what an operation says; `encode` and `decode` carry them over the wire. Nothing
//! here talks to a network.

mod attributes;
mod envelope;
mod errors;
pub mod features;
mod objects;
mod request;
mod response;

pub use attributes::{AttributeType, Syntax, attribute, attributes};
pub use envelope::{RequestHeader, action_operation};
pub use errors::{Fault, ResultError};
pub use objects::{PropertyValue, ReferenceChange, SyncObject, SyncResult};
pub use request::{CredentialChange, Request, decode_request, encode_request};
pub use response::{CompanyConfiguration, CredentialResult, ReadBack, Response, decode_response, encode_fault, encode_response};

/// SOAP 1.2.
pub(crate) const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
/// WS-Addressing.
pub(crate) const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
/// The service's own namespace.
pub(crate) const SERVICE: &str = "http://schemas.microsoft.com/online/aws/change/2010/01";
/// The namespace of objects.
pub(crate) const OBJECTS: &str = "http://schemas.microsoft.com/online/aws/change/2014/06";
/// The namespace of credentials and of fault details.
pub(crate) const CREDENTIALS: &str = "http://schemas.datacontract.org/2004/07/Microsoft.Online.Coexistence.Schema";
/// Serialized arrays.
pub(crate) const ARRAYS: &str = "http://schemas.microsoft.com/2003/10/Serialization/Arrays";
/// The namespace of the token header.
pub(crate) const TOKEN: &str = "urn:microsoft.online.administrativeservice";
/// XML Schema instances.
pub(crate) const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// XML Schema types.
pub(crate) const SCHEMA: &str = "http://www.w3.org/2001/XMLSchema";

#[cfg(test)]
mod tests;
