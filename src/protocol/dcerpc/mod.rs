//! DCE/RPC over TCP as a client speaks it: octets of the data representation, packets, fragments (MS-RPCE, C706).
//!
//! Only what reading from a domain controller needs: little-endian NDR, one presentation context, one association.

mod fragment;
mod guid;
mod ndr;
mod packet;

pub use fragment::{FRAGMENT_MAX, Fragment, RESPONSE_MAX, Reassembly, fragments};
pub use guid::Guid;
pub use ndr::{NdrError, Reader, Writer};
pub use packet::{
    AuthenticationType, BindAnswer, BindKind, CALL_HEAD_LENGTH, HEADER_LENGTH, Header, Packet, PacketError, Protection, RequestHead,
    Response, Syntax, TRAILER_LENGTH, auth3, bind, request,
};
