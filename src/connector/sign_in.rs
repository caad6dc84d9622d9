//! Signing in with one secret, once: a directory counts wrong tries and locks an account out, and everything in a process that signs in
//! with a secret (imports, looks at names, listening, reading of passwords) adds to the same count.
//!
//! While one signs in with a secret, the others wait for what comes of it. A secret that was refused is left alone for a while,
//! whoever wants to try it and by whatever protocol; another secret is tried at once.

use super::{ConnectorError, ConnectorErrorKind};
use crate::context::{Clock, SystemClock};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use zeroize::Zeroizing;

/// So long a secret that was refused is not tried again. Domains forget wrong tries after half an hour or more, and allow a few of them.
const REST: Duration = Duration::from_mins(15);
/// So long others wait for one who signs in with a secret: a new one, and one that somebody was let in with before. A wrong one is refused
/// at once; who hangs for longer does not hang on that.
const PATIENCE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(5)];
/// So many secrets are remembered; the ones that were used least recently go first.
const REMEMBERED: usize = 256;

/// How somebody signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A simple bind.
    Ldap,
    /// Kerberos.
    Kerberos,
    /// Kerberos, agreed on by SPNEGO.
    Negotiate,
    /// NTLM.
    Ntlm,
}

/// What a process knows of the secrets that it signs in with. Clones know the same. Of a secret nothing is kept but a digest under a key
/// that is made up for the process and kept nowhere else.
#[derive(Clone)]
pub struct SignIns(Arc<Room>);

struct Room {
    clock: Arc<dyn Clock>,
    patience: [Duration; 2],
    key: hmac::Key,
    secrets: Mutex<Vec<Arc<Tries>>>,
}

/// Everything about one account of a directory with one secret.
struct Tries {
    digest: Zeroizing<[u8; 32]>,
    /// Held while somebody signs in.
    turn: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    let_in: bool,
    /// By the account's directory, whichever way.
    refused: Option<Refusal>,
    /// By one way alone, which says nothing of the others.
    refused_there: Vec<(Way, Refusal)>,
}

#[derive(Clone)]
struct Refusal {
    until: Duration,
    message: String,
}

impl SignIns {
    /// Nothing is known yet. Times are read from this clock.
    pub fn on(clock: Arc<dyn Clock>) -> Self {
        Self::with_patience(clock, PATIENCE)
    }

    fn with_patience(clock: Arc<dyn Clock>, patience: [Duration; 2]) -> Self {
        let mut octets = Zeroizing::new([0_u8; 32]);
        rand::fill(octets.as_mut_slice());
        let key = hmac::Key::new(hmac::HMAC_SHA256, octets.as_slice());
        Self(Arc::new(Room { clock, patience, key, secrets: Mutex::default() }))
    }

    /// The way into a directory. `directory` is whatever its accounts are unique in: a realm, or the address where there is none.
    pub fn to(&self, directory: &str) -> SignIn {
        SignIn { room: self.clone(), directory: directory.to_lowercase() }
    }

    fn tries(&self, directory: &str, account: &str, secret: &SecretString) -> Arc<Tries> {
        let mut context = hmac::Context::with_key(&self.0.key);
        for part in [directory, &plain_name(account)] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        context.update(secret.expose_secret().as_bytes());
        let mut digest = Zeroizing::new([0_u8; 32]);
        digest.copy_from_slice(context.sign().as_ref());
        let mut secrets = self.0.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = secrets.iter().position(|tries| *tries.digest == *digest);
        let tries =
            known.map_or_else(|| Arc::new(Tries { digest, turn: Arc::default(), known: Mutex::default() }), |known| secrets.remove(known));
        if secrets.len() >= REMEMBERED {
            secrets.remove(0);
        }
        secrets.push(Arc::clone(&tries));
        tries
    }
}

impl Default for SignIns {
    fn default() -> Self {
        Self::on(Arc::new(SystemClock::new()))
    }
}

