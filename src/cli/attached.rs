//! Commands and a running service: it has the store for itself, so commands that need the store are done there, and print
//! here.

use super::args::{AccountCommand, AdAccountCommand, AnchorCommand, Arguments, Command, SecretCommand, StoreCommand};
use super::audited::{account_of, recorded};
use super::console::Console;
use super::error::{CommandError, Exit};
use super::output::Output;
use super::{App, Place, calls};
use crate::config::{Config, caller_name, socket_place};
use crate::context::Context;
use crate::server::{Call, Caller, Commands, Piece, RunningService, Station};
use clap::Parser as _;
use indicatif::{ProgressDrawTarget, TermLike};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl Command {
    /// Needs the store, which a running service has for itself.
    fn belongs_to_service(&self) -> bool {
        match self {
            // Asks for passwords, at the terminal.
            Self::Secret(SecretCommand::Set { .. } | SecretCommand::Remove { .. })
            | Self::Anchor(AnchorCommand::Convert { .. } | AnchorCommand::Set { .. } | AnchorCommand::Clear { .. })
            | Self::Account(AccountCommand::Ad(AdAccountCommand::Harden { .. } | AdAccountCommand::Grant { apply: true, .. }))
            | Self::Completions(_) | Self::Man(_) | Self::Demo(_) | Self::Init(_) | Self::Config(_) | Self::Tenant(_) | Self::Serve(_) | Self::Audit(_)
            // The file itself is looked at, which its owner cannot do while it is open.
            | Self::Store(StoreCommand::Compact | StoreCommand::Restore { .. }) => false,
            _ => true,
        }
    }
}

/// The caller's side: lets a running service do the command. `None` when none runs, or the command needs none.
pub(super) fn by_service(arguments: &Arguments, output: &Output, cx: &Context) -> Option<Result<Exit, CommandError>> {
    let command = arguments.command.as_ref()?;
    if !command.belongs_to_service() {
        return None;
    }
    let socket = socket_place(&arguments.config, arguments.store.as_deref());
    let failed =
        |error: &io::Error| CommandError::new("service", Exit::NotStarted, format!("the running service at {}: {error}", socket.display()));
    let service = match RunningService::at(&socket) {
        Ok(None) => return None,
        Ok(Some(service)) => service,
        Err(error) => {
            let hint = "commands of a service are open to the user that it runs as: use that user, for example by sudo -u";
            return Some(Err(failed(&error).hint(hint)));
        }
    };
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let folder = std::env::current_dir().unwrap_or_default();
    let user_name = caller_name();
    let call = Call { user_name, width: output.width(), bars: output.progress_target().is_some(), ..Call::new(words, folder) };
    let stopping = stop_on_interrupt(&cx.cancel);
    let done = service.call(&call, Duration::from_secs(arguments.wait), &cx.cancel, |piece| match piece {
        Piece::Result(text) => output.raw_result(text),
        Piece::Note(text) => output.raw_note(text),
    });
    drop(stopping);
    Some(match done {
        Ok(code) => Ok(Exit::of_code(code)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(failed(&error).hint(
            "the service hangs, or its process is stopped: look at it with `systemctl status syncline` or `ps`, and restart it; `--wait SECONDS` waits longer",
        )),
        Err(error) => Err(failed(&error).hint(
            "`syncline status` says whether it still runs; what the command did until then, `syncline audit list` and `syncline run list`",
        )),
    })
}

/// An interrupt asks the command to end, also one that a service does; the second one ends this process alone.
pub(super) fn stop_on_interrupt(stop: &CancellationToken) -> Option<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().ok()?;
    let stop = stop.clone();
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    Some(runtime)
}

/// The service's side: does commands for callers.
pub(super) struct Desk {
    pub(super) station: Arc<Station>,
    /// The configuration folder and the store as the service was given them.
    pub(super) config: PathBuf,
    pub(super) store: Option<PathBuf>,
}

