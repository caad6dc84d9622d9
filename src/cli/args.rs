//! What people type: options and commands.

mod account;
mod explain;
mod modes;
mod operate;
mod passwords;

pub(crate) use account::{AccountCommand, AdAccountCommand, Administrator, AnchorCommand, AnchorWriting, RightsScript, SecretCommand};
pub(crate) use explain::{ExprArguments, ExprCommand, PreviewArguments, RuleCommand, Way};
pub(crate) use modes::{GuardCommand, ModeCommand, PromoteArguments};
pub(crate) use operate::{CloudValues, LintCommand, LintDirectoryArguments, PartitionCommand, ProfileCommand, SchemaCommand};
pub(crate) use passwords::{EventFilter, EventLevel, EventsCommand, PhsCommand};

use crate::service::DeleteSet;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Keeps the people, groups and contacts of a directory the same in Microsoft Entra ID.
#[derive(Debug, Parser)]
#[command(name = "syncline", disable_version_flag = true, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// The configuration folder.
    #[arg(long, global = true, value_name = "DIR", default_value = crate::cli::calls::DEFAULT_FOLDER)]
    pub config: PathBuf,
    /// The store's file, instead of the configured one.
    #[arg(long, global = true, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to log to standard error: a level, or targets with levels (`syncline=debug`); by default `warn`.
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// Wait so long for a store in use, or for a service.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 10)]
    pub wait: u64,
    /// Print the version; with --json also commit and features.
    #[arg(short = 'V', long)]
    pub version: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A number of things to show. None of them would look as if there were none.
fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "write a whole number of 1 or more".to_owned())
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 warnings, 2 errors, 3 stopped, 4 not started, 5 threshold or guard, 64 usage";

/// Commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Synchronize a made-up directory into a local tenant, and show what happens.
    Demo(DemoArguments),
    /// Write a first configuration.
    Init(Box<InitArguments>),
    /// Look after the accounts that synchronization signs in with.
    #[command(subcommand)]
    Account(AccountCommand),
    /// List, set and remove secrets; what they are is never shown.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Look whether everything is there that synchronization needs, and say what to do.
    Doctor(DoctorArguments),
    /// Run single run profiles, and look at past runs.
    #[command(subcommand)]
    Run(RunCommand),
    /// Run whole cycles: import, synchronize, export, confirm.
    #[command(subcommand)]
    Cycle(CycleCommand),
    /// Show how everything stands, and what needs somebody.
    Status,
    /// List what administrators did.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show and set the protection against deleting by accident.
    #[command(subcommand)]
    Guard(GuardCommand),
    /// Show and set whether this installation exports, or only watches.
    #[command(subcommand)]
    Mode(ModeCommand),
    /// Make this installation the active one, after looking whether it is fit for that.
    Promote(PromoteArguments),
    /// Make what somebody who helps needs to know.
    #[command(subcommand)]
    Support(SupportCommand),
    /// Print what a shell needs to complete commands.
    Completions(CompletionsArguments),
    /// Write manual pages.
    Man(ManArguments),
    /// Run as a service: cycles on schedule, passwords beside them, commands by a socket.
    Serve(ServeArguments),
    /// Show who is told of what, and try it.
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Show and change when cycles run by themselves.
    #[command(subcommand)]
    Scheduler(SchedulerCommand),
    /// Send what waits for export, or show what would be sent.
    Export(ExportArguments),
    /// Synchronize password hashes, and see for whom it worked.
    #[command(subcommand)]
    Phs(PhsCommand),
    /// List and explain what was told.
    #[command(subcommand)]
    Events(EventsCommand),
    /// List the problems of objects.
    Errors(ErrorsArguments),
    /// Look into connector spaces.
    #[command(subcommand)]
    Cs(CsCommand),
    /// Look into the metaverse.
    #[command(subcommand)]
    Mv(MvCommand),
    /// Look at one object from end to end.
    #[command(subcommand)]
    Object(ObjectCommand),
    /// List connectors, and settle what becomes of those that are configured no longer.
    #[command(subcommand)]
    Connector(ConnectorCommand),
    /// Show what synchronization would do with one object, and on request do it.
    Preview(PreviewArguments),
    /// List, show, try, copy and switch rules.
    #[command(subcommand, alias = "rules")]
    Rule(RuleCommand),
    /// Try expressions, and look functions up.
    #[command(subcommand)]
    Expr(ExprCommand),
    /// Take a configuration over from Entra Connect, write the present one, compare two.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Choose which parts of a directory are read.
    #[command(subcommand)]
    Partition(PartitionCommand),
    /// Show what directories and the metaverse have, and choose what is read of them.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Show what a run can do.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Find what the cloud would refuse or alter, before anything is sent.
    #[command(subcommand)]
    Lint(LintCommand),
    /// Care for the store.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Show, set, clear and convert source anchors.
    #[command(subcommand)]
    Anchor(AnchorCommand),
    /// Run a local tenant.
    #[command(subcommand)]
    Tenant(TenantCommand),
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// People in the made-up directory.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub users: u64,
    /// Groups in it.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=200_000))]
    pub groups: u64,
    /// Contacts in it.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=200_000))]
    pub contacts: u64,
    /// Equal seeds make equal directories.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where everything goes: directory, tenant, configuration, store. An empty or new folder, or that of an earlier
    /// demonstration.
    #[arg(long, value_name = "DIR", default_value = "syncline-demo")]
    pub dir: PathBuf,
    /// Run the tenant as a process of its own instead of inside this one.
    #[arg(long)]
    pub tenant_process: bool,
}

