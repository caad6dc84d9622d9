//! Where delta imports go on from: for all naming contexts of a connector, with what must be the same then.

use crate::protocol::ldap::COOKIE_MAX;

/// Begins every watermark: what it is, and the version of its form.
const MARK: &[u8] = b"SADW\x01";
/// Naming contexts at most; no server holds so many.
const CONTEXTS_MAX: usize = 4_096;

/// How changes are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the DirSync control, with the right to replicate.
    DirSync,
    /// By the DirSync control, of what the account may see.
    DirSyncVisible,
    /// By the numbers that a domain controller gives to changes.
    Usn,
}

/// Which domain controller it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    /// Its DNS name.
    pub(super) host: String,
    /// The identity of its database, which is a new one after it was restored from a backup; empty when the account may
    /// not read it.
    pub(super) invocation: Vec<u8>,
}

/// Where the next delta import begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watermark {
    pub(super) way: Way,
    pub(super) server: Server,
    /// The highest number that the server had given to a change when it was asked.
    pub(super) usn: u64,
    /// Naming contexts with their cookies; those are empty where numbers count.
    pub(super) contexts: Vec<(String, Vec<u8>)>,
}

impl Watermark {
    /// As the store keeps it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut octets = MARK.to_vec();
        octets.push(match self.way {
            Way::DirSync => 0,
            Way::DirSyncVisible => 1,
            Way::Usn => 2,
        });
        octets.extend_from_slice(&self.usn.to_le_bytes());
        put(&mut octets, self.server.host.as_bytes());
        put(&mut octets, &self.server.invocation);
        octets.extend_from_slice(&u32::try_from(self.contexts.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (context, cookie) in &self.contexts {
            put(&mut octets, context.as_bytes());
            put(&mut octets, cookie);
        }
        octets
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let mut rest = octets.strip_prefix(MARK)?;
        let way = match take(&mut rest, 1)? {
            [0] => Way::DirSync,
            [1] => Way::DirSyncVisible,
            [2] => Way::Usn,
            _ => return None,
        };
        let usn = u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?);
        let host = text(&mut rest)?;
        let invocation = get(&mut rest)?.to_vec();
        let count = number(&mut rest)?;
        if count > CONTEXTS_MAX {
            return None;
        }
        let mut contexts = Vec::new();
        for _ in 0..count {
            contexts.push((text(&mut rest)?, get(&mut rest)?.to_vec()));
        }
        rest.is_empty().then_some(Self { way, server: Server { host, invocation }, usn, contexts })
    }
}

fn put(octets: &mut Vec<u8>, content: &[u8]) {
    octets.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
    octets.extend_from_slice(content);
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (content, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(content)
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)).ok()
}

fn get<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = number(rest)?;
    if count > COOKIE_MAX { None } else { take(rest, count) }
}

fn text(rest: &mut &[u8]) -> Option<String> {
    std::str::from_utf8(get(rest)?).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Watermark {
        Watermark {
            way: Way::DirSyncVisible,
            server: Server { host: "dc1.corp.example".into(), invocation: vec![7; 16] },
            usn: 1 << 40,
            contexts: vec![("DC=corp,DC=example".into(), vec![1; 300]), ("DC=ünï,DC=example".into(), Vec::new())],
        }
    }

    #[test]
    fn a_watermark_comes_back_as_it_went() {
        for way in [Way::DirSync, Way::DirSyncVisible, Way::Usn] {
            let watermark = Watermark { way, ..example() };
            assert_eq!(Watermark::decode(&watermark.encode()), Some(watermark));
        }
    }

    #[test]
    fn what_is_damaged_is_none() {
        let whole = example().encode();
        for end in 0..whole.len() {
            assert_eq!(Watermark::decode(&whole[..end]), None, "{end}");
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 0xff;
            // It may still be one, but never the end of the program.
            drop(Watermark::decode(&other));
        }
        assert_eq!(Watermark::decode(&[whole, vec![0]].concat()), None);
        assert_eq!(Watermark::decode(b""), None);
    }
}
