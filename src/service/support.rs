//! The support bundle: what somebody who helps must know of an installation, in one document that can be read before it is
//! given away. Without secrets: none are configured or kept where it looks, and what may be one all the same is left out; and,
//! unless asked for, without names and values of people.

use super::audit::AuditLog;
use super::{EventQuery, Service, ServiceError, support_mask};
use crate::config::MAIN_FILE;
use crate::context::Context;
use crate::password::hash;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How much of each list a bundle has.
const RUNS: usize = 100;
const EVENTS: usize = 1_000;
const PROBLEMS: usize = 1_000;
const ACTS: usize = 200;
/// The largest configuration file that goes in whole.
const FILE_MAX: u64 = 1 << 20;
/// What is in a bundle that its reader may not want to give away.
const HOLDS: &str = "names of servers, domains, containers and pilot groups as the configuration names them, and what rules say; no comments of its files, no addresses behind their host, no secrets";
/// What else is in one with names.
const HOLDS_NAMES: &str = "names and values of people, accounts, receivers of mail, and what administrators typed";
/// Fields of events and steps that tell of the installation and never of a person.
const IMPERSONAL: [&str; 20] = [
    "connector",
    "profile",
    "result",
    "pending",
    "limit",
    "initial",
    "objects",
    "step",
    "reason",
    "domain",
    "error_code",
    "tracking_id",
    "count",
    "code",
    "version",
    "server",
    "seen",
    "accepted",
    "failed",
    "full",
];

/// Fields of how everything stands that may name somebody: sentences about objects, who suspended the scheduler and why, what a server said
/// of an account, and the object that is worked on.
const PERSONAL: [&str; 5] = ["what", "by", "reason", "held", "running"];
/// What stands in the place of what may name somebody.
const LEFT_OUT: &str = "(left out)";

/// What somebody who helps must know.
#[derive(Clone, Debug, Serialize)]
pub struct SupportBundle {
    /// When it was made.
    pub made: String,
    /// The program's version.
    pub version: &'static str,
    /// Names of people and texts that may hold them are in it.
    pub with_names: bool,
    /// The machine: processors, memory, kernel, how passwords are hashed.
    pub machine: BTreeMap<&'static str, String>,
    /// What is in it that its reader may not want to give away.
    pub holds: Vec<&'static str>,
    /// The configuration's files by name, without comments. Secrets are named in them and stand nowhere.
    pub configuration: BTreeMap<String, String>,
    /// How everything stands.
    pub status: Json,
    /// The store's tables.
    pub store: Json,
    /// What rules say that is wrong or probably not meant.
    pub rule_problems: Vec<String>,
    /// The newest runs.
    pub runs: Json,
    /// The newest events, the oldest of them first.
    pub events: Vec<Json>,
    /// Problems of objects: with names, one by one; otherwise counted by connector and code.
    pub problems: Json,
    /// The newest administrative acts.
    pub acts: Json,
}

impl Service {
    /// Everything that somebody who helps must know. Without names, `plain` gives the words of a command that are nobody's:
    /// which command it was and its options.
    ///
    /// # Errors
    /// When the store or a configuration file cannot be read.
    pub fn support_bundle(
        &self,
        cx: &Context,
        served: bool,
        with_names: bool,
        plain: &dyn Fn(&[String]) -> Vec<String>,
    ) -> Result<SupportBundle, ServiceError> {
        let (events, _) = self.events(&EventQuery::default(), EVENTS)?;
        let events = events.into_iter().map(|event| {
            let event = document(&event);
            if with_names { event } else { impersonal_event(event) }
        });
        let (mut acts, _) = AuditLog::beside(&self.store_path).newest(ACTS).unwrap_or_default();
        if with_names {
            acts.iter_mut().flat_map(|act| &mut act.command).for_each(|word| *word = support_mask::text(word));
        } else {
            // What somebody typed may name a person; which command it was does not.
            for act in &mut acts {
                act.command = plain(&act.command);
                LEFT_OUT.clone_into(&mut act.by);
            }
        }
        let runs = self.history()?.runs(RUNS)?;
        Ok(SupportBundle {
            made: cx.now().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            with_names,
            machine: machine(),
            holds: if with_names { vec![HOLDS, HOLDS_NAMES] } else { vec![HOLDS] },
            configuration: self.configuration_files(with_names)?,
            status: if with_names { document(&self.status(cx, served)?) } else { impersonal_status(document(&self.status(cx, served)?)) },
            store: document(&self.table_sizes()?),
            rule_problems: self.rule_problems().iter().map(ToString::to_string).collect(),
            runs: if with_names { document(&runs) } else { without(document(&runs), "message") },
            events: events.collect(),
            problems: self.problems_for_support(with_names)?,
            acts: document(&acts),
        })
    }

