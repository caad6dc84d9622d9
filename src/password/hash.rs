//! The PPH1 derivation: what a password hash looks like on the wire, how it is made and how it is checked.
//!
//! `NT = MD4(UTF-16LE(password))`, its upper-case hex again as UTF-16LE is the password of PBKDF2-HMAC-SHA256
//! (specification: provisioning service 5.1). The sender knows the NT hash, the tenant knows the derived key only.

use super::lanes::{self, Backend, Job};
use md4::{Digest, Md4};
use rayon::prelude::*;
use secrecy::SecretString;
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Iterations that the product uses today (specification: provisioning service 5.1).
pub const ITERATIONS: u32 = 1000;
/// Octets of salt that the product uses.
pub const SALT_LENGTH: usize = 10;
/// The longest salt we read.
pub const MAX_SALT_LENGTH: usize = 64;
/// The most iterations we read; more would let a message buy our processor time.
pub const MAX_ITERATIONS: u32 = 100_000;

const PREFIX: &str = "v1;PPH1_MD4,";
pub(super) const KEY_LENGTH: usize = 32;
/// More octets of stack than any derivation uses.
const DERIVATION_STACK: usize = 16 * 1024;
/// Accounts in one piece of work of a processor core: enough that remainders of the widest lanes do not weigh, few enough
/// that all cores have work (design: storage and performance 9).
const GROUP: std::ops::RangeInclusive<usize> = 16..=64;

/// The hash under which Active Directory keeps a password (`unicodePwd`): 16 octets, wiped when dropped. They are in one
/// place on the heap, so that moving the hash about leaves no copies behind.
#[derive(Clone)]
pub struct NtHash(Box<[u8; 16]>);

impl Drop for NtHash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for NtHash {}

impl NtHash {
    /// Takes the octets as the directory delivers them; the caller wipes its own.
    pub fn new(mut octets: [u8; 16]) -> Self {
        let mut hash = Self(Box::new([0; 16]));
        hash.0.copy_from_slice(&octets);
        octets.zeroize();
        hash
    }

    /// As [`Self::new`], from where they lie; `None` when they are not 16.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        (octets.len() == 16).then(|| {
            let mut hash = Self(Box::new([0; 16]));
            hash.0.copy_from_slice(octets);
            hash
        })
    }

    /// The hash of a password: MD4 over its UTF-16LE form.
    pub fn of_password(password: &str) -> Self {
        let mut units = Zeroizing::new(Vec::with_capacity(password.len() * 2));
        for unit in password.encode_utf16() {
            units.extend_from_slice(&unit.to_le_bytes());
        }
        let mut hash = Self(Box::new([0; 16]));
        let mut digest = Md4::digest(units.as_slice());
        hash.0.copy_from_slice(&digest);
        digest.as_mut_slice().zeroize();
        wipe_stack();
        hash
    }

    /// Writes what PBKDF2 takes as its password: upper-case hex as UTF-16LE, 64 octets, no terminator.
    fn write_input(&self, text: &mut [u8; 64]) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        for (octet, units) in self.0.iter().zip(text.chunks_exact_mut(4)) {
            units.copy_from_slice(&[DIGITS[usize::from(octet >> 4)], 0, DIGITS[usize::from(octet & 15)], 0]);
        }
    }

    /// The key that PBKDF2 makes of the hash.
    fn key(&self, salt: &[u8], iterations: u32) -> [u8; KEY_LENGTH] {
        let mut input = Zeroizing::new([0; 64]);
        self.write_input(&mut input);
        stretch(&input, salt, iterations)
    }
}

/// Never shows the hash: it is as good as the password.
impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NtHash(…)")
    }
}

/// A derived key with what is needed to derive it again: the content of `CredentialData`. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CredentialData {
    salt: Vec<u8>,
    iterations: u32,
    key: [u8; KEY_LENGTH],
}

/// Why a text is no `CredentialData`. Never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialDataError {
    /// Another version or algorithm than `v1;PPH1_MD4`.
    #[error("credential data does not begin with \"v1;PPH1_MD4,\"; only that derivation is known")]
    UnknownForm,
    /// Salt, iterations and key are not three parts separated by commas.
    #[error("credential data does not consist of salt, iterations and key")]
    Parts,
    /// The salt is no hex or not 1 to 64 octets long.
    #[error("the salt of the credential data is not hex of 1 to 64 octets")]
    Salt,
    /// The iterations are no number from 1 to 100000.
    #[error("the iterations of the credential data are not a number from 1 to 100000")]
    Iterations,
    /// The key is not 32 octets in hex.
    #[error("the key of the credential data is not hex of 32 octets")]
    Key,
}

impl CredentialData {
    /// Derives a key. `salt` has 1 to 64 octets, `iterations` is 1 to 100000.
    pub fn derive(hash: &NtHash, salt: &[u8], iterations: u32) -> Result<Self, CredentialDataError> {
        check(salt, iterations)?;
        Ok(Self { salt: salt.to_vec(), iterations, key: hash.key(salt, iterations) })
    }

