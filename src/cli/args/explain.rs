//! Commands about rules and expressions, and about what they come to for one object.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Which way a rule works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// From connector spaces to the metaverse.
    #[value(alias = "inbound")]
    In,
    /// From the metaverse to targets.
    #[value(alias = "outbound")]
    Out,
}

/// Commands about rules.
#[derive(Debug, Subcommand)]
pub(crate) enum RuleCommand {
    /// List rules by precedence; all conditions must hold.
    List {
        /// Of this connector only.
        #[arg(long, value_name = "CONNECTOR")]
        connector: Option<String>,
        /// In one direction only.
        #[arg(long, value_enum)]
        direction: Option<Way>,
        /// Rules that read, test or write this attribute.
        #[arg(long, value_name = "NAME")]
        attribute: Option<String>,
        /// Rules about this object type, on either side.
        #[arg(long = "type", value_name = "TYPE")]
        object_type: Option<String>,
        /// Only those that are switched off.
        #[arg(long, conflicts_with = "all")]
        disabled: bool,
        /// Also those that are switched off.
        #[arg(long)]
        all: bool,
    },
    /// Show everything about one rule.
    Show {
        /// Name, part of a name, tag, number or precedence; `connector:` may stand before it.
        rule: String,
    },
    /// Say what is wrong with rules, or probably not meant.
    Lint,
    /// Hold one rule against one object: scope clause by clause, join keys, and what every flow gives.
    Test {
        /// Name, part of a name, tag, number or precedence; `connector:` may stand before it.
        rule: String,
        /// A stored object: name, anchor, sign-in name or number.
        #[arg(required_unless_present = "entry")]
        object: Option<String>,
        /// The entry of this LDIF file instead of a stored object; for inbound rules.
        #[arg(long, value_name = "FILE", conflicts_with = "object")]
        entry: Option<PathBuf>,
    },
    /// List all flows into a metaverse or target attribute in the order in which they are asked.
    Precedence {
        /// The attribute.
        attribute: String,
    },
    /// Print one rule as TOML.
    Export {
        /// Name, part of a name, tag, number or precedence; `connector:` may stand before it.
        rule: String,
    },
    /// Copy a rule to a file of its own, which replaces the original.
    Clone {
        /// Name, part of a name, tag, number or precedence; `connector:` may stand before it.
        rule: String,
        /// The copy's name.
        #[arg(long = "as", value_name = "NAME")]
        name: String,
        /// Its place in the precedence; by default that of the original.
        #[arg(long, value_name = "N")]
        order: Option<u32>,
        /// Only show what would be written.
        #[arg(long)]
        what_if: bool,
    },
    /// Take a rule file over into the configuration, under its own name; a file of that name is replaced.
    Apply {
        /// The file: NAME.toml.
        file: PathBuf,
        /// Only show what would be written.
        #[arg(long)]
        what_if: bool,
    },
    /// Take a rule of one's own out of its file; built-in rules are switched off instead.
    Delete {
        /// Name, part of a name, tag, number or precedence; `connector:` may stand before it.
        rule: String,
        /// Only show what would be written.
        #[arg(long)]
        what_if: bool,
    },
    /// Switch a rule on.
    Enable {
        /// Name, part of a name, tag, number or precedence; `connector:` may stand before it.
        rule: String,
        /// Only show what would be written.
        #[arg(long)]
        what_if: bool,
    },
    /// Switch a rule off.
    Disable {
        /// Name, part of a name, tag, number or precedence; `connector:` may stand before it.
        rule: String,
        /// Only show what would be written.
        #[arg(long)]
        what_if: bool,
    },
}

/// Commands about expressions.
#[derive(Debug, Subcommand)]
pub(crate) enum ExprCommand {
    /// Evaluate an expression over a stored object, or over typed attributes.
    Eval(ExprArguments),
    /// List the functions of the language, or show one.
    Functions {
        /// Show this one.
        name: Option<String>,
    },
}

/// Options of `expr eval`.
#[derive(Debug, Args)]
pub(crate) struct ExprArguments {
    /// The expression: `Trim([givenName]) & " " & [sn]`.
    pub expression: String,
    /// A stored object: name, anchor, sign-in name or number. With --direction out its metaverse object.
    #[arg(long, value_name = "OBJECT")]
    pub object: Option<String>,
    /// An attribute of a made-up object, name=value; may be given several times.
    #[arg(long = "attr", value_name = "NAME=VALUE", conflicts_with = "object")]
    pub attributes: Vec<String>,
    /// As inbound rules read it (a connector-space object) or as outbound rules do (a metaverse object).
    #[arg(long, value_enum, default_value_t = Way::In)]
    pub direction: Way,
    /// Whose schema and parameters count; by default the object's connector, or the only one there is.
    #[arg(long, value_name = "CONNECTOR")]
    pub connector: Option<String>,
    /// The type of the made-up object.
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "object")]
    pub object_type: Option<String>,
}

/// Options of `preview`.
#[derive(Debug, Args)]
pub(crate) struct PreviewArguments {
    /// Name, anchor (base64, hex, GUID), sign-in name or number; `connector:` may stand before it.
    pub object: String,
    /// Compare all targets, as a full synchronization does.
    #[arg(long)]
    pub full: bool,
    /// Also list the rules that do not apply, with the clauses that fail, and the flows of attributes that stay.
    #[arg(long)]
    pub all: bool,
    /// Do it: synchronize exactly this object in a run of its own.
    #[arg(long)]
    pub commit: bool,
    /// Also write it as one HTML page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
