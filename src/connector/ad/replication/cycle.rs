//! One cycle: all changes of a naming context, page by page, from where the last one ended (drsuapi section 14).

use super::accounts::{Decoded, Facts, decode};
use super::session::{Question, Session};
use crate::connector::{ConnectorError, ConnectorErrorKind, PassedOver, PasswordCompletion, PasswordPage, Wanted};
use crate::context::Context;
use crate::model::Timestamp;
use crate::protocol::dcerpc::Guid;
use crate::protocol::drsuapi::{ChangesRequest, Cookie, Cursor, Position, SessionKey, Target};
use std::time::Duration;

/// Pages of a cycle at most: with a thousand objects each, a hundred times the largest domain.
const PAGES_MAX: u64 = 1_000_000;

/// What to read, and from where.
#[derive(Clone)]
pub(super) struct Plan {
    /// The naming context.
    pub(super) context: String,
    /// Where the last cycle ended.
    pub(super) cookie: Option<Cookie>,
    /// Objects in a page.
    pub(super) objects: u32,
    /// How long deleted objects are remembered.
    pub(super) tombstone_lifetime: Duration,
    /// Whose values are decrypted.
    pub(super) wanted: Wanted,
    /// Changes were asked for, whether or not there is a cookie left to begin at.
    pub(super) answered_in_full: bool,
    /// The first controller, when it did not answer and this one does.
    pub(super) passed_over: Option<PassedOver>,
}

/// What a step of the cycle came to.
pub(super) enum Step {
    /// A page; the last one has its completion.
    Page(PasswordPage),
    /// The controller is another one than the cookie speaks of, or was restored: begin again on a new connection,
    /// with the same plan.
    Again,
}

/// A cycle under way on one connection.
pub(super) struct Cycle {
    session: Session,
    key: SessionKey,
    plan: Plan,
    /// The controller and its database's life that the position speaks of; until the first reply those of the cookie.
    expected: Option<(Guid, Guid)>,
    invocation: Guid,
    position: Position,
    known: Vec<Cursor>,
    pages: u64,
}

impl Plan {
    /// Drops a cookie that is so old that deletions may be missing in between, or may be.
    pub(super) fn forget_when_old(&mut self, cx: &Context) {
        if self.cookie.as_ref().is_some_and(|cookie| cx.now().since(Timestamp(cookie.taken)) > self.tombstone_lifetime) {
            self.cookie = None;
            self.answered_in_full = true;
        }
    }

    /// Keeps of a cookie what counts at every controller: what is known.
    pub(super) fn for_another_controller(&mut self) {
        if let Some(cookie) = &mut self.cookie {
            cookie.position = [0; 3];
            cookie.agent = Guid::NIL;
            cookie.invocation = Guid::NIL;
        }
    }
}

impl Cycle {
    /// A cycle on a connection. Nothing is asked yet.
    pub(super) fn new(mut session: Session, mut plan: Plan) -> Result<Self, ConnectorError> {
        if let Some(cookie) = &plan.cookie
            && !session.agent.is_nil()
            && session.agent != cookie.agent
        {
            plan.for_another_controller();
        }
        let key = session.session_key()?;
        let begin = plan.cookie.as_ref();
        let expected = begin.filter(|cookie| !cookie.invocation.is_nil()).map(|cookie| (cookie.agent, cookie.invocation));
        let invocation = begin.map_or(Guid::NIL, |cookie| cookie.invocation);
        let position = begin.map_or([0; 3], |cookie| cookie.position);
        let known = begin.map(|cookie| cookie.known.clone()).unwrap_or_default();
        Ok(Self { session, key, plan, expected, invocation, position, known, pages: 0 })
    }

    /// The server's name.
    pub(super) fn server(&self) -> &str {
        &self.session.place.server
    }

    /// Reads the next page. After an error, and after the last page, there is none.
    pub(super) async fn next(&mut self, cx: &Context) -> Result<Step, ConnectorError> {
        let attributes = ChangesRequest::password_attributes();
        let question = Question {
            target: Target::Context(&self.plan.context),
            invocation: self.invocation,
            position: self.position,
            known: &self.known,
            objects: self.plan.objects,
            attributes: &attributes,
        };
        let stub = self.session.ask(cx, question).await?;
        let (key, wanted) = (self.key.clone(), self.plan.wanted.clone());
        // Decoding and decrypting a page takes some milliseconds of a processor.
        let decoded = tokio::task::spawn_blocking(move || decode(&stub, &key, &wanted)).await;
        let place = &self.session.place;
        let decoded = decoded.map_err(|_| place.protocol("a page of changes could not be decoded"))?;
        let Decoded { facts, mut page } = decoded.map_err(|error| place.protocol(error))?;
        if facts.status != 0 {
            return Err(place.status(facts.status, &self.plan.context));
        }
        self.same_domain(&facts)?;
        match self.expected {
            Some(expected) if expected != (facts.agent, facts.invocation) => {
                if self.pages == 0 {
                    return Ok(Step::Again);
                }
                return Err(place.error(
                    ConnectorErrorKind::Dropped,
                    "another database answers in the middle of the cycle; was the controller restored? The cycle begins again next time",
                ));
            }
            _ => self.expected = Some((facts.agent, facts.invocation)),
        }
        self.pages += 1;
        if facts.more {
            // The same place again would be asked for for ever. In the pages of links only the middle number moves on.
            if facts.to == self.position || self.pages >= PAGES_MAX {
                return Err(place.protocol("the server does not get on with its changes: it names the same position again"));
            }
            self.position = facts.to;
            self.invocation = facts.invocation;
            return Ok(Step::Page(page));
        }
        let cookie = Cookie {
            context: self.plan.context.clone(),
            context_guid: facts.context.unwrap_or_default(),
            agent: facts.agent,
            invocation: facts.invocation,
            position: facts.to,
            known: facts.known.unwrap_or_else(|| std::mem::take(&mut self.known)),
            taken: cx.now().0,
        };
        page.completion = Some(PasswordCompletion {
            cookie: cookie.write(),
            answered_in_full: self.plan.answered_in_full,
            server: self.session.place.server.clone(),
            passed_over: self.plan.passed_over.take(),
        });
        Ok(Step::Page(page))
    }

    /// A domain that was made anew under the old name is another one: nothing of the cookie is true there.
    fn same_domain(&self, facts: &Facts) -> Result<(), ConnectorError> {
        let before = self.plan.cookie.as_ref().map_or(Guid::NIL, |cookie| cookie.context_guid);
        match facts.context {
            Some(now) if !before.is_nil() && !now.is_nil() && now != before => Err(self.session.place.error(
                ConnectorErrorKind::WatermarkLost,
                format!("'{}' is not the domain that was read before; everything is read again", self.plan.context),
            )),
            _ => Ok(()),
        }
    }

    /// Says good-bye.
    pub(super) async fn close(self, cx: &Context) {
        self.session.close(cx).await;
    }
}
