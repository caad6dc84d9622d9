//! What is believed of a connector beside its objects: where to read on, what was read and evaluated with which rules, what
//! was agreed about exports. It has one way to be distrusted, whatever the reason is, so that nobody forgets half of it.

use super::containers::CONTAINERS;
use super::export::{APPROVED, EXPORTED, REMOVALS, TERMS};
use super::import::{DISBELIEVED, EPOCH, LEFT_PLACE, WATERMARK};
use super::pilots::PILOTS;
use crate::model::ConnectorId;
use crate::store::{ChangeSet, Kept, KeptState, Snapshot, StoreError};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Under this name a connector keeps how far it is believed.
const BELIEF_NAME: &str = "belief";
const BELIEF: KeptState<Belief> = KeptState::new(BELIEF_NAME);
/// Where the store keeps how often anything in it was distrusted: no number comes twice, also when what a connector kept of it
/// cannot be read.
const COUNTER: KeptState<u64> = KeptState::new("distrusted");
/// What the store keeps for all connectors together stands under this number.
const STORE: ConnectorId = ConnectorId(0);
/// The number of a belief that cannot be read. Nobody remembers it.
const UNKNOWN: u64 = u64::MAX;
/// More often than anything was distrusted before that was counted for the whole store.
const UNCOUNTED: u64 = 1 << 32;
/// Under this name a connector keeps what it is called.
pub const NAME: &str = "connector-name";
/// Under this name a connector keeps that it was removed.
pub const REMOVED: &str = "connector-removed";
/// Under this name a target keeps who else writes to it, and what a person decided about that.
pub(super) const STANDING: &str = "active-installation";
/// The name under which a connector's parameters are remembered.
pub const PARAMETERS: &str = "rule-parameters";
/// The name under which the extensions of a directory's schema are remembered.
pub const EXTENSIONS: &str = "schema-extensions";
/// The name under which the schema that somebody looked at is remembered.
pub const SCHEMA: &str = "schema-looked-at";
/// So begin the names under which the password agent keeps how it stands with a directory.
pub const PASSWORDS: &str = "password-";

/// Why what is remembered of a connector counts no more. The later ones weigh more: a lighter doubt never takes their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// Its space was forgotten on request.
    Cleared,
    /// The store is a backup that came back: it is older than the world.
    Restored,
    /// It leads to another tenant than before.
    AnotherTenant,
    /// It was removed, and what its space holds is staged as gone.
    Removed,
    /// What was noted of it cannot be read.
    Unreadable,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cleared => "its space was forgotten",
            Self::Restored => "the store was restored from a backup",
            Self::AnotherTenant => "it is another tenant than before",
            Self::Removed => "it was removed and is configured again",
            Self::Unreadable => "what was noted of it cannot be read",
        })
    }
}

/// A tenant that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTenant {
    /// The id that it told. That alone says which tenant it is.
    pub id: String,
    /// How it was configured then, for people: a tenant has many spellings.
    pub called: String,
}

impl fmt::Display for KnownTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.called.contains(&self.id) { f.write_str(&self.called) } else { write!(f, "{} (id {})", self.called, self.id) }
    }
}

/// How far what the store holds of a connector is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Belief {
    /// How often it was distrusted: whoever remembers something from before knows by it that this counts no more.
    pub number: u64,
    /// Why nothing is believed, until everything was read.
    pub doubt: Option<Doubt>,
    /// More about it for people: what was forgotten.
    pub detail: Option<String>,
    /// The tenant that the space of a target is about. Nothing: none has answered yet, or nobody knows any more
    /// ([`Doubt::Unreadable`]).
    pub about: Option<KnownTenant>,
    /// Another tenant that answered a run instead of that one. Nothing is read from it or sent to it.
    pub stranger: Option<KnownTenant>,
}

