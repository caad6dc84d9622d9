//! Containers of the selection that are renamed in real directories (Samba, slapd): nothing is read by names that they have
//! no more, nobody comes in and nobody goes, and the message says what to do.

use crate::ad_delta::{domain, rename, run_source, unit, user};
use crate::labs::{self, Lab};
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use syncline::connector::Connector;
use syncline::connector::ad::{AdConnector, AdSettings, DeltaMode};
use syncline::connector::directory::Selection;
use syncline::connector::ldap::{LdapConnector, LdapConnectorSettings, LdapSettings};
use syncline::engine::run::Profile;
use syncline::model::{ConnectorId, Names};
use syncline::store::{RunRecord, Store};
use tokio::runtime::Runtime;

const BASE: &str = "DC=corp,DC=example";
const A: ConnectorId = ConnectorId(1);
const STOPPED: &str = "stopped-renamed-container";

/// A directory, a store, and what is selected.
struct Trial {
    lab: &'static Lab,
    active_directory: bool,
    runtime: Runtime,
    store: Store,
    selection: Selection,
}

/// A slapd that these tests change.
fn slapd() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| labs::up("openldap", &labs::recipe(10, 2, 2), &["--sessionlog", "1000"]))
}

impl Trial {
    /// Three containers inside of one, the second left out but for the third, which lies in it; somebody in each.
    fn new(active_directory: bool, name: &str) -> Self {
        let lab = if active_directory { domain() } else { slapd() };
        let inside = format!("OU={name},{BASE}");
        let own = |below: &[&str]| below.iter().map(|below| format!("{below}{inside}")).collect();
        let object_types = ["user", "contact", "group"].map(str::to_owned).to_vec();
        let selection = Selection { object_types, include: own(&["", "OU=Kept,OU=Secret,"]), exclude: own(&["OU=Secret,"]) };
        let trial = Self {
            lab,
            active_directory,
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            store: Store::in_memory().unwrap(),
            selection,
        };
        for below in ["", "OU=Secret,", "OU=Kept,OU=Secret,"] {
            trial.lab.modify(&unit(&format!("{below}{inside}")));
        }
        for (number, below) in ["", "OU=Secret,", "OU=Kept,OU=Secret,"].into_iter().enumerate() {
            let dn = format!("CN=p{number},{below}{inside}");
            let account = format!("{}{number}", name.to_lowercase());
            let person = format!("dn: {dn}\nchangetype: add\nobjectClass: user\ncn: p{number}\nsn: {account}\n\n");
            trial.lab.modify(&if active_directory { user(&dn, &account) } else { person });
        }
        trial
    }

    fn connector(&self, names: &Arc<Names>) -> Arc<dyn Connector> {
        let mut connection =
            LdapSettings::new(self.lab.text("ldaps"), self.lab.text("bind_name"), SecretString::from(self.lab.text("password")));
        connection.ca_file = Some(PathBuf::from(self.lab.text("ca")));
        let selection = self.selection.clone();
        if self.active_directory {
            let settings = AdSettings { connection, partitions: Vec::new(), selection, delta: DeltaMode::Auto };
            return Arc::new(AdConnector::new(settings, names.clone()).unwrap());
        }
        let settings = LdapConnectorSettings { connection, base: BASE.to_owned(), anchor: "entryUUID".to_owned(), selection };
        Arc::new(LdapConnector::new(settings, names.clone()).unwrap())
    }

    fn run(&self, profile: Profile) -> RunRecord {
        // As a configuration does: another selection is read anew.
        let selection = self.selection.include.iter().chain(&self.selection.exclude).map(|name| name.len() as u64).sum();
        run_source(&self.store, &self.runtime, self.connector(self.store.names()), selection, profile)
    }

    /// An import that has to go well, and the synchronization behind it: what none has seen is forgotten when a guard stops.
    #[track_caller]
    fn runs(&self, import: Profile) {
        for profile in [import, Profile::DeltaSynchronization] {
            let record = self.run(profile);
            assert_eq!(record.result.0, "success", "{record:#?}");
        }
    }

    /// Who is in the space and not on the way out; slapd writes names in letters of its own.
    fn people(&self) -> BTreeSet<String> {
        let all = self.store.snapshot().unwrap().cs_scan(A, None, usize::MAX).unwrap();
        all.into_iter().filter(syncline::model::CsObject::imported).map(|object| object.dn.to_lowercase()).collect()
    }

    /// An import that is stopped, whichever it is, and changes nothing. Gives the message.
    #[track_caller]
    fn stops(&self, old: &str, new: &str, commands: &[&str]) {
        let before = self.people();
        for profile in [Profile::DeltaImport, Profile::FullImport, Profile::DeltaImport] {
            let record = self.run(profile);
            assert_eq!(record.result.0, STOPPED, "{record:#?}");
            let message = record.steps.last().unwrap().message.clone().unwrap().to_lowercase();
            for part in [&[old, new][..], commands].concat() {
                assert!(message.contains(&part.to_lowercase()), "'{part}' is missing: {message}");
            }
            assert_eq!(self.people(), before);
        }
    }
}

fn names(names: &[String]) -> BTreeSet<String> {
    names.iter().map(|name| name.to_lowercase()).collect()
}

