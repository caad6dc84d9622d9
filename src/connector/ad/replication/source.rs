//! The source of password hashes: cycles with failover, single accounts, and no try with a secret that was refused.

use super::accounts::{Decoded, decode};
use super::controllers::{Controllers, NetworkControllers};
use super::cycle::{Cycle, Plan, Step};
use super::diagnose;
use super::session::{Question, Session};
use super::settings::ReplicationSettings;
use super::trouble::{self, Place, another_server_may_help};
use crate::connector::{
    Attempt, ConnectorError, ConnectorErrorKind, PassedOver, PasswordCheck, PasswordPage, PasswordRequest, PasswordSource, PasswordStream,
    Wanted,
};
use crate::context::Context;
use crate::model::{Anchor, Dn};
use crate::protocol::dcerpc::Guid;
use crate::protocol::drsuapi::{ChangesRequest, Cookie, Target};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a request for one object answers when all is well (`EXOP_ERR_SUCCESS`, MS-DRSR 4.1.10.2.19).
pub(super) const EXTENDED_SUCCESS: u32 = 1;
/// The account may not do this (`EXOP_ERR_ACCESS_DENIED`).
const EXTENDED_DENIED: u32 = 14;

/// Password hashes by replication. See the module.
pub struct ReplicationSource {
    settings: Arc<ReplicationSettings>,
    controllers: Arc<dyn Controllers>,
}

impl ReplicationSource {
    /// A source for the controllers that `settings` name. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ConnectorErrorKind::Configuration`] with what is missing.
    pub fn new(settings: ReplicationSettings) -> Result<Self, ConnectorError> {
        let settings = Arc::new(settings);
        let controllers = Arc::new(NetworkControllers::new(settings.clone()));
        Self::with_controllers(settings, controllers)
    }

