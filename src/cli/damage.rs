//! Damaged pages make the database panic. People are told what that means instead of where it happened.

use super::error::CommandError;
use crate::store::StoreError;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};

/// The last panic was one of the database, and nothing was said of it.
static SILENCED: AtomicBool = AtomicBool::new(false);

/// Parts of the paths of the database's own sources, from a registry and vendored.
const DATABASE: [&str; 2] = ["/redb-", "/redb/"];

/// Does the work of the program. A panic of the database is an error that says what to do; any other panic stays one.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, CommandError>) -> Result<T, CommandError> {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        let ours = panicked.location().is_none_or(|location| !DATABASE.iter().any(|part| location.file().contains(part)));
        SILENCED.store(!ours, Ordering::Relaxed);
        if ours {
            tell(panicked);
        }
    }));
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(_) if SILENCED.load(Ordering::Relaxed) => Err(CommandError::from(StoreError::Damaged {
            place: "its pages".to_owned(),
            reason: "they do not fit together; restore a backup".to_owned(),
        })),
        Err(panicked) => panic::resume_unwind(panicked),
    }
}