    /// The configuration on the disk, as it may be given away.
    fn configuration_files(&self, with_names: bool) -> Result<BTreeMap<String, String>, ServiceError> {
        let folder = &self.config.folder;
        let mut paths = vec![folder.join(MAIN_FILE)];
        paths.extend(self.config.connectors.iter().map(|connector| connector.file.clone()));
        let mut files = BTreeMap::new();
        for path in paths {
            files.insert(shown(folder, &path), support_mask::configuration(&text_of(&path)?, with_names));
        }
        files.extend(self.config.rule_files.iter().map(|file| (file.name.clone(), support_mask::rules(&file.text))));
        Ok(files)
    }

    fn table_sizes(&self) -> Result<BTreeMap<&'static str, u64>, ServiceError> {
        Ok(self.store.stats()?.tables.iter().map(|table| (table.name, table.rows)).collect())
    }

    fn problems_for_support(&self, with_names: bool) -> Result<Json, ServiceError> {
        let (problems, more) = self.browse()?.problems(None, PROBLEMS)?;
        if with_names {
            return Ok(json!({ "problems": problems, "more": more }));
        }
        let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for problem in &problems {
            *counts.entry(problem.connector.clone()).or_default().entry(problem.code.clone()).or_default() += 1;
        }
        Ok(json!({ "counts": counts, "more": more }))
    }
}

fn shown(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

fn text_of(path: &Path) -> Result<String, ServiceError> {
    let failed = |error: std::io::Error| ServiceError::Environment(format!("{} cannot be read: {error}", path.display()));
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
        return Ok(format!("left_out = \"longer than {FILE_MAX} octets\""));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// A document of what can always be one.
fn document<T: Serialize>(view: &T) -> Json {
    serde_json::to_value(view).unwrap_or_default()
}

/// A document without the fields of a name, however deep they lie.
fn without(document: Json, name: &str) -> Json {
    each_field(document, &|field, value| (field != name).then_some(value))
}

/// How everything stands, without what may name somebody.
fn impersonal_status(document: Json) -> Json {
    each_field(document, &|field, value| Some(if value.is_string() && PERSONAL.contains(&field) { LEFT_OUT.into() } else { value }))
}

/// A document with what becomes of each of its fields, however deep they lie; of what stays, those within as well.
fn each_field(document: Json, becomes: &impl Fn(&str, Json) -> Option<Json>) -> Json {
    match document {
        Json::Array(items) => items.into_iter().map(|item| each_field(item, becomes)).collect(),
        Json::Object(fields) => {
            let kept = fields.into_iter().filter_map(|(field, value)| becomes(&field, value).map(|value| (field, value)));
            kept.map(|(field, value)| (field, each_field(value, becomes))).collect()
        }
        other => other,
    }
}

/// An event without its sentence, and with those fields only that never name a person.
fn impersonal_event(event: Json) -> Json {
    let Json::Object(event) = event else { return Json::Null };
    let mut kept: Map<String, Json> = event.into_iter().filter(|(name, _)| name != "text").collect();
    if let Some(Json::Object(fields)) = kept.get_mut("fields") {
        fields.retain(|name, _| IMPERSONAL.contains(&name.as_str()));
    }
    Json::Object(kept)
}

fn machine() -> BTreeMap<&'static str, String> {
    let first_line = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.lines().next().map(str::to_owned));
    let processors = std::thread::available_parallelism().map(|count| count.to_string()).unwrap_or_default();
    let mut facts = BTreeMap::from([("processors", processors), ("password_hashing", hash::backend().to_owned())]);
    facts.extend(first_line("/proc/sys/kernel/osrelease").map(|kernel| ("kernel", kernel)));
    facts.extend(first_line("/proc/meminfo").map(|memory| ("memory", memory)));
    facts.extend(first_line("/proc/loadavg").map(|load| ("load", load)));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_nobodys_wrong_call() {
        let gone = text_of(Path::new("/nonexistent/connectors/corp.toml")).unwrap_err();
        assert!(matches!(&gone, ServiceError::Environment(message) if message.contains("corp.toml cannot be read")), "{gone}");
    }

    #[test]
    fn events_lose_their_people() {
        let event = json!({
            "sequence": 7, "id": 657, "text": "Password Change Result - Dn : CN=Ann",
            "fields": { "dn": "CN=Ann", "anchor": "eX", "result": "Success", "connector": "corp" },
        });
        let kept = impersonal_event(event);
        assert_eq!(kept, json!({ "sequence": 7, "id": 657, "fields": { "result": "Success", "connector": "corp" } }));
    }
}