impl fmt::Debug for SignIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIns").finish_non_exhaustive()
    }
}

/// The way into one directory, past what is known of its secrets.
#[derive(Clone)]
pub struct SignIn {
    room: SignIns,
    directory: String,
}

impl SignIn {
    /// Waits for whoever signs in with the same secret now, and gives the turn to do it. `at_once`: also when it was refused a moment
    /// ago, for a person who may have put it right.
    ///
    /// # Errors
    /// When the secret was refused a moment ago, with what was said then.
    pub(crate) async fn begin(&self, way: Way, account: &str, secret: &SecretString, at_once: bool) -> Result<Attempt, ConnectorError> {
        let tries = self.room.tries(&self.directory, account, secret);
        let [new, known] = self.room.0.patience;
        let patience = if tries.known().let_in { known } else { new };
        // Whoever waited that long goes beside the one who hangs.
        let turn = tokio::time::timeout(patience, Arc::clone(&tries.turn).lock_owned()).await.ok();
        let clock = Arc::clone(&self.room.0.clock);
        if !at_once && let Some((left, message)) = tries.known().rests(way, clock.elapsed()) {
            let message = format!("{message}; not tried again for {} s", left.as_secs().max(1));
            return Err(ConnectorError::new(ConnectorErrorKind::Authentication, message).unsent());
        }
        Ok(Attempt { tries, way, clock, _turn: turn })
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The turn to sign in.
#[must_use = "what comes of it has to be told"]
pub(crate) struct Attempt {
    tries: Arc<Tries>,
    way: Way,
    clock: Arc<dyn Clock>,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Attempt {
    /// The account was let in.
    pub(crate) fn let_in(self) {
        let way = self.way;
        let mut known = self.tries.known();
        (known.let_in, known.refused) = (true, None);
        known.refused_there.retain(|(there, _)| *there != way);
    }

    /// It was not. What was refused for the account or its secret counts for every way; `here` says of this one alone that it is left
    /// alone for a while.
    pub(crate) fn refused(self, error: &ConnectorError, here: bool) {
        let refusal = Refusal { until: self.clock.elapsed().saturating_add(REST), message: error.message.clone() };
        let mut known = self.tries.known();
        if error.refuses_secret {
            (known.let_in, known.refused) = (false, Some(refusal));
        } else if here {
            known.refused_there.retain(|(there, _)| *there != self.way);
            known.refused_there.push((self.way, refusal));
        }
    }
}

impl Tries {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// For how long it is left alone by a way yet, and why.
    fn rests(&self, way: Way, now: Duration) -> Option<(Duration, String)> {
        let there = self.refused_there.iter().filter(|(there, _)| *there == way).map(|(_, refusal)| refusal);
        let left = self.refused.iter().chain(there).map(|refusal| (refusal.until.saturating_sub(now), &refusal.message));
        left.filter(|(left, _)| !left.is_zero()).max().map(|(left, message)| (left, message.clone()))
    }
}

/// The part of an account's name that says who it is, in every way of writing it: `svc` of `svc@corp.example`, `CORP\\svc` and
/// `CN=svc,…`.
pub fn plain_name(account: &str) -> String {
    let account = account.rsplit('\\').next().unwrap_or(account);
    let account = account.split('@').next().unwrap_or(account);
    let account = match account.split_once('=') {
        Some((_, rest)) => rest.split(',').next().unwrap_or(rest),
        None => account,
    };
    account.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    /// A clock that is set by hand.
    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::pending())
        }
    }

    fn wrong(refuses_secret: bool) -> ConnectorError {
        ConnectorError { refuses_secret, ..ConnectorError::new(ConnectorErrorKind::Authentication, "the password is wrong") }
    }

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    async fn rests(door: &SignIn, way: Way, account: &str, text: &str) -> bool {
        let begun = door.begin(way, account, &secret(text), false).await;
        begun.is_err_and(|error| error.kind == ConnectorErrorKind::Authentication && error.message.contains("not tried again for"))
    }