/// Where people come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceKind {
    /// LDIF files.
    Ldif,
    /// Active Directory.
    Ad,
    /// OpenLDAP and its like.
    Ldap,
}

/// Where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TenantKind {
    /// A tenant that runs with the program.
    Local,
    /// Microsoft Entra ID, or a tenant that runs elsewhere.
    Entra,
}

/// Options of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Where people come from; without it, everything that options do not say is asked for on the terminal.
    #[arg(long, value_enum)]
    pub source: Option<SourceKind>,
    /// The source's name; by default its domain or kind.
    #[arg(long)]
    pub name: Option<String>,
    /// LDIF: the file, or the folder with *.ldif files.
    #[arg(long, value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// LDIF: the entries are those of an OpenLDAP directory.
    #[arg(long)]
    pub openldap: bool,
    /// Directory server: ldaps://host[:port] or ldap://host[:port].
    #[arg(long)]
    pub url: Option<String>,
    /// Directory server: encrypt an ldap:// connection by StartTLS.
    #[arg(long)]
    pub start_tls: bool,
    /// Directory server: allow a connection without encryption.
    #[arg(long)]
    pub allow_plain: bool,
    /// Directory server: certificate authorities to trust (PEM).
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Directory server: the account to sign in with.
    #[arg(long, value_name = "ACCOUNT")]
    pub bind_name: Option<String>,
    /// Directory server: file with the account's password; copied to the configuration with mode 0600.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Directory server: the name under which the password is looked up.
    #[arg(long, value_name = "NAME", default_value = "directory-bind")]
    pub credential: String,
    /// LDAP: where searches begin.
    #[arg(long, value_name = "DN")]
    pub base: Option<String>,
    /// A container to import; may be given several times.
    #[arg(long, value_name = "DN")]
    pub include: Vec<String>,
    /// A container to leave out; may be given several times.
    #[arg(long, value_name = "DN")]
    pub exclude: Vec<String>,
    /// The source's domain, where the directory does not tell it (LDIF, LDAP).
    #[arg(long)]
    pub domain: Option<String>,
    /// Where people go; `local` unless it is asked for.
    #[arg(long, value_enum)]
    pub tenant: Option<TenantKind>,
    /// Local tenant: a verified domain; by default the source's domain.
    #[arg(long, value_name = "DOMAIN")]
    pub verified_domain: Vec<String>,
    /// Entra: the tenant's id or one of its domains.
    #[arg(long, value_name = "TENANT")]
    pub tenant_id: Option<String>,
    /// Entra: the application's id; without it a person signs in by device code.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// Entra: file with the application's secret; copied to the configuration with mode 0600.
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,
    /// Entra: where tokens come from, when it is not the public cloud.
    #[arg(long, value_name = "URL")]
    pub login_url: Option<String>,
    /// Entra: the provisioning service, when it is not that of the public cloud.
    #[arg(long, value_name = "URL")]
    pub provisioning_url: Option<String>,
    /// Entra: certificate authorities to trust (PEM), and no others.
    #[arg(long, value_name = "FILE")]
    pub tenant_ca_file: Option<PathBuf>,
    /// The most deletes that one export sends.
    #[arg(long, default_value_t = 500)]
    pub max_deletes: u64,
    /// Export nothing until `[guard] staging` is false; always so behind questions.
    #[arg(long)]
    pub staging: bool,
    /// Then read everything and show what would be exported; nothing is sent.
    #[arg(long)]
    pub look: bool,
    /// Questions: the name server that knows the domain, with its port, instead of the machine's.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub name_server: Option<std::net::SocketAddr>,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// What to look at; everything without it.
    #[arg(value_enum)]
    pub area: Option<DoctorArea>,
}

