//! Where tests of logging hear what is logged.

use std::io::Write;
use std::sync::{Arc, Mutex};

/// Everything that was written so far, by whoever holds a copy.
#[derive(Clone, Default)]
pub(in crate::cli) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// What was written.
    pub(in crate::cli) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
