//! Packets of connection-oriented DCE/RPC: header, bind and its answers, requests, responses, faults (C706 12.6, MS-RPCE 2.2.2).

use super::Guid;
use std::ops::Range;

/// Octets of the header that every packet begins with.
pub const HEADER_LENGTH: usize = 16;
/// Octets before the body of a request or a response.
pub const CALL_HEAD_LENGTH: usize = 24;
/// Octets of the trailer before an authentication token.
pub const TRAILER_LENGTH: usize = 8;
/// Packet privacy: everything is encrypted. We speak nothing below it (MS-RPCE 2.2.1.1.8).
const PRIVACY: u8 = 6;
/// One security context per connection.
const SECURITY_CONTEXT: u32 = 1;
/// The fragment size that we offer; every server takes it (C706 12.6.3.1).
const OFFERED_FRAGMENT: u16 = 5840;
/// Little-endian integers, ASCII, IEEE floats.
const LITTLE_ENDIAN: [u8; 4] = [0x10, 0, 0, 0];

const FIRST: u8 = 0x01;
const LAST: u8 = 0x02;
/// Header and trailer are signed, too.
const HEADER_SIGNING: u8 = 0x04;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 2;
const FAULT: u8 = 3;
const BIND: u8 = 11;
const BIND_ACK: u8 = 12;
const BIND_NAK: u8 = 13;
const ALTER_CONTEXT: u8 = 14;
const ALTER_CONTEXT_RESPONSE: u8 = 15;
const AUTH3: u8 = 16;

/// Octets that are no packet of a server, or not one that may come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Shorter than its own fields.
    #[error("the packet is shorter than its fields say")]
    Short,
    /// Another version than 5.
    #[error("the other side does not speak version 5 of the RPC protocol")]
    Version,
    /// Big-endian or worse.
    #[error("the other side uses another data representation than little-endian")]
    Representation,
    /// A kind of packet that a client does not get.
    #[error("a packet of kind {0} came, which no server sends")]
    Kind(u8),
    /// The trailer does not say what we agreed on.
    #[error("the security trailer is not the one agreed on")]
    Trailer,
    /// More than the limit for one answer.
    #[error("the answer is larger than {RESPONSE_LIMIT} MiB")]
    Large,
    /// Fragments out of order.
    #[error("a fragment came out of order")]
    Order,
}

const RESPONSE_LIMIT: usize = super::fragment::RESPONSE_MAX >> 20;

/// An interface or a transfer syntax with its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// Which one.
    pub uuid: Guid,
    /// Major version.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
}

impl Syntax {
    /// NDR with 32 bits (C706 appendix I).
    pub const NDR: Self = Self {
        uuid: Guid([0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60]),
        major: 2,
        minor: 0,
    };

    fn write(self, packet: &mut Vec<u8>) {
        packet.extend_from_slice(&self.uuid.0);
        packet.extend_from_slice(&self.major.to_le_bytes());
        packet.extend_from_slice(&self.minor.to_le_bytes());
    }
}

/// Who protects a connection (MS-RPCE 2.2.1.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationType {
    /// SPNEGO.
    Negotiate,
    /// NTLM.
    Ntlm,
    /// Kerberos.
    Kerberos,
}

impl AuthenticationType {
    /// The number in the trailer.
    pub fn number(self) -> u8 {
        match self {
            Self::Negotiate => 9,
            Self::Ntlm => 10,
            Self::Kerberos => 16,
        }
    }
}

/// The first sixteen octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    kind: u8,
    flags: u8,
    /// Octets of the whole packet.
    pub fragment_length: usize,
    /// Octets of the token at its end.
    pub token_length: usize,
    /// Which call it belongs to.
    pub call: u32,
}

impl Header {
    /// Reads the header of a packet, so that its length is known.
    pub fn read(octets: &[u8]) -> Result<Self, PacketError> {
        let Some(&[version, minor, kind, flags, d0, d1, d2, d3, f0, f1, a0, a1, c0, c1, c2, c3]) = octets.first_chunk::<HEADER_LENGTH>()
        else {
            return Err(PacketError::Short);
        };
        if (version, minor) != (5, 0) {
            return Err(PacketError::Version);
        }
        if [d0, d1, d2, d3] != LITTLE_ENDIAN {
            return Err(PacketError::Representation);
        }
        let fragment_length = usize::from(u16::from_le_bytes([f0, f1]));
        let token_length = usize::from(u16::from_le_bytes([a0, a1]));
        let trailer = if token_length == 0 { 0 } else { TRAILER_LENGTH + token_length };
        if fragment_length < HEADER_LENGTH + trailer {
            return Err(PacketError::Short);
        }
        Ok(Self { kind, flags, fragment_length, token_length, call: u32::from_le_bytes([c0, c1, c2, c3]) })
    }

