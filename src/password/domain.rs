//! One domain in one cycle: changes or everything, and what is told and kept of it.

use super::agent::{Agent, DomainReport, Pair, TOLD_TO_STOP};
use super::pass::{End, Order, Pass};
use super::plan;
use super::shared::{Believed, off_thread};
use super::state::{self, DomainState, Failure, FullRequest, Held};
use crate::connector::{ConnectorError, ConnectorErrorKind, CredentialError, PassedOver};
use crate::context::Context;
use crate::events::PasswordEvent;
use crate::model::{Anchor, Timestamp};
use crate::store::{ChangeSet, StoreError};

/// One domain to be read.
pub(super) struct Reading<'d> {
    pub(super) pair: &'d Pair,
    pub(super) domains: &'d [String],
    pub(super) domain: &'d str,
    pub(super) due: Vec<Anchor>,
    pub(super) many: bool,
    pub(super) began: Timestamp,
    pub(super) force_change: bool,
    pub(super) believed: Believed,
}

/// A problem as it is kept.
pub(super) fn failure(error: &ConnectorError, now: Timestamp) -> Failure {
    Failure { kind: error.kind.as_str().to_owned(), message: error.to_string(), since: now.0 }
}

impl Agent {
    /// Reads a domain and sends what it has to. With the report, why the target takes no more.
    pub(super) async fn domain(
        &self,
        cx: &Context,
        work: Reading<'_>,
    ) -> Result<(DomainReport, Option<(Held, CredentialError)>), StoreError> {
        let Reading { pair, domains, domain, due, many, began, force_change, believed } = work;
        let snapshot = self.shared.store.snapshot()?;
        let mut kept = DomainState::read(&snapshot, pair.source, domain)?;
        let cookie = state::cookie(&snapshot, pair.source, domain)?;
        let request = FullRequest::read(&snapshot, pair.source)?;
        let requested = request.filter(|full| !full.done.iter().any(|done| done == domain)).map(|full| full.requested);
        drop(snapshot);
        let place = || (pair.source_name.clone(), domain.to_owned());
        let mut full = requested.is_some() || many || cookie.is_none();
        let order = |since: Option<Vec<u8>>, asked| Order {
            domain: domain.to_owned(),
            since,
            asked,
            force_change,
            full_since: requested.map(Timestamp),
            installation: self.installation.clone(),
            believed,
        };
        // What fails again and again is told to begin once.
        let failing = kept.failure.is_some();
        let start_full = || {
            let (connector, domain) = place();
            if !failing {
                self.tell(cx, PasswordEvent::FullDomainStarted { connector, domain });
            }
        };
        let first = if full {
            start_full();
            order(None, Vec::new())
        } else {
            order(cookie, due)
        };
        let mut result = Pass::new(&self.shared, pair, cx, first).run().await?;
        if !full && matches!(&result.end, End::Source(error) if error.kind == ConnectorErrorKind::WatermarkLost) {
            full = true;
            start_full();
            result = Pass::new(&self.shared, pair, cx, order(None, Vec::new())).run().await?;
        }
        let now = cx.now();
        let mut report = DomainReport {
            domain: domain.to_owned(),
            full,
            seen: result.seen,
            accepted: result.accepted,
            failed: result.failed,
            error: None,
        };
        let (connector, name) = place();
        let mut changes = ChangeSet::new();
        let mut done = false;
        if let Some(completion) = result.completion {
            kept.last_read = Some(now.0);
            kept.server = completion.server;
            match completion.passed_over {
                Some(PassedOver { server, reason }) if kept.passed_over.is_none() => {
                    let (connector, domain, used) = (connector.clone(), name.clone(), kept.server.clone());
                    kept.passed_over = Some(format!("{server}: {reason}"));
                    self.tell(cx, PasswordEvent::PreferredUnreachable { connector, domain, server, used, message: reason });
                }
                Some(_) => {}
                None => kept.passed_over = None,
            }
            if full {
                kept.last_full = Some(now.0);
                let (connector, domain) = (connector.clone(), name.clone());
                self.tell(cx, PasswordEvent::FullDomainCompleted { connector, domain, count: result.accepted });
                done = true;
            }
        }
        let mut stopped = None;
        match result.end {
            End::Complete => {
                if kept.failure.take().is_some() {
                    self.tell(cx, PasswordEvent::DomainResumed { connector, domain: name });
                }
                let (shared, source, seed) = (self.shared.clone(), pair.source, cx.seed);
                let (domain, domains) = (domain.to_owned(), domains.to_vec());
                off_thread(move || plan::put_off_missed(&shared, source, (&domain, &domains), began, now, seed)).await?;
            }
            End::Cancelled => report.error = Some(TOLD_TO_STOP.to_owned()),
            End::Source(error) => {
                report.error = Some(error.to_string());
                if kept.failure.as_ref().is_none_or(|known| known.kind != error.kind.as_str()) {
                    let (kind, message) = (error.kind.as_str().to_owned(), error.to_string());
                    if full {
                        let (connector, domain) = place();
                        self.tell(cx, PasswordEvent::FullFailed { connector, domain, message: message.clone() });
                    }
                    self.tell(cx, PasswordEvent::DomainFailed { connector, domain: name, error: kind, message });
                    kept.failure = Some(failure(&error, now));
                } else if let Some(known) = &mut kept.failure {
                    // Of the same kind, and perhaps for another reason: whoever looks sees the present one.
                    known.message = error.to_string();
                }
            }
            End::Target(held, error) => {
                report.error = Some(error.message.clone());
                stopped = Some((held, error));
            }
        }
        kept.write(&mut changes, pair.source, domain)?;
        let (store, source) = (self.shared.store.clone(), pair.source);
        let (requested, domain, domains) = (requested.filter(|_| done), domain.to_owned(), domains.to_vec());
        let written = off_thread(move || FullRequest::done(&store, source, (requested, &domain, &domains), changes)).await;
        let all_done = written.inspect_err(|error| {
            let (connector, domain) = place();
            self.tell(cx, PasswordEvent::StateFailed { connector, domain, message: error.to_string() });
        })?;
        if all_done {
            self.tell(cx, PasswordEvent::FullCompleted { connector: pair.source_name.clone() });
        }
        Ok((report, stopped))
    }
}