/// What `doctor` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorArea {
    /// Whether servers can be reached: names, ports, certificates.
    Network,
}

/// Commands about runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Run one profile on one connector.
    Start {
        /// The connector's name or number.
        connector: String,
        /// What to run.
        #[arg(value_enum)]
        profile: Profile,
        /// Full import: go on although most of the known objects are missing.
        #[arg(long)]
        allow_shrink: bool,
        /// Full import: take entries as they are that lack what each of their kind has, or are of another kind than before.
        #[arg(long)]
        allow_incomplete: bool,
        /// Export: send exactly this set of waiting deletes, whatever the threshold says.
        #[arg(long, value_name = "SET")]
        allow_deletes: Option<DeleteSet>,
    },
    /// Ask what runs in the service to end at its next border.
    Stop,
    /// Forget past runs and events.
    Purge {
        /// From before so long ago: 7d, 12h.
        #[arg(long, value_name = "DURATION", required_unless_present = "all")]
        older_than: Option<String>,
        /// All that are over.
        #[arg(long, conflicts_with = "older_than")]
        all: bool,
    },
    /// List past runs, the newest first.
    List {
        /// Of this connector only.
        #[arg(long, value_name = "CONNECTOR")]
        connector: Option<String>,
        /// Only what runs now.
        #[arg(long)]
        running: bool,
        /// At most so many.
        #[arg(long, default_value_t = 30, value_parser = at_least_one)]
        limit: usize,
    },
    /// Show one run, its steps and counters, or the objects behind a counter.
    Show {
        /// The run's number.
        number: u64,
        /// Show the objects behind this counter: stage-add, connector-flow, export-update, …
        #[arg(long, value_name = "NAME")]
        counter: Option<String>,
        /// Of this step only.
        #[arg(long, value_name = "N")]
        step: Option<u32>,
        /// At most so many objects.
        #[arg(long, default_value_t = 50, value_parser = at_least_one)]
        limit: usize,
    },
}

/// Run profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Read everything.
    FullImport,
    /// Read what changed.
    DeltaImport,
    /// Apply the rules to all objects.
    FullSync,
    /// Apply the rules to what changed.
    DeltaSync,
    /// Send what is wanted.
    Export,
}

/// Commands about cycles.
#[derive(Debug, Subcommand)]
pub(crate) enum CycleCommand {
    /// Run one cycle.
    Start {
        /// Use full steps.
        #[arg(long)]
        initial: bool,
        /// Go on although most of the known objects are missing from a source.
        #[arg(long)]
        allow_shrink: bool,
    },
    /// Say what the next cycle that runs by itself shall read.
    Next {
        /// What it reads.
        #[arg(value_enum)]
        policy: NextPolicy,
    },
    /// Ask what runs in the service to end at its next border.
    Stop,
}

/// What a cycle reads and evaluates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NextPolicy {
    /// Everything.
    Initial,
    /// Changes.
    Delta,
    /// Changes, unless more is necessary.
    Unspecified,
}

