//! Arguments of `mode` and `promote`.

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
