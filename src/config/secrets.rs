//! Secrets by reference: configuration names a credential, and the credential is looked up when it is needed.

use super::error::ConfigProblem;
use crate::model::Timestamp;
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// `{ credential = "name" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CredentialReference {
    /// The credential's name: letters, digits, `-` and `_`.
    pub credential: String,
}

/// Looks credentials up: in the service manager's credentials directory, then in the environment
/// (`SYNCLINE_CREDENTIAL_AD_BIND` for `ad-bind`), then in the folder `secrets` of the configuration.
#[derive(Clone)]
pub struct Secrets {
    folder: PathBuf,
    environment: Environment,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOrigin {
    /// A file that the service manager provides.
    ServiceManager(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A file of the configuration folder.
    Folder(PathBuf),
    /// Nobody gives it.
    Nowhere,
}

/// Gives the value of a variable.
type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The longest secret: a private key in PEM form fits easily.
const LONGEST: u64 = 64 << 10;

impl<'de> Deserialize<'de> for CredentialReference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = CredentialReference;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ credential = \"name\" }")
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
                // The text is left out on purpose: it may be the secret.
                Err(E::custom("a secret is never written here: write { credential = \"name\" } and give the secret under that name"))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Table {
                    credential: String,
                }
                let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                if valid_name(&table.credential) {
                    Ok(CredentialReference { credential: table.credential })
                } else {
                    Err(serde::de::Error::custom("a credential's name has letters, digits, '-' and '_' only, and 64 of them at most"))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// True for a name that is safe as a file name and as part of a variable's name.
pub fn valid_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl Secrets {
    /// Secrets of this process and of a configuration folder.
    #[expect(clippy::disallowed_methods, reason = "configuration is the one place that reads the environment")]
    pub fn of_process(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), environment: Arc::new(|name| std::env::var(name).ok()) }
    }

    /// Secrets with another environment.
    pub fn with_environment(folder: &Path, environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { folder: folder.to_owned(), environment: Arc::new(environment) }
    }

    /// The secret behind a reference, without a line end behind it.
    ///
    /// # Errors
    /// When nobody gives it, or when its file may be read by others than its owner.
    pub fn resolve(&self, reference: &CredentialReference) -> Result<SecretString, ConfigProblem> {
        let name = &reference.credential;
        if let Some(directory) = (self.environment)("CREDENTIALS_DIRECTORY") {
            let path = Path::new(&directory).join(name);
            if path.is_file() {
                // The service manager made this directory for us alone; its files are 0400 or 0440 as it sees fit.
                return read(&path);
            }
        }
        let variable = variable(name);
        if let Some(value) = (self.environment)(&variable).map(Zeroizing::new) {
            let value = value.trim_end_matches(['\r', '\n']);
            if value.is_empty() {
                let message = format!("the variable {variable} gives an empty secret");
                return Err(ConfigProblem::of_file(Path::new(&variable), message).hint("set it, or take it out of the environment"));
            }
            return Ok(SecretString::from(value));
        }
        let path = self.path(name);
        match std::fs::metadata(&path) {
            Ok(metadata) => {
                let mode = metadata.permissions().mode() & 0o777;
                if mode & 0o177 != 0 {
                    return Err(ConfigProblem::of_file(&path, format!("others than the owner may reach this secret (mode {mode:04o})"))
                        .hint(format!("chmod 600 {}", path.display())));
                }
                read(&path)
            }
            Err(_) => Err(ConfigProblem::of_file(&path, format!("nobody gives the credential '{name}'"))
                .hint(format!("write it to this file with mode 0600, set {variable}, or have the service manager provide it"))),
        }
    }

    /// Keeps a secret in its file of the configuration folder, readable for its owner only; what was there is replaced
    /// as a whole.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, name: &str, secret: &SecretString) -> Result<(), ConfigProblem> {
        let path = self.path(name);
        let failed = |error: std::io::Error| ConfigProblem::of_file(&path, format!("the secret cannot be kept: {error}"));
        let folder = self.folder.join("secrets");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        // A named temporary file has mode 0600 from the start.
        let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
        file.write_all(secret.expose_secret().as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        self.sync().map_err(failed)
    }

    /// Where a secret comes from, without reading it.
    pub fn origin(&self, name: &str) -> SecretOrigin {
        if let Some(directory) = (self.environment)("CREDENTIALS_DIRECTORY") {
            let path = Path::new(&directory).join(name);
            if path.is_file() {
                return SecretOrigin::ServiceManager(path);
            }
        }
        let variable = variable(name);
        if (self.environment)(&variable).map(Zeroizing::new).is_some() {
            return SecretOrigin::Variable(variable);
        }
        let path = self.path(name);
        if path.is_file() { SecretOrigin::Folder(path) } else { SecretOrigin::Nowhere }
    }