    #[tokio::test]
    async fn a_refused_secret_is_left_alone_by_all_and_another_one_is_not() {
        let clock = Arc::new(Hand::default());
        let room = SignIns::on(clock.clone());
        let door = room.to("CORP.example");
        door.begin(Way::Kerberos, "svc@corp.example", &secret("a"), false).await.unwrap().refused(&wrong(true), true);
        for (way, account) in [(Way::Ldap, "svc@corp.example"), (Way::Ntlm, "CORP\\SVC"), (Way::Ldap, "CN=svc,DC=corp")] {
            assert!(rests(&room.to("corp.example"), way, account, "a").await, "{account}");
            assert!(!rests(&door, way, account, "b").await, "a new secret is tried at once");
        }
        assert!(!rests(&door, Way::Ldap, "other", "a").await && !rests(&room.to("other.example"), Way::Ldap, "svc", "a").await);
        clock.0.store(REST.as_secs() - 1, Ordering::Relaxed);
        assert!(rests(&door, Way::Ldap, "svc", "a").await);
        clock.0.store(REST.as_secs(), Ordering::Relaxed);
        assert!(!rests(&door, Way::Ldap, "svc", "a").await);
    }

    #[tokio::test]
    async fn a_person_asks_at_once_and_a_good_answer_counts_for_all() {
        let room = SignIns::on(Arc::new(Hand::default()));
        let door = room.to("corp");
        door.begin(Way::Ldap, "svc", &secret("a"), false).await.unwrap().refused(&wrong(true), false);
        assert!(rests(&door, Way::Kerberos, "svc", "a").await);
        door.begin(Way::Kerberos, "svc", &secret("a"), true).await.unwrap().let_in();
        assert!(!rests(&door, Way::Ldap, "svc", "a").await);
        // A clock, a name, a policy: that says nothing of the secret elsewhere.
        door.begin(Way::Ntlm, "svc", &secret("a"), false).await.unwrap().refused(&wrong(false), true);
        assert!(rests(&door, Way::Ntlm, "svc", "a").await && !rests(&door, Way::Ldap, "svc", "a").await);
        door.begin(Way::Ldap, "svc", &secret("a"), false).await.unwrap().refused(&wrong(false), false);
        assert!(!rests(&door, Way::Ldap, "svc", "a").await, "nor where it was not even looked at");
    }

    #[tokio::test]
    async fn who_comes_meanwhile_waits_for_what_comes_of_it() {
        for let_in in [false, true] {
            let room = SignIns::default();
            let (tries, at_once) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let one = async |way| {
                let attempt = room.to("corp").begin(way, "svc", &secret("a"), false).await?;
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                tries.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                at_once.fetch_sub(1, Ordering::SeqCst);
                if let_in {
                    attempt.let_in();
                    return Ok(());
                }
                attempt.refused(&wrong(true), false);
                Err(wrong(true))
            };
            let all = tokio::join!(one(Way::Ldap), one(Way::Kerberos), one(Way::Ldap), one(Way::Negotiate));
            assert_eq!([all.0.is_ok(), all.1.is_ok(), all.2.is_ok(), all.3.is_ok()], [let_in; 4]);
            assert_eq!(tries.load(Ordering::SeqCst), if let_in { 4 } else { 1 });
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_one_who_hangs() {
        let door = SignIns::with_patience(Arc::new(SystemClock::new()), [Duration::from_millis(20); 2]).to("corp");
        let hanging = door.begin(Way::Ldap, "svc", &secret("a"), false).await.unwrap();
        door.begin(Way::Ldap, "svc", &secret("a"), false).await.unwrap().let_in();
        hanging.let_in();
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let room = SignIns::default();
        room.tries("corp", "svc", &secret("Hidden-1!"));
        let shown = format!("{room:?} {:?}", room.to("corp"));
        assert!(!shown.contains("Hidden") && !shown.contains("key"), "{shown}");
    }
}
