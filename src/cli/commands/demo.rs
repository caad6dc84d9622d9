//! `demo`: a made-up directory, a tenant inside the program, a whole cycle, and what to try next.

use crate::cli::App;
use crate::cli::args::DemoArguments;
use crate::cli::calls::{DEFAULT_FOLDER, call_in};
use crate::cli::commands::run::{exit_of, print_results};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{duration, thousands};
use crate::cli::progress::progress;
use crate::config::{Config, ConfigTemplate, ConnectorSettings, MAIN_FILE, TemplateSource, TemplateTenant};
use crate::context::Context;
use crate::directory_generator::{DirectoryRecipe, PasswordRecipe};
use crate::model::quoted;
use crate::service::{Access, DriveOptions, Found, MvQuery, RunView, Service, TargetCounts, TenantPlace, Work};
use secrecy::SecretString;
use serde::Serialize;
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What a demonstration came to.
#[derive(Serialize)]
struct Demonstration {
    folder: String,
    first_run: bool,
    runs: Vec<RunView>,
    exports: u64,
    tenant: TargetCounts,
    /// Somebody who signs in with the password of the directory; none where the folder is of an older demonstration.
    sign_in: Option<SignIn>,
    seconds: f64,
}

/// A made-up person's way into the tenant.
#[derive(Serialize)]
struct SignIn {
    user: String,
    /// Made up like its person, so no secret.
    password: String,
    accepted: bool,
}

/// The directory's file.
const DIRECTORY: &str = "directory.ldif";
/// Says that the demonstration made the folder, and may run cycles in it.
const MARKER: &str = ".syncline-demo";

pub(in crate::cli) fn run(app: &App, arguments: &DemoArguments) -> Result<Exit, CommandError> {
    let cx = Context::system();
    let began = cx.clock.elapsed();
    let own = |what: &str, option: &str| {
        CommandError::usage(format!("the demonstration keeps {what} in its own folder: {option} does not go with it"))
            .hint("choose the folder: `syncline demo --dir DIR`")
    };
    if app.store.is_some() {
        return Err(own("its store", "--store"));
    }
    if app.config != Path::new(DEFAULT_FOLDER) {
        return Err(own("its configuration", "--config"));
    }
    refuse_what_is_not_ours(&arguments.dir)?;
    let first_run = !arguments.dir.join(MAIN_FILE).exists();
    if first_run {
        prepare(app, arguments)?;
    } else if !app.output.json {
        app.output.note(format!(
            "Going on with what is in {} (a new directory needs another --dir, or that one removed).",
            arguments.dir.display()
        ));
    }
    let config = Config::load(&arguments.dir)?;
    refuse_other_tenants(&config, &arguments.dir)?;
    let mut service = app.patiently(|| Ok(Service::open(config.clone(), None, Access::Create)?))?;
    if first_run {
        service.enable_passwords(&cx, None, false)?;
        drop(service);
        // With the switch as it stands now.
        let config = Config::load(&arguments.dir)?;
        service = app.patiently(|| Ok(Service::open(config.clone(), None, Access::Create)?))?;
    }
    let place = if arguments.tenant_process { TenantPlace::OwnProcess } else { TenantPlace::Here };
    let options = DriveOptions { tenant: place, ..DriveOptions::default() };
    let mut bars = progress(&app.output);
    let runs = service.drive(&cx, &[Work::Cycle { initial: first_run }], options, bars.as_mut())?;
    drop(bars);
    let exit = exit_of(&runs);
    let sign_in = sign_in(&service, &cx, arguments)?;
    let done = Demonstration {
        folder: arguments.dir.display().to_string(),
        first_run,
        exports: exported(&runs),
        runs,
        tenant: service.target_counts()?,
        sign_in,
        seconds: cx.clock.elapsed().saturating_sub(began).as_secs_f64(),
    };
    app.output.result(&done, |done| {
        print_results(app, &done.runs);
        summary(app, &service, done);
    });
    Ok(exit)
}

/// Objects that exports of these runs changed in the target.
fn exported(runs: &[RunView]) -> u64 {
    let counters = runs.iter().flat_map(|run| &run.steps).flat_map(|step| &step.counters);
    counters.filter(|(name, _)| name.starts_with("export-") && *name != "export-failure").map(|(_, count)| *count).sum()
}

/// The demonstration writes files and runs whole cycles: only where it began itself, or where nothing is.
fn refuse_what_is_not_ours(folder: &Path) -> Result<(), CommandError> {
    let refused = |message: String| {
        CommandError::new("demo", Exit::NotStarted, message).hint("name a new or empty folder by --dir; nothing was changed in this one")
    };
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(refused(format!("{} cannot be used: {error}", folder.display()))),
        Ok(mut entries) => {
            if folder.join(MARKER).exists() || entries.next().is_none() {
                return Ok(());
            }
            Err(refused(format!("{} has files that the demonstration did not make", folder.display())))
        }
    }
}

/// Whoever points a demonstration to a real tenant wants more than a demonstration.
fn refuse_other_tenants(config: &Config, folder: &Path) -> Result<(), CommandError> {
    let embedded = |settings: &ConnectorSettings| match settings {
        ConnectorSettings::Entra(file) => file.is_embedded(),
        _ => true,
    };
    match config.connectors.iter().find(|connector| !embedded(&connector.settings)) {
        None => Ok(()),
        Some(connector) => {
            let message = format!("{} writes to a tenant elsewhere; the demonstration only runs with its own", connector.file.display());
            let cycle = call_in(folder, &["cycle", "start"]);
            Err(CommandError::new("demo", Exit::NotStarted, message).hint(format!("for a cycle with it: {cycle}")))
        }
    }
}

