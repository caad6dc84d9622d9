//! `--version`: what this is and what it was built from.

use crate::cli::error::Exit;
use crate::cli::output::Output;
use serde::Serialize;

/// What is known of this build.
#[derive(Serialize)]
struct Build {
    name: &'static str,
    version: &'static str,
    commit: &'static str,
    features: &'static [&'static str],
}

pub(in crate::cli) fn run(output: &Output) -> Exit {
    let build = Build {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("SYNCLINE_COMMIT").unwrap_or("unknown"),
        features: &["connector-ad", "connector-entra", "connector-ldap", "connector-ldif", "local-tenant"],
    };
    output.result(&build, |build| output.line(format!("{} {}", build.name, build.version)));
    Exit::Ok
}
