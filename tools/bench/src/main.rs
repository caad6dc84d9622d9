//! Measures the whole job – read a directory server, synchronize, write to a tenant, confirm – and in the same run what
//! `ldapsearch` needs to read the same data, and the floors that the design holds each stage against.
//!
//! The server, the tenant and the program are processes of this machine; what is told is the program's own share.

mod child;
mod delta;
mod floors;
mod password_floors;
mod passwords;
mod place;
mod replication;
mod report;

use child::{Cost, Outcome, Printed, measured, processor_time, run};
use clap::Parser;
use floors::{Floor, Question};
use place::{Lab, SOURCE, TARGET, Tenant, configure};
use report::{Bound, Report, Setting, number};
use serde_json::Value;
use std::io::{Write, stderr, stdout};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use syncline::context::Context;
use syncline::directory_generator::{DirectoryRecipe, PasswordRecipe};

/// What runs in this process is measured as the program would run it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures the whole job against OpenLDAP and a local tenant.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// People in the directory
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// Groups; by default one for every twenty people
    #[arg(long)]
    groups: Option<u64>,
    /// Contacts; by default one for every hundred people
    #[arg(long)]
    contacts: Option<u64>,
    /// How often everything is done; medians are told
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// People who get another title for the cycle with changes
    #[arg(long, default_value_t = 500)]
    changes: u64,
    /// Measure passwords instead: keys per second, reading hashes from a Samba domain, the initial cycle with passwords from a
    /// file, and a cycle of changed passwords
    #[arg(long)]
    passwords: bool,
    /// Measure delta cycles instead: one without news, and one in which seven of a hundred people changed
    #[arg(long, conflicts_with = "passwords")]
    delta: bool,
    /// Accounts of the Samba domain; 0 leaves it out
    #[arg(long, default_value_t = 10_000, requires = "passwords")]
    samba_users: u64,
    /// The program to measure; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where everything is kept while it is measured; by default the folder for temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// The configuration that a floor is measured with
    #[arg(long, hide = true)]
    configuration: Option<PathBuf>,
    /// Measure one floor; what this program starts itself for
    #[command(subcommand)]
    floor: Option<Floor>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match (&options.floor, &options.configuration) {
        (Some(floor), Some(configuration)) => floors::main(floor, configuration),
        _ if options.passwords => passwords::bench(&options),
        _ if options.delta => delta::bench(&options),
        _ => bench(&options),
    };
    let written = match done {
        Ok(text) => writeln!(stdout(), "{}", text.trim_end()).map(|()| ExitCode::SUCCESS),
        Err(error) => writeln!(stderr(), "error: {error}").map(|()| ExitCode::FAILURE),
    };
    written.unwrap_or(ExitCode::FAILURE)
}

/// Stages that are held against floors from elsewhere.
const INITIAL: &str = "initial cycle";
const UNCHANGED: &str = "full import and sync, unchanged";

/// Everything that stays the same over all runs.
struct Bench {
    cx: Context,
    binary: PathBuf,
    itself: PathBuf,
    recipe: DirectoryRecipe,
    lab: Lab,
    report: Report,
}

/// What every measurement begins with.
pub(crate) struct Stand {
    pub(crate) binary: PathBuf,
    pub(crate) itself: PathBuf,
    pub(crate) recipe: DirectoryRecipe,
    pub(crate) setting: Setting,
    pub(crate) folder: tempfile::TempDir,
}

impl Stand {
    /// Finds the program and makes a folder; `passwords` are those of the people.
    pub(crate) fn new(options: &Options, passwords: Option<PasswordRecipe>) -> Outcome<Self> {
        let itself = std::env::current_exe()?;
        let binary = options.binary.clone().unwrap_or_else(|| itself.with_file_name("syncline"));
        let version = run(Command::new(&binary).arg("--version")).map_err(|error| format!("{error}; build it, or name it by --binary"))?;
        let recipe = DirectoryRecipe {
            users: options.users,
            groups: options.groups.unwrap_or(options.users / 20),
            contacts: options.contacts.unwrap_or(options.users / 100),
            passwords,
            ..DirectoryRecipe::default()
        };
        let setting = Setting::new(&recipe, options.runs, &version)?;
        let base = options.dir.clone().unwrap_or_else(std::env::temp_dir);
        // The sockets of servers have short names, so that they are content with any folder.
        let folder = tempfile::Builder::new().prefix("syncline-bench-").tempdir_in(base)?;
        Ok(Self { binary, itself, recipe, setting, folder })
    }
}

