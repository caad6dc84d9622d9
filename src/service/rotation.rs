//! A new password for the account that reads a directory: made up here, told to the directory, and kept; whenever it is cut
//! off, one of both passwords counts and both are known.
//!
//! The new one is on the disk before the directory hears of it, under a name of its own. It takes the old one's place when
//! somebody has signed in with it, here or in the next import.

use super::ServiceError;
use super::wiring::ad_connection_as;
use crate::config::{AdFile, ConfigProblem, ConnectorConfig, ConnectorSettings, CredentialReference, SecretOrigin, Secrets};
use crate::connector::ad::{self, PasswordChangeError};
use crate::connector::ldap::first_suffix;
use crate::connector::{ConnectorError, ConnectorErrorKind, plain_name};
use crate::context::Context;
use async_trait::async_trait;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::SecretString;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// What came of a new password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// The directory.
    pub connector: String,
    /// The account.
    pub account: String,
    /// The credential that holds its password.
    pub credential: String,
    /// Other accounts of this directory, whose passwords stay: each has a secret of its own.
    pub others: Vec<OtherAccount>,
    /// A change that was cut off before was brought to its end first.
    pub recovered: bool,
    /// Nothing was changed: it was only looked whether it could be.
    pub what_if: bool,
}

/// An account that a new password is not for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherAccount {
    /// What it is for.
    pub purpose: &'static str,
    /// The account, as it signs in.
    pub account: String,
    /// The credential that holds its password.
    pub credential: String,
}

/// Characters of a new password. 40 of 64 kinds make 240 bits.
const LENGTH: usize = 40;
/// The kinds: letters of both sizes, digits and two signs, all of which every system takes.
const KINDS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// After this time a change whose answer was lost is known to every domain controller, or never was made. The one that is asked may
/// have heard nothing yet from the one that made it, and forgetting the new password would shut the account out when it does.
const OVER: Duration = Duration::from_hours(24);
/// A new password that was refused is tried again by itself after so long: domains lock out who is wrong too often.
const BETWEEN_TRIES: Duration = Duration::from_hours(1);
/// How often, and how long apart, it is looked which password counts after an answer was lost.
const LOOKS: u32 = 2;
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// A password that nobody knows, with every kind of character that domains ask for.
fn made_up() -> Result<SecretString, ServiceError> {
    let random = SystemRandom::new();
    let mut octets = Zeroizing::new([0_u8; LENGTH]);
    loop {
        random.fill(octets.as_mut()).map_err(|_| ServiceError::Environment("this machine gives no random numbers".to_owned()))?;
        let text: Zeroizing<String> = Zeroizing::new(octets.iter().map(|octet| char::from(KINDS[usize::from(octet & 63)])).collect());
        let has = |kind: fn(&u8) -> bool| text.as_bytes().iter().any(kind);
        if has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit) && has(u8::is_ascii_punctuation) {
            return Ok(SecretString::from(text.as_str()));
        }
    }
}

/// Where an account signs in.
#[async_trait]
trait Door: Send + Sync {
    /// True when the account is let in with a password; false when it is the wrong one. Domains count wrong ones, and lock
    /// accounts out; a right one sets the count back.
    async fn lets_in(&self, password: &SecretString) -> Result<bool, ConnectorError>;
}

/// A domain controller.
struct Domain<'a> {
    cx: &'a Context,
    file: &'a AdFile,
}