    /// Derives the keys of many accounts on all cores, as fast as the processor allows, in their order. Bounds as with
    /// [`Self::derive`]; one account outside of them spoils the whole call.
    pub fn derive_all<S: AsRef<[u8]> + Sync>(accounts: &[(NtHash, S)], iterations: u32) -> Result<Vec<Self>, CredentialDataError> {
        let share = accounts.len().div_ceil(rayon::current_num_threads()).next_multiple_of(*GROUP.start());
        let groups = accounts.par_chunks(share.clamp(*GROUP.start(), *GROUP.end()));
        let derived: Vec<Vec<Self>> =
            groups.map(|group| derive_group(Backend::available(), group, iterations)).collect::<Result<_, CredentialDataError>>()?;
        Ok(derived.into_iter().flatten().collect())
    }

    /// As [`Self::derive_all`], but with one way of deriving only and on this thread, for measurements and comparisons.
    pub fn derive_all_by<S: AsRef<[u8]>>(
        backend: Backend,
        accounts: &[(NtHash, S)],
        iterations: u32,
    ) -> Result<Vec<Self>, CredentialDataError> {
        derive_group(&[backend], accounts, iterations)
    }

    /// Reads the text form. The closing semicolon may be missing; hex may be of either case.
    pub fn parse(text: &str) -> Result<Self, CredentialDataError> {
        let rest = text.trim().strip_prefix(PREFIX).ok_or(CredentialDataError::UnknownForm)?;
        let mut parts = rest.strip_suffix(';').unwrap_or(rest).split(',');
        let (Some(salt), Some(iterations), Some(key), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(CredentialDataError::Parts);
        };
        if salt.is_empty() || salt.len() > MAX_SALT_LENGTH * 2 {
            return Err(CredentialDataError::Salt);
        }
        let salt = hex::decode(salt).map_err(|_| CredentialDataError::Salt)?;
        let iterations =
            iterations.parse().ok().filter(|count| (1..=MAX_ITERATIONS).contains(count)).ok_or(CredentialDataError::Iterations)?;
        let mut octets = [0; KEY_LENGTH];
        hex::decode_to_slice(key, &mut octets).map_err(|_| CredentialDataError::Key)?;
        Ok(Self { salt, iterations, key: octets })
    }

    /// The text form with its closing semicolon.
    pub fn to_text(&self) -> SecretString {
        let iterations = self.iterations.to_string();
        // Of the very size, so that no copy of a part is left behind anywhere.
        let mut text = String::with_capacity(PREFIX.len() + self.salt.len() * 2 + iterations.len() + KEY_LENGTH * 2 + 3);
        text.push_str(PREFIX);
        push_hex(&mut text, &self.salt);
        text.push(',');
        text.push_str(&iterations);
        text.push(',');
        push_hex(&mut text, &self.key);
        text.push(';');
        SecretString::from(text)
    }

    /// The number of iterations.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// True when the password behind `hash` is the one behind this key. Takes the same time for every wrong answer.
    pub fn verify(&self, hash: &NtHash) -> bool {
        let key = Zeroizing::new(hash.key(&self.salt, self.iterations));
        key.ct_eq(&self.key).into()
    }

    /// As [`Self::verify`], from the password.
    pub fn verify_password(&self, password: &str) -> bool {
        self.verify(&NtHash::of_password(password))
    }
}

/// Never shows salt or key.
impl fmt::Debug for CredentialData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialData").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

fn push_hex(text: &mut String, octets: &[u8]) {
    for octet in octets {
        for digit in [octet >> 4, octet & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
    }
}

fn check(salt: &[u8], iterations: u32) -> Result<(), CredentialDataError> {
    if salt.is_empty() || salt.len() > MAX_SALT_LENGTH {
        return Err(CredentialDataError::Salt);
    }
    if iterations == 0 || iterations > MAX_ITERATIONS {
        return Err(CredentialDataError::Iterations);
    }
    Ok(())
}

fn derive_group<S: AsRef<[u8]>>(
    backends: &[Backend],
    accounts: &[(NtHash, S)],
    iterations: u32,
) -> Result<Vec<CredentialData>, CredentialDataError> {
    let mut jobs = Vec::with_capacity(accounts.len());
    for (hash, salt) in accounts {
        check(salt.as_ref(), iterations)?;
        jobs.push(Job { password: Zeroizing::new([0; 64]), salt: salt.as_ref() });
        if let Some(job) = jobs.last_mut() {
            hash.write_input(&mut job.password);
        }
    }
    let keys = lanes::derive(backends, &jobs, iterations);
    Ok(jobs.iter().zip(keys.iter()).map(|(job, key)| CredentialData { salt: job.salt.to_vec(), iterations, key: *key }).collect())
}

/// What derives keys on this machine, for people: the widest way, which does the bulk of the work.
pub fn backend() -> &'static str {
    Backend::available().first().map_or("", |backend| backend.name())
}

