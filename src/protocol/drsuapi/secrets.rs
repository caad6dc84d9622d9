//! From the value of `unicodePwd` to the hash: the encryption of the channel, then the one with the account's RID
//! (MS-DRSR 4.1.10.6.17 and 4.1.10.6.18, MS-SAMR 2.2.11.1).

use des::Des;
use des::cipher::{BlockCipherDecrypt as _, KeyInit as _};
use md5::{Digest as _, Md5};
use rc4::{Rc4, StreamCipher as _};
use std::fmt;
use zeroize::{Zeroize as _, Zeroizing};

/// Octets of salt before an encrypted value.
const SALT: usize = 16;
/// Octets of the checksum behind it.
const CHECKSUM: usize = 4;

/// The key of the security context, under which attributes are encrypted. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct SessionKey(Zeroizing<Vec<u8>>);

impl SessionKey {
    /// Wraps a key: 16 octets of NTLM, 16 or 32 of Kerberos.
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// Why a value gives no hash. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short, or no hash in it.
    #[error("the encrypted value has an unexpected length")]
    Length,
    /// The checksum is wrong: another key, or a damaged value.
    #[error("the checksum of the decrypted value is wrong")]
    Checksum,
}

/// Takes the encryption of the channel off a value and holds its checksum.
pub fn open_payload(key: &SessionKey, value: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let (salt, encrypted) = value.split_at_checked(SALT).ok_or(SecretError::Length)?;
    if encrypted.len() <= CHECKSUM {
        return Err(SecretError::Length);
    }
    let mut digest = Md5::new().chain_update(&*key.0).chain_update(salt).finalize();
    let cipher = Rc4::new_from_slice(digest.as_slice());
    digest.as_mut_slice().zeroize();
    let mut cipher = cipher.map_err(|_| SecretError::Length)?;
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&encrypted[..CHECKSUM]);
    cipher.apply_keystream(&mut sum);
    let mut plain = Zeroizing::new(encrypted[CHECKSUM..].to_vec());
    cipher.apply_keystream(&mut plain);
    if crc32fast::hash(&plain) == u32::from_le_bytes(sum) { Ok(plain) } else { Err(SecretError::Checksum) }
}

/// Takes the encryption with the account's RID (the last number of its SID) off sixteen octets. The hash lies on the
/// heap: moving it about leaves no copies behind.
pub fn remove_rid_layer(wrapped: &[u8], rid: u32) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    if wrapped.len() != 16 {
        return Err(SecretError::Length);
    }
    let mut hash = Zeroizing::new(vec![0; 16]);
    let [r0, r1, r2, r3] = rid.to_le_bytes();
    let keys = [[r0, r1, r2, r3, r0, r1, r2], [r3, r0, r1, r2, r3, r0, r1]];
    for ((half, wrapped), key) in hash.chunks_exact_mut(8).zip(wrapped.chunks_exact(8)).zip(keys) {
        let mut block = Zeroizing::new([0; 8]);
        block.copy_from_slice(wrapped);
        Des::new(&spread(key).into()).decrypt_block((&mut *block).into());
        half.copy_from_slice(&*block);
    }
    Ok(hash)
}

/// Seven octets as a DES key of eight: groups of seven bits, each with a parity bit that nobody looks at.
fn spread(key: [u8; 7]) -> [u8; 8] {
    let bits = key.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    let mut spread = [0; 8];
    for (group, octet) in spread.iter_mut().enumerate() {
        *octet = (bits >> (49 - 7 * group)).to_le_bytes()[0] << 1;
    }
    spread
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::drsuapi::recorded;
    use md4::Md4;

    fn octets(value: &serde_json::Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    fn key(value: &serde_json::Value) -> SessionKey {
        SessionKey::new(Zeroizing::new(octets(value)))
    }

    fn rid(value: &serde_json::Value) -> u32 {
        value["rid"].as_u64().unwrap().try_into().unwrap()
    }

    #[test]
    fn every_vector_opens_layer_by_layer() {
        let vectors = recorded::expected("vectors");
        let layers = vectors["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 4);
        for vector in layers {
            let [r0, r1, r2, r3] = rid(vector).to_le_bytes();
            assert_eq!(spread([r0, r1, r2, r3, r0, r1, r2]).to_vec(), octets(&vector["key1_des"]));
            assert_eq!(spread([r3, r0, r1, r2, r3, r0, r1]).to_vec(), octets(&vector["key2_des"]));
            let wrapped = open_payload(&key(&vector["session_key"]), &octets(&vector["encrypted_payload"])).unwrap();
            assert_eq!(*wrapped, octets(&vector["rid_wrapped"]));
            let hash = remove_rid_layer(&wrapped, rid(vector)).unwrap();
            assert_eq!(hash.to_vec(), octets(&vector["nt_hash"]));
            assert_eq!(Md4::digest(octets(&vector["utf16le"])).to_vec(), hash.to_vec());
        }
        let published = &vectors["published_crosscheck"];
        let wrapped = open_payload(&key(&published["session_key"]), &octets(&published["encrypted_payload"])).unwrap();
        assert_eq!(remove_rid_layer(&wrapped, rid(published)).unwrap().to_vec(), octets(&published["nt_hash"]));
        let history = &vectors["history"];
        let wrapped = open_payload(&key(&history["session_key"]), &octets(&history["encrypted_payload"])).unwrap();
        assert_eq!(remove_rid_layer(&wrapped, rid(history)).err(), Some(SecretError::Length), "two hashes are not one");
        for (wrapped, hash) in wrapped.chunks(16).zip(history["nt_hashes"].as_array().unwrap()) {
            assert_eq!(remove_rid_layer(wrapped, rid(history)).unwrap().to_vec(), octets(hash));
        }
    }

    #[test]
    fn a_wrong_key_or_value_never_gives_a_hash() {
        let vectors = recorded::expected("vectors");
        let vector = &vectors["layers"][0];
        let right = key(&vector["session_key"]);
        let value = octets(&vector["encrypted_payload"]);
        assert_eq!(open_payload(&SessionKey::new(Zeroizing::new(vec![0; 16])), &value), Err(SecretError::Checksum));
        for index in 0..value.len() {
            let mut other = value.clone();
            other[index] ^= 1;
            assert_eq!(open_payload(&right, &other), Err(SecretError::Checksum), "{index}");
            assert!(open_payload(&right, &value[..index]).is_err(), "{index}");
        }
        assert_eq!(open_payload(&right, &value[..20]), Err(SecretError::Length));
        assert_eq!(format!("{right:?}"), "SessionKey(…)");
    }
}
