//! A connection to one interface: bind, sign-in, calls in fragments, each of them encrypted and checked.

use super::auth::{Parts, RpcAuth};
use super::trouble::{Place, cancelled};
use super::wait::{Interrupted, within};
use crate::connector::ConnectorError;
use crate::context::Context;
use crate::protocol::dcerpc::{
    BindAnswer, BindKind, CALL_HEAD_LENGTH, HEADER_LENGTH, Header, Packet, PacketError, Protection, Reassembly, Response, Syntax,
    TRAILER_LENGTH, auth3, bind, fragments,
};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use zeroize::Zeroizing;

/// Octets that are read ahead; some fragments' worth.
const READ_AHEAD: usize = 64 << 10;
/// Legs of a sign-in at most.
const LEGS_MAX: usize = 8;
/// The number of the call that binds.
const BIND_CALL: u32 = 1;

/// A bound connection.
pub(super) struct Connection<S> {
    stream: BufReader<S>,
    auth: Option<Box<dyn RpcAuth>>,
    protection: Option<Protection>,
    /// Header and trailer are signed, too.
    signs_all: bool,
    place: Place,
    timeout: Duration,
    call: u32,
    longest: usize,
    answered: bool,
    broken: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Binds to an interface and signs in, if there is somebody to sign in.
    pub(super) async fn bind(
        cx: &Context,
        stream: S,
        interface: Syntax,
        mut auth: Option<Box<dyn RpcAuth>>,
        place: Place,
        timeout: Duration,
    ) -> Result<Self, ConnectorError> {
        let leg = match &mut auth {
            Some(auth) => Some(auth.step(cx, &[]).await?),
            None => None,
        };
        let stream = BufReader::with_capacity(READ_AHEAD, stream);
        let mut connection = Self {
            stream,
            auth,
            protection: None,
            signs_all: false,
            place,
            timeout,
            call: BIND_CALL,
            longest: 0,
            answered: false,
            broken: false,
        };
        let kind = connection.auth.as_ref().map(|auth| auth.kind());
        let first = leg.as_ref().zip(kind).map(|(leg, kind)| (kind, leg.token.as_slice()));
        let (token, signing) = connection.bind_leg(cx, BindKind::First, interface, first).await?;
        if let Some(leg) = leg {
            connection.finish_sign_in(cx, interface, leg.done, token, signing).await?;
        }
        Ok(connection)
    }

    /// The further legs of a sign-in.
    async fn finish_sign_in(
        &mut self,
        cx: &Context,
        interface: Syntax,
        mut done: bool,
        mut token: Vec<u8>,
        signing: bool,
    ) -> Result<(), ConnectorError> {
        let Some(mut auth) = self.auth.take() else { return Ok(()) };
        let authentication = auth.kind();
        let mut legs = 1;
        while !done {
            if legs == LEGS_MAX {
                return Err(self.place.protocol("the sign-in does not come to an end"));
            }
            legs += 1;
            let leg = auth.step(cx, &token).await?;
            done = leg.done;
            token.clear();
            if leg.token.is_empty() {
                continue;
            }
            if done && authentication == crate::protocol::dcerpc::AuthenticationType::Ntlm {
                // Nobody answers this one: whether the password was right shows at the first call.
                self.send(cx, &auth3(BIND_CALL, authentication, &leg.token)).await?;
            } else {
                (token, _) = self.bind_leg(cx, BindKind::Later, interface, Some((authentication, &leg.token))).await?;
            }
        }
        // What is not signed as a whole is refused by servers that speak NTLM, even if they did not offer it.
        self.signs_all = signing || auth.signs_all();
        self.protection = Some(Protection { authentication, token_length: auth.token_length()? });
        self.auth = Some(auth);
        Ok(())
    }

    /// Sends a bind or alter-context packet; gives the server's token and whether it signs headers.
    async fn bind_leg(
        &mut self,
        cx: &Context,
        kind: BindKind,
        interface: Syntax,
        authentication: Option<(crate::protocol::dcerpc::AuthenticationType, &[u8])>,
    ) -> Result<(Vec<u8>, bool), ConnectorError> {
        self.send(cx, &bind(kind, BIND_CALL, interface, authentication)).await?;
        let packet = self.receive(cx, "the bind").await?;
        match Packet::read(&packet).map_err(|error| self.damaged(error))? {
            Packet::Bound(BindAnswer { header_signing, fragment_max, result: 0, token, .. }) => {
                if kind == BindKind::First {
                    self.longest = fragment_max;
                }
                Ok((token.to_vec(), header_signing))
            }
            Packet::Bound(BindAnswer { result, reason, .. }) => Err(self.place.interface_refused(result, reason)),
            Packet::BindRefused(reason) => Err(self.place.bind_refused(reason)),
            Packet::Fault { status, .. } => Err(self.place.fault(status, true)),
            Packet::Response(_) => Err(self.place.protocol("a response came before anything was called")),
        }
    }

