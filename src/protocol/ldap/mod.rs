//! Pieces of LDAP that have nothing to do with connections: control values, schema descriptions, diagnostics.

mod ber;
mod controls;
mod diagnostics;
mod dirsync;
mod extended;
mod metadata;
mod schema;
mod sync;

pub use controls::{PAGED_RESULTS, PagedReply, paged_request};
pub use diagnostics::{bind_detail, code_name, range_of};
pub use dirsync::{COOKIE_MAX, DIRSYNC, DirSyncReply, INCREMENTAL_VALUES, OBJECT_SECURITY, dirsync_request};
pub use extended::{EXTENDED_DN, EXTENDED_DN_TEXT, guid_of};
pub use metadata::{AttributeStamp, NAME_ATTRIBUTE, PASSWORD_ATTRIBUTE};
pub use schema::{AttributeType, parse_attribute_type};
pub use sync::{
    EntryState, SYNC_DONE, SYNC_INFO, SYNC_REQUEST, SYNC_STATE, SyncDone, SyncInfo, SyncMode, SyncState, SyncUuid, sync_request,
};