/// Commands about what administrators did.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List acts, the newest first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 30, value_parser = at_least_one)]
        limit: usize,
    },
}

/// Commands for whoever helps.
#[derive(Debug, Subcommand)]
pub(crate) enum SupportCommand {
    /// Print one JSON document: configuration, state, runs, events, problems. No secrets, and no names of people.
    Bundle {
        /// With names of people, and the sentences that may hold them.
        #[arg(long)]
        with_names: bool,
    },
}

/// Options of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// The folder for the pages.
    pub to: PathBuf,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {}

/// Commands about the scheduler.
#[derive(Debug, Subcommand)]
pub(crate) enum SchedulerCommand {
    /// Show when cycles run, and what the next one does.
    Show,
    /// Change [scheduler] in syncline.toml.
    Set(SchedulerSettings),
    /// Let nothing run by itself until it is resumed.
    Suspend {
        /// Why, for the others who look.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let cycles run by themselves again.
    Resume,
    /// Make the next steps of a connector full ones.
    Override {
        /// The connector's name or number.
        connector: String,
        /// Read everything with the next import.
        #[arg(long)]
        full_import: bool,
        /// Evaluate everything with the next synchronization.
        #[arg(long)]
        full_sync: bool,
        /// Take it back.
        #[arg(long, conflicts_with_all = ["full_import", "full_sync"])]
        clear: bool,
    },
}

/// Settings of `scheduler set`.
#[derive(Debug, Args)]
pub(crate) struct SchedulerSettings {
    /// From the beginning of one cycle to that of the next: 45m, 1h30m.
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// Cycles run by themselves.
    #[arg(long, value_name = "true|false")]
    pub enabled: Option<bool>,
    /// History is purged daily.
    #[arg(long, value_name = "true|false")]
    pub maintenance: Option<bool>,
    /// A directory that tells of changes starts a cycle at once.
    #[arg(long, value_name = "true|false")]
    pub near_real_time: Option<bool>,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The target's name or number; by default every target.
    pub connector: Option<String>,
    /// Only show what would be sent.
    #[arg(long)]
    pub what_if: bool,
    /// Send exactly this set of waiting deletes, whatever the threshold says. --what-if names the set that waits; with
    /// any other the export stops.
    #[arg(long, value_name = "SET")]
    pub allow_deletes: Option<DeleteSet>,
    /// Send exactly this plan, as --what-if names it, or the document that --what-if --json printed; stop when anything
    /// else waits.
    #[arg(long, value_name = "PLAN|FILE", conflicts_with = "what_if")]
    pub plan: Option<String>,
    /// Let the first export to a tenant go from now on: what waits is exactly this plan, and you have looked at it.
    #[arg(long, value_name = "PLAN|FILE", conflicts_with_all = ["what_if", "plan", "allow_deletes"])]
    pub approve: Option<String>,
    /// With --what-if: also write everything that waits as one HTML page that needs nothing else.
    #[arg(long, value_name = "FILE", requires = "what_if")]
    pub html: Option<PathBuf>,
    /// With --what-if: also write everything that waits as comma-separated values, one value in each line.
    #[arg(long, value_name = "FILE", requires = "what_if")]
    pub csv: Option<PathBuf>,
    /// With --what-if: at most so many objects.
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    pub limit: usize,
}

/// Options of `errors`.
#[derive(Debug, Args)]
pub(crate) struct ErrorsArguments {
    /// Of this connector only.
    pub connector: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub limit: usize,
}

/// Commands about connector spaces.
#[derive(Debug, Subcommand)]
pub(crate) enum CsCommand {
    /// Search a connector space; all conditions must hold.
    Search(Box<CsSearchArguments>),
    /// Tie an object to a metaverse object by hand: rules do not part them again.
    Join {
        /// The object: name, anchor, sign-in name or number; `connector:` may stand before it.
        object: String,
        /// The metaverse object: its number, or any object that is linked to it.
        metaverse: String,
        /// Only show what would follow.
        #[arg(long)]
        what_if: bool,
    },
    /// Make a metaverse object of an object by hand, whatever the scope of rules says.
    Project {
        /// The object.
        object: String,
        /// The type in the metaverse; by default that of the rules.
        #[arg(long = "type", value_name = "TYPE")]
        object_type: Option<String>,
        /// Only show what would follow.
        #[arg(long)]
        what_if: bool,
    },
    /// Take an object off its metaverse object; the next synchronization considers it again.
    Disconnect {
        /// The object.
        object: String,
        /// For good: it is not considered again until `cs join` or `cs project`.
        #[arg(long)]
        explicit: bool,
        /// Only show what would follow.
        #[arg(long)]
        what_if: bool,
    },
    /// Forget everything of a target's space, so that its next import reads it anew. Exports that wait are lost, deletes
    /// among them for good.
    Clear {
        /// The target's name or number.
        connector: String,
        /// Also where this installation exports; without it only in staging mode.
        #[arg(long)]
        force: bool,
        /// Only show what would be forgotten.
        #[arg(long)]
        what_if: bool,
    },
    /// List the runs that had to do with an object, the newest first, with what they did to it.
    Log {
        /// Name, anchor (base64, hex, GUID), sign-in name or number; `connector:` may stand before it.
        object: String,
        /// At most so many.
        #[arg(long, default_value_t = 20, value_parser = at_least_one)]
        last: usize,
    },
    /// Show one object with everything that is under way.
    Show {
        /// Name, anchor (base64, hex, GUID), sign-in name or number; `connector:` may stand before it.
        object: String,
        /// At most so many values of each attribute.
        #[arg(long, default_value_t = 20, value_parser = at_least_one)]
        limit: usize,
    },
}

/// Options of `cs search`.
#[derive(Debug, Args)]
pub(crate) struct CsSearchArguments {
    /// The connector's name or number.
    pub connector: String,
    /// The beginning of the object's own name, without regard to case.
    #[arg(long, value_name = "TEXT")]
    pub rdn: Option<String>,
    /// Exactly this name.
    #[arg(long, value_name = "DN", conflicts_with_all = ["anchor", "under"])]
    pub dn: Option<String>,
    /// This anchor: GUID, base64, hex, or as the directory writes it.
    #[arg(long, value_name = "ANCHOR", conflicts_with = "under")]
    pub anchor: Option<String>,
    /// This container and everything below it.
    #[arg(long, value_name = "DN")]
    pub under: Option<String>,
    /// The object's type.
    #[arg(long = "type", value_name = "TYPE")]
    pub object_type: Option<String>,
    /// The link state: connector, disconnector, filtered-disconnector, placeholder, …
    #[arg(long)]
    pub state: Option<String>,
    /// Something waits for synchronization: add, update, delete, delete-add.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_enum)]
    pub pending_import: Vec<PendingKind>,
    /// Something waits for export: add, update, delete.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_enum)]
    pub pending_export: Vec<PendingKind>,
    /// Has a problem of reading.
    #[arg(long)]
    pub import_error: bool,
    /// Has a problem of rules.
    #[arg(long)]
    pub sync_error: bool,
    /// Has a problem of sending.
    #[arg(long)]
    pub export_error: bool,
    /// An attribute has a value: `mail=*@corp.example`; may be given several times.
    #[arg(long = "where", value_name = "CONDITION")]
    pub filters: Vec<String>,
    /// Show these attributes instead of the type, state and what is pending.
    #[arg(long, value_name = "ATTRIBUTES", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Write everything that fits as comma-separated values to this file, or to the standard output (`-`).
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// At most so many; for a file all.
    #[arg(long, value_parser = at_least_one)]
    pub limit: Option<usize>,
}

/// What is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PendingKind {
    /// The object appears.
    Add,
    /// It changes.
    Update,
    /// It goes.
    Delete,
    /// It becomes another type; only imports find that.
    DeleteAdd,
}

