//! Asking the endpoint mapper for the port of the replication interface (C706 appendix L and O, `ept_map`).

use crate::protocol::dcerpc::{Guid, NdrError, Reader, Syntax, Writer};

/// The endpoint mapper itself; it listens on port 135.
pub const ENDPOINT_MAPPER: Syntax = Syntax {
    uuid: Guid([0x08, 0x83, 0xaf, 0xe1, 0x1f, 0x5d, 0xc9, 0x11, 0x91, 0xa4, 0x08, 0x00, 0x2b, 0x14, 0xa0, 0xfa]),
    major: 3,
    minor: 0,
};

/// The replication interface `drsuapi` (MS-DRSR 1.9).
pub const REPLICATION: Syntax = Syntax {
    uuid: Guid([0x35, 0x42, 0x51, 0xe3, 0x06, 0x4b, 0xd1, 0x11, 0xab, 0x04, 0x00, 0xc0, 0x4f, 0xc2, 0xdc, 0xd2]),
    major: 4,
    minor: 0,
};

/// The number of the procedure `ept_map`.
pub const MAP: u16 = 3;

const FLOOR_UUID: u8 = 0x0d;
const FLOOR_CONNECTION: u8 = 0x0b;
const FLOOR_TCP: u8 = 0x07;
const FLOOR_IP: u8 = 0x09;

/// Why there is no port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No valid answer.
    #[error("the endpoint mapper's answer is damaged: {0}")]
    Damaged(#[from] NdrError),
    /// The interface is not there (0x16c9a0d6), or the mapper gave another status.
    #[error("the endpoint mapper does not know the replication interface (status {0:#x}); is this a domain controller?")]
    Refused(u32),
    /// An answer without a port for TCP.
    #[error("the endpoint mapper names no TCP port for the replication interface")]
    NoPort,
}

/// The arguments of `ept_map` for the replication interface over TCP.
pub fn map_request() -> Vec<u8> {
    let tower = tower();
    let mut writer = Writer::new();
    writer.pointer();
    writer.guid(Guid::NIL);
    writer.pointer();
    writer.count(tower.len());
    writer.count(tower.len());
    writer.octets(&tower);
    writer.align(4);
    writer.octets(&[0; 20]);
    writer.u32(4);
    writer.finish()
}

/// Interface, transfer syntax, protocol, port and address, from top to bottom.
fn tower() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u16_unaligned(5);
    for syntax in [REPLICATION, Syntax::NDR] {
        writer.u16_unaligned(19);
        writer.u8(FLOOR_UUID);
        writer.octets(&syntax.uuid.0);
        writer.u16_unaligned(syntax.major);
        writer.u16_unaligned(2);
        writer.u16_unaligned(syntax.minor);
    }
    for (protocol, data) in [(FLOOR_CONNECTION, &[0, 0][..]), (FLOOR_TCP, &135_u16.to_be_bytes()), (FLOOR_IP, &[0, 0, 0, 0])] {
        writer.u16_unaligned(1);
        writer.u8(protocol);
        // Two or four octets.
        writer.u16_unaligned(if data.len() == 2 { 2 } else { 4 });
        writer.octets(data);
    }
    writer.finish()
}

/// The port in the answer. Its address is not looked at: the host that was asked is the host that is meant.
pub fn map_response(stub: &[u8]) -> Result<u16, EndpointError> {
    let mut reader = Reader::new(stub);
    reader.octets(20)?;
    let towers = reader.u32()?;
    reader.u32()?;
    reader.u32()?;
    let count = reader.count(4)?;
    let mut port = None;
    let mut present = 0;
    for _ in 0..count {
        present += usize::from(reader.pointer()?);
    }
    for _ in 0..present {
        reader.u32()?;
        let length = reader.count(1)?;
        let tower = reader.octets(length)?;
        port = port.or(port_of(tower)?);
    }
    let status = reader.u32()?;
    if status != 0 || towers == 0 {
        return Err(EndpointError::Refused(status));
    }
    port.filter(|port| *port != 0).ok_or(EndpointError::NoPort)
}

fn port_of(tower: &[u8]) -> Result<Option<u16>, NdrError> {
    let mut reader = Reader::new(tower);
    for _ in 0..reader.u16_unaligned()? {
        let left = usize::from(reader.u16_unaligned()?);
        let left = reader.octets(left)?;
        let right = usize::from(reader.u16_unaligned()?);
        let right = reader.octets(right)?;
        if let ([FLOOR_TCP], [high, low]) = (left, right) {
            return Ok(Some(u16::from_be_bytes([*high, *low])));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dcerpc::{BindKind, Packet, bind, fragments};
    use crate::protocol::drsuapi::recorded;

    #[test]
    fn the_recorded_exchange_is_ours() {
        assert_eq!(bind(BindKind::First, 1, ENDPOINT_MAPPER, None), recorded::octets("epm/01-bind-req"));
        let stub = map_request();
        let fragment = fragments(2, MAP, &stub, 5_840, None).next().unwrap();
        assert_eq!(fragment.packet(None), recorded::octets("epm/epm-map-req-wire"));
        let answer = recorded::octets("epm/02-bind-ack");
        let Packet::Bound(bound) = Packet::read(&answer).unwrap() else { panic!("a bind is acknowledged") };
        assert_eq!((bound.result, bound.fragment_max, bound.header_signing, bound.token), (0, 5_840, false, &[][..]));
        let wire = recorded::octets("epm/epm-map-resp-wire");
        let Packet::Response(response) = Packet::read(&wire).unwrap() else { panic!("a response comes") };
        let stub = &wire[response.body];
        assert_eq!(map_response(stub), Ok(49_153));
        for length in 0..stub.len() {
            assert!(map_response(&stub[..length]).is_err(), "{length}");
        }
        let mut refused = vec![0; 36];
        refused.extend_from_slice(&0x16c9_a0d6_u32.to_le_bytes());
        assert_eq!(map_response(&refused), Err(EndpointError::Refused(0x16c9_a0d6)));
    }
}