    /// Keeps the secret that shall follow, beside the one that counts: whatever happens in between, neither is lost.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_next(&self, name: &str, secret: &SecretString) -> Result<(), ConfigProblem> {
        self.forget_tried(name)?;
        self.keep(&next_name(name), secret)
    }

    /// Notes that the secret that shall follow was refused.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note_tried(&self, name: &str, when: Timestamp) -> Result<(), ConfigProblem> {
        self.keep(&tried_name(name), &SecretString::from(when.0.to_string()))
    }

    /// When the secret that shall follow was refused the last time.
    pub fn tried(&self, name: &str) -> Option<Timestamp> {
        let text = read(&self.path(&tried_name(name))).ok()?;
        text.expose_secret().parse().ok().map(Timestamp)
    }

    fn forget_tried(&self, name: &str) -> Result<(), ConfigProblem> {
        self.remove(&tried_name(name))
    }

    /// The secret that shall follow, where a change was begun and not ended; and when that was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next(&self, name: &str) -> Result<Option<(SecretString, Timestamp)>, ConfigProblem> {
        let path = self.path(&next_name(name));
        match std::fs::metadata(&path) {
            Ok(metadata) => {
                let written = Timestamp(metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1_000));
                read(&path).map(|secret| Some((secret, written)))
            }
            Err(_) => Ok(None),
        }
    }

    /// The secret that followed counts from now on, if it is still the one that somebody was let in with. Whoever calls holds
    /// the [lock](Self::lock). False: it is gone, or another one.
    ///
    /// # Errors
    /// When the file cannot be read or renamed.
    pub fn promote_next(&self, name: &str, let_in: &SecretString) -> Result<bool, ConfigProblem> {
        let next = self.path(&next_name(name));
        match self.next(name)? {
            Some((secret, _)) if secret.expose_secret() == let_in.expose_secret() => {}
            _ => return Ok(false),
        }
        std::fs::rename(&next, self.path(name))
            .map_err(|error| ConfigProblem::of_file(&next, format!("the new secret cannot take the place of the old one: {error}")))?;
        self.sync().map_err(|error| ConfigProblem::of_file(&next, format!("the new secret may not be on the disk yet: {error}")))?;
        self.forget_tried(name)?;
        Ok(true)
    }

    /// Forgets the secret that should have followed.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn drop_next(&self, name: &str) -> Result<(), ConfigProblem> {
        self.remove(&next_name(name))?;
        self.forget_tried(name)
    }

    /// Removes a secret of the configuration folder; that there is none is no error.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), ConfigProblem> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ConfigProblem::of_file(&path, format!("the secret cannot be removed: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Makes sure that only one process changes a secret at a time: for as long as what is given is held.
    ///
    /// # Errors
    /// When another one does.
    pub fn lock(&self, name: &str) -> Result<std::fs::File, ConfigProblem> {
        let path = self.path(&format!("{name}.lock"));
        let failed = |reason: String| ConfigProblem::of_file(&path, reason);
        let file =
            std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(|error| failed(error.to_string()))?;
        file.try_lock().map_err(|_| failed("another command changes this secret".to_owned()))?;
        Ok(file)
    }

    /// The names of the secrets in the configuration folder, in order.
    pub fn kept(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join("secrets")).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| valid_name(name)).collect();
        names.sort();
        names
    }

    /// What was renamed in the folder stays so.
    fn sync(&self) -> std::io::Result<()> {
        std::fs::File::open(self.folder.join("secrets"))?.sync_all()
    }

    /// The file in which a credential of the configuration folder lives.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join("secrets").join(name)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// No credential has a name with a dot.
fn next_name(name: &str) -> String {
    format!("{name}.next")
}

fn tried_name(name: &str) -> String {
    format!("{name}.tried")
}

fn variable(name: &str) -> String {
    format!("SYNCLINE_CREDENTIAL_{}", name.to_ascii_uppercase().replace('-', "_"))
}

