//! `--delta`: what a cycle costs in which little or nothing changed, in time and in rows, beside the size of the directory.
//!
//! The directory is a file with change files behind it and the tenant a process of its own, so that what is told is the
//! program alone: its processor time on all processors, decoding and calls included.

use crate::child::{Cost, Outcome, measured, run};
use crate::child::{Printed, processor_time};
use crate::floors::Meter;
use crate::place::{SOURCE, Tenant, configure};
use crate::report::{Bound, Report, number};
use crate::{Options, Stand, rounds};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use syncline::config::{Config, TemplateSource};
use syncline::context::Context;
use syncline::directory_generator::DirectoryRecipe;
use syncline::engine::Silent;
use syncline::service::{Access, DriveOptions, Service, Work};

/// Seconds that a cycle without news may take (issue: deltas cost what changed).
const STILL_MOST: f64 = 0.05;
/// Seconds that a cycle may take in which seven of a hundred people changed, of 100,000.
const BUSY_MOST: f64 = 2.0;
/// Of a hundred people so many leave, so many come, and so many are changed.
const SHARES: [u64; 3] = [1, 1, 5];

/// What a process of this program measured of one cycle.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cycle {
    cost: Cost,
    rows_read: u64,
    bodies_read: u64,
    rows_written: u64,
    commits: u64,
    /// Seconds of each run by the clock, in their order.
    steps: Vec<(String, f64)>,
    counters: BTreeMap<String, u64>,
}

/// Runs delta cycles in this process, one behind the other as in the service, and says what each cost, without opening the store
/// and reading the rules. Each file of `next` gets its name without the last extension when its cycle begins.
pub(crate) fn cycles(configuration: &Path, next: &[PathBuf]) -> Outcome<Vec<Cycle>> {
    let service = Service::open(Config::load(configuration)?, None, Access::Existing)?;
    let mut cycles = vec![cycle(&service)?];
    for changes in next {
        std::fs::rename(changes, changes.with_extension(""))?;
        cycles.push(cycle(&service)?);
    }
    Ok(cycles)
}

