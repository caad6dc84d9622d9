//! The control socket: local callers send commands, each is done on a thread of its own.

use super::wire::{Answer, Call, Further, VERSION, receive, send};
use std::collections::VecDeque;
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

/// What a running service can be asked to do.
pub trait Commands: Send + Sync {
    /// Does one command, and gives its exit code. `stop` is cancelled when the caller wants it to end, or went away.
    fn run(&self, call: &Call, caller: Arc<Caller>, stop: &CancellationToken) -> u8;
}

/// Whoever sent a command: takes what it prints. What is printed waits here until it is read, so that a caller who pauses the
/// terminal holds up nothing.
#[derive(Debug)]
pub struct Caller {
    outbox: Mutex<Outbox>,
    /// Something was put into the outbox, or taken out of it.
    moved: Condvar,
    stop: CancellationToken,
    user: Option<u32>,
}

/// Messages that were not read yet.
#[derive(Debug, Default)]
struct Outbox {
    lines: VecDeque<Vec<u8>>,
    octets: usize,
    /// Nothing comes any more.
    closed: bool,
    /// Nobody reads any more.
    gone: bool,
}

impl Caller {
    /// The number of the caller's account, which the system vouches for.
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    fn new(user: Option<u32>, stop: CancellationToken) -> Self {
        Self { outbox: Mutex::default(), moved: Condvar::new(), stop, user }
    }

    /// A piece for the caller's standard output.
    pub fn result(&self, text: &str) {
        pieces(text).for_each(|piece| self.put(&Answer::Result(piece.to_owned()), WAITING_MAX));
    }

    /// A piece for the caller's standard error.
    pub fn note(&self, text: &str) {
        pieces(text).for_each(|piece| self.put(&Answer::Note(piece.to_owned()), WAITING_MAX));
    }