fn an_excluded_container(active_directory: bool) {
    let mut trial = Trial::new(active_directory, "Renamed Exclude");
    trial.runs(Profile::FullImport);
    trial.runs(Profile::DeltaImport);
    let inside = format!("OU=Renamed Exclude,{BASE}");
    assert_eq!(trial.people().len(), 2, "{:?}", trial.people());
    // Without those in it.
    trial.selection.include.truncate(1);
    trial.runs(Profile::FullImport);
    assert_eq!(trial.people(), names(&[format!("CN=p0,{inside}")]));
    let (old, new) = (format!("OU=Secret,{inside}"), format!("OU=Private,{inside}"));
    trial.lab.modify(&rename(&old, "OU=Private", None));
    let (give, take) = (format!("`syncline partition exclude 'A' '{new}'`"), format!("`syncline partition include 'A' '{old}'`"));
    trial.stops(&old, &new, &[&give, &take]);
    // Another container of the old name does not make it the one that was meant.
    trial.lab.modify(&unit(&old));
    trial.stops(&old, &new, &[&give]);
    // What the commands make of it, one after the other.
    trial.selection.exclude.push(new.clone());
    trial.runs(Profile::DeltaImport);
    trial.selection.exclude = vec![new.clone()];
    trial.runs(Profile::DeltaImport);
    assert_eq!(trial.people(), names(&[format!("CN=p0,{inside}")]));
    // In other letters it has the same name; and when it has gone, nobody is in it.
    trial.lab.modify(&rename(&new, "OU=PRIVATE", None));
    trial.runs(Profile::DeltaImport);
    for dn in [format!("CN=p2,OU=Kept,{new}"), format!("OU=Kept,{new}"), format!("CN=p1,{new}"), new] {
        trial.lab.modify(&format!("dn: {dn}\nchangetype: delete\n\n"));
    }
    let record = trial.run(Profile::FullImport);
    // Samba tells nothing of where the account may not look, which is no other answer than that there is nothing.
    assert_eq!(record.result.0, if active_directory { "completed-warnings" } else { "success" }, "{record:#?}");
    assert_eq!(trial.people(), names(&[format!("CN=p0,{inside}")]));
}

fn an_included_container_in_an_excluded_one(active_directory: bool) {
    let mut trial = Trial::new(active_directory, "Renamed Nested");
    trial.runs(Profile::FullImport);
    trial.runs(Profile::DeltaImport);
    let inside = format!("OU=Renamed Nested,{BASE}");
    let (old, new) = (format!("OU=Kept,OU=Secret,{inside}"), format!("OU=Held,OU=Secret,{inside}"));
    trial.lab.modify(&rename(&old, "OU=Held", None));
    let (give, take) = (format!("`syncline partition include 'A' '{new}'`"), format!("`syncline partition exclude 'A' '{old}'`"));
    trial.stops(&old, &new, &[&give, &take]);
    trial.selection.include = vec![inside.clone(), new.clone()];
    trial.runs(Profile::DeltaImport);
    assert_eq!(trial.people(), names(&[format!("CN=p0,{inside}"), format!("CN=p2,{new}")]));
    // The container around it is moved with it.
    trial.lab.modify(&rename(&format!("OU=Secret,{inside}"), "OU=Private", None));
    let (outer, nested) = (format!("OU=Private,{inside}"), format!("OU=Held,OU=Private,{inside}"));
    trial.stops(&new, &nested, &[&format!("`syncline partition exclude 'A' '{outer}'`")]);
    trial.selection.include = vec![inside.clone(), nested.clone()];
    trial.selection.exclude = vec![outer.clone()];
    trial.runs(Profile::DeltaImport);
    assert_eq!(trial.people(), names(&[format!("CN=p0,{inside}"), format!("CN=p2,{nested}")]));
    // One that has gone is no empty one.
    trial.lab.modify(&format!("dn: CN=p2,{nested}\nchangetype: delete\n\ndn: {nested}\nchangetype: delete\n\n"));
    let record = trial.run(Profile::DeltaImport);
    let message = record.steps.last().unwrap().message.clone().unwrap();
    assert!(record.result.0.starts_with("stopped-") && message.contains(&nested) && message.contains("does not exist"), "{record:#?}");
    assert_eq!(trial.people().len(), 2);
}

fn an_included_container(active_directory: bool) {
    let mut trial = Trial::new(active_directory, "Renamed Include");
    trial.runs(Profile::FullImport);
    trial.runs(Profile::DeltaImport);
    let (old, new) = (format!("OU=Renamed Include,{BASE}"), format!("OU=Included,{BASE}"));
    trial.lab.modify(&rename(&old, "OU=Included", None));
    let (give, take) = (format!("`syncline partition include 'A' '{new}'`"), format!("`syncline partition exclude 'A' '{old}'`"));
    trial.stops(&old, &new, &[&give, &take]);
    for list in [&mut trial.selection.include, &mut trial.selection.exclude] {
        for name in list.iter_mut() {
            *name = name.replace(&old, &new);
        }
    }
    trial.runs(Profile::DeltaImport);
    assert_eq!(trial.people(), names(&[format!("CN=p0,{new}"), format!("CN=p2,OU=Kept,OU=Secret,{new}")]));
}

#[test]
fn a_renamed_excluded_container_lets_nobody_in() {
    an_excluded_container(true);
}

#[test]
fn a_renamed_excluded_container_of_openldap_lets_nobody_in() {
    an_excluded_container(false);
}

#[test]
fn a_renamed_container_in_an_excluded_one_takes_nobody_off() {
    an_included_container_in_an_excluded_one(true);
}

#[test]
fn a_renamed_container_of_openldap_in_an_excluded_one_takes_nobody_off() {
    an_included_container_in_an_excluded_one(false);
}

#[test]
fn a_renamed_included_container_is_told_by_both_names() {
    an_included_container(true);
}

#[test]
fn a_renamed_included_container_of_openldap_is_told_by_both_names() {
    an_included_container(false);
}
