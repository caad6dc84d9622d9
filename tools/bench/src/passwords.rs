//! `--passwords`: what password synchronization costs, each beside its floors in the same run.

use crate::child::{Cost, Outcome, Printed, measured, processor_time, run};
use crate::password_floors::accounts;
use crate::place::{Lab, SOURCE, Tenant, configure};
use crate::replication::Read;
use crate::report::{Bound, Report, number};
use crate::{Options, Stand, rounds, sum, tell};
use serde_json::Value;
use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use syncline::config::TemplateSource;
use syncline::context::Context;
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe};
use syncline::password::hash::{CredentialData, ITERATIONS};
use syncline::password::lanes::Backend;

/// Keys of one measurement of a backend: fills every width without a remainder.
const KEYS: usize = 256;
/// Each backend works so long at least.
const LONG_ENOUGH: Duration = Duration::from_millis(500);
/// How many times as fast as the plain crate the first backend is to be, where the machine has the instructions.
const TIMES_AS_FAST: f64 = 3.0;
/// How much longer reading through the source may take than the calls alone.
const READING: f64 = 1.2;
/// How much more than all floors the initial cycle may take.
const INITIAL: f64 = 1.6;

struct Bench {
    cx: Context,
    binary: PathBuf,
    itself: PathBuf,
    recipe: DirectoryRecipe,
    report: Report,
}

pub(crate) fn bench(options: &Options) -> Outcome<String> {
    let Stand { binary, itself, recipe, setting, folder } = Stand::new(options, Some(PasswordRecipe::default()))?;
    let mut bench = Bench { cx: Context::system(), binary, itself, recipe, report: Report::default() };
    let lab = match options.samba_users {
        0 => None,
        users => {
            tell(&format!("making a Samba domain of {users} accounts"))?;
            // Its sockets have short names, and lie below the folder for temporary files.
            let place = tempfile::Builder::new().prefix("sl-").tempdir()?;
            let recipe = DirectoryRecipe { users, groups: users / 20, contacts: 0, ..bench.recipe.clone() };
            Some((Lab::samba(place.path(), &recipe)?, place, users))
        }
    };
    rounds(options, folder.path(), |_, place| {
        bench.backends()?;
        if let Some((lab, folder, users)) = &lab {
            bench.reading(lab, folder.path(), *users)?;
        }
        bench.cycles(place, options.changes.min(options.users / 2))
    })?;
    if options.json { bench.report.json(&setting) } else { bench.report.text(&setting) }
}

impl Bench {
    /// Keys per second of one core, by every way that this machine has; the plain crate is the last.
    fn backends(&mut self) -> Outcome<()> {
        let accounts = accounts(KEYS);
        let mut rates = Vec::new();
        for backend in Backend::available() {
            let (began, mut keys) = (self.cx.clock.elapsed(), 0);
            let wall = loop {
                black_box(CredentialData::derive_all_by(*backend, black_box(&accounts), ITERATIONS)?);
                keys += KEYS;
                let wall = self.cx.clock.elapsed().saturating_sub(began);
                if wall >= LONG_ENOUGH {
                    break wall;
                }
            };
            let rate = number(u64::try_from(keys)?) / wall.as_secs_f64();
            self.report.number(&format!("keys/s of one core, {}", backend.name()), rate);
            rates.push((backend.name(), rate));
        }
        if let [(first, rate), .., (_, plain)] = rates.as_slice() {
            let name = format!("{first}, as a multiple of the crate (at least {TIMES_AS_FAST} with AVX-512 or SHA-NI)");
            self.report.number(&name, rate / plain);
        }
        Ok(())
    }

    /// A domain's hashes through the product's source, beside the same calls alone.
    fn reading(&mut self, lab: &Lab, place: &Path, users: u64) -> Outcome<()> {
        let state = place.join("state.json");
        std::fs::write(&state, serde_json::to_vec(lab.state())?)?;
        let read = |arguments: &[&str]| -> Outcome<Read> { Ok(serde_json::from_str(&self.itself(&state, arguments)?)?) };
        let (bare, ours) = (read(&["passwords", "replicate", "--bare"])?, read(&["passwords", "replicate"])?);
        if ours.hashes < users || bare.objects != ours.objects {
            return Err(format!("{ours:?} is not worth measuring beside {bare:?}").into());
        }
        self.report.add("reading hashes from Samba", ours.hashes, ours.cost);
        self.report.floor("reading hashes from Samba", bare.cost, "the calls alone, answers thrown away", Some(Bound::Wall(READING)));
        Ok(())
    }

