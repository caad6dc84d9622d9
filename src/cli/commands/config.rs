//! `config import-entra` and `config export`: folders in, folders out; nothing is overwritten, nothing is half written.

use crate::cli::App;
use crate::cli::args::{ConfigCommand, ConfigFormat};
use crate::cli::calls::call_in;
use crate::cli::commands::{config_diff, config_keys};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{Output, clean, table, thousands};
use crate::config::{Config, MAIN_FILE, Secrets};
use crate::migration::{FILE_MAX, ForeignFile, ImportOptions, Outcome, Report, ReportLine, from_config, import, manifest, write};
use crate::service::compile_configured;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The most files of one export; the largest known one has 65.
const FILES_MAX: usize = 20_000;
/// The most octets of all files together.
const TOTAL_MAX: u64 = 4 * FILE_MAX as u64;
/// Folders below folders; an export has one level.
const DEPTH_MAX: usize = 4;
/// The report beside an imported configuration.
const REPORT_FILE: &str = "import-report.json";
/// What files of an export end in.
const READ: [&str; 4] = ["xml", "json", "ps1", "txt"];

#[derive(Serialize)]
struct ImportResult {
    folder: String,
    files: Vec<String>,
    rules: usize,
    flows: usize,
    missing_credentials: Vec<String>,
    #[serde(flatten)]
    report: ReportDocument,
}

#[derive(Serialize)]
struct ReportDocument {
    taken: u64,
    changed: u64,
    not_taken: u64,
    failed: u64,
    unknown: u64,
    lines_left_out: u64,
    report: Vec<ReportLine>,
}

#[derive(Serialize)]
struct ExportResult {
    folder: String,
    format: &'static str,
    files: Vec<String>,
    not_copied: Vec<String>,
}

pub(in crate::cli) fn run(app: &App, command: &ConfigCommand) -> Result<Exit, CommandError> {
    match command {
        ConfigCommand::ImportEntra { from, into, tenant } => import_entra(app, from, into.as_ref().unwrap_or(&app.config), tenant.as_ref()),
        ConfigCommand::Export { to, format } => export(app, to, *format),
        ConfigCommand::Check => Ok(config_keys::check(app)),
        ConfigCommand::Schema { file } => config_keys::schema(app, file),
        ConfigCommand::Show { settings } => config_keys::show(app, settings),
        ConfigCommand::Set { key, new } => config_keys::set(app, key, new.value.as_deref(), new.what_if),
        ConfigCommand::Diff { old, new, html } => config_diff::run(app, old, new, html.as_deref()),
    }
}

fn import_entra(app: &App, from: &Path, into: &Path, tenant: Option<&String>) -> Result<Exit, CommandError> {
    if tenant.is_some_and(|tenant| tenant.trim().is_empty() || tenant.chars().any(|character| character.is_control() || character == ' ')) {
        return Err(CommandError::usage("--tenant takes `embedded`, or a tenant's id or one of its domains")
            .hint("--tenant contoso.onmicrosoft.com"));
    }
    refuse_existing(into)?;
    let mut report = Report::default();
    let files = read_files(from, &mut report)?;
    let options = ImportOptions { tenant: tenant.cloned() };
    let Some(imported) = import(&files, &options, &mut report) else {
        let mut error = CommandError::new("not-found", Exit::Errors, format!("{} holds no rule and no connector", from.display()));
        for line in report.lines().iter().filter(|line| line.outcome == Outcome::Failed).take(10) {
            error = error.hint(clean(format!("{}: {}: {}", line.place(), line.subject, line.note)));
        }
        return Err(
            error.hint("name the folder that Get-ADSyncServerConfiguration -Path wrote; docs/guide/from-entra-connect.md has all forms")
        );
    };
    let document = ReportDocument {
        taken: report.count(Outcome::Taken),
        changed: report.count(Outcome::Changed),
        not_taken: report.count(Outcome::NotTaken),
        failed: report.count(Outcome::Failed),
        unknown: report.unknown(),
        lines_left_out: report.left_out(),
        report: report.lines(),
    };
    let mut files = imported.files;
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    files.push((REPORT_FILE.to_owned(), text));
    write_folder(into, &files, |folder| {
        let config = Config::load(folder)?;
        compile_configured(&config)?;
        Ok(())
    })?;
    let result = ImportResult {
        folder: into.display().to_string(),
        files: files.iter().map(|(name, _)| name.clone()).collect(),
        rules: imported.rules,
        flows: imported.flows,
        missing_credentials: imported.credentials,
        report: document,
    };
    let exit = match (result.report.failed, result.report.unknown) {
        (0, 0) => Exit::Ok,
        (0, _) => Exit::Warnings,
        _ => Exit::Errors,
    };
    app.output.result(&result, |result| show(&app.output, into, result));
    Ok(exit)
}

