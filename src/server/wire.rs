//! What a command and a running service say to each other over the control socket: lines of JSON. The caller sends the
//! command as it was typed; the service sends what the command prints, as it comes, and how it ended.

use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read as _, Write};
use std::path::PathBuf;

/// A line longer than this comes from somebody else.
const LINE_MAX: u64 = 16 << 20;

/// The version of these messages. A service does not talk to callers of another one: they come from another release.
pub(crate) const VERSION: u32 = 2;

/// A command, as somebody typed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The version of the messages.
    pub version: u32,
    /// The arguments behind the program's name.
    pub arguments: Vec<String>,
    /// Where paths in the arguments begin.
    pub folder: PathBuf,
    /// Characters in a line of the caller's terminal; `None` when results do not go to one.
    pub width: Option<u16>,
    /// Progress bars can be drawn.
    pub bars: bool,
    /// The name that the caller goes by. The number of the account comes from the system.
    pub user_name: Option<String>,
}

/// What the caller says after the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Further {
    /// Stop at the next border.
    Stop,
}

/// What the service says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The command was taken, and is done from now on: the first answer, which comes at once.
    Taken,
    /// A piece for standard output.
    Result(String),
    /// A piece for standard error.
    Note(String),
    /// The command is over, with this exit code.
    Ended(u8),
    /// The service takes no such call, and why.
    Refused(String),
}

impl Call {
    /// A call of this release.
    pub fn new(arguments: Vec<String>, folder: PathBuf) -> Self {
        Self { version: VERSION, arguments, folder, width: None, bars: false, user_name: None }
    }
}

/// Writes one message.
pub(crate) fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Reads one message; nothing at the end.
pub(crate) fn receive<T: for<'m> Deserialize<'m>>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a message on the control socket is cut off or too long"));
    }
    serde_json::from_slice(&line).map(Some).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let call = Call { width: Some(80), ..Call::new(vec!["cs".to_owned(), "show".to_owned(), "a\nb".to_owned()], "/tmp".into()) };
        let mut line = Vec::new();
        send(&mut line, &call).unwrap();
        send(&mut line, &Answer::Ended(2)).unwrap();
        let mut reader = line.as_slice();
        assert_eq!(receive::<Call>(&mut reader).unwrap(), Some(call));
        assert_eq!(receive::<Answer>(&mut reader).unwrap(), Some(Answer::Ended(2)));
        assert_eq!(receive::<Answer>(&mut reader).unwrap(), None);
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_an_error() {
        for text in ["{\"result\":\"a\"}", "GET / HTTP/1.1\r\n", "{}\n", "\n"] {
            assert!(receive::<Answer>(&mut text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
