//! `lint directory`: what the cloud would refuse or alter, before anything is sent.

use crate::cli::App;
use crate::cli::args::{LintCommand, LintDirectoryArguments};
use crate::cli::calls::call;
use crate::cli::commands::more;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, table, thousands};
use crate::cli::private;
use crate::service::{Access, LintRepairs, LintTable, LintView, ServiceError};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    found: LintView,
    /// The table that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    csv: Option<PathBuf>,
    /// The changes that were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    ldif: Option<PathBuf>,
    /// How many entries they change.
    #[serde(skip_serializing_if = "Option::is_none")]
    ldif_entries: Option<u64>,
}

pub(in crate::cli) fn run(app: &App, command: &LintCommand) -> Result<Exit, CommandError> {
    let LintCommand::Directory(arguments) = command;
    directory(app, arguments)
}

fn directory(app: &App, arguments: &LintDirectoryArguments) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let only = arguments.connector.as_deref().map(|name| service.connector_id(name)).transpose()?;
    let domains = (!arguments.verified_domain.is_empty()).then(|| arguments.verified_domain.clone());
    let result = |path: Option<&PathBuf>| path.map(|path| app.result_file(path)).transpose();
    let (csv, ldif) = (result(arguments.csv.as_ref())?, result(arguments.ldif.as_ref())?);
    let mut rows = match &csv {
        Some(path) => Some(LintTable::new(create(path)?).map_err(|error| unwritten(path, &error))?),
        None => None,
    };
    let mut repairs = match &ldif {
        Some(path) => Some(LintRepairs::new(create(path)?).map_err(|error| unwritten(path, &error))?),
        None => None,
    };
    let found = service.lint_directory(&app.cx, only, domains, arguments.limit, &mut |findings| {
        if let (Some(rows), Some(path)) = (&mut rows, &csv) {
            rows.write(findings).map_err(|error| unwritten(path, &error))?;
        }
        if let (Some(repairs), Some(path)) = (&mut repairs, &ldif) {
            repairs.write(findings).map_err(|error| unwritten(path, &error))?;
        }
        Ok(())
    })?;
    if let (Some(rows), Some(path)) = (rows, &csv) {
        rows.finish().map_err(|error| unwritten(path, &error))?;
    }
    let ldif_entries = match (repairs, &ldif) {
        (Some(repairs), Some(path)) => Some(repairs.finish().map_err(|error| unwritten(path, &error))?),
        _ => None,
    };
    let has = |consequence: &str| found.counts.values().any(|count| count.consequence == consequence);
    let exit = match (has("refused"), found.counts.is_empty()) {
        (true, _) => Exit::Errors,
        (false, false) => Exit::Warnings,
        (false, true) => Exit::Ok,
    };
    app.output.result(&Document { found, csv, ldif, ldif_entries }, |document| print(app, document));
    Ok(exit)
}

fn create(path: &Path) -> Result<BufWriter<File>, ServiceError> {
    private::create(path).map(BufWriter::new).map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &io::Error) -> ServiceError {
    ServiceError::Unwritten { path: path.to_owned(), reason: error.to_string() }
}

fn print(app: &App, document: &Document) {
    let found = &document.found;
    app.output.line(clean(format!(
        "{} for {}, {} that rules keep here; verified domains: {}",
        counted(found.objects, "object", "objects"),
        found.target,
        thousands(found.not_sent),
        found.verified_domains.join(", ")
    )));
    if found.counts.is_empty() {
        app.output.line("Nothing was found: the cloud takes everything as it is.");
        return;
    }
    let mut counts: Vec<_> = found.counts.iter().collect();
    counts.sort_by_key(|(kind, count)| (["refused", "altered", "odd"].iter().position(|known| *known == count.consequence), **kind));
    let rows = counts
        .into_iter()
        .map(|(kind, count)| [(*kind).to_owned(), thousands(count.count), count.consequence.to_owned(), count.meaning.to_owned()]);
    app.output.line("");
    app.output.table(table(["kind", "found", "consequence", "what it is"], &["found"], rows));
    app.output.line("");
    let rows = found.findings.iter().map(|finding| {
        let proposal = match (finding.action, &finding.proposed) {
            ("write", Some(value)) => value.clone(),
            ("remove", _) => "(remove it)".to_owned(),
            _ => "(decide)".to_owned(),
        };
        let other = finding.other.as_ref().map(|other| format!("also {} {}", other.id, other.dn));
        let told: Vec<String> = other.into_iter().chain((!finding.detail.is_empty()).then(|| finding.detail.clone())).collect();
        let attribute = finding.source_attribute.clone().unwrap_or_else(|| finding.attribute.to_owned());
        [finding.id.clone(), finding.kind.to_owned(), attribute, finding.value.clone(), proposal, told.join("; "), finding.dn.clone()]
    });
    app.output.table(table(["id", "kind", "attribute", "value", "proposed", "more", "name"], &["id"], rows));
    more(&app.output, found.more, found.findings.len());
    for (path, what) in [(&document.csv, "All findings"), (&document.ldif, "Changes that mend what can be mended")] {
        if let Some(path) = path {
            app.output.line(clean(format!("{what}: {}", path.display())));
        }
    }
    if document.ldif.is_none() {
        app.output.note(format!(
            "\nThe changes that mend them, to look at and apply: {}",
            call(&["lint", "directory", "--ldif", "changes.ldif"])
        ));
    }
}
