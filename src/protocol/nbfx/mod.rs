//! Binary XML: the records of [MC-NBFX] with the static dictionary of [MC-NBFS]; no session dictionary.
//!
//! The reader gives events one after the other without building a tree, normalises every text record to its lexical
//! form, tolerates what other encoders write, and never trusts a length. The writer fills one buffer with records
//! that all known decoders understand.

mod dictionary;
mod lexical;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Attribute, Event, Reader};
pub use writer::Writer;

/// Nesting beyond this is refused.
pub const DEPTH_MAX: usize = 64;
/// Messages beyond this many octets are refused.
pub const OCTETS_MAX: usize = 64 << 20;

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("binary XML at octet {offset}: {reason}")]
pub struct DecodeError {
    /// Where.
    pub offset: usize,
    /// What is wrong.
    pub reason: String,
}
