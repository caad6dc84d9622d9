//! Small things that are kept under a name, each with its type: read, changed and written in one piece, and never taken
//! for "nothing was kept" when they cannot be read.

use super::{ChangeSet, Snapshot, Store, StoreError};
use crate::model::ConnectorId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::marker::PhantomData;

/// What is kept under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept<T> {
    /// Nothing, or nothing any more.
    Nothing,
    /// This.
    Here(T),
    /// Something that cannot be read, and why: another release wrote it, or it is damaged. What that means is for the owner
    /// to say.
    Unreadable(String),
}

impl<T> Kept<T> {
    /// What is there; nothing also when it cannot be read. Only for what may be forgotten: whoever begins anew loses time and
    /// nothing else.
    pub fn or_forgotten(self) -> Option<T> {
        match self {
            Self::Here(value) => Some(value),
            Self::Nothing | Self::Unreadable(_) => None,
        }
    }
}

/// A name and the type of what is kept under it, in the form of JSON.
#[derive(Clone, Debug)]
pub struct KeptState<T> {
    name: Cow<'static, str>,
    form: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> KeptState<T> {
    /// What is kept under this name.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), form: PhantomData }
    }

    /// What is kept under a name with a part that is known at run time only.
    pub fn named(name: String) -> Self {
        Self { name: Cow::Owned(name), form: PhantomData }
    }

    /// What a connector keeps.
    ///
    /// # Errors
    /// When the store cannot be read; that something is there which makes no sense is [`Kept::Unreadable`].
    pub fn read(&self, snapshot: &Snapshot, connector: ConnectorId) -> Result<Kept<T>, StoreError> {
        Ok(self.decode(snapshot.state(connector, &self.name)?.as_deref()))
    }

    fn decode(&self, octets: Option<&[u8]>) -> Kept<T> {
        let Some(octets) = octets else { return Kept::Nothing };
        match serde_json::from_slice(octets) {
            Ok(value) => Kept::Here(value),
            Err(error) => Kept::Unreadable(format!("'{}': {error}", self.name)),
        }
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>, StoreError> {
        let failed = |error| StoreError::Database { action: "keep a state", reason: format!("'{}': {error}", self.name) };
        serde_json::to_vec(value).map_err(failed)
    }

    /// Writes it with a set of changes; `None` forgets. For whoever is the only writer, or is within [`Store::update`].
    ///
    /// # Errors
    /// When it has no form that could be kept.
    pub fn put(&self, changes: &mut ChangeSet, connector: ConnectorId, value: Option<&T>) -> Result<(), StoreError> {
        changes.states.push((connector, self.name.to_string(), value.map(|value| self.encode(value)).transpose()?));
        Ok(())
    }

    /// Changes what is kept while nobody else writes: what `change` gives takes the place of what it got.
    /// [`Kept::Unreadable`] leaves what is there. What is as before is not written.
    ///
    /// # Errors
    /// When the store refuses; nothing is changed then.
    pub fn update<R>(&self, store: &Store, connector: ConnectorId, change: impl FnOnce(Kept<T>) -> (Kept<T>, R)) -> Result<R, StoreError> {
        store.update(|snapshot| {
            let before = snapshot.state(connector, &self.name)?;
            let (kept, answer) = change(self.decode(before.as_deref()));
            let after = match kept {
                Kept::Here(value) => Some(self.encode(&value)?),
                Kept::Nothing => None,
                Kept::Unreadable(_) => before.clone(),
            };
            let mut changes = ChangeSet::new();
            if after != before {
                changes.states.push((connector, self.name.to_string(), after));
            }
            Ok((changes, answer))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::sync::Barrier;

    const PLACE: ConnectorId = ConnectorId(3);
    const NUMBERS: KeptState<Vec<u32>> = KeptState::new("numbers");

    #[test]
    fn many_who_change_it_at_once_lose_nothing() {
        let store = Store::in_memory().unwrap();
        let begin = Barrier::new(4);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (store, begin) = (&store, &begin);
                scope.spawn(move || {
                    begin.wait();
                    for number in 0..25 {
                        let add = |kept: Kept<Vec<u32>>| {
                            let mut all = kept.or_forgotten().unwrap_or_default();
                            all.push(thread * 100 + number);
                            (Kept::Here(all), ())
                        };
                        NUMBERS.update(store, PLACE, add).unwrap();
                    }
                });
            }
        });
        let Kept::Here(mut all) = NUMBERS.read(&store.snapshot().unwrap(), PLACE).unwrap() else { panic!("nothing is kept") };
        all.sort_unstable();
        let expected: Vec<u32> = (0..4).flat_map(|thread| (0..25).map(move |number| thread * 100 + number)).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn what_cannot_be_read_is_neither_nothing_nor_lost() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Other {
            word: String,
        }
        let store = Store::in_memory().unwrap();
        let words: KeptState<Other> = KeptState::named("num".to_owned() + "bers");
        words.update(&store, PLACE, |_| (Kept::Here(Other { word: "x".to_owned() }), ())).unwrap();
        let before = store.snapshot().unwrap().state(PLACE, "numbers").unwrap();
        let read = NUMBERS.read(&store.snapshot().unwrap(), PLACE).unwrap();
        assert!(matches!(&read, Kept::Unreadable(why) if why.contains("'numbers'")), "{read:?}");
        NUMBERS.update(&store, PLACE, |kept| (kept, ())).unwrap();
        assert_eq!(store.snapshot().unwrap().state(PLACE, "numbers").unwrap(), before);
        NUMBERS.update(&store, PLACE, |_| (Kept::Nothing, ())).unwrap();
        assert_eq!(NUMBERS.read(&store.snapshot().unwrap(), PLACE).unwrap(), Kept::Nothing);
    }

    #[test]
    fn what_is_as_before_costs_no_commit() {
        let store = Store::in_memory().unwrap();
        NUMBERS.update(&store, PLACE, |_| (Kept::Here(vec![1]), ())).unwrap();
        let commits = store.io_counts().commits;
        NUMBERS.update(&store, PLACE, |kept| (kept, ())).unwrap();
        assert_eq!(store.io_counts().commits, commits);
    }
}
