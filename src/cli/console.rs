//! The two ways a command may be attached to somebody: to this process's own terminal, or, in a running service, to the
//! connection of whoever called.

use indicatif::ProgressDrawTarget;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

/// Where texts of a command go, and what can be shown there.
pub(crate) trait Console: Send + Sync {
    /// A piece of the result, for standard output.
    fn result(&self, text: &str);
    /// Something that is no result, for standard error.
    fn note(&self, text: &str);
    /// Characters in a line of the terminal that results go to. `None` when it is none, or does not know.
    fn width(&self) -> Option<u16>;
    /// Where progress bars are drawn; `None` where lines fit better.
    fn progress(&self) -> Option<ProgressDrawTarget>;
    /// Why results could not be written, if so; told once.
    fn failure(&self) -> Option<io::Error>;
}

/// Standard output and standard error of this process.
#[derive(Debug, Default)]
pub(crate) struct Standard {
    /// Why a result could not be written, the first time that this happened.
    unwritten: Mutex<Option<io::Error>>,
}

impl Standard {
    fn noted(&self, written: io::Result<()>) {
        // A closed pipe (`| head`) means that nobody wants more.
        if let Err(error) = written
            && error.kind() != ErrorKind::BrokenPipe
        {
            self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }
}

impl Console for Standard {
    fn result(&self, text: &str) {
        self.noted(anstream::stdout().lock().write_all(text.as_bytes()));
    }

    fn note(&self, text: &str) {
        // Nobody could be told that there is nobody to tell.
        drop(anstream::stderr().lock().write_all(text.as_bytes()));
    }

    fn width(&self) -> Option<u16> {
        // Some terminals say that they are 0 wide: they do not know.
        let size = io::stdout().is_terminal().then(|| comfy_table::Table::new().width()).flatten();
        size.filter(|width| *width > 0)
    }

    fn progress(&self) -> Option<ProgressDrawTarget> {
        io::stderr().is_terminal().then(ProgressDrawTarget::stderr)
    }

    fn failure(&self) -> Option<io::Error> {
        self.noted(io::stdout().flush());
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
