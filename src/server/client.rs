//! The caller's side of the control socket.

use super::wire::{Answer, Call, Further, receive, send};
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A running service that answers.
#[derive(Debug)]
pub struct RunningService {
    stream: UnixStream,
}

/// What a command prints in the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// For standard output.
    Result(&'t str),
    /// For standard error.
    Note(&'t str),
}

impl RunningService {
    /// The service that listens at a socket. `None` when none does, which is no error: a command then works by itself.
    ///
    /// # Errors
    /// When there is a service that this user may not talk to.
    pub fn at(socket: &Path) -> io::Result<Option<Self>> {
        match UnixStream::connect(socket) {
            Ok(stream) => Ok(Some(Self { stream })),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
            // No such file, or one that a killed service left behind.
            Err(_) => Ok(None),
        }
    }

    /// Lets the service do a command, and hands on what it prints. Gives the exit code. When `stop` is cancelled the
    /// service is asked to end the command at its next border. The service has `wait` to take the command; the command itself may
    /// take as long as it takes.
    ///
    /// # Errors
    /// When the connection breaks, the service does not answer in time, or it refuses; the error says why.
    pub fn call(self, call: &Call, wait: Duration, stop: &CancellationToken, mut print: impl FnMut(Piece<'_>)) -> io::Result<u8> {
        let wait = wait.max(SHORTEST_WAIT);
        self.stream.set_read_timeout(Some(wait))?;
        send(&self.stream, call)?;
        let writer = self.stream.try_clone()?;
        let mut reader = BufReader::new(self.stream);
        let first = receive::<Answer>(&mut reader).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it does not answer (waited {:#} for it)", jiff::SignedDuration::try_from(wait).unwrap_or_default()),
            ),
            _ => error,
        })?;
        match first {
            Some(Answer::Taken) => {}
            Some(Answer::Refused(reason)) => return Err(io::Error::other(reason)),
            _ => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the service ended before it took the command")),
        }
        writer.set_read_timeout(None)?;
        std::thread::scope(|scope| {
            let over = CancellationToken::new();
            let asker = over.clone();
            let waiting = scope.spawn(move || {
                while !asker.is_cancelled() {
                    if stop.is_cancelled() {
                        // A service that went away is noticed by the reader.
                        drop(send(&writer, &Further::Stop));
                        return;
                    }
                    std::thread::park_timeout(STOP_NOTICED);
                }
            });
            let ended = loop {
                match receive::<Answer>(&mut reader) {
                    Ok(Some(Answer::Result(text))) => print(Piece::Result(&text)),
                    Ok(Some(Answer::Note(text))) => print(Piece::Note(&text)),
                    Ok(Some(Answer::Taken)) => {}
                    Ok(Some(Answer::Ended(code))) => break Ok(code),
                    Ok(Some(Answer::Refused(reason))) => break Err(io::Error::other(reason)),
                    Ok(None) => break Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the service ended under the command")),
                    Err(error) => break Err(error),
                }
            };
            over.cancel();
            waiting.thread().unpark();
            ended
        })
    }
}

/// How soon a wish to stop is passed on.
const STOP_NOTICED: Duration = Duration::from_millis(100);
/// An answer is waited for so long at least: also a busy machine is no service that hangs.
const SHORTEST_WAIT: Duration = Duration::from_secs(2);
