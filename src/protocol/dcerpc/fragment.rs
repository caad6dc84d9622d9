//! Long arguments and results travel in fragments: cutting the ones, joining the others (C706 12.6.2).

use super::packet::{CALL_HEAD_LENGTH, PacketError, Protection, RequestHead, TRAILER_LENGTH};
use super::{Header, packet};
use zeroize::Zeroizing;

/// The longest fragment there can be.
pub const FRAGMENT_MAX: usize = u16::MAX as usize;
/// The longest answer that is read, in octets. A page of the largest domains has a few million.
pub const RESPONSE_MAX: usize = 256 << 20;

/// A piece of arguments and the head of its fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The head.
    pub head: RequestHead,
    /// The piece.
    pub body: &'a [u8],
}

impl Fragment<'_> {
    /// The packet, see [`packet::request`].
    pub fn packet(&self, protection: Option<Protection>) -> Vec<u8> {
        packet::request(self.head, self.body, protection)
    }
}

/// Cuts arguments so that no packet is longer than `longest`. There is at least one fragment.
pub fn fragments(
    call: u32,
    operation: u16,
    stub: &[u8],
    longest: usize,
    protection: Option<Protection>,
) -> impl Iterator<Item = Fragment<'_>> {
    let around = CALL_HEAD_LENGTH + protection.map_or(0, |protection| TRAILER_LENGTH + protection.token_length);
    // Multiples of 16, so that only the last one needs padding; a server that allows less than that gets 16 all the same.
    let room = (longest.saturating_sub(around) & !15).max(16);
    let count = stub.len().div_ceil(room).max(1);
    (0..count).map(move |index| {
        let from = index * room;
        let to = (from + room).min(stub.len());
        let head = RequestHead { call, operation, left: stub.len() - from, first: index == 0, last: index + 1 == count };
        Fragment { head, body: &stub[from..to] }
    })
}

/// Joins the fragments of one answer. What is joined is wiped when dropped.
#[derive(Default)]
pub struct Reassembly {
    stub: Zeroizing<Vec<u8>>,
    begun: bool,
}

impl Reassembly {
    /// Adds the plain body of a fragment, without its padding. True when it was the last.
    pub fn add(&mut self, header: Header, body: &[u8]) -> Result<bool, PacketError> {
        if header.is_first() == self.begun {
            return Err(PacketError::Order);
        }
        self.begun = true;
        let needed = self.stub.len() + body.len();
        if needed > RESPONSE_MAX {
            return Err(PacketError::Large);
        }
        if needed > self.stub.capacity() {
            // Growing by moving would leave copies behind that nobody wipes.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(self.stub.capacity() * 2)));
            larger.extend_from_slice(&self.stub);
            self.stub = larger;
        }
        self.stub.extend_from_slice(body);
        Ok(header.is_last())
    }

    /// The whole answer.
    pub fn finish(self) -> Zeroizing<Vec<u8>> {
        self.stub
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dcerpc::AuthenticationType;

    #[test]
    fn arguments_are_cut_and_nothing_is_lost() {
        let stub: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let protection = Some(Protection { authentication: AuthenticationType::Kerberos, token_length: 76 });
        for longest in [0, 200, 300, 2_048, 5_840] {
            let pieces: Vec<_> = fragments(3, 9, &stub, longest, protection).collect();
            assert_eq!(pieces.iter().flat_map(|piece| piece.body).copied().collect::<Vec<_>>(), stub);
            for (index, piece) in pieces.iter().enumerate() {
                let packet = piece.packet(protection);
                let header = Header::read(&packet).unwrap();
                assert_eq!((header.is_first(), header.is_last()), (index == 0, index + 1 == pieces.len()));
                assert_eq!((header.fragment_length, header.token_length, header.call), (packet.len(), 76, 3));
                assert!(packet.len() <= longest.max(CALL_HEAD_LENGTH + 16 + TRAILER_LENGTH + 76));
                assert!(index + 1 == pieces.len() || piece.body.len() % 16 == 0);
            }
        }
        assert_eq!(fragments(1, 1, &[], 5_840, None).count(), 1);
    }

    #[test]
    fn fragments_come_in_order_or_not_at_all() {
        let header = |first, last| {
            let head = RequestHead { call: 1, operation: 0, left: 2, first, last };
            Header::read(&packet::request(head, b"ab", None)).unwrap()
        };
        let mut joined = Reassembly::default();
        assert_eq!(joined.add(header(true, false), b"ab"), Ok(false));
        assert_eq!(joined.add(header(false, true), b"cd"), Ok(true));
        assert_eq!(joined.finish().as_slice(), b"abcd");
        assert_eq!(Reassembly::default().add(header(false, true), b"ab"), Err(PacketError::Order));
        let mut twice = Reassembly::default();
        twice.add(header(true, false), b"ab").unwrap();
        assert_eq!(twice.add(header(true, true), b"ab"), Err(PacketError::Order));
    }
}