    /// The initial cycle with passwords, and a cycle of changed ones.
    fn cycles(&mut self, place: &Path, changes: u64) -> Outcome<()> {
        let tenant = Tenant::start(&self.binary, place, &self.recipe.domain)?;
        let configuration = place.join("configuration");
        let file = place.join("directory.ldif");
        let mut out = BufWriter::new(OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?);
        self.recipe.write_ldif(&mut out)?;
        out.flush()?;
        drop(out);
        configure(&configuration, TemplateSource::Ldif { path: file.clone(), openldap: false }, &tenant, &self.recipe.domain)?;
        let ours = |arguments: &[&str]| {
            let mut command = Command::new(&self.binary);
            command.arg("--json").arg("--config").arg(&configuration).args(arguments);
            command
        };
        run(&mut ours(&["phs", "enable", SOURCE]))?;
        let objects = self.recipe.users + self.recipe.groups + self.recipe.contacts;
        let name = "initial cycle with passwords";
        let (cost, _) = measured(self.cx.clock.as_ref(), &mut ours(&["cycle", "start", "--initial"]), Printed::Dropped)?;
        self.report.add(name, objects, cost);
        self.report.number("tenant, initial cycle with passwords, cpu s", processor_time(tenant.server.0.id()));
        let confirmed = confirmed(&mut ours(&["phs", "coverage"]))?;
        // One in twenty is disabled, one in a hundred has a temporary password, one in two hundred has none.
        if confirmed * 10 < self.recipe.users * 9 {
            return Err(format!("only {confirmed} of {} passwords were taken; nothing is worth measuring", self.recipe.users).into());
        }
        let count = confirmed.to_string();
        let path = file.to_str().ok_or("the folder has a strange name")?;
        let parts: [(&str, &[&str]); 9] = [
            ("parse the file, for the import", &["passwords", "ldif", path]),
            ("hash all values", &["hash"]),
            ("bare load of the directory's records", &["load-source"]),
            ("read and copy all records", &["read"]),
            ("bare loads of metaverse and target", &["load-result"]),
            ("encode all objects, send to nobody", &["send"]),
            ("parse the file, for the passwords", &["passwords", "ldif", path]),
            ("derive the keys, on all processors", &["passwords", "derive", &count]),
            ("encode the keys, send to nobody", &["passwords", "send", &count]),
        ];
        let mut floors = Vec::with_capacity(parts.len() + 1);
        for (part, arguments) in parts {
            let cost = self.floor(&configuration, arguments)?;
            self.report.number(&format!("  floor: {part}, cpu s"), cost.cpu);
            floors.push(cost);
        }
        let records = self.floor(&configuration, &["passwords", "load"])?;
        self.report.number("  floor: bare load of the passwords' records, cpu s", records.cpu);
        floors.push(records);
        self.report.floor(name, sum(&floors), "sum of all floors", Some(Bound::Cpu(INITIAL)));

        let changes = changes.min(confirmed).max(1);
        let (name, count) = (format!("agent's cycle, {changes} changes (at most 0.5 s)"), changes.to_string());
        let spent = processor_time(tenant.server.0.id());
        let cycle: Cost = self.floor(&configuration, &["passwords", "cycle", &count])?;
        self.report.add(&name, changes, cycle);
        let derived = self.floor(&configuration, &["passwords", "derive", &count])?;
        self.report.floor(&name, derived, "derive the keys, on all processors", None);
        self.report.number(&format!("tenant, {changes} changed passwords, cpu s"), processor_time(tenant.server.0.id()) - spent);
        Ok(())
    }

    fn floor(&self, configuration: &Path, arguments: &[&str]) -> Outcome<Cost> {
        Ok(serde_json::from_str(&self.itself(configuration, arguments)?)?)
    }

    fn itself(&self, configuration: &Path, arguments: &[&str]) -> Outcome<String> {
        run(Command::new(&self.itself).arg("--configuration").arg(configuration).args(arguments))
    }
}

/// How many passwords the tenant has. Those that it does not have are a warning, and no error.
fn confirmed(command: &mut Command) -> Outcome<u64> {
    let output = command.output()?;
    let document: Value = serde_json::from_slice(&output.stdout)?;
    Ok(document["confirmed"].as_u64().ok_or("the program does not say how many passwords are confirmed")?)
}
