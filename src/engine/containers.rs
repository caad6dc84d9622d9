//! Containers that a configuration names, and that have another name by now.
//!
//! The configuration names containers; their keys are kept beside it. Whoever renames one in the directory changes nothing of
//! what was meant, but what would be read: everybody of an excluded one comes in, everybody of an included one goes. So nothing
//! is read until a person has said which it is (specification: sync engine, section 2.3).

use super::import::Verdict;
use super::run::Engine;
use super::{EngineError, StepRecorder, import};
use crate::connector::{ContainerPlace, KeptContainer};
use crate::model::{ConnectorId, Dn};
use crate::store::{Kept, KeptState};

/// The result of an import that was stopped by a renamed container.
pub(super) const RENAMED_CONTAINER: &str = "stopped-renamed-container";
/// Under this name a connector keeps the keys of the containers that its configuration names.
pub(super) const CONTAINERS: &str = "selected-containers";
const KEPT: KeptState<Vec<KeptContainer>> = KeptState::new(CONTAINERS);

impl Engine<'_> {
    /// Refuses to read by names that containers have no more, and believes nothing that was read by them; keeps the keys of those
    /// that are seen for the first time.
    pub(super) fn look_at_containers(&self, id: ConnectorId, recorder: &mut StepRecorder<'_>) -> Result<(), EngineError> {
        let connector = self.connector(id)?;
        let before = match KEPT.read(&self.store.snapshot()?, id)? {
            Kept::Here(before) => before,
            Kept::Nothing => Vec::new(),
            Kept::Unreadable(reason) => {
                recorder.note(format!(
                    "the keys of the containers that are configured cannot be read ({reason}) and are kept anew: see by `syncline partition \
                     tree` that none was renamed"
                ));
                Vec::new()
            }
        };
        let places = self.bridge.wait(connector.containers(&self.cx, &before))?;
        let renamed = renamed(&places);
        if !renamed.is_empty() {
            import::disbelieve(self.store, id, Verdict::Stopped, self.takes_exports(id), recorder)?;
            let name = self.participants.get(&id).map_or("", |participant| participant.name.as_str());
            return Err(EngineError::Guard { result: RENAMED_CONTAINER, message: message(name, &renamed) });
        }
        let after: Vec<KeptContainer> = places.iter().filter_map(|place| kept(place, &before)).collect();
        if after != before {
            KEPT.update(self.store, id, |_| (if after.is_empty() { Kept::Nothing } else { Kept::Here(after) }, ()))?;
        }
        Ok(())
    }
}

/// Containers with another name, which the same list does not name already.
fn renamed(places: &[ContainerPlace]) -> Vec<(&ContainerPlace, &str)> {
    let is_named = |moved_to: &str, included| places.iter().any(|other| other.included == included && same(&other.configured, moved_to));
    let moved = places.iter().filter_map(|place| Some((place, place.moved_to.as_deref()?)));
    moved.filter(|(place, moved_to)| !is_named(moved_to, place.included)).collect()
}

/// What is to be kept of a container. Of one that does not show its key is kept, for it may show again.
fn kept(place: &ContainerPlace, before: &[KeptContainer]) -> Option<KeptContainer> {
    let earlier = || before.iter().find(|known| same(&known.name, &place.configured)).map(|known| known.key.clone());
    let key = place.key.clone().or_else(earlier)?;
    Some(KeptContainer { name: place.configured.clone(), key })
}

fn same(left: &str, right: &str) -> bool {
    matches!((Dn::parse(left), Dn::parse(right)), (Ok(left), Ok(right)) if left.same(&right))
}

/// Says what has which name now, what reading would have done, and the commands for both things that may be meant.
fn message(name: &str, renamed: &[(&ContainerPlace, &str)]) -> String {
    let told: Vec<String> = renamed
        .iter()
        .map(|(place, moved_to)| {
            let (list, harm) = if place.included {
                ("include", "whoever is in it would be taken for gone")
            } else {
                ("exclude", "whoever is in it would come in")
            };
            format!("'{}' of [selection] {list} is '{moved_to}' now, and {harm}", place.configured)
        })
        .collect();
    // What is named anew comes first: no list is empty in between, and nobody comes or goes.
    let mut commands: Vec<String> = Vec::new();
    for included in [true, false] {
        let verb = if included { "include" } else { "exclude" };
        let those = renamed.iter().filter(|(place, _)| place.included == included);
        commands.extend(those.map(|(_, moved_to)| command(verb, name, moved_to)));
    }
    let old = |included: bool| {
        let verb = if included { "exclude" } else { "include" };
        let those = renamed.iter().filter(move |(place, _)| place.included == included);
        those.map(move |(place, _)| command(verb, name, &place.configured))
    };
    let old: Vec<String> = old(false).chain(old(true)).collect();
    format!(
        "containers of '{name}' were renamed or moved: {}. Nothing of this import counts, and nothing is \
         synchronized before one that reads everything does. If the same containers are meant, give their new \
         names: {}; the old names are taken off by {}. If whoever is there shall be treated like everybody around it, the latter alone is \
         enough; `--what-if` shows who would come and go",
        told.join("; "),
        commands.join(", "),
        old.join(", ")
    )
}

fn command(verb: &str, name: &str, dn: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    format!("`syncline partition {verb} {} {}`", quoted(name), quoted(dn))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(configured: &str, included: bool, key: Option<u8>, moved_to: Option<&str>) -> ContainerPlace {
        ContainerPlace { configured: configured.to_owned(), included, key: key.map(|key| vec![key]), moved_to: moved_to.map(str::to_owned) }
    }

    #[test]
    fn the_message_gives_commands_in_an_order_in_which_nobody_comes_or_goes() {
        let places = [
            place("OU=People,DC=x", true, None, Some("OU=Staff,DC=x")),
            place("OU=It's,OU=People,DC=x", false, None, Some("OU=It's,OU=Staff,DC=x")),
            place("OU=Groups,DC=x", true, Some(3), None),
        ];
        let text = message("corp", &renamed(&places));
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is missing: {text}"));
        let order = [
            at("`syncline partition include 'corp' 'OU=Staff,DC=x'`"),
            at("`syncline partition exclude 'corp' 'OU=It'\\''s,OU=Staff,DC=x'`"),
            at("`syncline partition include 'corp' 'OU=It'\\''s,OU=People,DC=x'`"),
            at("`syncline partition exclude 'corp' 'OU=People,DC=x'`"),
        ];
        assert!(order.is_sorted(), "{text}");
        assert!(!text.contains("Groups"), "{text}");
    }

    #[test]
    fn a_new_name_that_is_configured_already_is_no_surprise() {
        let places = [place("OU=Old,DC=x", false, None, Some("OU=New,DC=x")), place("ou=new, dc=x", false, Some(1), None)];
        assert!(renamed(&places).is_empty());
        let other_list = [places[0].clone(), place("OU=New,DC=x", true, Some(1), None)];
        assert_eq!(renamed(&other_list).len(), 1);
    }

    #[test]
    fn the_key_of_a_container_that_does_not_show_is_kept_and_that_of_a_new_one_taken() {
        let before = [KeptContainer { name: "OU=a,DC=x".to_owned(), key: vec![1] }];
        let key = |place: &ContainerPlace| kept(place, &before).map(|kept| kept.key);
        assert_eq!(key(&place("OU=A,DC=x", false, None, None)), Some(vec![1]));
        assert_eq!(key(&place("OU=a,DC=x", false, Some(2), None)), Some(vec![2]));
        assert_eq!(key(&place("OU=b,DC=x", false, None, None)), None);
    }
}
