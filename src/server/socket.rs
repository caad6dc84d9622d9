//! The control socket: local callers send commands, each is done on a thread of its own.

use super::wire::{Answer, Call, Further, VERSION, receive, send};
use std::io::{self, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

/// What a running service can be asked to do.
pub trait Commands: Send + Sync {
    /// Does one command, and gives its exit code. `stop` is cancelled when the caller wants it to end, or went away.
    fn run(&self, call: &Call, caller: Arc<Caller>, stop: &CancellationToken) -> u8;
}

/// Whoever sent a command: takes what it prints.
#[derive(Debug)]
pub struct Caller {
    stream: Mutex<BlockingStream>,
    stop: CancellationToken,
    user: Option<u32>,
}

impl Caller {
    /// The number of the caller's account, which the system vouches for.
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    /// A piece for the caller's standard output.
    pub fn result(&self, text: &str) {
        self.send(&Answer::Result(text.to_owned()));
    }

    /// A piece for the caller's standard error.
    pub fn note(&self, text: &str) {
        self.send(&Answer::Note(text.to_owned()));
    }

    fn send(&self, answer: &Answer) {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if send(&mut *stream, answer).is_err() {
            // Nobody listens any more, so nobody wants the rest.
            self.stop.cancel();
        }
    }
}

/// Commands that were asked to end get so long: a step ends at its next border.
const LAST_WAIT: Duration = Duration::from_mins(2);
/// A caller that reads nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The length of a path that the system takes for a socket (unix(7)), with room for its end.
const PATH_MAX: usize = 100;

/// A socket that callers can connect to; its file goes when it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path`. Only this user may connect. The store's lock says that there is one service, so a file that is
    /// there was left behind by one that was killed.
    ///
    /// # Errors
    /// When the path is too long, or its folder cannot be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() > PATH_MAX {
            let message = format!("the path has more than {PATH_MAX} octets, and the system takes no longer ones for sockets");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Bound under another name first: at no time may others connect.
        let unready = path.with_extension("sock.new");
        drop(std::fs::remove_file(&unready));
        let listener = UnixListener::bind(&unready)?;
        std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&unready, path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Takes callers until told to stop; then waits for the commands that are under way.
    pub async fn serve(self, commands: Arc<dyn Commands>, stop: CancellationToken) {
        let mut under_way = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (commands, stop) = (Arc::clone(&commands), stop.child_token());
                        let user = stream.peer_cred().ok().map(|peer| peer.uid());
                        under_way.spawn_blocking(move || {
                            if let Err(error) = stream.into_std().and_then(|stream| answer(stream, user, &*commands, &stop)) {
                                tracing::debug!("a caller on the control socket: {error}");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!("the control socket: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
                () = stop.cancelled() => break,
            }
        }
        // Nobody may call any more, or they would wait for an answer that never comes.
        drop(self);
        let ended = tokio::time::timeout(LAST_WAIT, async { while under_way.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!("{} commands did not end when they were asked to; they end with the service", under_way.len());
            under_way.detach_all();
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// Does the command of one caller.
fn answer(stream: BlockingStream, user: Option<u32>, commands: &dyn Commands, service_stops: &CancellationToken) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream.try_clone()?;
    let Some(call) = receive::<Call>(&mut reader)? else { return Ok(()) };
    if call.version != VERSION {
        let reason = "the service is of another release than this program: restart it with the new one, or use the old program";
        return send(&mut writer, &Answer::Refused(reason.to_owned()));
    }
    stream.set_read_timeout(None)?;
    let stop = service_stops.clone();
    let caller = Arc::new(Caller { stream: Mutex::new(writer), stop: stop.clone(), user });
    let listening = std::thread::spawn({
        let stop = stop.clone();
        move || {
            // Whatever comes next, a wish to stop or the end of the connection, means the same.
            let next = receive::<Further>(&mut reader);
            drop(next);
            stop.cancel();
        }
    });
    let code = catch_unwind(AssertUnwindSafe(|| commands.run(&call, Arc::clone(&caller), &stop))).unwrap_or_else(|_| {
        caller.note("error: the service met an error of its own in this command; its log has more\n");
        STOPPED
    });
    caller.send(&Answer::Ended(code));
    stream.shutdown(std::net::Shutdown::Both)?;
    drop(listening.join());
    Ok(())
}

/// The exit code of a command that did not come to its end (specification: sync engine, section 5.2).
const STOPPED: u8 = 3;

#[cfg(test)]
mod tests {
    use super::super::client::{Piece, RunningService};
    use super::*;
    use std::io::Write as _;

    struct Echo;

    impl Commands for Echo {
        fn run(&self, call: &Call, caller: Arc<Caller>, stop: &CancellationToken) -> u8 {
            match call.arguments.first().map(String::as_str) {
                Some("panic") => panic!("on purpose"),
                Some("wait") => {
                    caller.note("waiting\n");
                    while !stop.is_cancelled() {
                        std::thread::yield_now();
                    }
                    7
                }
                _ => {
                    caller.result(&call.arguments.join(" "));
                    caller.note("done\n");
                    0
                }
            }
        }
    }

    fn with_service(test: impl FnOnce(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("syncline.sock");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let stop = CancellationToken::new();
        let socket = runtime.block_on(async { ControlSocket::open(&path) }).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let serving = runtime.spawn(socket.serve(Arc::new(Echo), stop.clone()));
        test(&path);
        stop.cancel();
        runtime.block_on(serving).unwrap();
        assert!(!path.exists(), "the socket's file is left behind");
    }

    fn call(path: &Path, arguments: &[&str], stop: &CancellationToken) -> io::Result<(u8, String, String)> {
        let call = Call::new(arguments.iter().map(|&word| word.to_owned()).collect(), "/".into());
        let (mut results, mut notes) = (String::new(), String::new());
        let code = RunningService::at(path)?.unwrap().call(&call, stop, |piece| match piece {
            Piece::Result(text) => results.push_str(text),
            Piece::Note(text) => {
                notes.push_str(text);
                if text == "waiting\n" {
                    stop.cancel();
                }
            }
        })?;
        Ok((code, results, notes))
    }

    #[test]
    fn a_command_is_done_there_and_printed_here() {
        with_service(|path| {
            let never = CancellationToken::new();
            let (code, results, notes) = call(path, &["cs", "show"], &never).unwrap();
            assert_eq!((code, results.as_str(), notes.as_str()), (0, "cs show", "done\n"));
        });
    }

    #[test]
    fn whoever_wants_to_stop_is_heard() {
        with_service(|path| assert_eq!(call(path, &["wait"], &CancellationToken::new()).unwrap().0, 7));
    }

    #[test]
    fn a_command_that_panics_ends_alone() {
        with_service(|path| {
            let (code, _, notes) = call(path, &["panic"], &CancellationToken::new()).unwrap();
            assert!(code == STOPPED && notes.contains("error of its own"), "{notes}");
            assert_eq!(call(path, &["a"], &CancellationToken::new()).unwrap().0, 0);
        });
    }

    #[test]
    fn strangers_are_refused() {
        with_service(|path| {
            let mut stream = BlockingStream::connect(path).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut reader = BufReader::new(&stream);
            assert_eq!(receive::<Answer>(&mut reader).unwrap(), None);
            let foreign = Call { version: VERSION + 1, ..Call::new(Vec::new(), "/".into()) };
            let error = RunningService::at(path).unwrap().unwrap().call(&foreign, &CancellationToken::new(), |_| {}).unwrap_err();
            assert!(error.to_string().contains("another release"), "{error}");
        });
    }

    #[test]
    fn without_a_service_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(RunningService::at(&folder.path().join("none.sock")).unwrap().is_none());
        let left = folder.path().join("left.sock");
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        assert!(RunningService::at(&left).unwrap().is_none());
    }
}