    /// A source on other controllers than those of the network: for simulations and measurements.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_controllers(settings: Arc<ReplicationSettings>, controllers: Arc<dyn Controllers>) -> Result<Self, ConnectorError> {
        settings.check()?;
        settings.contexts()?;
        Ok(Self { settings, controllers })
    }

    fn place(&self, index: usize) -> Place {
        let server = self.controllers.names().get(index).cloned().unwrap_or_default();
        Place { server, account: self.settings.account.clone(), authentication: self.settings.authentication }
    }

    /// Connects to one controller and opens the context.
    async fn open(&self, cx: &Context, context: &str, index: usize) -> Result<Session, ConnectorError> {
        let port = self.controllers.port(cx, index).await?;
        // With NTLM the password is looked at only when the first call is made, so both are one step.
        let attempt = self.sign_in(cx, false).await?;
        let opened = match self.controllers.connect(cx, index, port).await {
            Ok(call) => Session::open(cx, call, self.place(index), context).await,
            Err(error) => Err(error),
        };
        tell(attempt, opened.as_ref().err());
        opened
    }

    /// The turn to sign in, unless the account was refused with its secret a moment ago: each try counts towards its lockout.
    async fn sign_in(&self, cx: &Context, at_once: bool) -> Result<Attempt, ConnectorError> {
        let Self { settings, .. } = self;
        tokio::select! {
            biased;
            () = cx.cancel.cancelled() => Err(trouble::cancelled()),
            begun = settings.sign_in.begin(settings.authentication.way(), &settings.account, &settings.password, at_once) => begun,
        }
    }

    /// A cycle with its first page, from one controller.
    async fn begin(&self, cx: &Context, mut plan: Plan, index: usize) -> Result<(Cycle, PasswordPage), ConnectorError> {
        for _ in 0..2 {
            let session = self.open(cx, &plan.context, index).await?;
            let mut cycle = Cycle::new(session, plan.clone())?;
            match cycle.next(cx).await? {
                Step::Page(page) => return Ok((cycle, page)),
                Step::Again => {
                    cycle.close(cx).await;
                    plan.for_another_controller();
                }
            }
        }
        Err(self.place(index).protocol("the server names another database in every answer"))
    }

    fn plan(&self, cx: &Context, request: PasswordRequest) -> Result<Plan, ConnectorError> {
        let PasswordRequest { domain, since, wanted } = request;
        let lost = |reason: String| {
            let message =
                format!("'{domain}': where the last reading of password hashes ended is not known: {reason}; everything is read again");
            ConnectorError::new(ConnectorErrorKind::WatermarkLost, message).unsent()
        };
        let cookie = since.map(|octets| Cookie::read(&octets)).transpose().map_err(|error| lost(error.to_string()))?;
        if let Some(cookie) = cookie.as_ref().filter(|cookie| !same_name(&cookie.context, &domain)) {
            return Err(lost(format!("it speaks of '{}'", cookie.context)));
        }
        let mut plan = Plan {
            context: domain,
            cookie,
            objects: self.settings.page_objects.max(1),
            tombstone_lifetime: self.settings.tombstone_lifetime,
            wanted,
            answered_in_full: false,
            passed_over: None,
        };
        plan.forget_when_old(cx);
        Ok(plan)
    }

    async fn read_at(&self, cx: &Context, domain: &str, anchors: &[Anchor], index: usize) -> Result<PasswordPage, ConnectorError> {
        let mut session = self.open(cx, domain, index).await?;
        let place = session.place.clone();
        let key = session.session_key()?;
        let attributes = ChangesRequest::password_attributes();
        let mut found = PasswordPage::default();
        for anchor in anchors {
            let Ok(guid) = <[u8; 16]>::try_from(anchor.as_bytes()) else {
                found
                    .rejects
                    .push((anchor.clone(), "its key in the connector space is no objectGUID, by which it could be asked for".to_owned()));
                continue;
            };
            let stub = session.ask(cx, Question::single(Target::Object(Guid(guid)), &attributes)).await?;
            let own = anchor.clone();
            let wanted: Wanted = Arc::new(move |other| *other == own);
            let Decoded { facts, page } = decode(&stub, &key, &wanted).map_err(|error| place.protocol(error))?;
            match (facts.status, facts.extended) {
                (0, EXTENDED_SUCCESS) => {}
                // Gone meanwhile.
                (trouble::BAD_NAME, _) => continue,
                (0, EXTENDED_DENIED) => return Err(place.status(trouble::ACCESS_DENIED, domain)),
                // One account that the server cannot give holds up no other.
                (0, extended) => {
                    let reason =
                        format!("{} could not give it when it was asked for by itself (replication answer {extended})", place.server);
                    found.rejects.push((anchor.clone(), reason));
                    continue;
                }
                (status, _) => return Err(place.status(status, domain)),
            }
            found.seen += page.seen;
            found.rejects.extend(page.rejects);
            found.changes.extend(page.changes.into_iter().filter(|change| !change.deleted));
        }
        session.close(cx).await;
        Ok(found)
    }

    /// What to do after one controller failed: go on, or give up with this.
    fn judge(error: ConnectorError, before: &mut Option<ConnectorError>) -> Result<(), ConnectorError> {
        if !another_server_may_help(&error) {
            return Err(error);
        }
        tracing::warn!(%error, "a domain controller gives no password hashes");
        match before {
            Some(first) => first.message = format!("{}; {}", first.message, error.message),
            None => *before = Some(error),
        }
        Ok(())
    }
}

/// Tells what came of signing in.
pub(super) fn tell(attempt: Attempt, error: Option<&ConnectorError>) {
    match error {
        None => attempt.let_in(),
        Some(error) => attempt.refused(error, error.kind == ConnectorErrorKind::Authentication),
    }
}

/// No controller is left to be tried.
fn nobody(failed: Option<ConnectorError>) -> ConnectorError {
    failed.unwrap_or_else(|| {
        ConnectorError::new(ConnectorErrorKind::Configuration, "no domain controller is named to read password hashes from").unsent()
    })
}

/// True when two names mean the same naming context.
fn same_name(left: &str, right: &str) -> bool {
    match (Dn::parse(left), Dn::parse(right)) {
        (Ok(left), Ok(right)) => left.same(&right),
        _ => left.eq_ignore_ascii_case(right),
    }
}