/// Commands about the metaverse.
#[derive(Debug, Subcommand)]
pub(crate) enum MvCommand {
    /// Search the metaverse; all conditions must hold.
    Search {
        /// Part of a name, account or address.
        text: Option<String>,
        /// The object's type.
        #[arg(long = "type", value_name = "TYPE")]
        object_type: Option<String>,
        /// An attribute has a value: `mail=*@corp.example`; may be given several times.
        #[arg(long = "where", value_name = "CONDITION")]
        filters: Vec<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = at_least_one)]
        limit: usize,
    },
    /// Say why an attribute has its value, or none: who gives it, who else would, since when, what targets got.
    Why {
        /// Its number, or any connector-space object that is linked to it.
        object: String,
        /// The attribute.
        attribute: String,
        /// Also write it as one HTML page that needs nothing else.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Show one object, and where every value comes from.
    Show {
        /// Its number, or any connector-space object that is linked to it.
        object: String,
        /// At most so many values of each attribute.
        #[arg(long, default_value_t = 20, value_parser = at_least_one)]
        limit: usize,
    },
}

/// Commands about one object.
#[derive(Debug, Subcommand)]
pub(crate) enum ObjectCommand {
    /// Take one object through import, synchronization, export and confirmation, in ten steps.
    Sync {
        /// Its name, or anything that an object is known by; for somebody who is new `connector:name`.
        object: String,
        /// Write nothing: show where it stands, and what would follow.
        #[arg(long)]
        what_if: bool,
        /// Also write the steps as one HTML page that needs nothing else.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Write everything that is known of one object as JSON: its images in every space, the metaverse with origins, what is under
    /// way, problems, runs, its password's story. It holds values of a person, and no secrets.
    Export {
        /// Name, anchor (base64, hex, GUID), sign-in name or number; `connector:` may stand before it.
        object: String,
        /// The file; only its owner may read it.
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
    },
    /// Find objects by name, anchor, sign-in name, account or number, in every connector space.
    Find {
        /// What the object is known by; `connector:` may stand before it.
        text: String,
    },
    /// Say why an object is in the cloud, or what stops it.
    Explain {
        /// Name, anchor (base64, hex, GUID), sign-in name or number; `connector:` may stand before it.
        object: String,
        /// Also write it as one HTML page that needs nothing else.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
}

/// Commands about connectors.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectorCommand {
    /// List connectors, and those whose objects were left behind.
    List,
    /// Show the settings of a connector: what counts, and whether it is written in its file. Secrets are named, never shown.
    Show {
        /// Its name or number.
        connector: String,
        /// Only settings that are written in the file.
        #[arg(long)]
        written: bool,
    },
    /// List the kinds of connectors, and what they can do.
    Types,
    /// Sign in to a directory or tenant, and read its schema; nothing is imported.
    Test {
        /// Its name or number.
        connector: String,
    },
    /// Write the file of a new connector; `connector test` says whether it works.
    Add {
        /// Its name.
        name: String,
        /// Its kind.
        #[arg(value_parser = ["ad", "ldap", "ldif", "entra"])]
        kind: String,
        /// A setting: `url=ldaps://dc1.corp.example`; may be given several times. A secret is named:
        /// `password.credential=ad-bind`.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        settings: Vec<String>,
        /// Only show the file.
        #[arg(long)]
        what_if: bool,
    },
    /// Change one setting of a connector.
    Set {
        /// Its name or number.
        connector: String,
        /// The setting, as `connector show` lists it: `page_size`, `selection.include`.
        key: String,
        /// What it is to be.
        #[command(flatten)]
        new: NewValue,
    },
    /// Write the settings of a connector to a file that another installation can import. Secrets are named in it, and stay
    /// where they are.
    Export {
        /// Its name or number.
        connector: String,
        /// The file; the standard output without it.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Make a connector of a file that `connector export` wrote; `connector test` says whether it works here.
    Import {
        /// The file.
        file: PathBuf,
        /// Another name than the one in the file.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Take the place of the connector that has this name.
        #[arg(long)]
        replace: bool,
        /// Only show what would be written.
        #[arg(long)]
        what_if: bool,
    },
    /// Read the schema again, and say what changed since it was looked at last.
    RefreshSchema {
        /// Its name or number.
        connector: String,
        /// Compare with this one from now on.
        #[arg(long)]
        apply: bool,
    },
    /// Give the objects of a connector that is configured no longer to one that is configured under another name.
    Rename {
        /// The name it had.
        name: String,
        /// The name it has now.
        new: String,
        /// Only show what would be given.
        #[arg(long)]
        what_if: bool,
    },
    /// Let the objects of a connector go that is configured no longer, as if its directory had lost them.
    Remove {
        /// Its name.
        name: String,
        /// Only show what would go.
        #[arg(long)]
        what_if: bool,
    },
}

/// What a setting is to be.
#[derive(Debug, Args)]
pub(crate) struct NewValue {
    /// Its value; a list as in the file, in brackets and quotation marks.
    #[arg(required_unless_present = "unset")]
    pub value: Option<String>,
    /// Take it out of the file, so that its default counts.
    #[arg(long, conflicts_with = "value")]
    pub unset: bool,
    /// Only show what would be written.
    #[arg(long)]
    pub what_if: bool,
}

/// Commands about configurations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Make a configuration of what Entra Connect exported, and say what became of every part.
    ImportEntra {
        /// The folder that Get-ADSyncServerConfiguration wrote; or a folder or file with rules as scripts or JSON.
        from: PathBuf,
        /// Where the configuration goes: a new or empty folder; by default the one of --config.
        #[arg(long, value_name = "FOLDER")]
        into: Option<PathBuf>,
        /// Another tenant than the exported one: `embedded` for a local tenant to try things with, or an id or domain.
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Write the present configuration.
    Export {
        /// Where to: a new or empty folder.
        to: PathBuf,
        /// In which form.
        #[arg(long, value_enum, default_value_t = ConfigFormat::Toml)]
        format: ConfigFormat,
    },
    /// Say everything that is wrong with the configuration, or probably not meant: files, rules, secrets, certificates.
    Check,
    /// Print what a file may hold, as JSON Schema.
    Schema {
        /// `syncline.toml`, a kind of connector (ad, ldap, ldif, entra), or a file of connectors/.
        #[arg(default_value = "syncline.toml")]
        file: String,
    },
    /// Show settings of syncline.toml: what counts, and whether it is written there.
    Show {
        /// Those whose name begins so: `guard`, `rules.services`; by default all.
        #[arg(default_value = "")]
        settings: String,
    },
    /// Change one setting of syncline.toml.
    Set {
        /// Its name, as `config show` lists it: `guard.max_deletes`.
        key: String,
        /// What it is to be.
        #[command(flatten)]
        new: NewValue,
    },
    /// Compare two configuration folders rule by rule and flow by flow; ends with 1 when they differ.
    Diff {
        /// The old configuration folder.
        old: PathBuf,
        /// The new configuration folder.
        new: PathBuf,
        /// Also write the comparison as one HTML page that needs nothing else.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
}

/// Forms of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigFormat {
    /// The files as they are, and a manifest with their hashes.
    Toml,
    /// XML, laid out as Entra Connect exports it.
    Entra,
}

/// Commands about the store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Hold every record against every other.
    Check {
        /// Make what can be made anew: indexes, queues, counters.
        #[arg(long)]
        rebuild: bool,
    },
    /// Say how much is in it.
    Stats,
    /// Give free space back.
    Compact,
    /// Copy it, from one consistent view; waits for a command that uses it (see --wait).
    Backup {
        /// The copy; must not exist.
        to: PathBuf,
    },
    /// Put a backup in its place, and read everything anew with the next cycle. No service may run.
    Restore {
        /// The backup.
        from: PathBuf,
        /// Only look at the backup, and say what would be done
        #[arg(long)]
        what_if: bool,
    },
}

/// Commands about what people are told.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// Show who is told, of which conditions, and which of them are there now.
    Show,
    /// Tell everybody that this is a test.
    Test {
        /// Only say who would be told
        #[arg(long)]
        what_if: bool,
    },
}

/// Commands about tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Serve a local tenant until interrupted, as `syncline-tenant serve` does.
    Serve(Box<crate::tenant::command::ServeArguments>),
}