/// Does the work as often as it is wanted, each time in a folder of its own.
pub(crate) fn rounds(options: &Options, folder: &Path, mut work: impl FnMut(u32, &Path) -> Outcome<()>) -> Outcome<()> {
    for round in 1..=options.runs {
        tell(&format!("run {round} of {}", options.runs))?;
        let place = folder.join(format!("run-{round}"));
        std::fs::create_dir(&place)?;
        work(round, &place)?;
        std::fs::remove_dir_all(&place)?;
    }
    Ok(())
}

fn bench(options: &Options) -> Outcome<String> {
    let Stand { binary, itself, recipe, setting, folder } = Stand::new(options, None)?;
    tell(&format!("loading {} objects into OpenLDAP", recipe.users + recipe.groups + recipe.contacts))?;
    let lab = Lab::start(folder.path(), &recipe)?;
    let mut bench = Bench { cx: Context::system(), binary, itself, recipe, lab, report: Report::beside_search() };
    rounds(options, folder.path(), |round, place| {
        bench.stages(place)?;
        bench.cycles(place, options.changes.min(options.users), round)
    })?;
    let peak = number(bench.report.peak()) / 1e6;
    bench.report.number("peak memory, MB (at most 256 at 100,000 people, 1,000 at a million)", peak);
    if options.json { bench.report.json(&setting) } else { bench.report.text(&setting) }
}

fn tell(text: &str) -> Outcome<()> {
    Ok(writeln!(stderr(), "{text} …")?)
}

impl Bench {
    /// Every stage as a process of its own, so that each has its own figures.
    fn stages(&mut self, place: &Path) -> Outcome<()> {
        let folder = place.join("stages");
        std::fs::create_dir(&folder)?;
        let tenant = Tenant::start(&self.binary, &folder, &self.recipe.domain)?;
        let configuration = folder.join("configuration");
        configure(&configuration, self.lab.source(), &tenant, &self.recipe.domain)?;
        self.lab.secret(&configuration)?;

        let question: Question = serde_json::from_str(&self.itself(&configuration, &["question"])?)?;
        let objects = self.recipe.users + self.recipe.groups + self.recipe.contacts;
        let mut search = self.lab.search(&question.filter, &question.attributes);
        let (searched, _) = measured(self.cx.clock.as_ref(), &mut search, Printed::Dropped)?;
        self.report.add("ldapsearch", objects, searched);

        let (first, found) = self.profile(&configuration, "full import, all new", SOURCE, "full-import", objects)?;
        if found != objects {
            return Err(format!("of {objects} objects in the directory the import found {found}; nothing else is worth measuring").into());
        }
        let (again, _) = self.profile(&configuration, "full import, nothing changed", SOURCE, "full-import", objects)?;
        self.report.floor("full import, nothing changed", searched, "ldapsearch", Some(Bound::Wall(1.5)));
        let difference = Cost { cpu: (first.cpu - again.cpu).max(0.0), wall: (first.wall - again.wall).max(0.0), peak: 0 };
        let loading = self.floor(&configuration, &["load-source"])?;
        self.report.add("  the new objects' share of it", objects, difference);
        self.report.floor("  the new objects' share of it", loading, "bare load of the records", Some(Bound::Cpu(2.0)));

        self.profile(&configuration, "full sync, all new", SOURCE, "full-sync", objects)?;
        let (still, _) = self.profile(&configuration, "full sync, nothing changed", SOURCE, "full-sync", objects)?;
        let hashing = self.floor(&configuration, &["hash"])?;
        let reading = self.floor(&configuration, &["read"])?;
        let results = self.floor(&configuration, &["load-result"])?;
        let both = sum(&[reading, results]);
        self.report.floor("full sync, all new", both, "read, copy, two bare loads", Some(Bound::Cpu(2.0)));
        self.report.floor("full sync, nothing changed", reading, "read and copy", Some(Bound::Cpu(3.0)));
        let (spent, octets) = (processor_time(tenant.server.0.id()), file_size(&configuration)?);
        let sending = self.floor(&configuration, &["send"])?;
        let (_, exported) = self.profile(&configuration, "export", TARGET, "export", objects)?;
        self.report.floor("export", sending, "encode, send to nobody", Some(Bound::Cpu(2.0)));
        self.report.add(UNCHANGED, objects, sum(&[again, still]));
        self.report.floor(UNCHANGED, searched, "ldapsearch", Some(Bound::Cpu(3.5)));
        self.report.floor(INITIAL, sum(&[searched, hashing, loading, both, sending]), "all floors", Some(Bound::Cpu(2.0)));
        self.profile(&configuration, "confirming import", TARGET, "full-import", exported)?;
        self.report.number("tenant, export and confirming import, cpu s", processor_time(tenant.server.0.id()) - spent);
        self.report.number("store before the export, octets per object", number(octets) / number(objects.max(1)));
        Ok(())
    }