    /// One call: arguments to results. After an error the connection is of no further use.
    pub(super) async fn call(&mut self, cx: &Context, operation: u16, stub: &[u8]) -> Result<Zeroizing<Vec<u8>>, ConnectorError> {
        if self.broken {
            return Err(self.place.protocol("the connection was given up after an error"));
        }
        // Also when this is dropped half-way: what was sent and what was read would no longer fit.
        self.broken = true;
        let result = self.exchange(cx, operation, stub).await?;
        self.broken = false;
        Ok(result)
    }

    async fn exchange(&mut self, cx: &Context, operation: u16, stub: &[u8]) -> Result<Zeroizing<Vec<u8>>, ConnectorError> {
        self.call = self.call.checked_add(1).ok_or_else(|| self.place.protocol("the connection is used up"))?;
        let mut wire = Vec::with_capacity(stub.len() + stub.len() / 16 + 256);
        for fragment in fragments(self.call, operation, stub, self.longest, self.protection) {
            let mut packet = fragment.packet(self.protection);
            if let (Some(auth), Some(protection)) = (&mut self.auth, self.protection) {
                let trailer = packet.len() - protection.token_length - TRAILER_LENGTH;
                auth.seal(parts(&mut packet, trailer, self.signs_all))?;
            }
            wire.extend_from_slice(&packet);
        }
        self.send(cx, &wire).await?;
        let mut joined = Reassembly::default();
        loop {
            let mut packet = self.receive(cx, "a call").await?;
            let response = match Packet::read(&packet).map_err(|error| self.damaged(error))? {
                Packet::Response(response) if response.header.call == self.call => response,
                Packet::Fault { call, status } if call == self.call => return Err(self.place.fault(status, !self.answered)),
                _ => return Err(self.place.protocol("an answer came to something that was not asked")),
            };
            let body = self.open(&mut packet, &response)?;
            self.answered = true;
            if joined.add(response.header, body).map_err(|error| self.damaged(error))? {
                return Ok(joined.finish());
            }
        }
    }

    /// Decrypts a fragment in place and gives its body without padding.
    fn open<'p>(&mut self, packet: &'p mut [u8], response: &Response) -> Result<&'p [u8], ConnectorError> {
        match (&mut self.auth, &response.trailer, self.protection) {
            (None, None, _) => {}
            (Some(auth), Some(trailer), Some(protection)) if response.authentication == protection.authentication.number() => {
                auth.unseal(parts(packet, trailer.start, self.signs_all))?;
            }
            _ => return Err(self.place.protocol("an answer came without protection")),
        }
        Ok(&packet[response.body.start..response.body.end - response.padding])
    }

    /// The key under which attributes are encrypted.
    pub(super) fn session_key(&mut self) -> Result<crate::protocol::drsuapi::SessionKey, ConnectorError> {
        match &mut self.auth {
            Some(auth) => auth.session_key(),
            None => Err(self.place.protocol("nobody signed in")),
        }
    }

    /// Microseconds by which the domain's clock is ahead of ours, if it was told.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        self.auth.as_ref().and_then(|auth| auth.clock_ahead())
    }

    fn damaged(&self, error: PacketError) -> ConnectorError {
        self.place.protocol(error)
    }

    async fn send(&mut self, cx: &Context, octets: &[u8]) -> Result<(), ConnectorError> {
        let sending = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        match within(cx, self.timeout, sending).await {
            Ok(sent) => sent.map_err(|error| self.place.lost(&error, "sending")),
            Err(why) => Err(self.stopped(why, "sending")),
        }
    }

    /// Reads one packet.
    async fn receive(&mut self, cx: &Context, what: &str) -> Result<Zeroizing<Vec<u8>>, ConnectorError> {
        let receiving = async {
            let mut packet = Zeroizing::new(vec![0; HEADER_LENGTH]);
            self.stream.read_exact(&mut packet).await?;
            let header = match Header::read(&packet) {
                Ok(header) => header,
                Err(error) => return Ok(Err(error)),
            };
            // At most 64 KiB: the length has sixteen bits.
            let mut whole = Zeroizing::new(vec![0; header.fragment_length]);
            whole[..HEADER_LENGTH].copy_from_slice(&packet);
            self.stream.read_exact(&mut whole[HEADER_LENGTH..]).await?;
            Ok(Ok(whole))
        };
        match within(cx, self.timeout, receiving).await {
            Ok(Ok(packet)) => packet.map_err(|error| self.damaged(error)),
            Ok(Err(error)) => Err(self.place.lost(&error, what)),
            Err(why) => Err(self.stopped(why, what)),
        }
    }

    fn stopped(&self, why: Interrupted, what: &str) -> ConnectorError {
        if why == Interrupted::Cancelled { cancelled() } else { self.place.interrupted(why, what) }
    }
}

/// Cuts a packet into what is signed, what is encrypted, and the token.
fn parts(packet: &mut [u8], trailer: usize, all: bool) -> Parts<'_> {
    let (before, rest) = packet.split_at_mut(trailer);
    let (header, body) = before.split_at_mut(CALL_HEAD_LENGTH);
    let (trailer, token) = rest.split_at_mut(TRAILER_LENGTH);
    Parts { header, body, trailer, token, all }
}
