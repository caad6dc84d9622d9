//! Arguments of `mode`, `promote` and `guard`.

use clap::{Args, Subcommand};

/// Subcommands of `mode`.
#[derive(Debug, Subcommand)]
pub(crate) enum ModeCommand {
    /// Active or staging, and who writes to the tenants.
    Show,
    /// Export from the next step on, unless another installation does.
    Active,
    /// Only watch: import and synchronize, export nothing.
    Staging,
}

/// Options of `promote`.
#[derive(Debug, Args)]
pub(crate) struct PromoteArguments {
    /// Take over from another installation that is active; it stops by itself at its next export or password cycle.
    #[arg(long)]
    pub takeover: bool,
    /// Show what was checked, and change nothing.
    #[arg(long)]
    pub what_if: bool,
}

/// Commands about guards.
#[derive(Debug, Subcommand)]
pub(crate) enum GuardCommand {
    /// Show the guards, the tenant's own, and what waits.
    Show {
        /// Ask the tenant what it allows now, instead of telling what it said at the last export.
        #[arg(long)]
        tenant: bool,
    },
    /// Change [guard] in syncline.toml, or the tenant's own limit. A limit of deletes counts at once, also after `guard disable`.
    Set(GuardSettings),
    /// Switch the delete threshold off: exports send however many deletes wait, and every cycle warns, until `guard set` sets a
    /// limit. The tenant's own limit goes on counting.
    Disable {
        /// Show what would be changed, and change nothing.
        #[arg(long)]
        what_if: bool,
    },
}

/// Settings of `guard set`.
#[derive(Debug, Args)]
pub(crate) struct GuardSettings {
    /// The most deletes of one export.
    #[arg(long, value_name = "N")]
    pub max_deletes: Option<u64>,
    /// The most deletes as a share of what the target holds, in percent.
    #[arg(long, value_name = "PERCENT")]
    pub max_delete_percent: Option<u32>,
    /// The share of known objects that a full import may miss and still be believed, in percent.
    #[arg(long, value_name = "PERCENT")]
    pub shrink_percent: Option<u32>,
    /// Change the limit that the tenant keeps for all who synchronize with it.
    #[arg(long)]
    pub tenant: bool,
    /// Take the tenant's limit away.
    #[arg(long, requires = "tenant")]
    pub off: bool,
    /// Show what would be changed, and change nothing.
    #[arg(long)]
    pub what_if: bool,
}
