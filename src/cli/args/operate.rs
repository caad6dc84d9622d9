//! What people type to look after directories, selections and single objects.

use super::at_least_one;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Commands that look for trouble ahead.
#[derive(Debug, Subcommand)]
pub(crate) enum LintCommand {
    /// Find names and addresses that the cloud would refuse or alter, with a proposal for each; after an import, before any
    /// export. Ends with 2 when something would be refused, with 1 when something would be altered.
    Directory(LintDirectoryArguments),
}

/// Options of `lint directory`.
#[derive(Debug, Args)]
pub(crate) struct LintDirectoryArguments {
    /// The directory's connector, by name or number; by default every directory.
    pub connector: Option<String>,
    /// Also write every finding as comma-separated values.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Also write the changes of the directory that do away with findings; look at them before you apply them.
    #[arg(long, value_name = "FILE")]
    pub ldif: Option<PathBuf>,
    /// The verified domains, instead of asking the tenant; names that it makes get the first one. May be given several times.
    #[arg(long, value_name = "DOMAIN")]
    pub verified_domain: Vec<String>,
    /// Show at most so many findings.
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    pub limit: usize,
}

/// Commands about partitions and containers.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    /// List partitions: the naming contexts that are read.
    List {
        /// Of this connector only.
        connector: Option<String>,
        /// Ask servers for those that they offer, too.
        #[arg(long)]
        ask: bool,
    },
    /// Count the objects of a directory now, container by container; nothing is imported.
    Tree {
        /// The connector's name or number.
        connector: String,
    },
    /// Read a container and what is below it.
    Include(ChoiceArguments),
    /// Read a container and what is below it no more: their objects leave with the next import.
    Exclude(ChoiceArguments),
    /// Read another naming context (Active Directory).
    Enable(ChoiceArguments),
    /// Read a naming context no more: its objects leave with the next import.
    Disable(ChoiceArguments),
}

/// Options of `partition include` and its like.
#[derive(Debug, Args)]
pub(crate) struct ChoiceArguments {
    /// The connector's name or number.
    pub connector: String,
    /// The container or naming context.
    pub dn: String,
    /// Only show what would be written, and who would leave or come.
    #[arg(long)]
    pub what_if: bool,
}

/// Commands about schemas.
#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Show types and attributes of a directory, asked for now, or of the metaverse.
    Show {
        /// The connector's name or number, or `mv`.
        of: String,
        /// Only what is read, written or left out.
        #[arg(long)]
        used: bool,
    },
    /// Read attributes, or objects of classes, again that were left out.
    Include {
        /// The connector's name or number.
        connector: String,
        /// The attributes and classes.
        #[arg(required = true, value_name = "ATTRIBUTE|CLASS")]
        names: Vec<String>,
        /// Only show what would be written, and how many objects would come.
        #[arg(long)]
        what_if: bool,
    },
    /// Read attributes of a directory no more, or objects of classes: these leave with the next import.
    Exclude {
        /// The connector's name or number.
        connector: String,
        /// The attributes and classes.
        #[arg(required = true, value_name = "ATTRIBUTE|CLASS")]
        names: Vec<String>,
        /// Attributes: what becomes of the values that they gave to the cloud.
        #[arg(long, value_enum, default_value_t = CloudValues::Leave)]
        cloud_values: CloudValues,
        /// Only show what would be written, and how many objects it concerns.
        #[arg(long)]
        what_if: bool,
    },
}

/// What becomes of values in the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CloudValues {
    /// They stay as they are.
    Leave,
    /// They are emptied.
    Recall,
}

/// Commands about run profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// List the run profiles, which are built in, and which connectors have them.
    List,
    /// Show one.
    Show {
        /// Its name: full-import, delta-import, full-sync, delta-sync, export.
        profile: String,
    },
}