#[async_trait]
impl Door for Domain<'_> {
    async fn lets_in(&self, password: &SecretString) -> Result<bool, ConnectorError> {
        let settings = Arc::new(ad_connection_as(self.file, &self.file.bind_name, password.clone()));
        match first_suffix(self.cx, settings).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ConnectorErrorKind::Authentication => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Which of two passwords lets an account in.
#[derive(Debug)]
enum Counts {
    New,
    Old,
    Neither,
    /// Nobody answered.
    Unknown(ConnectorError),
}

/// Looks which password counts. The new one first: for an hour after a change domain controllers let the old one in, too, so
/// that it proves nothing. The old one behind it sets the count of wrong ones back.
async fn look(door: &dyn Door, old: &SecretString, new: &SecretString) -> Counts {
    match door.lets_in(new).await {
        Ok(true) => return Counts::New,
        Ok(false) => {}
        Err(error) => return Counts::Unknown(error),
    }
    match door.lets_in(old).await {
        Ok(true) => Counts::Old,
        Ok(false) => Counts::Neither,
        Err(error) => Counts::Unknown(error),
    }
}

/// What became of a change that was cut off.
#[derive(Debug)]
enum Settled {
    /// There was none.
    Nothing,
    /// The new password counts.
    Promoted,
    /// The old one counts, and the change cannot happen any more.
    Dropped,
    /// The old one counts for now; the change was begun so long ago.
    Open(Duration),
    /// None of both lets anybody in.
    Neither,
    /// Nobody answered, or it is too early to look again.
    Unknown(Option<ConnectorError>),
}

/// Brings a change of the password to its end that was cut off: when the directory takes the new password, it counts; when it
/// refuses it long after, it is forgotten. Does nothing while another command changes the password, and looks once an hour at
/// most. Whatever goes wrong, nothing is forgotten, and the next one looks again.
pub(super) async fn settle(cx: &Context, file: &AdFile, secrets: &Secrets) {
    settle_at(cx, &Domain { cx, file }, &file.password.credential, secrets).await;
}

async fn settle_at(cx: &Context, door: &dyn Door, name: &str, secrets: &Secrets) {
    // Nearly always there is nothing, and no file is made to find that out.
    if matches!(secrets.next(name), Ok(None)) {
        return;
    }
    let Ok(_held) = secrets.lock(name) else { return };
    if let Err(problem) = settle_held(cx, door, name, secrets, false).await {
        tracing::warn!("a password that was changed: {problem}");
    }
}

/// As [`settle`], for whoever holds the lock of the secret; `at_once` looks whenever the last look was.
async fn settle_held(cx: &Context, door: &dyn Door, name: &str, secrets: &Secrets, at_once: bool) -> Result<Settled, ConfigProblem> {
    let Some((next, begun)) = secrets.next(name)? else { return Ok(Settled::Nothing) };
    if !at_once && secrets.tried(name).is_some_and(|tried| cx.now().since(tried) < BETWEEN_TRIES) {
        return Ok(Settled::Unknown(None));
    }
    let old = secrets.resolve(&CredentialReference { credential: name.to_owned() })?;
    let counts = look(door, &old, &next).await;
    if matches!(counts, Counts::Old | Counts::Neither) {
        secrets.note_tried(name, cx.now())?;
    }
    Ok(match counts {
        Counts::New if secrets.promote_next(name, &next)? => Settled::Promoted,
        Counts::New => Settled::Unknown(None),
        Counts::Neither => Settled::Neither,
        Counts::Unknown(error) => Settled::Unknown(Some(error)),
        // A password is not forgotten on a guess: begun at a time to come, it may have been a moment ago.
        Counts::Old => match cx.now().since(begun.min(cx.now())) {
            ago if ago < OVER => Settled::Open(ago),
            _ => {
                secrets.drop_next(name)?;
                Settled::Dropped
            }
        },
    })
}

/// After the answer to a change was lost: true when the new password counts. Not every domain controller knows it at once.
async fn taken_after_all(cx: &Context, door: &dyn Door, old: &SecretString, new: &SecretString) -> bool {
    for further in (0..LOOKS).rev() {
        match look(door, old, new).await {
            Counts::New => return true,
            // Asking on would only lock the account out.
            Counts::Neither => return false,
            Counts::Old | Counts::Unknown(_) => {}
        }
        if cx.cancelled() {
            return false;
        }
        if further > 0 {
            cx.clock.sleep(BETWEEN_LOOKS).await;
        }
    }
    false
}

/// Gives the account of a directory a new password, and keeps it.
///
/// # Errors
/// When the secret is not ours to change, or the directory refuses; the message says which password counts.
pub(super) async fn rotate(
    cx: &Context,
    all: &[ConnectorConfig],
    config: &ConnectorConfig,
    file: &AdFile,
    secrets: &Secrets,
    what_if: bool,
) -> Result<Rotation, ServiceError> {
    let name = &file.password.credential;
    refuse_shared(all, file)?;
    let failed = |source: ConnectorError| ServiceError::Connector { connector: config.name.clone(), source };
    ours(name, secrets)?;
    let held = secrets.lock(name)?;
    let door = Domain { cx, file };
    let shut = || ServiceError::NotReady {
        message: format!("{}: account '{}' is not let in with the password that is kept", file.url, file.bind_name),
        hint: format!(
            "set the right one with `syncline secret set {name}`; what is in secrets/{name}.next, if anything, was not taken either"
        ),
    };
    let recovered = match settle_held(cx, &door, name, secrets, true).await? {
        Settled::Nothing | Settled::Dropped => false,
        Settled::Promoted => true,
        Settled::Open(age) => {
            return Err(ServiceError::NotReady {
                message: format!(
                    "a change of this password was cut off {} minutes ago; the domain controller that was asked takes the old one, and \
                     another one may have made the change and not told it yet",
                    age.as_secs() / 60
                ),
                hint: format!(
                    "the old password goes on being used, and imports try the new one once an hour, for a day; whoever knows that it counts \
                     nowhere can begin anew behind `rm '{}'`",
                    secrets.path(&format!("{name}.next")).display()
                ),
            });
        }
        Settled::Neither => return Err(shut()),
        Settled::Unknown(Some(error)) => return Err(failed(error)),
        Settled::Unknown(None) => {
            return Err(ServiceError::NotReady {
                message: format!("secrets/{name}.next was changed by somebody else meanwhile"),
                hint: "run the command again".to_owned(),
            });
        }
    };
    let old = secrets.resolve(&file.password)?;
    if !door.lets_in(&old).await.map_err(failed)? {
        return Err(shut());
    }
    let rotation = Rotation {
        connector: config.name.clone(),
        account: file.bind_name.clone(),
        credential: name.clone(),
        others: others(file),
        recovered,
        what_if,
    };
    if what_if {
        return Ok(rotation);
    }
    let new = made_up()?;
    secrets.keep_next(name, &new)?;
    let settings = Arc::new(ad_connection_as(file, &file.bind_name, old.clone()));
    match ad::change_own_password(cx, settings, &new).await {
        // Only who was let in knows that the new one counts.
        Ok(()) if !door.lets_in(&new).await.map_err(failed)? => {
            let message = format!("{}: the new password was taken, but does not open the door yet; both are kept", file.url);
            return Err(ServiceError::NotReady {
                message,
                hint: "the next import tries the new one again, and so does this command".to_owned(),
            });
        }
        Ok(()) => {}
        Err(PasswordChangeError::Refused(error)) => {
            secrets.drop_next(name)?;
            return Err(failed(error));
        }
        Err(PasswordChangeError::Unknown(error)) => {
            if !taken_after_all(cx, &door, &old, &new).await {
                return Err(failed(error));
            }
        }
    }
    if !secrets.promote_next(name, &new)? {
        // Somebody removed it; it counts, and nobody else knows it.
        secrets.keep(name, &new)?;
    }
    drop(held);
    Ok(rotation)
}

/// Accounts of a directory that have a secret of their own.
fn others(file: &AdFile) -> Vec<OtherAccount> {
    let table = &file.password_hash_sync;
    let own = table.password.as_ref().filter(|reference| reference.credential != file.password.credential);
    let reads = own.map(|reference| OtherAccount {
        purpose: "reads password hashes",
        account: table.account.clone().unwrap_or_else(|| file.bind_name.clone()),
        credential: reference.credential.clone(),
    });
    reads.into_iter().collect()
}

/// Refuses a credential under which other connectors sign in as somebody else: the new password would not be theirs.
fn refuse_shared(all: &[ConnectorConfig], file: &AdFile) -> Result<(), ServiceError> {
    let name = &file.password.credential;
    for other in all {
        let account = match &other.settings {
            ConnectorSettings::Ad(settings) if settings.password.credential == *name => &settings.bind_name,
            ConnectorSettings::Ldap(settings) if settings.password.credential == *name => &settings.bind_name,
            _ => continue,
        };
        if plain_name(account) != plain_name(&file.bind_name) {
            return Err(ServiceError::NotReady {
                message: format!(
                    "the secret '{name}' is also the password of '{account}', as whom {} signs in: a new one would lock that out",
                    other.name
                ),
                hint: format!("give each a secret of its own: `syncline connector set '{}' password.credential NAME`", other.name),
            });
        }
    }
    Ok(())
}

/// Refuses secrets that somebody else keeps: what we would write, nobody would read.
fn ours(name: &str, secrets: &Secrets) -> Result<(), ServiceError> {
    let elsewhere = match secrets.origin(name) {
        SecretOrigin::Folder(_) => return Ok(()),
        SecretOrigin::ServiceManager(path) => format!("the service manager provides it as {}", path.display()),
        SecretOrigin::Variable(variable) => format!("the variable {variable} gives it"),
        SecretOrigin::Nowhere => {
            let reference = CredentialReference { credential: name.to_owned() };
            return secrets.resolve(&reference).map(|_| ()).map_err(|problem: ConfigProblem| problem.into());
        }
    };
    Err(ServiceError::NotReady {
        message: format!("the secret '{name}' is not kept in the configuration folder: {elsewhere}"),
        hint: "change it where it is kept; or keep it here, with `syncline secret set`, and take it away there".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Clock, SystemClock};
    use crate::model::Timestamp;
    use secrecy::ExposeSecret as _;
    use std::pin::Pin;
    use std::sync::Mutex;

    /// A door that opens to some passwords, and how many wrong ones it saw: in a row, the most of them in a row, and in all.
    #[derive(Default)]
    struct Guarded {
        opens_to: Vec<&'static str>,
        wrong: Mutex<(u32, u32, u32)>,
    }

    #[async_trait]
    impl Door for Guarded {
        async fn lets_in(&self, password: &SecretString) -> Result<bool, ConnectorError> {
            let mut wrong = self.wrong.lock().unwrap();
            let right = self.opens_to.contains(&password.expose_secret());
            wrong.0 = if right { 0 } else { wrong.0 + 1 };
            wrong.1 = wrong.1.max(wrong.0);
            wrong.2 += u32::from(!right);
            Ok(right)
        }
    }

    /// A clock that goes by itself and by every wait.
    struct Hand(SystemClock, Mutex<Duration>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.now().0 + i64::try_from(self.1.lock().unwrap().as_micros()).unwrap())
        }

        fn elapsed(&self) -> Duration {
            self.0.elapsed() + *self.1.lock().unwrap()
        }

        fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            *self.1.lock().unwrap() += duration;
            Box::pin(std::future::ready(()))
        }
    }

    struct World {
        folder: tempfile::TempDir,
        cx: Context,
        runtime: tokio::runtime::Runtime,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::new(Hand(SystemClock::new(), Mutex::default()));
            let cx = Context { clock, ..Context::system() };
            let world = Self { folder, cx, runtime: tokio::runtime::Builder::new_current_thread().build().unwrap() };
            world.secrets().keep("ad", &SecretString::from("old")).unwrap();
            world.secrets().keep_next("ad", &SecretString::from("new")).unwrap();
            world
        }

        fn secrets(&self) -> Secrets {
            Secrets::with_environment(self.folder.path(), |_| None)
        }

        fn later(&self, minutes: u64) {
            self.runtime.block_on(self.cx.clock.sleep(Duration::from_mins(minutes)));
        }

        fn settle(&self, door: &Guarded) -> Settled {
            self.runtime.block_on(settle_held(&self.cx, door, "ad", &self.secrets(), false)).unwrap()
        }

        fn counts(&self) -> String {
            self.secrets().resolve(&CredentialReference { credential: "ad".to_owned() }).unwrap().expose_secret().to_owned()
        }
    }

    #[test]
    fn a_password_that_was_never_taken_is_tried_for_a_day_and_forgotten() {
        let (world, door) = (World::new(), Guarded { opens_to: vec!["old"], ..Guarded::default() });
        for cycle in 0..26 * 12 {
            let settled = world.settle(&door);
            assert!(cycle > 0 || matches!(settled, Settled::Open(_)), "{settled:?}");
            world.later(5);
        }
        assert_eq!(*door.wrong.lock().unwrap(), (0, 1, 25), "no two wrong ones in a row, and one an hour");
        assert!(world.counts() == "old" && world.secrets().next("ad").unwrap().is_none());
        assert_eq!(fs_names(&world), ["ad"], "nothing else is left behind");
    }

    /// Replication between sites takes hours where somebody wants it so.
    #[test]
    fn a_password_that_another_controller_took_is_still_known_when_this_one_hears_of_it() {
        let world = World::new();
        let before = Guarded { opens_to: vec!["old"], ..Guarded::default() };
        for _ in 0..60 {
            world.settle(&before);
            world.later(5);
        }
        let replicated = Guarded { opens_to: vec!["new"], ..Guarded::default() };
        assert!(matches!(world.settle(&replicated), Settled::Promoted) && world.counts() == "new");
    }

    #[test]
    fn a_password_that_was_taken_counts_also_while_the_old_one_opens_too() {
        let (world, door) = (World::new(), Guarded { opens_to: vec!["old", "new"], ..Guarded::default() });
        world.later(30);
        assert!(matches!(world.settle(&door), Settled::Promoted) && world.counts() == "new");
        assert!(matches!(world.settle(&door), Settled::Nothing));
        assert_eq!(door.wrong.lock().unwrap().2, 0);
    }

    #[test]
    fn nobody_is_locked_out_when_both_are_wrong() {
        let (world, door) = (World::new(), Guarded::default());
        for _ in 0..11 {
            world.settle(&door);
            world.later(5);
        }
        assert_eq!(door.wrong.lock().unwrap().2, 2, "one look in an hour");
        assert!(world.counts() == "old" && world.secrets().next("ad").unwrap().is_some(), "neither is forgotten");
        let (old, new) = (SecretString::from("old"), SecretString::from("new"));
        assert!(!world.runtime.block_on(taken_after_all(&world.cx, &door, &old, &new)));
        assert_eq!(door.wrong.lock().unwrap().2, 4);
    }

    #[test]
    fn a_lost_answer_is_looked_after_without_wrong_ones_in_a_row() {
        let world = World::new();
        let (old, new) = (SecretString::from("old"), SecretString::from("new"));
        let stands = Guarded { opens_to: vec!["old"], ..Guarded::default() };
        assert!(!world.runtime.block_on(taken_after_all(&world.cx, &stands, &old, &new)));
        assert_eq!(*stands.wrong.lock().unwrap(), (0, 1, LOOKS));
        let changed = Guarded { opens_to: vec!["new"], ..Guarded::default() };
        assert!(world.runtime.block_on(taken_after_all(&world.cx, &changed, &old, &new)));
        assert_eq!(changed.wrong.lock().unwrap().2, 0);
    }

    #[test]
    fn while_somebody_changes_it_nobody_settles_it() {
        let world = World::new();
        let secrets = world.secrets();
        let door = Guarded { opens_to: vec!["new"], ..Guarded::default() };
        let held = secrets.lock("ad").unwrap();
        world.runtime.block_on(settle_at(&world.cx, &door, "ad", &secrets));
        assert!(secrets.next("ad").unwrap().is_some() && world.counts() == "old");
        drop(held);
        world.runtime.block_on(settle_at(&world.cx, &door, "ad", &secrets));
        assert!(secrets.next("ad").unwrap().is_none() && world.counts() == "new");
    }

    fn fs_names(world: &World) -> Vec<String> {
        let names = std::fs::read_dir(world.folder.path().join("secrets")).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn passwords_are_long_varied_and_never_the_same() {
        let (one, other) = (made_up().unwrap(), made_up().unwrap());
        assert_eq!(one.expose_secret().len(), LENGTH);
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert!(one.expose_secret().bytes().all(|octet| KINDS.contains(&octet)));
    }

    #[test]
    fn accounts_are_told_apart_in_every_way_of_writing_them() {
        for account in ["svc-sync@corp.example", "CORP\\svc-sync", "cn=SVC-Sync,OU=a,DC=b", "svc-sync"] {
            assert_eq!(plain_name(account), "svc-sync", "{account}");
        }
    }

    #[test]
    fn a_secret_that_others_keep_is_theirs_to_change() {
        let folder = tempfile::tempdir().unwrap();
        let given = Secrets::with_environment(folder.path(), |name| (name == "SYNCLINE_CREDENTIAL_AD").then(|| "x".to_owned()));
        let refused = ours("ad", &given).unwrap_err().to_string();
        assert!(refused.contains("SYNCLINE_CREDENTIAL_AD"), "{refused}");
        let nowhere = Secrets::with_environment(folder.path(), |_| None);
        assert!(ours("ad", &nowhere).unwrap_err().to_string().contains("nobody gives"));
        nowhere.keep("ad", &SecretString::from("x")).unwrap();
        assert!(ours("ad", &nowhere).is_ok());
    }
}
