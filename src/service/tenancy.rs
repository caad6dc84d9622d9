//! Which tenant the space of a target is about. What was read from one tenant, sent to it and approved for it says nothing
//! about another one, whatever the connector is called. Only the id that a tenant tells counts: how it is written in a file may
//! be a slip, and nothing is forgotten for a slip. Where another tenant answers, nothing happens until a person decides.

use super::tenant::known_id;
use super::{Service, ServiceError};
use crate::config::{ConnectorSettings, EntraFile};
use crate::connector::entra::{PROVISIONING_URL, TenantDesk};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::engine::belief::{Belief, Doubt, KnownTenant};
use crate::engine::clear::Space;
use crate::engine::export::{Sampled, sample};
use crate::model::{ConnectorId, counted};
use crate::password::forget_target;
use crate::store::{ChangeSet, Snapshot, Store, StoreError};
use std::fmt;

/// What a connector to a tenant is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For runs, by whoever has the turn: which tenant answers is kept.
    Runs,
    /// For anything else: the tenant has to be the one that runs have met.
    Looks,
}

/// A target whose space may be about another tenant than the one that is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MovedTenant {
    /// The tenant that the space is about.
    pub(super) before: String,
    /// The one that is configured now.
    pub(super) now: String,
    /// It has answered and is another one. Otherwise it is only written in another way, and the next run asks it.
    pub(super) met: bool,
}

impl fmt::Display for MovedTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, now, met } = self;
        if *met {
            write!(f, "leads to another tenant, {now}: what the store holds is about {before}, so nothing is read from it or sent to it")
        } else {
            write!(
                f,
                "leads to {now} now, and what the store holds is about {before}: the next run asks whether that is the same tenant, and \
                 reads and sends nothing when it is another one"
            )
        }
    }
}

/// How a tenant is configured, in one line: the one that runs with the program by its id, since its folder may be moved; one
/// elsewhere by its id or domain and the service's address.
fn called(file: &EntraFile) -> String {
    if file.is_embedded() {
        let id = known_id(&file.embedded.folder);
        return id.map_or_else(|| "an embedded tenant that is made anew".to_owned(), |id| format!("the embedded tenant {id}"));
    }
    let address = file.provisioning_url.as_deref().unwrap_or(PROVISIONING_URL).trim_end_matches('/').to_ascii_lowercase();
    let host = address.strip_suffix("/provisioningservice.svc").unwrap_or(&address);
    format!("{} at {host}", file.tenant.trim().to_lowercase())
}

/// Holds the tenant that answers against the one that the target's space is about.
struct Desk {
    store: Store,
    target: ConnectorId,
    name: String,
    called: String,
    purpose: Purpose,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("target", &self.name).field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl TenantDesk for Desk {
    fn meet(&self, id: &str) -> Result<(), ConnectorError> {
        let left_alone = |kind, message: String| Err(ConnectorError::new(kind, message).unsent());
        let id = id.trim().to_lowercase();
        if id.is_empty() {
            return left_alone(
                ConnectorErrorKind::Protocol,
                format!("{} does not tell which tenant it is, so it is left alone", self.called),
            );
        }
        match self.judge(KnownTenant { id, called: self.called.clone() }) {
            Ok(None) => Ok(()),
            Ok(Some(message)) => left_alone(ConnectorErrorKind::AnotherTenant, message),
            Err(error) => left_alone(ConnectorErrorKind::File, format!("which tenant {} is about is not known: {error}", self.name)),
        }
    }
}

impl Desk {
    /// Why a tenant is left alone, if it is; for runs keeps that it answered.
    fn judge(&self, answers: KnownTenant) -> Result<Option<String>, StoreError> {
        let snapshot = self.store.snapshot()?;
        let belief = Belief::of(&snapshot, self.target)?;
        let unknown = belief.about.is_none() && belief.doubt == Some(Doubt::Unreadable);
        if unknown || belief.about.as_ref().is_some_and(|about| about.id != answers.id) {
            let message = self.refusal(&snapshot, &belief, &answers)?;
            // What cannot be read is not written over: somebody may be able to read it yet.
            if !unknown {
                self.keep(&snapshot, Belief { stranger: Some(answers), ..belief })?;
            }
            return Ok(Some(message));
        }
        self.keep(&snapshot, Belief { about: Some(answers), stranger: None, ..belief })?;
        Ok(None)
    }

    fn keep(&self, snapshot: &Snapshot, belief: Belief) -> Result<(), StoreError> {
        let mut changes = ChangeSet::new();
        if self.purpose == Purpose::Runs {
            belief.keep(snapshot, self.target, &mut changes)?;
        }
        if changes.is_empty() { Ok(()) } else { self.store.apply(changes) }
    }

    fn refusal(&self, snapshot: &Snapshot, belief: &Belief, answers: &KnownTenant) -> Result<String, StoreError> {
        let (name, space) = (&self.name, Space::of(snapshot, self.target)?);
        let wrong = match &belief.about {
            Some(about) => format!("{name} leads to another tenant, {answers}: what the store holds is about {about}"),
            None => format!(
                "{answers} answers for {name}, and whether the store is about that tenant nobody knows any more, because {}",
                belief.reason().unwrap_or_default()
            ),
        };
        let deletes = sample(snapshot, self.store.names(), self.target, Sampled::Deletes)?;
        let among = if deletes.is_empty() { String::new() } else { format!(" ({deletes})") };
        Ok(format!(
            "{wrong}. Nothing is read from it or sent to it, and nothing is forgotten. Is the connector's file wrong? Put it right, and all is \
             as before. If this is the tenant from now on, what is known of the former one has to go: {}, {} to be removed there and would \
             stay{among}, {} by hand. Look by `syncline cs clear '{name}' --what-if`, decide by `syncline cs clear '{name}' --force`",
            counted(space.objects, "object", "objects"),
            counted(space.deletes, "that waits", "that wait"),
            counted(space.by_hand, "that was tied or parted", "that were tied or parted"),
        ))
    }
}

impl Service {
    /// Whoever a connector asks which tenant it may read and write.
    pub(super) fn tenant_desk(&self, name: &str, file: &EntraFile, purpose: Purpose) -> Result<Box<dyn TenantDesk>, ServiceError> {
        let target = self.connector_id(name)?;
        Ok(Box::new(Desk { store: self.store.clone(), target, name: name.to_owned(), called: called(file), purpose }))
    }

