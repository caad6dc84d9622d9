//! The nouns: identifiers, names, values, objects and their states. No I/O, no clock, no serialization.
//!
//! Ground state is what directories told us (images) and what people configured (rules); all else is derived.
//! We store observations and agreements, not work to do.

mod anchor;
mod counted;
mod delta;
mod dn;
mod error;
mod flat;
mod ids;
mod names;
mod object;
mod source;
mod suggest;
mod time;
mod value;
mod word;

pub use anchor::Anchor;
pub use counted::{counted, octets, thousands};
pub use delta::{DeltaKind, Stage, StageDelta, StageMask, ValueState};
pub use dn::{Dn, DnError, DnKey, escape_component};
pub use error::{ErrorSide, ObjectError, ObjectErrorCode};
pub use flat::{FlatBuilder, FlatEntry, FlatItem, FlatValues, INLINE_VALUE_MAX, RawItem};
pub use ids::{ConnectorId, CsId, MvId, RuleId, RunId};
pub use names::{AttrId, Names, ObjectType};
pub use object::{CsObject, CsReference, Lineage, Link, MvObject, MvReference};
pub use source::{AttributeSource, Present, Values};
pub(crate) use suggest::closest;
pub use time::{Retention, Timestamp};
pub use value::{Blob, Value, ValueKind, ValueRef, bare_address, fold, smtp_address, trimmed_address};
pub use word::quoted;
