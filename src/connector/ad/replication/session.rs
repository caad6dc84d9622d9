//! A connection on which changes can be asked for: the context is open, and the controller is known.

use super::controllers::DrsCall;
use super::trouble::Place;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::model::Dn;
use crate::protocol::dcerpc::Guid;
use crate::protocol::drsuapi::{
    BIND, BindReply, CONTROLLERS, ChangesRequest, ControllerReply, Cursor, GET_CHANGES, Handle, Position, SessionKey, Target, UNBIND,
    bind_request, controllers_request, unbind_request,
};
use zeroize::Zeroizing;

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) target: Target<'a>,
    pub(super) invocation: Guid,
    pub(super) position: Position,
    pub(super) known: &'a [Cursor],
    pub(super) objects: u32,
    pub(super) attributes: &'a [u32],
}

impl<'a> Question<'a> {
    /// One object, whatever changed.
    pub(super) fn single(target: Target<'a>, attributes: &'a [u32]) -> Self {
        Self { target, invocation: Guid::NIL, position: [0; 3], known: &[], objects: 1, attributes }
    }
}

/// An open context.
pub(super) struct Session {
    call: Box<dyn DrsCall>,
    pub(super) place: Place,
    handle: Handle,
    /// The controller as replication knows it; nil when it does not say.
    pub(super) agent: Guid,
    /// It is the PDC emulator, when it is known.
    pub(super) is_pdc: Option<bool>,
}

impl Session {
    /// Opens the context and asks the controller of `context` who it is.
    pub(super) async fn open(cx: &Context, mut call: Box<dyn DrsCall>, place: Place, context: &str) -> Result<Self, ConnectorError> {
        let mut bound = bind(cx, &mut *call, &place, 0).await?;
        if bound.epoch != 0 {
            // The domain was renamed: who does not know its epoch is told nothing.
            call.call(cx, UNBIND, &unbind_request(&bound.handle)).await?;
            bound = bind(cx, &mut *call, &place, bound.epoch).await?;
        }
        if !bound.suffices() {
            return Err(place.error(
                ConnectorErrorKind::Search,
                format!("the server's replication cannot give what is needed (flags {:#x}); name another controller", bound.flags),
            ));
        }
        let mut session = Self { call, place, handle: bound.handle, agent: Guid::NIL, is_pdc: None };
        if let Some(domain) = dns_name(context) {
            let answer = session.call.call(cx, CONTROLLERS, &controllers_request(&session.handle, &domain)).await?;
            let reply = ControllerReply::read(&answer).map_err(|error| session.place.protocol(error))?;
            // A domain that this controller does not know shows when its changes are asked for.
            if let Some(own) = reply.named(&session.place.server) {
                session.agent = own.agent;
                session.is_pdc = Some(own.is_pdc);
            }
        }
        Ok(session)
    }

    /// Asks for changes; gives the results as they are.
    pub(super) async fn ask(&mut self, cx: &Context, question: Question<'_>) -> Result<Zeroizing<Vec<u8>>, ConnectorError> {
        let Question { target, invocation, position, known, objects, attributes } = question;
        let request = ChangesRequest { handle: &self.handle, agent: self.agent, invocation, target, position, known, objects, attributes };
        self.call.call(cx, GET_CHANGES, &request.write()).await
    }

    /// The key under which attributes are encrypted.
    pub(super) fn session_key(&mut self) -> Result<SessionKey, ConnectorError> {
        self.call.session_key()
    }

    /// Microseconds by which the controller's clock is ahead of ours, when it is known.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        self.call.clock_ahead()
    }

    /// Says good-bye. What the server says to it does not matter any more.
    pub(super) async fn close(mut self, cx: &Context) {
        let _ = self.call.call(cx, UNBIND, &unbind_request(&self.handle)).await;
    }
}

async fn bind(cx: &Context, call: &mut dyn DrsCall, place: &Place, epoch: u32) -> Result<BindReply, ConnectorError> {
    let answer = call.call(cx, BIND, &bind_request(epoch)).await?;
    let reply = BindReply::read(&answer).map_err(|error| place.protocol(error))?;
    if reply.status == 0 { Ok(reply) } else { Err(place.status(reply.status, "the replication interface")) }
}

/// `corp.example` for `DC=corp,DC=example`.
pub(in crate::connector::ad) fn dns_name(context: &str) -> Option<String> {
    let dn = Dn::parse(context).ok()?;
    let mut labels = Vec::with_capacity(dn.depth());
    for index in 0..dn.depth() {
        let (attribute, value) = dn.component(index)?;
        if !attribute.eq_ignore_ascii_case("dc") {
            return None;
        }
        labels.push(value.to_owned());
    }
    (!labels.is_empty()).then(|| labels.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_its_name_in_dns() {
        assert_eq!(dns_name("DC=corp,DC=example").as_deref(), Some("corp.example"));
        assert_eq!(dns_name("dc=corp, dc=example").as_deref(), Some("corp.example"));
        assert_eq!(dns_name("CN=Configuration,DC=corp,DC=example"), None);
        assert_eq!(dns_name(""), None);
    }
}