impl Commands for Desk {
    fn run(&self, call: &Call, caller: Arc<Caller>, stop: &CancellationToken) -> u8 {
        let words = std::iter::once("syncline".to_owned()).chain(call.arguments.iter().cloned());
        let user = caller.user();
        // What was changed just now counts in this command already.
        self.station.reload();
        let console = Arc::new(Remote { caller, width: call.width, bars: call.bars });
        let arguments = match Arguments::try_parse_from(words) {
            Ok(arguments) => arguments,
            Err(error) => {
                console.note(&error.to_string());
                return Exit::Usage.code();
            }
        };
        let output = Output::new(arguments.json, console);
        // Proposed commands carry the options that the caller typed.
        calls::remember(&arguments.config, arguments.store.as_deref());
        let cx = Context { cancel: stop.clone(), ..self.station.context().clone() };
        let app = App {
            config: self.config.clone(),
            store: self.store.clone(),
            wait: Duration::from_secs(arguments.wait),
            output: output.clone(),
            cx,
            folder: call.folder.clone(),
            place: Place::Service(Arc::clone(&self.station)),
            by: account_of(user, call.user_name.as_deref()),
        };
        if let Some(reason) = self.station.refused() {
            output.note(format!(
                "warning: the service goes on with the configuration from before and the stricter guards of both, since the present one \
                 cannot be used:\n{reason}"
            ));
        }
        let refused = || CommandError::usage("a running service does not do this command");
        let before = Config::fingerprint(&self.config).ok();
        // These say themselves whether they are heeded.
        let says_so = matches!(arguments.command, Some(Command::Mode(_) | Command::Promote(_) | Command::Config(_)));
        let done = match arguments.command {
            Some(command) if command.belongs_to_service() => recorded(&app, call.arguments.clone(), command),
            _ => Err(refused()),
        };
        // Whatever the command changed counts when its caller goes on, also for what runs.
        self.station.reload();
        self.station.look();
        let written = !says_so && before != Config::fingerprint(&self.config).ok();
        let done = done.map(|exit| match self.station.refused() {
            Some(reason) if written && exit == Exit::Ok => {
                output.note(format!(
                    "warning: the file is written, and what it says counts when the rest of the configuration is mended; until then only guards \
                     that are stricter do:\n{reason}"
                ));
                Exit::Warnings
            }
            _ => exit,
        });
        done.unwrap_or_else(|error| {
            output.error(&error);
            error.exit
        })
        .code()
    }
}

/// A caller's terminal, at the other end of the control socket.
#[derive(Debug)]
struct Remote {
    caller: Arc<Caller>,
    width: Option<u16>,
    bars: bool,
}

impl Console for Remote {
    fn result(&self, text: &str) {
        self.caller.result(text);
    }

    fn note(&self, text: &str) {
        self.caller.note(text);
    }

    fn width(&self) -> Option<u16> {
        self.width
    }

    fn progress(&self) -> Option<ProgressDrawTarget> {
        let terminal = Bars { caller: Arc::clone(&self.caller), width: self.width.unwrap_or(80) };
        self.bars.then(|| ProgressDrawTarget::term_like_with_hz(Box::new(terminal), DRAWN_PER_SECOND))
    }

    fn failure(&self) -> Option<io::Error> {
        None
    }
}

/// How often a bar at the other end is drawn.
const DRAWN_PER_SECOND: u8 = 8;

/// Draws bars at the other end (ECMA-48 control sequences).
#[derive(Debug)]
struct Bars {
    caller: Arc<Caller>,
    width: u16,
}

impl Bars {
    fn control(&self, count: usize, letter: char) {
        if count > 0 {
            self.caller.progress(&format!("\u{1b}[{count}{letter}"));
        }
    }
}

impl TermLike for Bars {
    fn width(&self) -> u16 {
        self.width
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.control(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.control(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.control(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.control(n, 'D');
        Ok(())
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.caller.progress(&format!("{s}\n"));
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.caller.progress(s);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.caller.progress("\r\u{1b}[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