    /// Cycles as people run them.
    fn cycles(&mut self, place: &Path, changes: u64, round: u32) -> Outcome<()> {
        let folder = place.join("cycles");
        std::fs::create_dir(&folder)?;
        let tenant = Tenant::start(&self.binary, &folder, &self.recipe.domain)?;
        let configuration = folder.join("configuration");
        configure(&configuration, self.lab.source(), &tenant, &self.recipe.domain)?;
        self.lab.secret(&configuration)?;
        let objects = self.recipe.users + self.recipe.groups + self.recipe.contacts;
        self.cycle(&configuration, INITIAL, &["--initial"], objects)?;
        self.report.number("tenant, initial cycle, cpu s", processor_time(tenant.server.0.id()));
        self.report.number(
            "store after the initial cycle, octets per object (at most 10,000)",
            number(file_size(&configuration)?) / number(objects.max(1)),
        );
        self.cycle(&configuration, "full cycle, nothing changed", &["--initial"], objects)?;
        self.cycle(&configuration, "delta cycle, nothing changed", &[], objects)?;
        let changed = self.lab.change(&folder, changes, &format!("Changed in run {round}"))?;
        let name = format!("delta cycle, {changed} changed");
        self.cycle(&configuration, &name, &[], changed)?;
        let least = self.floor(&configuration, &["change", &changed.to_string()])?;
        self.report.floor(&name, least, "read and write that many", None);
        Ok(())
    }

    fn profile(&mut self, configuration: &Path, name: &str, connector: &str, profile: &str, objects: u64) -> Outcome<(Cost, u64)> {
        self.ours(configuration, name, &["run", "start", connector, profile], objects)
    }

    fn cycle(&mut self, configuration: &Path, name: &str, more: &[&str], objects: u64) -> Outcome<()> {
        self.ours(configuration, name, &[&["cycle", "start"], more].concat(), objects).map(drop)
    }

    /// Runs the program. Gives its cost, and how many objects it found new and sent.
    fn ours(&mut self, configuration: &Path, name: &str, arguments: &[&str], objects: u64) -> Outcome<(Cost, u64)> {
        let mut command = Command::new(&self.binary);
        command.arg("--json").arg("--config").arg(configuration).args(arguments);
        let (cost, printed) = measured(self.cx.clock.as_ref(), &mut command, Printed::Kept).map_err(|error| format!("{name}: {error}"))?;
        self.report.add(name, objects, cost);
        let document: Value = serde_json::from_str(&printed)?;
        let steps = || document["runs"].as_array().into_iter().flatten().flat_map(|run| run["steps"].as_array().into_iter().flatten());
        if let Some(step) = steps().find(|step| step["result"] != "success") {
            return Err(format!("{name} is not worth measuring: {step}").into());
        }
        if name == INITIAL {
            for run in document["runs"].as_array().into_iter().flatten() {
                let text = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
                let step = format!("{INITIAL}, {} of {}, wall s", text("profile"), text("connector"));
                self.report.number(&step, run["seconds"].as_f64().unwrap_or(0.0));
            }
        }
        let counters = ["stage-add", "export-add", "export-update"];
        let counted = counters.iter().flat_map(|counter| steps().filter_map(|step| step["counters"][*counter].as_u64()));
        Ok((cost, counted.sum()))
    }

    fn floor(&self, configuration: &Path, arguments: &[&str]) -> Outcome<Cost> {
        Ok(serde_json::from_str(&self.itself(configuration, arguments)?)?)
    }

    fn itself(&self, configuration: &Path, arguments: &[&str]) -> Outcome<String> {
        run(Command::new(&self.itself).arg("--configuration").arg(configuration).args(arguments))
    }
}

/// Costs one after the other.
fn sum(costs: &[Cost]) -> Cost {
    let add = |sum: Cost, cost: &Cost| Cost { cpu: sum.cpu + cost.cpu, wall: sum.wall + cost.wall, peak: sum.peak.max(cost.peak) };
    costs.iter().fold(Cost::default(), add)
}

/// What the store takes on the disk; its length runs ahead of that by a hole.
fn file_size(configuration: &Path) -> Outcome<u64> {
    Ok(std::fs::metadata(syncline::config::Config::load(configuration)?.store)?.blocks() * 512)
}