    /// True for the first fragment of an answer.
    pub fn is_first(self) -> bool {
        self.flags & FIRST != 0
    }

    /// True for the last fragment of an answer.
    pub fn is_last(self) -> bool {
        self.flags & LAST != 0
    }

    fn write(self, packet: &mut Vec<u8>) {
        packet.extend_from_slice(&[5, 0, self.kind, self.flags]);
        packet.extend_from_slice(&LITTLE_ENDIAN);
        for length in [self.fragment_length, self.token_length] {
            packet.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        }
        packet.extend_from_slice(&self.call.to_le_bytes());
    }
}

/// First or later leg of the agreement on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindKind {
    /// Opens the association.
    First,
    /// Carries on the authentication.
    Later,
}

/// A bind or alter-context packet for one interface, with the token of `authentication` when there is one.
pub fn bind(kind: BindKind, call: u32, interface: Syntax, authentication: Option<(AuthenticationType, &[u8])>) -> Vec<u8> {
    let number = if kind == BindKind::First { BIND } else { ALTER_CONTEXT };
    let signing = if authentication.is_some() { HEADER_SIGNING } else { 0 };
    let mut body = Vec::with_capacity(56);
    body.extend_from_slice(&OFFERED_FRAGMENT.to_le_bytes());
    body.extend_from_slice(&OFFERED_FRAGMENT.to_le_bytes());
    // A new association; one presentation context, number 0, with one transfer syntax.
    body.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]);
    interface.write(&mut body);
    Syntax::NDR.write(&mut body);
    assemble(number, FIRST | LAST | signing, call, &body, authentication)
}

/// The third leg of NTLM, which is not answered (MS-RPCE 2.2.2.5).
pub fn auth3(call: u32, authentication: AuthenticationType, token: &[u8]) -> Vec<u8> {
    assemble(AUTH3, FIRST | LAST, call, &[0; 4], Some((authentication, token)))
}

fn assemble(kind: u8, flags: u8, call: u32, body: &[u8], authentication: Option<(AuthenticationType, &[u8])>) -> Vec<u8> {
    let token = authentication.map_or(&[][..], |(_, token)| token);
    let trailer = if authentication.is_some() { TRAILER_LENGTH } else { 0 };
    let fragment_length = HEADER_LENGTH + body.len() + trailer + token.len();
    let mut packet = Vec::with_capacity(fragment_length);
    Header { kind, flags, fragment_length, token_length: token.len(), call }.write(&mut packet);
    packet.extend_from_slice(body);
    if let Some((authentication, token)) = authentication {
        write_trailer(&mut packet, authentication, 0);
        packet.extend_from_slice(token);
    }
    packet
}

fn write_trailer(packet: &mut Vec<u8>, authentication: AuthenticationType, padding: u8) {
    packet.extend_from_slice(&[authentication.number(), PRIVACY, padding, 0]);
    packet.extend_from_slice(&SECURITY_CONTEXT.to_le_bytes());
}

/// What is protected by whom: the mechanism and the length of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The mechanism.
    pub authentication: AuthenticationType,
    /// Octets of each token.
    pub token_length: usize,
}

/// What stands at the beginning of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Number of the call.
    pub call: u32,
    /// Number of the procedure.
    pub operation: u16,
    /// Octets of the arguments from this fragment on.
    pub left: usize,
    /// The first fragment of the request.
    pub first: bool,
    /// The last fragment of the request.
    pub last: bool,
}

