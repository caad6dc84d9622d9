//! The command line: reads arguments, calls the service, renders what comes back. Decides nothing about identities.

mod args;
mod ask;
mod attached;
mod audited;
mod calls;
mod commands;
mod console;
mod damage;
mod error;
#[cfg(test)]
mod heard;
mod journal;
mod output;
mod private;
mod progress;
mod quiet;
mod wizard;

use crate::context::Context;
use crate::server::Station;
use crate::service::Traces;
use args::{Arguments, Command};
use clap::Parser;
use clap::error::ErrorKind;
use error::{CommandError, Exit};
use output::Output;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// What every command gets.
pub(crate) struct App {
    /// The configuration folder.
    config: PathBuf,
    /// The store's file, when it was named.
    store: Option<PathBuf>,
    /// How long to wait for a store that another command uses.
    wait: Duration,
    /// Where results go.
    output: Output,
    /// The clock, and the wish to stop.
    cx: Context,
    /// Where paths of the caller begin.
    folder: PathBuf,
    /// Where the command is done.
    place: Place,
    /// Who wants it.
    by: String,
}

/// Where a command is done.
enum Place {
    /// In a process of its own, which opens the store.
    Here,
    /// In a running service, which has it open.
    Service(Arc<Station>),
}

/// Runs the program with the arguments of this process. Gives what the process ends with.
pub fn main() -> ExitCode {
    keep_memory_private();
    let (output, exit) = match Arguments::try_parse() {
        Ok(arguments) => {
            let output = Output::standard(arguments.json);
            calls::remember(&arguments.config, arguments.store.as_deref());
            let ended = start_logging(&arguments).and_then(|traces| {
                let done = damage::caught(|| run(arguments, output.clone()));
                if let Some(traces) = traces {
                    traces.end();
                }
                done
            });
            let exit = ended.unwrap_or_else(|error| {
                output.error(&error);
                error.exit
            });
            (output, exit)
        }
        Err(error) => refuse(&error),
    };
    match output.unwritten() {
        Some(error) => {
            // Standard output takes nothing, so this goes to standard error whatever was asked for.
            output.for_people().error(&error);
            exit.max(error.exit).into()
        }
        None => exit.into(),
    }
}

/// Secrets pass through memory: no crash leaves them in a file, and no other process of the same account looks at them
/// (ARCHITECTURE.md, invariant 18).
fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    {
        // A system that refuses makes no promise about dumps either way; that is no reason not to run.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
}

/// Help and usage errors, in clap's own words.
fn refuse(error: &clap::Error) -> (Output, Exit) {
    let text = error.render();
    // What was asked for is not known yet when arguments cannot be read.
    let json = std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json");
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let output = Output::standard(false);
        output.line(text.ansi().to_string().trim_end());
        return (output, Exit::Ok);
    }
    let output = Output::standard(json);
    if json {
        output.error(&usage(&text.to_string()));
    } else {
        output.note(text.ansi().to_string().trim_end());
    }
    (output, Exit::Usage)
}

/// A usage error from the text for people: its first paragraph says what is wrong, the others help.
fn usage(text: &str) -> CommandError {
    let mut paragraphs = text.trim().split("\n\n").map(|paragraph| paragraph.trim().to_owned());
    let first = paragraphs.next().unwrap_or_default();
    let error = CommandError::usage(first.strip_prefix("error: ").unwrap_or(&first));
    paragraphs.fold(error, CommandError::hint)
}

/// What is logged unless somebody says otherwise. The LDAP client warns of every answer to a search that was ended early.
const LOGGED: &str = "warn,ldap3=error";

fn start_logging(arguments: &Arguments) -> Result<Option<Traces>, CommandError> {
    let wanted = arguments.log.as_deref().unwrap_or(LOGGED);
    let filter = EnvFilter::try_new(wanted).map_err(|error| {
        CommandError::usage(format!("--log {wanted}: {error}")).hint("write a level, or target=level: warn, info, syncline=debug")
    })?;
    let terminals = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
    let seen = terminals && is_summed_up(arguments);
    let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if journal::listens() {
        lines.with_ansi(false).event_format(journal::ForJournal).with_filter(filter).boxed()
    } else {
        lines.with_ansi(color).with_filter(filter).boxed()
    };
    let serves = matches!(arguments.command, Some(Command::Serve(_)));
    let collector = serves.then(|| crate::config::collector(&arguments.config)).flatten();
    let traces = collector.as_deref().map(Traces::begin).transpose().map_err(|error| {
        CommandError::new("service", Exit::NotStarted, format!("[service] traces: {error}"))
            .hint("`syncline config show service` shows what is set, `syncline config set service.traces --unset` goes on without")
    })?;
    let spans = traces.as_ref().map(Traces::layer);
    let subscriber = tracing_subscriber::registry().with(lines).with(spans).with(quiet::no_secrets()).with(seen.then_some(NotTwice));
    // A second subscriber cannot be set within one process; tests that call commands twice keep the first.
    let _ = subscriber.try_init();
    Ok(traces)
}