    /// A piece of a progress bar, which is dropped when the caller does not keep up.
    pub fn progress(&self, text: &str) {
        if self.outbox().octets < PROGRESS_MAX {
            self.put(&Answer::Note(text.to_owned()), WAITING_MAX);
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message behind the others. With more than `most` octets before it, a while is waited for the caller to read.
    fn put(&self, answer: &Answer, most: usize) {
        let mut line = Vec::new();
        // Neither a message nor memory refuses.
        drop(send(&mut line, answer));
        let mut outbox = self.outbox();
        if outbox.octets > most {
            let full = |outbox: &mut Outbox| outbox.octets > most && !outbox.gone;
            outbox = self.moved.wait_timeout_while(outbox, PATIENCE, full).unwrap_or_else(PoisonError::into_inner).0;
            if outbox.octets > most {
                // So much is no pause any more.
                self.give_up(&mut outbox);
            }
        }
        if !outbox.gone {
            outbox.octets += line.len();
            outbox.lines.push_back(line);
            self.moved.notify_all();
        }
    }

    /// Nobody listens any more, so nobody wants the rest.
    fn give_up(&self, outbox: &mut Outbox) {
        *outbox = Outbox { gone: true, closed: outbox.closed, ..Outbox::default() };
        self.moved.notify_all();
        self.stop.cancel();
    }

    /// Nothing comes any more.
    fn close(&self) {
        self.outbox().closed = true;
        self.moved.notify_all();
    }

    /// Writes what comes until nothing comes any more.
    fn deliver(&self, mut stream: &BlockingStream) {
        loop {
            let nothing = |outbox: &mut Outbox| outbox.lines.is_empty() && !outbox.closed && !outbox.gone;
            let mut outbox = self.moved.wait_while(self.outbox(), nothing).unwrap_or_else(PoisonError::into_inner);
            let Some(line) = outbox.lines.pop_front() else { return };
            drop(outbox);
            let written = self.write(&mut stream, &line);
            let mut outbox = self.outbox();
            if written {
                outbox.octets = outbox.octets.saturating_sub(line.len());
                self.moved.notify_all();
            } else {
                self.give_up(&mut outbox);
                return;
            }
        }
    }

    /// Writes a message, however long the caller pauses. False: nobody reads it any more.
    fn write(&self, stream: &mut &BlockingStream, mut rest: &[u8]) -> bool {
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(0) => return false,
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A pause. It holds up neither the command, which goes on, nor a service that ends.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    let outbox = self.outbox();
                    if outbox.gone || (outbox.closed && self.stop.is_cancelled()) {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }
}

/// A text in pieces that fit a message each, however long it is: a document is one line.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE_MAX));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The longest piece of a text in a message, in octets. Written as JSON it has six times as many at most.
const PIECE_MAX: usize = 256 << 10;
/// Progress that nobody reads is dropped behind so many octets,
const PROGRESS_MAX: usize = 1 << 20;
/// and everything else is kept up to so many.
const WAITING_MAX: usize = 64 << 20;
/// How often somebody who pauses is looked after.
const PAUSE: Duration = Duration::from_secs(1);

/// Commands that were asked to end get so long: a step ends at its next border.
const LAST_WAIT: Duration = Duration::from_mins(2);
/// A caller that says nothing for so long is given up, and so is one that does not read far too much for so long.
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
    /// Listens at `path`. Only this user may connect. A socket that is there and that nobody answers at was left behind by a
    /// service that was killed.
    ///
    /// # Errors
    /// When the path is too long, its folder cannot be written, somebody answers there, or it is something else than a socket.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() > PATH_MAX {
            let message = format!("the path has more than {PATH_MAX} octets, and the system takes no longer ones for sockets");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        remove_left_behind(path)?;
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

/// Removes a socket that nobody listens at.
fn remove_left_behind(path: &Path) -> io::Result<()> {
    let refused = |message: &str| io::Error::new(io::ErrorKind::AddrInUse, message);
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(refused("there is a file that is no socket; write another path into [service] socket"));
        }
        Ok(_) => {}
    }
    match BlockingStream::connect(path) {
        Ok(_) => Err(refused(
            "another service listens here; its configuration names the same [service] socket, and every service needs one of its own",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
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
    stream.set_write_timeout(Some(PAUSE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let writer = stream.try_clone()?;
    let Some(call) = receive::<Call>(&mut reader)? else { return Ok(()) };
    if call.version != VERSION {
        let reason = "the service is of another release than this program: restart it with the new one, or use the old program";
        return send(&writer, &Answer::Refused(reason.to_owned()));
    }
    stream.set_read_timeout(None)?;
    send(&writer, &Answer::Taken)?;
    let stop = service_stops.clone();
    let caller = Arc::new(Caller::new(user, stop.clone()));
    let delivering = std::thread::spawn({
        let caller = Arc::clone(&caller);
        move || caller.deliver(&writer)
    });
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
    caller.put(&Answer::Ended(code), usize::MAX);
    caller.close();
    drop(delivering.join());
    // Whoever left has shut it down already; the other thread ends either way.
    drop(stream.shutdown(std::net::Shutdown::Both));
    drop(listening.join());
    Ok(())
}

/// The exit code of a command that did not come to its end (specification: sync engine, section 5.2).
const STOPPED: u8 = 3;

#[cfg(test)]
mod tests {
    use super::super::client::{Piece, RunningService};
    use super::*;

    struct Echo;

    /// How long a service of these tests may take to answer at all.
    const SOON: Duration = Duration::from_mins(1);

    /// More than one message may have, in characters of several octets and some that JSON writes with six.
    fn large() -> String {
        "\u{1}–ä\"x".repeat(5 << 20)
    }

    /// Far more than a socket takes before it is read.
    const FLOOD: usize = 20_000;

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
                Some("large") => {
                    caller.result(&large());
                    caller.note(&large());
                    0
                }
                Some("flood") => {
                    for number in 0..FLOOD {
                        caller.progress(&"bar ".repeat(1_000));
                        caller.result(&format!("{number}\n"));
                    }
                    std::fs::write(call.folder.join("over"), "").unwrap();
                    u8::from(stop.is_cancelled())
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
        let code = RunningService::at(path)?.unwrap().call(&call, SOON, stop, |piece| match piece {
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
    fn a_result_may_be_longer_than_a_message() {
        with_service(|path| {
            let (code, results, notes) = call(path, &["large"], &CancellationToken::new()).unwrap();
            let wanted = large();
            assert!(wanted.len() > 16 << 20 && results == wanted && notes == wanted, "{} {} octets", results.len(), notes.len());
            assert_eq!(code, 0);
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
    fn a_caller_that_pauses_ends_no_command_and_loses_no_result() {
        with_service(|path| {
            let folder = path.parent().unwrap();
            let stream = BlockingStream::connect(path).unwrap();
            send(&stream, &Call::new(vec!["flood".to_owned()], folder.to_owned())).unwrap();
            // Nothing is read until the command is over; nothing else ends this wait but the command.
            let over = folder.join("over");
            for _ in 0..2_000 {
                if over.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            assert!(over.exists(), "the command waits for its caller");
            let mut reader = BufReader::new(&stream);
            let (mut results, mut notes) = (Vec::new(), 0);
            let code = loop {
                match receive::<Answer>(&mut reader).unwrap().unwrap() {
                    Answer::Result(text) => results.push(text),
                    Answer::Note(_) => notes += 1,
                    Answer::Taken => {}
                    Answer::Ended(code) => break code,
                    Answer::Refused(reason) => panic!("{reason}"),
                }
            };
            assert_eq!((code, results.len()), (0, FLOOD));
            assert!(results.iter().enumerate().all(|(number, text)| *text == format!("{number}\n")));
            assert!(notes < FLOOD, "progress was dropped");
        });
    }

    #[test]
    fn a_service_takes_no_other_ones_place() {
        with_service(|path| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let error = runtime.block_on(async { ControlSocket::open(path) }).unwrap_err();
            assert!(error.kind() == io::ErrorKind::AddrInUse && error.to_string().contains("another service"), "{error}");
            assert_eq!(call(path, &["a"], &CancellationToken::new()).unwrap().0, 0, "the first one goes on");
            let other = path.with_file_name("people.ldif");
            std::fs::write(&other, "dn: x\n").unwrap();
            assert!(runtime.block_on(async { ControlSocket::open(&other) }).is_err() && other.exists());
            let left = path.with_file_name("left.sock");
            drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
            drop(runtime.block_on(async { ControlSocket::open(&left) }).unwrap());
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
            let error = RunningService::at(path).unwrap().unwrap().call(&foreign, SOON, &CancellationToken::new(), |_| {}).unwrap_err();
            assert!(error.to_string().contains("another release"), "{error}");
        });
    }

    #[test]
    fn a_service_that_hangs_is_waited_for_as_long_as_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hangs.sock");
        // The system takes the connection and the call; nobody reads them.
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let call = Call::new(vec!["status".to_owned()], "/".into());
        let service = RunningService::at(&path).unwrap().unwrap();
        let error = service.call(&call, Duration::from_millis(50), &CancellationToken::new(), |_| {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("it does not answer"), "{error}");
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
