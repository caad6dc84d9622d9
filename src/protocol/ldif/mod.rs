//! LDIF, the text form of directory contents and changes (RFC 2849): a streaming reader and a writer.
//!
//! The reader never holds more than one record, bounds what a line or record may take, keeps the line number of
//! everything, and goes on behind a damaged record. The writer makes plain ASCII that every LDAP tool reads.

mod reader;
mod writer;

pub use reader::{Change, LdifError, Limits, ModifyOperation, Reader, Record, RecordError, RecordKind, RecordValue};
pub use writer::Writer;

/// A line near the start of files that promise to end with [`END_MARK`], so that a reader can tell a complete file from one
/// that was cut off between two lines. An ordinary comment to every other tool.
pub(crate) const CLOSED_MARK: &str = "# syncline: this file ends with a line that counts its records";

/// What the last line of such a file begins with; the number of records follows.
pub(crate) const END_MARK: &str = "# syncline: end of file, records: ";
