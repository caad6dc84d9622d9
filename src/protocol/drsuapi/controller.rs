//! What the controllers of a domain are called and which of them is the PDC emulator (MS-DRSR 4.1.5
//! `IDL_DRSDomainControllerInfo`, level 2).

use super::Handle;
use crate::protocol::dcerpc::{Guid, NdrError, Reader, Writer};

/// Octets of one controller without its texts.
const ITEM: usize = 104;

/// The arguments: `domain` by its DNS or NetBIOS name.
pub fn controllers_request(handle: &Handle, domain: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.octets(&handle.0);
    writer.u32(1);
    writer.u32(1);
    writer.pointer();
    writer.u32(2);
    writer.wide_string(domain);
    writer.finish()
}

/// A controller of the domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainController {
    /// `DC1`.
    pub netbios_name: String,
    /// `dc1.corp.example`.
    pub dns_name: String,
    /// The controller itself as replication knows it.
    pub agent: Guid,
    /// It holds the role that hears of password changes first.
    pub is_pdc: bool,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerReply {
    /// The controllers.
    pub controllers: Vec<DomainController>,
    /// 0, or a Win32 error.
    pub status: u32,
}

impl ControllerReply {
    /// Reads an answer. An error comes with no controllers.
    pub fn read(stub: &[u8]) -> Result<Self, NdrError> {
        let mut reader = Reader::new(stub);
        let level = reader.u32()?;
        reader.same(level)?;
        let count = reader.u32()?;
        let present = reader.pointer()?;
        let mut controllers = Vec::new();
        if present && level == 2 {
            reader.same(count)?;
            let count = reader.fits(count, ITEM).ok_or(NdrError::Count { at: 8 })?;
            let mut texts = Vec::with_capacity(count);
            for _ in 0..count {
                let mut there = [false; 7];
                for text in &mut there {
                    *text = reader.pointer()?;
                }
                let is_pdc = reader.u32()? != 0;
                reader.u32()?;
                reader.u32()?;
                reader.octets(48)?;
                let agent = reader.guid()?;
                texts.push(there);
                controllers.push(DomainController { agent, is_pdc, ..DomainController::default() });
            }
            for (controller, there) in controllers.iter_mut().zip(texts) {
                for (index, _) in there.into_iter().enumerate().filter(|(_, there)| *there) {
                    let text = reader.wide_string()?;
                    match index {
                        0 => controller.netbios_name = text_of(text),
                        1 => controller.dns_name = text_of(text),
                        _ => {}
                    }
                }
            }
        } else if present {
            return Err(NdrError::Unknown { at: 0 });
        }
        let status = reader.u32()?;
        reader.finish()?;
        Ok(Self { controllers, status })
    }

    /// The controller that is reached by a name.
    pub fn named(&self, host: &str) -> Option<&DomainController> {
        let first = host.split('.').next().unwrap_or(host);
        let by_dns = self.controllers.iter().find(|controller| controller.dns_name.eq_ignore_ascii_case(host));
        by_dns.or_else(|| self.controllers.iter().find(|controller| controller.netbios_name.eq_ignore_ascii_case(first)))
    }
}

/// UTF-16 octets as text; what is no text becomes the replacement character.
pub(super) fn text_of(octets: &[u8]) -> String {
    let units = octets.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::drsuapi::{BindReply, recorded};

    #[test]
    fn every_recorded_question_is_ours_and_every_answer_is_read() {
        let requests = recorded::ending("dcinfo-req-stub");
        assert_eq!(requests.len(), 5);
        for name in requests {
            let session = name.split('/').next().unwrap();
            let bind = BindReply::read(&recorded::octets(&format!("{session}/10-dsbind-resp-stub"))).unwrap();
            assert_eq!(controllers_request(&bind.handle, "SYNCLAB.EXAMPLE"), recorded::octets(&name), "{name}");
            let stub = recorded::octets(&name.replace("-req-", "-resp-"));
            let reply = ControllerReply::read(&stub).unwrap();
            assert_eq!((reply.status, reply.controllers.len()), (0, 1));
            let found = reply.named("SLDC1.synclab.example").unwrap();
            assert_eq!((found.netbios_name.as_str(), found.dns_name.as_str(), found.is_pdc), ("SLDC1", "sldc1.synclab.example", true));
            assert_eq!(hex::encode(found.agent.0), "40c2bf26ad45404d93d83f24959d36d9");
            assert_eq!(reply.named("other.synclab.example"), None);
            for length in 0..stub.len() {
                assert!(ControllerReply::read(&stub[..length]).is_err(), "{length}");
            }
        }
    }
}
