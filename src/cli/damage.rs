//! Damaged pages make the database panic. People are told what that means instead of where it happened.

use super::error::CommandError;
use crate::store::StoreError;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};

/// The database panicked, and nothing was said of it.
static SILENCED: AtomicBool = AtomicBool::new(false);

/// Part of the paths of the database's own sources.
const DATABASE: &str = "/redb-";

/// Does the work of the program. A panic of the database is an error that says what to do; any other panic stays one.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, CommandError>) -> Result<T, CommandError> {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        if panicked.location().is_some_and(|location| location.file().contains(DATABASE)) {
            SILENCED.store(true, Ordering::Relaxed);
        } else {
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
