//! Who this installation is, towards targets that keep more than one from writing (specification: sync engine, section 5.6).
//!
//! The id belongs to the machine and to the place of the store, so that a store that was made anew is the same installation, and
//! a copy of it elsewhere is another one. Where a machine has no id, as in most containers, it lives with the store alone.

use super::connectors::INSTALLATION;
use super::{Service, ServiceError};
use crate::connector::{Installation, LastWriter};
use crate::store::{ChangeSet, Snapshot, StoreError};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::fs;
use uuid::Uuid;

/// Under this name the installation keeps its id, and where it was then.
const IDENTITY: &str = "installation-id";
/// Where systemd keeps the id of a machine (man 5 machine-id). It is never told to anybody: only hashes of it.
const MACHINE_ID: &str = "/etc/machine-id";

/// An installation, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstallationView {
    /// Its id, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its machine, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// When it last wrote, when that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_contact: Option<String>,
}

impl InstallationView {
    pub(super) fn of(installation: &Installation) -> Self {
        Self { id: Some(installation.id.clone()), machine: Some(installation.name.clone()), last_contact: None }
    }

    pub(super) fn of_last(writer: &LastWriter) -> Self {
        Self { id: writer.id.clone(), machine: writer.name.clone(), last_contact: writer.at.map(|at| at.to_string()) }
    }
}

impl Service {
    /// Who this installation is.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn installation(&self) -> Result<Installation, ServiceError> {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let machine = fs::read_to_string(MACHINE_ID).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let place = fs::canonicalize(&self.store_path).unwrap_or_else(|_| self.store_path.clone());
        let fingerprint = machine.map(|machine| hex::encode(digest(&format!("{machine} {}", place.display()))));
        let known = |snapshot: &Snapshot| {
            let kept = snapshot.state(INSTALLATION, IDENTITY)?.and_then(|octets| String::from_utf8(octets).ok());
            Ok::<_, StoreError>(identity(kept.as_deref(), fingerprint.as_deref()))
        };
        let (id, news) = known(&self.store.snapshot()?)?;
        if news.is_none() {
            return Ok(Installation { id, name });
        }
        // Whoever asks at the same time must not get another one.
        let id = self.store.update(|snapshot| {
            let (id, content) = known(snapshot)?;
            let mut changes = ChangeSet::new();
            changes.states.extend(content.map(|content| (INSTALLATION, IDENTITY.to_owned(), Some(content.into_bytes()))));
            Ok((changes, id))
        })?;
        Ok(Installation { id, name })
    }
}

/// The id by what is kept, `ID FINGERPRINT` with `-` for a machine without an id, and by machine and place as they are now.
/// With it, what is to be kept when that is something else.
fn identity(kept: Option<&str>, fingerprint: Option<&str>) -> (String, Option<String>) {
    let id = match (kept.and_then(|text| text.split_once(' ')), fingerprint) {
        (Some((id, known)), now) if now.is_none_or(|now| now == known) => return (id.to_owned(), None),
        // It has an id now, and is bound to it from here on.
        (Some((id, "-")), _) => id.to_owned(),
        (_, Some(now)) => Uuid::from_bytes(digest(&format!("installation {now}"))).hyphenated().to_string(),
        (_, None) => Uuid::new_v4().hyphenated().to_string(),
    };
    let content = format!("{id} {}", fingerprint.unwrap_or("-"));
    (id, Some(content))
}

/// Sixteen octets that tell nothing of the text.
fn digest(text: &str) -> [u8; 16] {
    let whole: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    std::array::from_fn(|index| whole[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_belongs_to_the_machine_as_soon_as_that_has_one() {
        let (id, kept) = identity(None, None);
        let kept = kept.expect("it is kept with the store");
        assert_eq!(kept, format!("{id} -"));
        assert_eq!(identity(Some(&kept), None), (id.clone(), None));
        let (same, bound) = identity(Some(&kept), Some("one"));
        let bound = bound.expect("it is bound to the machine");
        assert_eq!((&same, &bound), (&id, &format!("{id} one")));
        assert_eq!(identity(Some(&bound), Some("one")), (id.clone(), None));
        assert_eq!(identity(Some(&bound), None), (id.clone(), None), "a container of the same place");
        let (copied, _) = identity(Some(&bound), Some("two"));
        assert_ne!(copied, id, "a copy elsewhere is another one");
        assert_eq!(identity(None, Some("two")).0, copied, "a store that was made anew is the same one");
    }
}