/// The key of one password: the ready-made implementation, which is the reference of all others.
pub(super) fn stretch(password: &[u8; 64], salt: &[u8], iterations: u32) -> [u8; KEY_LENGTH] {
    let mut key = [0; KEY_LENGTH];
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut key);
    wipe_stack();
    key
}

/// Overwrites the stack below its caller, where a derivation has put aside registers and kept states that are as good as
/// the password.
#[inline(never)]
pub(crate) fn wipe_stack() {
    [0_u64; DERIVATION_STACK / 8].zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    /// Every published and every own vector: derivation, text form, parsing and verification agree.
    #[test]
    fn all_vectors_hold() {
        let file = include_str!("../../fixtures/password/pph1-vectors.tsv");
        let mut seen = 0;
        for line in file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [origin, password, nt_hash, salt, iterations, text] = columns[..] else { panic!("six columns: {line}") };
            let mut octets = [0; 16];
            hex::decode_to_slice(nt_hash, &mut octets).unwrap();
            let hash = NtHash::new(octets);
            // The column is empty where only the hash was published, except for the vector of the empty password.
            if !password.is_empty() || origin.contains("empty password") {
                assert_eq!(*NtHash::of_password(password).0, octets, "{origin}");
                assert_eq!(NtHash::from_octets(&octets).map(|hash| *hash.0), Some(octets));
                assert!(CredentialData::parse(text).unwrap().verify_password(password), "{origin}");
            }
            let derived = CredentialData::derive(&hash, &hex::decode(salt).unwrap(), iterations.parse().unwrap()).unwrap();
            assert_eq!(derived.to_text().expose_secret(), text, "{origin}");
            assert!(CredentialData::parse(text.trim_end_matches(';')).unwrap().verify(&hash), "{origin}: without semicolon");
            assert!(!derived.verify(&NtHash::new([7; 16])), "{origin}: a wrong hash is refused");
            seen += 1;
        }
        assert_eq!(seen, 13);
    }

    /// Many at once are the same as one by one, whatever the number and the order.
    #[test]
    fn many_at_once_are_the_same() {
        for count in [0, 1, 7, 16, 50, 333] {
            let accounts: Vec<(NtHash, Vec<u8>)> = (0..count)
                .map(|at: usize| (NtHash::of_password(&format!("Pw-{at}")), vec![u8::try_from(at % 251).unwrap(); 1 + at % 64]))
                .collect();
            let derived = CredentialData::derive_all(&accounts, 2).unwrap();
            assert_eq!(derived.len(), count);
            for (data, (hash, salt)) in derived.iter().zip(&accounts) {
                let one = CredentialData::derive(hash, salt, 2).unwrap();
                assert_eq!(data.to_text().expose_secret(), one.to_text().expose_secret());
            }
        }
        let hash = || NtHash::new([1; 16]);
        assert_eq!(CredentialData::derive_all(&[(hash(), vec![1]), (hash(), vec![])], 1).unwrap_err(), CredentialDataError::Salt);
        assert_eq!(CredentialData::derive_all(&[(hash(), [1; 65])], 1).unwrap_err(), CredentialDataError::Salt);
        assert_eq!(CredentialData::derive_all(&[(hash(), [1])], 0).unwrap_err(), CredentialDataError::Iterations);
    }

    #[test]
    fn malformed_texts_are_named() {
        let key = "00".repeat(32);
        for (text, error) in [
            (String::new(), CredentialDataError::UnknownForm),
            (format!("v2;PPH1_MD4,aa,1000,{key};"), CredentialDataError::UnknownForm),
            ("v1;PPH1_MD4,aa,1000".to_owned(), CredentialDataError::Parts),
            (format!("v1;PPH1_MD4,aa,1000,{key},x;"), CredentialDataError::Parts),
            (format!("v1;PPH1_MD4,,1000,{key};"), CredentialDataError::Salt),
            (format!("v1;PPH1_MD4,a,1000,{key};"), CredentialDataError::Salt),
            (format!("v1;PPH1_MD4,{},1000,{key};", "aa".repeat(65)), CredentialDataError::Salt),
            (format!("v1;PPH1_MD4,aa,0,{key};"), CredentialDataError::Iterations),
            (format!("v1;PPH1_MD4,aa,100001,{key};"), CredentialDataError::Iterations),
            (format!("v1;PPH1_MD4,aa,-1,{key};"), CredentialDataError::Iterations),
            ("v1;PPH1_MD4,aa,1000,00;".to_owned(), CredentialDataError::Key),
        ] {
            assert_eq!(CredentialData::parse(&text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let hash = NtHash::of_password("Pa$$w0rd");
        let data = CredentialData::derive(&hash, &[1; 10], 1).unwrap();
        assert_eq!(format!("{hash:?} {data:?}"), "NtHash(…) CredentialData { iterations: 1, .. }");
    }
}
