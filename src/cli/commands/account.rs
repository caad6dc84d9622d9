//! `account ad`: the accounts that connectors sign in with at Active Directory. What takes an administrator's password asks for
//! it here, at the terminal; everything else can be done by a running service, which has the secrets.

use crate::cli::App;
use crate::cli::args::{AccountCommand, AdAccountCommand, Administrator, RightsScript};
use crate::cli::ask::Questions;
use crate::cli::calls::call;
use crate::cli::commands::init::secret_of_file;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, table};
use crate::config::Config;
use crate::connector::ad::rights::{Feature, ScriptKind};
use crate::service::{AdAccountLine, AdAccounts, GrantForm, GrantView, RightsView};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct Accounts {
    accounts: Vec<AdAccountLine>,
}

pub(in crate::cli) fn run(app: &App, command: &AccountCommand) -> Result<Exit, CommandError> {
    let AccountCommand::Ad(command) = command;
    let accounts = AdAccounts::new(Config::load(&app.config)?)?;
    match command {
        AdAccountCommand::List => {
            app.output.result(&Accounts { accounts: accounts.list() }, |found| {
                let rows = found.accounts.iter().map(|line| {
                    [line.connector.clone(), line.account.clone(), line.uses.join(", "), line.url.clone(), line.origin.clone()]
                });
                app.output.table(table(["connector", "account", "for", "server", "its password"], &[], rows));
            });
            Ok(Exit::Ok)
        }
        AdAccountCommand::Check { connector, object: Some(dn), .. } => object(app, &accounts, connector, dn),
        AdAccountCommand::Check { connector, inheritance: true, ou, limit, .. } => {
            inheritance(app, &accounts, connector, ou.as_deref(), *limit)
        }
        AdAccountCommand::Check { connector, feature, ou, .. } => check(app, &accounts, connector, feature, ou.as_deref()),
        AdAccountCommand::Grant { connector, feature, ou, script, apply, admin } => {
            grant(app, &accounts, connector, feature, ou.as_deref(), *script, apply.then_some(admin))
        }
        AdAccountCommand::Harden { connector, admin, what_if } => harden(app, &accounts, connector, admin, *what_if),
        AdAccountCommand::Rotate { connector, what_if } => rotate(app, &accounts, connector, *what_if),
    }
}

fn check(app: &App, accounts: &AdAccounts, connector: &str, features: &[Feature], ou: Option<&str>) -> Result<Exit, CommandError> {
    let features = match features {
        [] => accounts.wanted(connector)?,
        given => given.to_vec(),
    };
    let view = accounts.check(&app.cx, connector, &features, ou)?;
    let missing = view.rights.iter().any(|right| right.granted == Some(false));
    app.output.result(&view, |view: &RightsView| {
        app.output.line(clean(format!("{} ({})", view.account, view.sid)));
        let rows = view.rights.iter().map(|right| {
            let state = match right.granted {
                Some(true) => "yes",
                Some(false) => "MISSING",
                None => "unknown",
            };
            [right.feature.to_owned(), right.right.clone(), state.to_owned(), format!("{}: {}", right.on, right.evidence)]
        });
        app.output.table(table(["for", "right", "there", "where, and what was found"], &[], rows));
        told_absent(app, &view.absent);
        if missing {
            let mut lacking: Vec<&str> =
                view.rights.iter().filter(|right| right.granted == Some(false)).map(|right| right.feature).collect();
            lacking.dedup();
            let mut words = vec!["account", "ad", "grant", connector];
            for feature in lacking {
                words.extend(["--feature", feature]);
            }
            words.extend(["--script", "windows"]);
            app.output.note(format!("What is missing, as commands for an administrator (or --script samba):\n  {}", call(&words)));
        }
    });
    Ok(if missing { Exit::Warnings } else { Exit::Ok })
}

fn told_absent(app: &App, absent: &[String]) {
    if !absent.is_empty() {
        app.output.note(clean(format!("The schema of this forest does not have: {}", absent.join(", "))));
    }
}

fn object(app: &App, accounts: &AdAccounts, connector: &str, dn: &str) -> Result<Exit, CommandError> {
    let view = accounts.object(&app.cx, connector, dn)?;
    app.output.result(&view, |view| {
        app.output.line(clean(&view.object));
        if view.protected {
            app.output.line("  it does not take what its container grants");
        }
        match &view.entries {
            Some(entries) => entries.iter().for_each(|entry| app.output.line(clean(format!("  {entry}")))),
            None => app.output.line("  its access list cannot be read by this account"),
        }
        if !view.writable.is_empty() {
            app.output.line(clean(format!("  the account may write: {}", view.writable.join(", "))));
        }
    });
    Ok(Exit::Ok)
}

