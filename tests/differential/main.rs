//! The judge that we did not write: the rules of a real exported configuration and the built-in rules, each on a fresh
//! store over the same made-up directories, must come to the same metaverse and want the same exports. Where they are
//! meant to differ, docs/rules.md says so, and this test holds the list against what really differs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod directory;
mod forests;
mod world;

use directory::directories;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syncline::migration::{ForeignFile, ImportOptions, Report, import};
use syncline::rules::{AnchorAttribute, RuleFile, RuleSet, RuleSettings};
use world::{Joined, Outcome, run};

/// Directories of different seeds; each makes another couple of hundred objects.
const SEEDS: std::ops::Range<u64> = 1..7;
const PEOPLE: u64 = 160;

/// The values of an object by attribute.
type Image = BTreeMap<String, BTreeSet<String>>;
/// One attribute of one kind of object that came out differently, or links that did.
type Difference = (String, String);

#[test]
fn published_material_and_the_built_in_rules_come_to_the_same() {
    let imported = imported_rules();
    let built_in = RuleSet::default_files();
    // What the exported server was set up with.
    let settings = RuleSettings { anchor_attribute: AnchorAttribute::ObjectGuid, exchange_hybrid: true, ..RuleSettings::default() };
    let folder = tempfile::tempdir().unwrap();
    let mut compared = Compared::default();
    for seed in SEEDS {
        let made = directories(seed, PEOPLE, false);
        let ours = run(&made, &built_in, &settings, folder.path());
        let theirs = run(&made, &imported, &settings, folder.path());
        compared.compare(seed, &ours, &theirs);
        compared.only_one_flows(&ours, &theirs);
    }
    // Where links are meant to differ, everything behind them differs, too.
    let made = directories(0, PEOPLE, true);
    compared.links(0, &run(&made, &built_in, &settings, folder.path()), &run(&made, &imported, &settings, folder.path()));
    compared.judge(&listed());
}

/// The rules of the published configuration as the importer makes them, for two forests instead of one.
#[expect(clippy::disallowed_methods, reason = "where the references are is told by the environment")]
fn imported_rules() -> Vec<RuleFile> {
    let references = std::env::var("SYNCLINE_REFERENCES").expect(
        "SYNCLINE_REFERENCES is not set: it names the folder with entra-connect-config/, which is not part of this repository. \
         Set it, or run the other tests with --skip published_material_",
    );
    let mut files = Vec::new();
    for part in ["Connectors", "GlobalSettings", "SynchronizationRules"] {
        for entry in std::fs::read_dir(Path::new(&references).join("entra-connect-config").join(part)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{part}/{}", path.file_name().unwrap().to_string_lossy());
            files.push(ForeignFile { name, text: std::fs::read_to_string(path).unwrap() });
        }
    }
    let imported = import(&files, &ImportOptions::default(), &mut Report::default()).unwrap();
    let rules = imported.files.into_iter().filter(|(name, _)| name.starts_with("rules/"));
    // The importer switches rules off that write to a directory; here nothing leaves.
    let of_both = |text: String| {
        text.replace("enabled = false\n", "").replace("connector = \"contoso.com\"", "connector = [\"contoso.com\", \"fabrikam.com\"]")
    };
    rules.map(|(name, text)| RuleFile { name, text: of_both(text) }).collect()
}

/// The intended differences: the first two cells of the table in docs/rules.md.
fn listed() -> BTreeSet<Difference> {
    let text = include_str!("../../docs/rules.md");
    let (_, table) = text.split_once("| Object | Attribute |").expect("docs/rules.md has the table of differences");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').skip(1).map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>());
    cells.map(|cells| (cells[0].clone(), cells[1].to_lowercase())).collect()
}

#[derive(Default)]
struct Compared {
    objects: usize,
    values: usize,
    exports: usize,
    errors: BTreeSet<String>,
    attributes: BTreeSet<Difference>,
    /// What differs, with an example.
    differences: BTreeMap<Difference, String>,
}