/// True for a command whose summary stands right below its events and says the same again. A service has no summary.
fn is_summed_up(arguments: &Arguments) -> bool {
    !arguments.json && arguments.log.is_none() && !matches!(arguments.command, Some(Command::Serve(_)))
}

/// Leaves out events that the summary of a run tells, too.
struct NotTwice;

/// The threshold, the end of a cycle, the end of a run, the shrink guard, the threshold that is off.
const IN_SUMMARY: [u64; 5] = [116, 7002, 7010, 7020, 7042];

impl<S: Subscriber> Layer<S> for NotTwice {
    fn event_enabled(&self, event: &tracing::Event<'_>, _: LayerContext<'_, S>) -> bool {
        let mut number = EventNumber(None);
        event.record(&mut number);
        number.0.is_none_or(|number| !IN_SUMMARY.contains(&number))
    }
}

/// Reads the number of an event.
struct EventNumber(Option<u64>);

impl Visit for EventNumber {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "event_id" {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

fn run(arguments: Arguments, output: Output) -> Result<Exit, CommandError> {
    if arguments.version {
        return Ok(commands::version::run(&output));
    }
    let cx = Context::system();
    if let Some(done) = attached::by_service(&arguments, &output, &cx) {
        return done;
    }
    let app = App {
        config: arguments.config,
        store: arguments.store,
        wait: Duration::from_secs(arguments.wait),
        output,
        cx,
        folder: PathBuf::new(),
        place: Place::Here,
        by: audited::account(),
    };
    let Some(command) = arguments.command else {
        return Err(CommandError::usage("no command given").hint("syncline demo shows everything once; syncline --help lists the commands"));
    };
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    audited::recorded(&app, words, command)
}

fn execute(app: &App, command: Command) -> Result<Exit, CommandError> {
    match command {
        Command::Serve(arguments) => commands::serve::run(app, &arguments),
        Command::Status => commands::status::run(app),
        Command::Guard(command) => commands::guard::run(app, &command),
        Command::Mode(command) => commands::mode::run(app, &command),
        Command::Promote(arguments) => commands::mode::promote(app, &arguments),
        Command::Support(command) => commands::support::run(app, &command),
        Command::Completions(arguments) => Ok(commands::complete::completions(app, &arguments)),
        Command::Man(arguments) => commands::complete::man(app, &arguments),
        Command::Alerts(command) => commands::alerts::run(app, &command),
        Command::Audit(command) => commands::audit::run(app, &command),
        Command::Scheduler(command) => commands::scheduler::run(app, &command),
        Command::Demo(arguments) => commands::demo::run(app, &arguments),
        Command::Init(arguments) => commands::init::run(app, &arguments),
        Command::Account(command) => commands::account::run(app, &command),
        Command::Secret(command) => commands::secret::run(app, &command),
        Command::Doctor(arguments) => commands::doctor::run(app, &arguments),
        Command::Run(command) => commands::run::run(app, &command),
        Command::Cycle(command) => commands::cycle::run(app, &command),
        Command::Export(arguments) => commands::export::run(app, &arguments),
        Command::Phs(command) => commands::phs::run(app, &command),
        Command::Events(command) => commands::events::run(app, &command),
        Command::Errors(arguments) => commands::errors::run(app, &arguments),
        Command::Cs(command) => commands::cs::run(app, &command),
        Command::Mv(command) => commands::mv::run(app, &command),
        Command::Object(command) => commands::object::run(app, &command),
        Command::Connector(command) => commands::connector::run(app, &command),
        Command::Preview(arguments) => commands::preview::run(app, &arguments),
        Command::Rule(command) => commands::rule::run(app, &command),
        Command::Expr(command) => commands::expr::run(app, &command),
        Command::Config(command) => commands::config::run(app, &command),
        Command::Partition(command) => commands::partition::run(app, &command),
        Command::Schema(command) => commands::schema::run(app, &command),
        Command::Profile(command) => commands::profile::run(app, &command),
        Command::Lint(command) => commands::lint::run(app, &command),
        Command::Store(command) => commands::store::run(app, &command),
        Command::Anchor(command) => commands::anchor::run(app, &command),
        Command::Tenant(command) => commands::tenant::run(app, &command),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_summed_up_below_is_left_out() {
        let told = |words: &[&str]| is_summed_up(&Arguments::try_parse_from(words).unwrap());
        assert!(told(&["syncline", "cycle", "start"]));
        assert!(!told(&["syncline", "serve"]), "a service has no summary");
        assert!(!told(&["syncline", "--json", "cycle", "start"]) && !told(&["syncline", "--log", "info", "cycle", "start"]));
    }
}