impl Belief {
    /// How far a connector is believed. What cannot be read is not believed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(snapshot: &Snapshot, connector: ConnectorId) -> Result<Self, StoreError> {
        Ok(match BELIEF.read(snapshot, connector)? {
            Kept::Nothing => Self::default(),
            Kept::Here(belief) => belief,
            Kept::Unreadable(why) => Self { number: UNKNOWN, doubt: Some(Doubt::Unreadable), detail: Some(why), ..Self::default() },
        })
    }

    /// Writes it. What is as before is not written.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn keep(&self, snapshot: &Snapshot, connector: ConnectorId, changes: &mut ChangeSet) -> Result<(), StoreError> {
        if Self::of(snapshot, connector)? == *self { Ok(()) } else { BELIEF.put(changes, connector, Some(self)) }
    }

    /// Forgets what is believed of a connector: from here on nothing goes on from it, and until everything was read nothing
    /// that follows from it is sent ([`Doubt`]). Its objects stay as they are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn distrust(snapshot: &Snapshot, connector: ConnectorId, doubt: Doubt, changes: &mut ChangeSet) -> Result<Self, StoreError> {
        for name in snapshot.state_names(connector)? {
            if !outlives(&name, doubt) {
                // Nothing goes on from there, but the files up to there have to be there as before.
                if name == WATERMARK && doubt == Doubt::Restored {
                    changes.states.push((connector, LEFT_PLACE.to_owned(), snapshot.state(connector, WATERMARK)?));
                }
                changes.states.push((connector, name, None));
            }
        }
        let before = Self::of(snapshot, connector)?;
        let heavier = before.doubt.max(Some(doubt));
        let belief = Self { number: next_number(snapshot, &before)?, doubt: heavier, detail: None, ..before };
        COUNTER.put(changes, STORE, Some(&belief.number))?;
        BELIEF.put(changes, connector, Some(&belief))?;
        Ok(belief)
    }

    /// A full import has read everything.
    pub(super) fn restored_by_reading(snapshot: &Snapshot, connector: ConnectorId, changes: &mut ChangeSet) -> Result<(), StoreError> {
        let belief = Self::of(snapshot, connector)?;
        Self { doubt: None, detail: None, ..belief }.keep(snapshot, connector, changes)
    }

    /// Why it is not believed, in a sentence.
    pub fn reason(&self) -> Option<String> {
        let doubt = self.doubt?;
        Some(self.detail.as_ref().map_or_else(|| doubt.to_string(), |detail| format!("{doubt}: {detail}")))
    }
}

/// A number that nobody remembers, whichever connector it belonged to.
fn next_number(snapshot: &Snapshot, before: &Belief) -> Result<u64, StoreError> {
    let counted = COUNTER.read(snapshot, STORE)?.or_forgotten();
    let known = if before.number == UNKNOWN { counted.unwrap_or(UNCOUNTED) } else { before.number };
    Ok(known.max(counted.unwrap_or_default()).saturating_add(1))
}