fn show(output: &Output, into: &Path, result: &ImportResult) {
    for outcome in [Outcome::Taken, Outcome::Changed, Outcome::NotTaken, Outcome::Failed] {
        let lines: Vec<&ReportLine> = result.report.report.iter().filter(|line| line.outcome == outcome).collect();
        if lines.is_empty() {
            continue;
        }
        let rows = lines.into_iter().map(|line| {
            let times = if line.count > 1 { format!(" ({} times)", thousands(line.count)) } else { String::new() };
            [line.subject.clone(), format!("{}{times}", line.note), line.place()]
        });
        output.table(table([outcome.as_str(), "", "where"], &[], rows));
        output.line("");
    }
    if result.report.lines_left_out > 0 {
        output.line(format!("({} more lines are not kept)", thousands(result.report.lines_left_out)));
    }
    for file in &result.files {
        output.line(clean(format!("wrote {}", into.join(file).display())));
    }
    let number = |number: usize| thousands(u64::try_from(number).unwrap_or(u64::MAX));
    let ReportDocument { taken, changed, not_taken, failed, .. } = &result.report;
    output.line(format!(
        "\n{} rules with {} flows; of all parts {} taken, {} changed, {} not taken, {} failed.",
        number(result.rules),
        number(result.flows),
        thousands(*taken),
        thousands(*changed),
        thousands(*not_taken),
        thousands(*failed)
    ));
    let places = Secrets::of_process(into);
    for name in &result.missing_credentials {
        let path = places.path(name);
        output.line(format!("still needed: the secret '{name}', in {} (mode 0600) or as docs/reference/config.md says", path.display()));
    }
    output.line(format!("\nLook first:  {}", call_in(into, &["rule", "lint"])));
    output.line(format!("Then:        {}", call_in(into, &["cycle", "start", "--initial"])));
    output.line(format!("             {}", call_in(into, &["export", "--what-if"])));
}

/// The files of an export, in the order of their names.
fn read_files(from: &Path, report: &mut Report) -> Result<Vec<ForeignFile>, CommandError> {
    let failed = |path: &Path, error: &io::Error| {
        CommandError::new("not-found", Exit::Errors, format!("{} cannot be read: {error}", path.display()))
            .hint("name the folder that Get-ADSyncServerConfiguration -Path wrote, or a script or JSON file with rules")
    };
    let mut found: BTreeSet<(String, PathBuf)> = BTreeSet::new();
    if fs::metadata(from).map_err(|error| failed(from, &error))?.is_file() {
        found.insert((from.file_name().unwrap_or_default().to_string_lossy().into_owned(), from.to_owned()));
    } else {
        let mut open = vec![(from.to_owned(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = open.pop() {
            for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, &error))? {
                let entry = entry.map_err(|error| failed(&folder, &error))?;
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                let kind = entry.file_type().map_err(|error| failed(&entry.path(), &error))?;
                if kind.is_dir() && depth < DEPTH_MAX {
                    open.push((entry.path(), format!("{name}/"), depth + 1));
                } else if kind.is_file() {
                    found.insert((name, entry.path()));
                } else {
                    report.file(Outcome::NotTaken, &name, "neither a file nor a folder that an export has");
                }
                if found.len() > FILES_MAX {
                    let message = format!("{} holds more than {} files: it is no export", from.display(), thousands(FILES_MAX as u64));
                    return Err(CommandError::new("too-large", Exit::Errors, message)
                        .hint("name the folder that Get-ADSyncServerConfiguration -Path wrote"));
                }
            }
        }
    }
    let (mut files, mut total) = (Vec::new(), 0);
    for (name, path) in found {
        let known = path.extension().is_some_and(|extension| READ.iter().any(|known| extension.eq_ignore_ascii_case(known)));
        if !known {
            report.file(Outcome::NotTaken, &name, "files of an export end in .xml, .json, .ps1 or .txt");
            continue;
        }
        let octets = match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > FILE_MAX as u64 => {
                report.file(Outcome::Failed, &name, format!("longer than {} MiB", FILE_MAX >> 20));
                continue;
            }
            Ok(_) => fs::read(&path).map_err(|error| failed(&path, &error))?,
            Err(error) => return Err(failed(&path, &error)),
        };
        total += octets.len() as u64;
        if total > TOTAL_MAX {
            let message = format!("{} holds more than {} MiB: it is no export", from.display(), TOTAL_MAX >> 20);
            return Err(CommandError::new("too-large", Exit::Errors, message)
                .hint("name the folder that Get-ADSyncServerConfiguration -Path wrote"));
        }
        match ForeignFile::decode(&name, &octets) {
            Ok(file) => files.push(file),
            Err(message) => report.file(Outcome::Failed, &name, message),
        }
    }
    Ok(files)
}