fn read(path: &Path) -> Result<SecretString, ConfigProblem> {
    let failed = |error: std::io::Error| ConfigProblem::of_file(path, format!("the secret cannot be read: {error}"));
    if std::fs::metadata(path).map_err(failed)?.len() > LONGEST {
        return Err(ConfigProblem::of_file(path, format!("a secret has {LONGEST} octets at most")));
    }
    let octets = Zeroizing::new(std::fs::read(path).map_err(failed)?);
    let text = std::str::from_utf8(&octets).map_err(|_| ConfigProblem::of_file(path, "the secret is no UTF-8 text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(ConfigProblem::of_file(path, "the secret is empty"));
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::fs;

    fn reference(name: &str) -> CredentialReference {
        CredentialReference { credential: name.to_owned() }
    }

    fn write(path: &Path, text: &str, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_places_are_asked_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let given = folder.path().join("given");
        write(&folder.path().join("secrets/ad-bind"), "from-file\n", 0o600);
        let plain = Secrets::with_environment(folder.path(), |_| None);
        assert_eq!(plain.resolve(&reference("ad-bind")).unwrap().expose_secret(), "from-file");
        let variable =
            Secrets::with_environment(folder.path(), |name| (name == "SYNCLINE_CREDENTIAL_AD_BIND").then(|| "from-variable".into()));
        assert_eq!(variable.resolve(&reference("ad-bind")).unwrap().expose_secret(), "from-variable");
        write(&given.join("ad-bind"), "from-manager", 0o400);
        let text = given.display().to_string();
        let manager = Secrets::with_environment(folder.path(), move |name| (name == "CREDENTIALS_DIRECTORY").then(|| text.clone()));
        assert_eq!(manager.resolve(&reference("ad-bind")).unwrap().expose_secret(), "from-manager");
    }

    #[test]
    fn an_empty_secret_is_none() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("secrets/ad-bind"), "\n", 0o600);
        let plain = Secrets::with_environment(folder.path(), |_| None);
        assert!(plain.resolve(&reference("ad-bind")).unwrap_err().message.contains("is empty"));
        for empty in ["", "\n"] {
            let variable = Secrets::with_environment(folder.path(), move |name| name.ends_with("AD_BIND").then(|| empty.into()));
            let refused = variable.resolve(&reference("ad-bind")).unwrap_err().to_string();
            assert!(refused.contains("SYNCLINE_CREDENTIAL_AD_BIND gives an empty secret"), "{refused}");
        }
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::with_environment(folder.path(), |_| None);
        for mode in [0o640, 0o604, 0o644, 0o700] {
            write(&folder.path().join("secrets/x"), "hidden", mode);
            let problem = secrets.resolve(&reference("x")).unwrap_err().to_string();
            assert!(problem.contains("chmod 600") && !problem.contains("hidden"), "{problem}");
        }
        let missing = secrets.resolve(&reference("y")).unwrap_err().to_string();
        assert!(missing.contains("nobody gives the credential 'y'") && missing.contains("SYNCLINE_CREDENTIAL_Y"), "{missing}");
    }

    #[test]
    fn what_is_kept_is_found_again_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::with_environment(folder.path(), |_| None);
        for value in ["first", "second"] {
            secrets.keep("token", &SecretString::from(value)).unwrap();
            assert_eq!(secrets.resolve(&reference("token")).unwrap().expose_secret(), value);
        }
        assert_eq!(fs::metadata(secrets.path("token")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("secrets")).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn a_change_that_is_cut_off_loses_neither_secret() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::with_environment(folder.path(), |_| None);
        let now = |secrets: &Secrets| secrets.resolve(&reference("ad-bind")).unwrap().expose_secret().to_owned();
        secrets.keep("ad-bind", &SecretString::from("old")).unwrap();
        let held = secrets.lock("ad-bind").unwrap();
        assert!(secrets.lock("ad-bind").unwrap_err().message.contains("another command"));
        secrets.keep_next("ad-bind", &SecretString::from("new")).unwrap();
        assert_eq!(fs::metadata(folder.path().join("secrets/ad-bind.next")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((now(&secrets).as_str(), secrets.next("ad-bind").unwrap().unwrap().0.expose_secret()), ("old", "new"));
        secrets.note_tried("ad-bind", Timestamp(7)).unwrap();
        assert!(!secrets.promote_next("ad-bind", &SecretString::from("another")).unwrap() && now(&secrets) == "old");
        assert_eq!(secrets.tried("ad-bind"), Some(Timestamp(7)));
        assert!(secrets.promote_next("ad-bind", &SecretString::from("new")).unwrap());
        assert!(!secrets.promote_next("ad-bind", &SecretString::from("new")).unwrap());
        assert_eq!(secrets.tried("ad-bind"), None);
        assert!(now(&secrets) == "new" && secrets.next("ad-bind").unwrap().is_none());
        secrets.keep_next("ad-bind", &SecretString::from("never")).unwrap();
        secrets.drop_next("ad-bind").unwrap();
        drop(held);
        assert_eq!((now(&secrets).as_str(), secrets.kept()), ("new", vec!["ad-bind".to_owned()]));
        assert!(matches!(secrets.origin("ad-bind"), SecretOrigin::Folder(_)) && secrets.origin("x") == SecretOrigin::Nowhere);
    }

    #[test]
    fn names_are_no_paths() {
        for name in ["", "../x", "a/b", "a b", "é"] {
            assert!(!valid_name(name), "{name}");
        }
        assert!(valid_name("ad-bind_2"));
    }
}