/// What of all that a connector keeps stays true whatever it is doubted for. A name that nobody put here is forgotten: that
/// costs a full step, and the other way round it would cost people.
fn outlives(name: &str, doubt: Doubt) -> bool {
    match name {
        BELIEF_NAME | NAME | REMOVED => true,
        // What a person decided about another installation is about a tenant.
        STANDING => doubt != Doubt::AnotherTenant,
        // Hashes, what nobody believed, and what was read, are as old as the objects that they are about.
        EPOCH | DISBELIEVED | LEFT_PLACE => doubt == Doubt::Restored,
        // The same target, to which the same was sent; what a directory says of itself rarely changes, and rules need it also when
        // it cannot be asked.
        EXPORTED | APPROVED | TERMS | REMOVALS | PARAMETERS | EXTENSIONS | SCHEMA | CONTAINERS | PILOTS => doubt < Doubt::AnotherTenant,
        // Changes since an earlier place of the same directory are told again; whether the agent may send is another question.
        _ => name.starts_with(PASSWORDS) && doubt < Doubt::AnotherTenant,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const HERE: ConnectorId = ConnectorId(3);

    fn left_by(doubt: Doubt) -> (Vec<String>, Belief) {
        let store = Store::in_memory().unwrap();
        let mut changes = ChangeSet::new();
        let names = [NAME, REMOVED, STANDING, EXPORTED, PARAMETERS, EPOCH, WATERMARK, "password-cookie/corp.example", "of a later release"];
        for name in names {
            changes.states.push((HERE, name.to_owned(), Some(vec![1])));
            // Neighbours lose nothing.
            changes.states.push((ConnectorId(2), name.to_owned(), Some(vec![1])));
            changes.states.push((ConnectorId(4), name.to_owned(), Some(vec![1])));
        }
        store.apply(changes).unwrap();
        let mut changes = ChangeSet::new();
        Belief::distrust(&store.snapshot().unwrap(), HERE, doubt, &mut changes).unwrap();
        store.apply(changes).unwrap();
        let snapshot = store.snapshot().unwrap();
        for neighbour in [2, 4] {
            assert_eq!(snapshot.state_names(ConnectorId(neighbour)).unwrap().len(), names.len());
        }
        let mut left = snapshot.state_names(HERE).unwrap();
        left.retain(|name| name != "belief");
        (left, Belief::of(&snapshot, HERE).unwrap())
    }

    #[test]
    fn what_nobody_says_to_outlive_a_doubt_is_forgotten() {
        let (left, belief) = left_by(Doubt::Removed);
        assert_eq!(left, [STANDING, NAME, REMOVED]);
        assert_eq!((belief.number, belief.doubt), (1, Some(Doubt::Removed)));
        assert_eq!(left_by(Doubt::AnotherTenant).0, [NAME, REMOVED]);
        let restored = [STANDING, NAME, REMOVED, EXPORTED, EPOCH, "password-cookie/corp.example", PARAMETERS, LEFT_PLACE];
        assert_eq!(left_by(Doubt::Restored).0, restored);
    }

    #[test]
    fn a_lighter_doubt_takes_no_heavier_one_away() {
        let store = Store::in_memory().unwrap();
        for doubt in [Doubt::Removed, Doubt::Restored] {
            let mut changes = ChangeSet::new();
            Belief::distrust(&store.snapshot().unwrap(), HERE, doubt, &mut changes).unwrap();
            store.apply(changes).unwrap();
        }
        let belief = Belief::of(&store.snapshot().unwrap(), HERE).unwrap();
        assert_eq!((belief.number, belief.doubt), (2, Some(Doubt::Removed)));
        let mut changes = ChangeSet::new();
        Belief::restored_by_reading(&store.snapshot().unwrap(), HERE, &mut changes).unwrap();
        store.apply(changes).unwrap();
        let belief = Belief::of(&store.snapshot().unwrap(), HERE).unwrap();
        assert_eq!((belief.number, belief.doubt), (2, None));
    }

    #[test]
    fn what_cannot_be_read_is_not_believed() {
        let store = Store::in_memory().unwrap();
        let mut changes = ChangeSet::new();
        changes.states.push((HERE, "belief".to_owned(), Some(b"nonsense".to_vec())));
        store.apply(changes).unwrap();
        let belief = Belief::of(&store.snapshot().unwrap(), HERE).unwrap();
        assert!(belief.doubt == Some(Doubt::Unreadable) && belief.reason().is_some_and(|reason| reason.contains("'belief'")));
    }

    #[test]
    fn no_number_comes_twice_whatever_cannot_be_read() {
        for counted in [true, false] {
            let store = Store::in_memory().unwrap();
            let now = || Belief::of(&store.snapshot().unwrap(), HERE).unwrap();
            let mut remembered = vec![now().number];
            for _ in 0..3 {
                for doubt in [Doubt::Cleared, Doubt::Restored] {
                    let mut changes = ChangeSet::new();
                    Belief::distrust(&store.snapshot().unwrap(), HERE, doubt, &mut changes).unwrap();
                    if !counted {
                        // As a release did that counted for each connector alone.
                        changes.states.retain(|(connector, ..)| *connector == HERE);
                    }
                    store.apply(changes).unwrap();
                    assert!(!remembered.contains(&now().number), "{} of {remembered:?}", now().number);
                    remembered.push(now().number);
                }
                if counted || remembered.len() == 3 {
                    let mut changes = ChangeSet::new();
                    changes.states.push((HERE, "belief".to_owned(), Some(b"nonsense".to_vec())));
                    store.apply(changes).unwrap();
                    assert!(!remembered.contains(&now().number), "also while it cannot be read");
                }
            }
        }
    }
}