/// One fragment of a request with its final header. A protected one has its body padded to 16 octets, its trailer,
/// and zeros where the token will stand.
pub fn request(head: RequestHead, body: &[u8], protection: Option<Protection>) -> Vec<u8> {
    let padding = if protection.is_some() { body.len().next_multiple_of(16) - body.len() } else { 0 };
    let token_length = protection.map_or(0, |protection| protection.token_length);
    let trailer = if protection.is_some() { TRAILER_LENGTH } else { 0 };
    let fragment_length = CALL_HEAD_LENGTH + body.len() + padding + trailer + token_length;
    let flags = if head.first { FIRST } else { 0 } | if head.last { LAST } else { 0 };
    let mut packet = Vec::with_capacity(fragment_length);
    Header { kind: REQUEST, flags, fragment_length, token_length, call: head.call }.write(&mut packet);
    packet.extend_from_slice(&u32::try_from(head.left).unwrap_or(u32::MAX).to_le_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(&head.operation.to_le_bytes());
    packet.extend_from_slice(body);
    packet.resize(packet.len() + padding, 0);
    if let Some(protection) = protection {
        write_trailer(&mut packet, protection.authentication, u8::try_from(padding).unwrap_or_default());
        packet.resize(fragment_length, 0);
    }
    packet
}

/// What a server may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The answer to a bind or alter-context.
    Bound(BindAnswer<'a>),
    /// The bind was refused, with a reason (C706 12.6.4.5, MS-RPCE 2.2.2.5).
    BindRefused(u16),
    /// A fragment of a response.
    Response(Response),
    /// The call failed. Nothing else of it can be believed: it may come unprotected.
    Fault {
        /// The call.
        call: u32,
        /// The status (MS-ERREF 2.3, C706 appendix E).
        status: u32,
    },
}

/// The answer to a bind or alter-context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAnswer<'a> {
    /// The server signs headers, too.
    pub header_signing: bool,
    /// The longest fragment that the server takes.
    pub fragment_max: usize,
    /// 0: accepted.
    pub result: u16,
    /// Why not.
    pub reason: u16,
    /// The server's token; may be empty.
    pub token: &'a [u8],
}

/// Where the parts of a response's fragment lie in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The header.
    pub header: Header,
    /// The octets from the header to the trailer.
    pub body: Range<usize>,
    /// The trailer, when the fragment is protected.
    pub trailer: Option<Range<usize>>,
    /// Octets of padding at the end of the body.
    pub padding: usize,
    /// The number of the mechanism that protects it.
    pub authentication: u8,
}

impl<'a> Packet<'a> {
    /// Reads a whole packet.
    pub fn read(packet: &'a [u8]) -> Result<Self, PacketError> {
        let header = Header::read(packet)?;
        if header.fragment_length != packet.len() {
            return Err(PacketError::Short);
        }
        match header.kind {
            BIND_ACK | ALTER_CONTEXT_RESPONSE => read_bind_answer(header, packet).map(Packet::Bound),
            BIND_NAK => u16_at(packet, HEADER_LENGTH).map(Packet::BindRefused),
            RESPONSE => read_response(header, packet).map(Packet::Response),
            FAULT => {
                let status = packet.get(CALL_HEAD_LENGTH..).and_then(|rest| rest.first_chunk()).ok_or(PacketError::Short)?;
                Ok(Packet::Fault { call: header.call, status: u32::from_le_bytes(*status) })
            }
            kind => Err(PacketError::Kind(kind)),
        }
    }
}

fn u16_at(packet: &[u8], at: usize) -> Result<u16, PacketError> {
    packet.get(at..).and_then(|rest| rest.first_chunk()).map(|octets| u16::from_le_bytes(*octets)).ok_or(PacketError::Short)
}

fn read_bind_answer(header: Header, packet: &[u8]) -> Result<BindAnswer<'_>, PacketError> {
    let fragment_max = usize::from(u16_at(packet, HEADER_LENGTH + 2)?);
    let address = usize::from(u16_at(packet, HEADER_LENGTH + 8)?);
    let results = (HEADER_LENGTH + 10 + address).next_multiple_of(4);
    if packet.get(results).is_none_or(|count| *count != 1) {
        return Err(PacketError::Short);
    }
    let end = packet.len() - header.token_length;
    if header.token_length > 0 && end < results + 28 + TRAILER_LENGTH {
        return Err(PacketError::Short);
    }
    Ok(BindAnswer {
        header_signing: header.flags & HEADER_SIGNING != 0,
        fragment_max,
        result: u16_at(packet, results + 4)?,
        reason: u16_at(packet, results + 6)?,
        token: &packet[end..],
    })
}

fn read_response(header: Header, packet: &[u8]) -> Result<Response, PacketError> {
    if packet.len() < CALL_HEAD_LENGTH {
        return Err(PacketError::Short);
    }
    if header.token_length == 0 {
        let body = CALL_HEAD_LENGTH..packet.len();
        return Ok(Response { header, body, trailer: None, padding: 0, authentication: 0 });
    }
    let trailer = packet
        .len()
        .checked_sub(header.token_length + TRAILER_LENGTH)
        .filter(|trailer| *trailer >= CALL_HEAD_LENGTH)
        .ok_or(PacketError::Short)?;
    let body = CALL_HEAD_LENGTH..trailer;
    let padding = usize::from(packet[trailer + 2]);
    if packet[trailer + 1] != PRIVACY || padding > body.len() {
        return Err(PacketError::Trailer);
    }
    let authentication = packet[trailer];
    Ok(Response { header, body, trailer: Some(trailer..trailer + TRAILER_LENGTH), padding, authentication })
}