/// Reads on in a task of its own: while one page is worked on, the next one travels. A panic of the library on a
/// malformed packet ends the task, and thereby the stream without a completion.
fn stream(cx: Context, mut cycle: Cycle, first: PasswordPage, account: String) -> PasswordStream {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut page = first;
        let (mut seen, mut handed_on, mut rejected) = (0, 0, 0);
        loop {
            seen += page.seen;
            handed_on += page.changes.iter().filter(|change| matches!(change.hash, Some(Some(_)))).count();
            rejected += page.rejects.len();
            let last = page.completion.is_some();
            if sender.send(Ok(page)).await.is_err() {
                return;
            }
            if last {
                break;
            }
            let step = tokio::select! {
                () = sender.closed() => return,
                step = cycle.next(&cx) => step,
            };
            page = match step {
                Ok(Step::Page(page)) => page,
                Ok(Step::Again) => {
                    let error =
                        ConnectorError::new(ConnectorErrorKind::Dropped, format!("{}: the cycle begins again next time", cycle.server()));
                    let _ = sender.send(Err(error.unsent())).await;
                    return;
                }
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
        }
        drop(sender);
        tracing::info!(server = cycle.server(), account, objects = seen, hashes = handed_on, rejected, "password hashes were read");
        cycle.close(&cx).await;
    });
    futures_util::stream::poll_fn(move |task| receiver.poll_recv(task)).boxed()
}

#[async_trait]
impl PasswordSource for ReplicationSource {
    async fn domains(&self, _cx: &Context) -> Result<Vec<String>, ConnectorError> {
        self.settings.contexts()
    }

    async fn changes(&self, cx: &Context, request: PasswordRequest) -> Result<PasswordStream, ConnectorError> {
        let mut plan = self.plan(cx, request)?;
        let mut failed = None;
        for index in 0..self.controllers.names().len() {
            match self.begin(cx, plan.clone(), index).await {
                Ok((cycle, first)) => {
                    return Ok(stream(cx.clone(), cycle, first, self.settings.account.clone()));
                }
                Err(error) => {
                    if index == 0 {
                        plan.passed_over = Some(PassedOver { server: self.place(0).server, reason: error.message.clone() });
                    }
                    Self::judge(error, &mut failed)?;
                }
            }
        }
        Err(nobody(failed))
    }

    async fn read(&self, cx: &Context, domain: &str, anchors: &[Anchor]) -> Result<PasswordPage, ConnectorError> {
        if anchors.is_empty() {
            return Ok(PasswordPage::default());
        }
        let mut failed = None;
        for index in 0..self.controllers.names().len() {
            match self.read_at(cx, domain, anchors, index).await {
                Ok(found) => return Ok(found),
                Err(error) => Self::judge(error, &mut failed)?,
            }
        }
        Err(nobody(failed))
    }

    /// Asks every controller; also when the account was refused a moment ago, for somebody may have put it right, unless the settings are
    /// [patient](ReplicationSettings::patient).
    async fn diagnose(&self, cx: &Context) -> Vec<PasswordCheck> {
        let contexts = match self.settings.contexts() {
            Ok(contexts) => contexts,
            Err(error) => return vec![diagnose::failed("settings", &error)],
        };
        let mut checks = Vec::new();
        for index in 0..self.controllers.names().len() {
            let place = self.place(index);
            let attempt = match self.sign_in(cx, !self.settings.patient).await {
                Ok(attempt) => attempt,
                Err(error) => {
                    checks.push(diagnose::failed(format!("{}: sign-in", place.server), &error));
                    break;
                }
            };
            match diagnose::controller(cx, &*self.controllers, index, &place, &contexts, attempt, &mut checks).await {
                Ok(()) => {}
                // The same account would be refused by the next one, and come nearer to its lockout.
                Err(_) => break,
            }
        }
        checks
    }
}

impl std::fmt::Debug for ReplicationSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicationSource").field("servers", &self.controllers.names()).finish_non_exhaustive()
    }
}