fn export(app: &App, to: &Path, format: ConfigFormat) -> Result<Exit, CommandError> {
    refuse_existing(to)?;
    let config = Config::load(&app.config)?;
    let (rules, connectors) = compile_configured(&config)?;
    let mut not_copied = Vec::new();
    let files = match format {
        ConfigFormat::Toml => {
            let mut paths = vec![MAIN_FILE.to_owned()];
            let inside = |path: &Path| path.strip_prefix(&config.folder).unwrap_or(path).to_string_lossy().into_owned();
            paths.extend(config.connectors.iter().map(|connector| inside(&connector.file)));
            paths.extend(config.rule_files.iter().map(|file| file.name.clone()));
            let mut files = Vec::new();
            for name in paths {
                let path = config.folder.join(&name);
                let text = fs::read_to_string(&path).map_err(|error| {
                    CommandError::new("configuration", Exit::NotStarted, format!("{} cannot be read: {error}", path.display()))
                        .hint("`syncline config check` looks at all files")
                })?;
                files.push((name, text));
            }
            files.sort();
            let manifest = manifest(&files, &rules, config.connectors.len(), config.rules.built_in);
            files.push(("manifest.json".to_owned(), manifest));
            not_copied.push("secrets, stores, certificates and source files".to_owned());
            files
        }
        ConfigFormat::Entra => {
            let failed = |problem: String| {
                CommandError::new("configuration", Exit::Errors, problem)
                    .hint("`syncline config export DIR --format toml` writes everything")
            };
            write(&from_config(&config, &rules, &connectors)).map_err(failed)?
        }
    };
    write_folder(to, &files, |_| Ok(()))?;
    let result = ExportResult {
        folder: to.display().to_string(),
        format: if format == ConfigFormat::Toml { "toml" } else { "entra" },
        files: files.into_iter().map(|(name, _)| name).collect(),
        not_copied,
    };
    app.output.result(&result, |result| {
        for file in &result.files {
            app.output.line(clean(format!("wrote {}", to.join(file).display())));
        }
        for what in &result.not_copied {
            app.output.line(format!("not copied: {what}"));
        }
    });
    Ok(Exit::Ok)
}

/// Refuses a folder that has anything in it.
fn refuse_existing(folder: &Path) -> Result<(), CommandError> {
    let exists = |what: &str| {
        let message = format!("{} {what} and is left as it is", folder.display());
        CommandError::new("configuration", Exit::NotStarted, message).hint("name a new or empty folder")
    };
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) if folder.join(MAIN_FILE).exists() => Err(exists("has a configuration already")),
            Some(_) => Err(exists("has files already")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(exists(&format!("cannot be used ({error})"))),
    }
}

/// Writes all files into a folder beside the wanted one, checks it, and gives it its name: it is there as a whole or not at
/// all.
fn write_folder(
    folder: &Path,
    files: &[(String, String)],
    check: impl FnOnce(&Path) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let failed = |error: io::Error| CommandError::unwritten(folder, &error);
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed)?;
    let beside = tempfile::Builder::new().prefix(".syncline-").tempdir_in(parent).map_err(failed)?;
    for (name, text) in files {
        let path = beside.path().join(name);
        if let Some(around) = path.parent() {
            fs::create_dir_all(around).map_err(failed)?;
        }
        let file = fs::File::create_new(&path).map_err(failed)?;
        io::Write::write_all(&mut &file, text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    check(beside.path())?;
    fs::set_permissions(beside.path(), fs::Permissions::from_mode(0o755)).map_err(failed)?;
    // An empty folder of this name gives way; one that got something in the meantime does not.
    fs::rename(beside.path(), folder).map_err(failed)?;
    // It has another name now; there is nothing to take away.
    let _ = beside.keep();
    Ok(())
}