impl Compared {
    fn compare(&mut self, seed: u64, ours: &Outcome, theirs: &Outcome) {
        let both: BTreeSet<&Difference> = ours.flowed.intersection(&theirs.flowed).collect();
        self.errors.extend(ours.errors.values().cloned());
        for (name, code) in &ours.errors {
            if theirs.errors.get(name) != Some(code) {
                self.differs("error", code, || format!("seed {seed}, {name}: {code} against {:?}", theirs.errors.get(name)));
            }
        }
        for (name, code) in theirs.errors.iter().filter(|(name, _)| !ours.errors.contains_key(*name)) {
            self.differs("error", code, || format!("seed {seed}, {name}: nothing against {code}"));
        }
        self.links(seed, ours, theirs);
        for (name, left) in &ours.people {
            let Some(right) = theirs.people.get(name).filter(|right| right.links == left.links) else { continue };
            self.attributes(seed, name, left, right, &both);
        }
    }

    fn links(&mut self, seed: u64, ours: &Outcome, theirs: &Outcome) {
        for name in ours.people.keys().chain(theirs.people.keys()).collect::<BTreeSet<_>>() {
            self.objects += 1;
            let (left, right) = (ours.people.get(name), theirs.people.get(name));
            let links = |joined: Option<&Joined>| joined.map(|joined| (joined.object_type.clone(), joined.links.clone()));
            if links(left) != links(right) {
                let kind = left.or(right).map_or("", |joined| &joined.object_type);
                self.differs(&format!("metaverse {kind}"), "(links)", || {
                    format!("seed {seed}, {name}: {:?} against {:?}", links(left), links(right))
                });
            }
        }
    }

    /// Attributes that only one of the two fills.
    fn only_one_flows(&mut self, ours: &Outcome, theirs: &Outcome) {
        for (place, attribute) in ours.flowed.symmetric_difference(&theirs.flowed) {
            let who = if ours.flowed.contains(&(place.clone(), attribute.clone())) { "ours" } else { "theirs" };
            self.differs(place, attribute, || format!("only {who} flow into it"));
        }
    }

    fn attributes(&mut self, seed: u64, name: &str, left: &Joined, right: &Joined, both: &BTreeSet<&Difference>) {
        let place = format!("metaverse {}", left.object_type);
        self.images(seed, name, &place, (&left.values, &right.values), both);
        for kind in left.exports.keys().chain(right.exports.keys()).collect::<BTreeSet<_>>() {
            let place = format!("{} {}", kind.0, kind.1);
            let none = BTreeMap::new();
            let (left, right) = (left.exports.get(kind).unwrap_or(&none), right.exports.get(kind).unwrap_or(&none));
            self.exports += 1;
            self.images(seed, name, &place, (left, right), both);
        }
    }

    fn images(&mut self, seed: u64, name: &str, place: &str, (left, right): (&Image, &Image), both: &BTreeSet<&Difference>) {
        for attribute in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
            let difference = (place.to_owned(), attribute.clone());
            if attribute != "(pending)" && !both.contains(&difference) {
                continue;
            }
            self.values += 1;
            self.attributes.insert(difference);
            let (left, right) = (left.get(attribute), right.get(attribute));
            if left != right {
                self.differs(place, attribute, || format!("seed {seed}, {name}: {left:?} against {right:?}"));
            }
        }
    }

    fn differs(&mut self, place: &str, attribute: &str, example: impl FnOnce() -> String) {
        self.differences.entry((place.to_owned(), attribute.to_lowercase())).or_insert_with(example);
    }

    fn judge(&self, listed: &BTreeSet<Difference>) {
        let shown = |(place, attribute): &Difference, why: &str| format!("{place} | {attribute}: {why}\n");
        let unlisted: String =
            self.differences.iter().filter(|(known, _)| !listed.contains(*known)).map(|(known, why)| shown(known, why)).collect();
        assert!(unlisted.is_empty(), "differences (ours against theirs) that docs/rules.md does not list:\n{unlisted}");
        let stale: String =
            listed.iter().filter(|known| !self.differences.contains_key(*known)).map(|known| shown(known, "no difference")).collect();
        assert!(stale.is_empty(), "docs/rules.md lists differences that there are not:\n{stale}");
        // The directories must be worth comparing.
        assert!(self.objects > 1_000 && self.exports > 1_000, "{} objects, {} exports", self.objects, self.exports);
        assert!(self.values > 20_000 && self.attributes.len() > 300, "{} values, {} attributes", self.values, self.attributes.len());
        assert!(self.errors.len() >= 3, "{:?}", self.errors);
    }
}