    /// Whether a target leads, or may lead, to another tenant than the one that its space is about.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn moved_tenant(&self, snapshot: &Snapshot, target: ConnectorId) -> Result<Option<MovedTenant>, ServiceError> {
        let config = self.connectors.get(&target).and_then(|name| self.config.connector(name));
        let Some(ConnectorSettings::Entra(file)) = config.map(|config| &config.settings) else { return Ok(None) };
        let Belief { about: Some(about), stranger, .. } = Belief::of(snapshot, target)? else { return Ok(None) };
        let now = called(file);
        // Who answered under the name that is in the file now. Put right since, it is nobody.
        if let Some(stranger) = stranger.filter(|stranger| stranger.called == now) {
            return Ok(Some(MovedTenant { before: about.to_string(), now: stranger.to_string(), met: true }));
        }
        Ok((about.called != now).then(|| MovedTenant { before: about.to_string(), now, met: false }))
    }

    /// Which tenant a target's space is about no longer counts, when its space is forgotten: it leads to another one, or nobody
    /// knows. A sentence on what it was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn tenant_to_forget(&self, snapshot: &Snapshot, target: ConnectorId) -> Result<Option<String>, ServiceError> {
        let belief = Belief::of(snapshot, target)?;
        if belief.about.is_none() && belief.doubt == Some(Doubt::Unreadable) {
            return Ok(Some("a tenant that nobody knows any more".to_owned()));
        }
        Ok(self.moved_tenant(snapshot, target)?.map(|moved| moved.before))
    }

    /// Lets the tenant that answers next be the one that a target's space is about, when the space was forgotten. What was
    /// approved for the former one and what is known of passwords there goes, too. Can be repeated after an interruption.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) fn forget_tenant(&self, target: ConnectorId, told: String) -> Result<(), ServiceError> {
        forget_target(&self.store, &self.all_connectors()?, target)?;
        // Last of all: cut off before, the tenant is refused as it was.
        let (snapshot, mut changes) = (self.store.snapshot()?, ChangeSet::new());
        let belief = Belief::of(&snapshot, target)?;
        let open = Belief { doubt: Some(Doubt::AnotherTenant), detail: Some(told), about: None, stranger: None, ..belief };
        open.keep(&snapshot, target, &mut changes)?;
        drop(snapshot);
        Ok(self.store.apply(changes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ConnectorId = ConnectorId(3);

    fn desk(store: &Store, called: &str, purpose: Purpose) -> Desk {
        Desk { store: store.clone(), target: HERE, name: "Entra".to_owned(), called: called.to_owned(), purpose }
    }

    #[test]
    fn the_id_says_which_tenant_it_is_and_the_spelling_does_not() {
        let store = Store::in_memory().unwrap();
        let belief = || Belief::of(&store.snapshot().unwrap(), HERE).unwrap();
        // Whoever looks decides nothing.
        desk(&store, "contoso.example", Purpose::Looks).meet("11-AA").unwrap();
        assert_eq!(belief(), Belief::default());
        desk(&store, "contoso.example", Purpose::Runs).meet("11-AA").unwrap();
        desk(&store, "contoso.onmicrosoft.com", Purpose::Runs).meet("11-aa").unwrap();
        assert_eq!(belief().about, Some(KnownTenant { id: "11-aa".to_owned(), called: "contoso.onmicrosoft.com".to_owned() }));
        for purpose in [Purpose::Looks, Purpose::Runs] {
            let refused = desk(&store, "fabrikam.example", purpose).meet("22-bb").unwrap_err();
            assert_eq!(refused.kind, ConnectorErrorKind::AnotherTenant);
            for part in ["another tenant, fabrikam.example (id 22-bb)", "is about contoso.onmicrosoft.com (id 11-aa)", "cs clear 'Entra'"] {
                assert!(refused.message.contains(part), "{part}: {refused}");
            }
        }
        assert_eq!(belief().stranger.map(|stranger| stranger.id).as_deref(), Some("22-bb"));
        assert_eq!((belief().number, belief().doubt), (0, None), "nothing is forgotten");
        // Who does not say who it is, is nobody; and going back costs nothing.
        assert_eq!(desk(&store, "x", Purpose::Runs).meet(" ").unwrap_err().kind, ConnectorErrorKind::Protocol);
        desk(&store, "contoso.example", Purpose::Runs).meet("11-aa").unwrap();
        assert_eq!(belief().stranger, None);
    }

    #[test]
    fn where_nobody_knows_any_more_nobody_is_taken_for_the_one() {
        let store = Store::in_memory().unwrap();
        let mut changes = ChangeSet::new();
        changes.states.push((HERE, "belief".to_owned(), Some(b"nonsense".to_vec())));
        store.apply(changes).unwrap();
        let refused = desk(&store, "contoso.example", Purpose::Runs).meet("11-aa").unwrap_err();
        assert!(refused.message.contains("nobody knows any more"), "{refused}");
        assert_eq!(store.snapshot().unwrap().state(HERE, "belief").unwrap().as_deref(), Some(&b"nonsense"[..]));
    }
}