fn inheritance(app: &App, accounts: &AdAccounts, connector: &str, ou: Option<&str>, limit: usize) -> Result<Exit, CommandError> {
    let view = accounts.protected(&app.cx, connector, ou, limit)?;
    app.output.result(&view, |view| {
        view.objects.iter().for_each(|dn| app.output.line(clean(dn)));
        super::more(&app.output, view.more, view.objects.len());
        app.output.note("Rights that are granted on a container do not reach these; accounts of administrators are always among them.");
    });
    Ok(Exit::Ok)
}

fn grant(
    app: &App,
    accounts: &AdAccounts,
    connector: &str,
    features: &[Feature],
    ou: Option<&str>,
    script: Option<RightsScript>,
    apply: Option<&Administrator>,
) -> Result<Exit, CommandError> {
    if features.contains(&Feature::GroupWriteback) && ou.is_none() {
        return Err(CommandError::usage("group-writeback needs --ou: the container that the groups are kept in")
            .hint("--ou 'OU=Cloud Groups,DC=corp,DC=example'"));
    }
    let view = if let Some(admin) = apply {
        accounts.grant(&app.cx, connector, features, ou, administrator(admin)?)?
    } else {
        let form = match script {
            None => GrantForm::List,
            Some(RightsScript::Windows) => GrantForm::Script(ScriptKind::Windows),
            Some(RightsScript::Samba) => GrantForm::Script(ScriptKind::Samba),
            Some(RightsScript::Ldif) => GrantForm::Ldif,
        };
        accounts.plan(&app.cx, connector, features, ou, form)?
    };
    let refused = view.changed.iter().flatten().any(|changed| changed.refused.is_some());
    app.output.result(&view, |view: &GrantView| {
        if let Some(script) = &view.script {
            app.output.raw_result(script);
        } else {
            let rows =
                view.grants.iter().map(|grant| [grant.feature.to_owned(), grant.right.clone(), grant.on.clone(), grant.entry.clone()]);
            app.output.table(table(["for", "right", "on", "entry"], &[], rows));
        }
        for changed in view.changed.iter().flatten() {
            let what = match (&changed.refused, changed.added) {
                (Some(reason), _) => format!("not done: {reason}"),
                (None, 0) => "had everything already".to_owned(),
                (None, added) => format!("{added} entries added"),
            };
            app.output.line(clean(format!("{}: {what}", changed.on)));
        }
        told_absent(app, &view.absent);
        if refused {
            let script = call(&["account", "ad", "grant", connector, "--feature", "changes", "--script", "windows"]);
            app.output.note(format!(
                "What was not done takes the system's own rights: run this (or --script samba) on a domain controller.\n  {script}"
            ));
        }
    });
    Ok(if refused { Exit::Warnings } else { Exit::Ok })
}

fn harden(app: &App, accounts: &AdAccounts, connector: &str, admin: &Administrator, what_if: bool) -> Result<Exit, CommandError> {
    let entries = accounts.harden(&app.cx, connector, administrator(admin)?, what_if)?;
    app.output.result(&json!({ "connector": connector, "entries": entries, "what_if": what_if }), |_| {
        app.output.line(if what_if { "The access list of the account would be:" } else { "The access list of the account is now:" });
        for entry in &entries {
            app.output.line(clean(format!("  {entry}")));
        }
    });
    Ok(Exit::Ok)
}

fn rotate(app: &App, accounts: &AdAccounts, connector: &str, what_if: bool) -> Result<Exit, CommandError> {
    let done = accounts.rotate(&app.cx, connector, what_if)?;
    // Whoever holds the old password learns the new one.
    app.renew();
    app.output.result(&done, |done| {
        if done.recovered {
            app.output.line("A change that was cut off before is complete now.");
        }
        app.output.line(clean(if done.what_if {
            format!("{} could get a new password, which would be kept as '{}'.", done.account, done.credential)
        } else {
            format!("{} has a new password, which is kept as '{}'.", done.account, done.credential)
        }));
        for other in &done.others {
            app.output.note(clean(format!(
                "The account that {}, {}, keeps its own: change it in the domain, and then {}",
                other.purpose,
                other.account,
                call(&["secret", "set", &other.credential])
            )));
        }
    });
    Ok(Exit::Ok)
}

/// Name and password of an administrator.
pub(in crate::cli) fn administrator(admin: &Administrator) -> Result<(&str, SecretString), CommandError> {
    let name = admin.admin_name.as_deref().ok_or_else(|| {
        CommandError::usage("this takes an administrator of the domain")
            .hint("--admin-name administrator@corp.example; the password is asked for, and not kept")
    })?;
    let password = match (&admin.admin_secret_file, Questions::of_terminal()) {
        (Some(file), _) => secret_of_file(file)?,
        (None, Some(questions)) => questions.secret(&format!("Password of {name} (not shown, not kept)"))?,
        (None, None) => {
            return Err(CommandError::usage("there is no terminal to ask for the password on")
                .hint("write it to a file of mode 0600, and name that: --admin-secret-file FILE"));
        }
    };
    Ok((name, password))
}