fn cycle(service: &Service) -> Outcome<Cycle> {
    let meter = Meter(Context::system());
    let before = service.store().io_counts();
    let mut runs = Vec::new();
    let cost = meter.process(|| {
        runs = service.drive(&meter.0, &[Work::Cycle { initial: false }], DriveOptions::default(), &mut Silent)?;
        Ok(())
    })?;
    let after = service.store().io_counts();
    let mut counters: BTreeMap<String, u64> = BTreeMap::new();
    for run in &runs {
        if run.result != "success" || run.profile.starts_with("Full") {
            return Err(format!("{} of {} ended with {}: not worth measuring", run.profile, run.connector, run.result).into());
        }
        let run = serde_json::to_value(run)?;
        for (name, count) in run["steps"].as_array().into_iter().flatten().filter_map(|step| step["counters"].as_object()).flatten() {
            *counters.entry(name.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }
    Ok(Cycle {
        cost,
        rows_read: after.rows_read - before.rows_read,
        bodies_read: after.bodies_read - before.bodies_read,
        rows_written: after.rows_written - before.rows_written,
        commits: after.commits - before.commits,
        steps: runs.iter().map(|run| (format!("{} of {}", run.profile, run.connector), run.seconds.unwrap_or(0.0))).collect(),
        counters,
    })
}

struct Bench {
    cx: Context,
    binary: PathBuf,
    itself: PathBuf,
    recipe: DirectoryRecipe,
    report: Report,
}

pub(crate) fn bench(options: &Options) -> Outcome<String> {
    let Stand { binary, itself, recipe, setting, folder } = Stand::new(options, None)?;
    let mut bench = Bench { cx: Context::system(), binary, itself, recipe, report: Report::default() };
    rounds(options, folder.path(), |_, place| bench.round(place))?;
    if options.json { bench.report.json(&setting) } else { bench.report.text(&setting) }
}

impl Bench {
    fn round(&mut self, place: &Path) -> Outcome<()> {
        let tenant = Tenant::start(&self.binary, place, &self.recipe.domain)?;
        let (file, changes) = (place.join("directory.ldif"), place.join("changes"));
        std::fs::create_dir(&changes)?;
        let mut out = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(&file)?);
        self.recipe.write_ldif(&mut out)?;
        out.flush()?;
        drop(out);
        let configuration = place.join("configuration");
        configure(&configuration, TemplateSource::Ldif { path: file, openldap: false }, &tenant, &self.recipe.domain)?;
        Self::take_changes_from(&configuration, &changes)?;

        let mut first = Command::new(&self.binary);
        first.arg("--json").arg("--config").arg(&configuration).args(["cycle", "start", "--initial"]);
        let (initial, _) = measured(self.cx.clock.as_ref(), &mut first, Printed::Dropped)?;
        self.report.number("the initial cycle before it, wall s", initial.wall);
        self.allow_deletes(&configuration)?;
        // The first delta reads what the tenant did with the initial cycle.
        self.measured(&configuration, &[])?;

        for still in self.measured(&configuration, &[])? {
            self.add(&format!("delta cycle, nothing changed (at most {STILL_MOST} s)"), (0, "no changes"), &still, STILL_MOST);
        }

        let shares = SHARES.map(|share| (self.recipe.users * share / 100).max(1));
        let [gone, came, _] = shares;
        self.write_changes(&changes.join("0001.ldif"), shares, 0)?;
        let second = changes.join("0002.ldif.next");
        self.write_changes(&second, shares, 1)?;
        let spent = processor_time(tenant.server.0.id());
        let busy = self.measured(&configuration, &[second])?;
        let count: u64 = shares.iter().sum();
        let people = format!("{count} of {} people changed", self.recipe.users);
        let bound = format!("at most {BUSY_MOST} s of 100,000");
        let which = [("a process begins with it", "changes, first"), ("the process did one before, as the service has", "changes, next")];
        for (cycle, (which, short)) in busy.iter().zip(which) {
            self.add(&format!("delta cycle, {people}; {which} ({bound})"), (count, short), cycle, BUSY_MOST);
            for (counter, expected) in [("stage-add", came), ("export-add", came), ("export-delete", gone)] {
                let found = cycle.counters.get(counter).copied().unwrap_or(0);
                if found < expected {
                    return Err(format!("{counter} is {found}, and {expected} at least were to be: {:?}", cycle.counters).into());
                }
            }
        }
        self.report.number("  the tenant's processor time beside both, s", processor_time(tenant.server.0.id()) - spent);
        Ok(())
    }

    /// `short` begins the lines that tell more of it.
    fn add(&mut self, name: &str, (objects, short): (u64, &str), cycle: &Cycle, bound: f64) {
        self.report.add(name, objects, cycle.cost);
        // A floor of one second makes the multiple the seconds that the design allows.
        self.report.floor(name, Cost { cpu: 1.0, wall: 1.0, peak: 0 }, "a second", Some(Bound::Cpu(bound)));
        for (row, count) in [
            ("rows read", cycle.rows_read),
            ("of them records of objects", cycle.bodies_read),
            ("rows written", cycle.rows_written),
            ("commits", cycle.commits),
        ] {
            self.report.number(&format!("  {short}: {row}"), number(count));
        }
        for (index, (step, seconds)) in cycle.steps.iter().enumerate() {
            self.report.number(&format!("  {short}: {}. {step}, wall s", index + 1), *seconds);
        }
    }

    /// Delta cycles by a process of their own.
    fn measured(&self, configuration: &Path, next: &[PathBuf]) -> Outcome<Vec<Cycle>> {
        let printed = run(Command::new(&self.itself).arg("--configuration").arg(configuration).arg("cycles").args(next))?;
        Ok(serde_json::from_str(&printed)?)
    }

    fn take_changes_from(configuration: &Path, changes: &Path) -> Outcome<()> {
        let connectors = configuration.join("connectors");
        let named = |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("\"{SOURCE}\"")));
        let files: Vec<PathBuf> = std::fs::read_dir(&connectors)?.filter_map(|file| Some(file.ok()?.path())).collect();
        let source = files.iter().find(|path| named(path)).ok_or("the template wrote no source")?;
        let text = std::fs::read_to_string(source)?;
        let folder = changes.to_str().ok_or("the folder has a strange name")?;
        let with = text.replacen("\npath =", &format!("\nchanges = {folder:?}\npath ="), 1);
        if with == text {
            return Err("the template's source has no key `path` any more".into());
        }
        std::fs::write(source, with)?;
        Ok(())
    }

    /// As many may leave as are to leave, here and by the tenant's own limit.
    fn allow_deletes(&self, configuration: &Path) -> Outcome<()> {
        for whose in [&[][..], &["--tenant"]] {
            let most = self.recipe.users.to_string();
            run(Command::new(&self.binary).args(["guard", "set", "--max-deletes", &most]).args(whose).arg("--config").arg(configuration))?;
        }
        Ok(())
    }

    /// Whoever changes is at the beginning, whoever leaves is at the end, and whoever comes is behind that; further `times` are
    /// about others.
    fn write_changes(&self, path: &Path, [gone, came, changed]: [u64; 3], times: u64) -> Outcome<()> {
        let users = self.recipe.users;
        // Security identifiers are numbered through: those right behind the people are taken by groups.
        let fresh = users + self.recipe.groups + self.recipe.contacts + times * came;
        let (first, last) = (times * changed, users - times * gone);
        let (unready, whole) = (path.with_extension("new"), path.with_extension("whole"));
        let larger = DirectoryRecipe { users: fresh + came, groups: 0, contacts: 0, ..self.recipe.clone() };
        let mut out = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(&whole)?);
        larger.write_ldif(&mut out)?;
        out.flush()?;
        drop(out);
        let mut file = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(&unready)?);
        writeln!(file, "version: 1\n")?;
        let (mut person, mut record) = (0, Vec::new());
        // An empty line ends each record, also the last one.
        for line in BufReader::new(std::fs::File::open(&whole)?).lines().chain([Ok(String::new())]) {
            let line = line?;
            if !line.is_empty() {
                record.push(line);
                continue;
            }
            let record = std::mem::take(&mut record);
            if !record.iter().any(|line| line == "objectClass: user") {
                continue;
            }
            let from = record.iter().position(|line| line.starts_with("dn:")).ok_or("a record has no name")?;
            let name = 1 + record[from + 1..].iter().take_while(|line| line.starts_with(' ')).count();
            let (name, values) = record[from..].split_at(name);
            let name = name.join("\n");
            match person {
                index if (first..first + changed).contains(&index) => {
                    writeln!(file, "{name}\nchangetype: modify\nreplace: title\ntitle: Changed {index}\n-\n")?;
                }
                index if index >= fresh => writeln!(file, "{name}\nchangetype: add\n{}\n", values.join("\n"))?,
                index if (last - gone..last).contains(&index) => writeln!(file, "{name}\nchangetype: delete\n")?,
                _ => {}
            }
            person += 1;
        }
        file.flush()?;
        drop(file);
        std::fs::remove_file(&whole)?;
        // Found whole, or not at all.
        std::fs::rename(&unready, path)?;
        Ok(())
    }
}
