//! Logs for the journal of systemd: a line begins with its priority, and the journal knows the time (sd-daemon(3)).

use std::fmt;
use std::os::fd::AsFd;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Lines with priorities in front, and without colours and times.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForJournal;

/// True when standard error is the journal itself: the service manager names it by device and inode (systemd.exec(5)).
pub(super) fn listens() -> bool {
    let named = crate::config::journal_stream();
    named.is_some_and(|named| is_named(&named, std::io::stderr()))
}

fn is_named(named: &str, stream: impl AsFd) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|found| named == format!("{}:{}", found.st_dev, found.st_ino))
}

/// The priorities of syslog (RFC 5424, section 6.2.1).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        let level = priority(*event.metadata().level());
        // A line of the journal is an entry of its own: each says how much it matters.
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            writeln!(writer, "<{level}>{}: {line}", event.metadata().target())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::heard::Lines;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn every_line_says_how_much_it_matters() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).event_format(ForJournal).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(target: "syncline::events", event_id = 116, connector = "Entra", "612 deletes wait\nreview them");
            tracing::info!(target: "syncline::server", "ready");
        });
        let text = lines.text();
        let found: Vec<&str> = text.lines().collect();
        assert_eq!(found.len(), 3, "{text}");
        assert!(found[0].starts_with("<4>syncline::events: 612 deletes wait"), "{text}");
        assert!(found[1].starts_with("<4>syncline::events: review them") && found[1].contains("event_id=116"), "{text}");
        assert_eq!(found[2], "<6>syncline::server: ready");
    }

    #[test]
    fn only_the_named_stream_is_the_journal() {
        let file = tempfile::tempfile().unwrap();
        let found = rustix::fs::fstat(&file).unwrap();
        assert!(is_named(&format!("{}:{}", found.st_dev, found.st_ino), &file));
        assert!(!is_named(&format!("{}:{}", found.st_dev, found.st_ino + 1), &file));
        assert!(!is_named("", &file));
    }
}