fn prepare(app: &App, arguments: &DemoArguments) -> Result<(), CommandError> {
    let folder = &arguments.dir;
    let recipe = recipe_of(arguments);
    if !app.output.json {
        app.output.note(format!(
            "Making up a directory of {}, {} and {} in {}",
            several(recipe.users, "person", "people"),
            several(recipe.groups, "group", "groups"),
            several(recipe.contacts, "contact", "contacts"),
            folder.join(DIRECTORY).display()
        ));
    }
    write_directory(folder, &recipe)
        .map_err(|error| CommandError::new("demo", Exit::NotStarted, format!("{}: {error}", folder.join(DIRECTORY).display())))?;
    let template = ConfigTemplate {
        source_name: recipe.domain.clone(),
        source: TemplateSource::Ldif { path: DIRECTORY.into(), openldap: false },
        target_name: "Entra".to_owned(),
        tenant: TemplateTenant::Local { verified_domains: vec![recipe.domain.clone()] },
        include: Vec::new(),
        exclude: Vec::new(),
        domain: Some(recipe.domain.clone()),
        max_deletes: 500,
        staging: false,
        password_hashes: None,
    };
    template.write(folder)?;
    Ok(())
}

fn recipe_of(arguments: &DemoArguments) -> DirectoryRecipe {
    DirectoryRecipe {
        users: arguments.users,
        groups: arguments.groups,
        contacts: arguments.contacts,
        seed: arguments.seed,
        passwords: Some(PasswordRecipe::default()),
        ..DirectoryRecipe::default()
    }
}

/// The first of the made-up people whose password the tenant has confirmed signs in with it. Nobody does when the
/// directory was made up with other arguments, or by an older version.
fn sign_in(service: &Service, cx: &Context, arguments: &DemoArguments) -> Result<Option<SignIn>, CommandError> {
    const LOOKED_AT: u64 = 100;
    if service.password_sources().is_empty() {
        return Ok(None);
    }
    let recipe = recipe_of(arguments);
    let browser = service.browse()?;
    for index in 0..recipe.users.min(LOOKED_AT) {
        let Ok(Found::One(account)) = browser.find_origin(&recipe.user_principal_name(index)) else { continue };
        let status = service.password_of(cx, account)?;
        if let (true, Some(user)) = (status.current, status.sign_in_name) {
            let password = recipe.user_password(index);
            let accepted = service.sign_in(cx, &user, &SecretString::from(password.as_str()))?;
            return Ok(Some(SignIn { user, password, accepted }));
        }
    }
    Ok(None)
}

fn write_directory(folder: &Path, recipe: &DirectoryRecipe) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(MARKER), "The demonstration of Syncline made this folder and may change it.\n")?;
    // It holds password hashes, as a file of a real directory would.
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(folder.join(DIRECTORY))?;
    let mut out = BufWriter::new(file);
    recipe.write_ldif(&mut out)?;
    out.flush()
}

fn summary(app: &App, service: &Service, done: &Demonstration) {
    let output = &app.output;
    let folder = &done.folder;
    output.line(format!(
        "\nIn the tenant, confirmed by import: {}, {}, {}. Exported now: {}. Took {}.",
        several(done.tenant.users, "person", "people"),
        several(done.tenant.groups, "group", "groups"),
        several(done.tenant.contacts, "contact", "contacts"),
        thousands(done.exports),
        duration(done.seconds)
    ));
    let file = quoted(&format!("{folder}/tenant/tenant.redb"));
    output.line(format!(
        "The tenant lives in {folder}/tenant and answers Graph and sign-in while it is served:\n  \
         syncline tenant serve --data {file} --plain-http"
    ));
    output.line("\nTo try next:");
    let call = |words: &[&str]| call_in(Path::new(folder), words);
    let mut next = vec![call(&["cycle", "start"]), call(&["run", "list"])];
    if let Some(run) = done.runs.iter().find(|run| run.steps.iter().any(|step| step.counters.contains_key("stage-add"))) {
        next.push(call(&["run", "show", &run.number.to_string(), "--counter", "stage-add"]));
    }
    if let Some(account) = somebody(service) {
        next.push(call(&["object", "explain", &account]));
        next.push(call(&["mv", "show", &account]));
    }
    if let Some(SignIn { user, .. }) = &done.sign_in {
        next.push(call(&["phs", "status", "--object", user]));
    }
    next.push(call(&["errors"]));
    for command in next {
        output.line(format!("  {command}"));
    }
    output.line(format!("Change {folder}/{DIRECTORY} with an editor, run a cycle, and look at what it did."));
    if let Some(SignIn { user, password, accepted }) = &done.sign_in {
        let outcome = if *accepted { "let in" } else { "refused" };
        output.line("\nA sign-in with the directory's password, of which the tenant has nothing but a key derived from its hash:");
        output.line(format!("  {user}  {password}  {outcome}"));
    }
}

/// A number with the word that goes with it.
fn several(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// The account of some person in the metaverse, for an example.
fn somebody(service: &Service) -> Option<String> {
    let query = MvQuery { object_type: Some("person".to_owned()), limit: 1, ..MvQuery::default() };
    let (lines, _) = service.browse().ok()?.search_mv(&query).ok()?;
    lines.into_iter().map(|line| line.account).find(|account| account.contains('@') && !account.contains(char::is_whitespace))
}
