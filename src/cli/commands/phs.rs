//! `phs`: password hash synchronization, for everybody and for one account.

use super::coverage::{self, Names};
use crate::cli::args::PhsCommand;
use crate::cli::calls::completed;
use crate::cli::commands::{facts, only_object};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{clean, counted, moment, table, thousands};
use crate::cli::{App, Place};
use crate::config::Config;
use crate::connector::PasswordFeatures;
use crate::context::Context;
use crate::model::{CsId, quoted};
use crate::password::Held;
use crate::password::agent::CycleReport;
use crate::password::report::{AccountStatus, Overwritten};
use crate::service::{Access, PasswordDiagnosis, PasswordStanding, PasswordSwitch, Service, diagnose_unstored};
use serde::Serialize;
use serde_json::json;

pub(in crate::cli) fn run(app: &App, command: &PhsCommand) -> Result<Exit, CommandError> {
    // In a service the wish to stop is the caller's.
    let cx = app.cx.clone();
    match command {
        PhsCommand::Run { once: true } => cycle(app, &cx, None, false),
        PhsCommand::Run { once: false } => serve(app, &cx),
        PhsCommand::FullSync { connector } => cycle(app, &cx, connector.as_deref(), true),
        PhsCommand::Status { object: Some(object), .. } => account(app, &cx, object),
        PhsCommand::Status { policy: true, .. } => policy(app, &cx),
        PhsCommand::Status { .. } => status(app, &cx),
        PhsCommand::Coverage { domain, list, reason, csv } => {
            let names = match (csv, *list || reason.is_some()) {
                (true, _) => Names::Values,
                (false, true) => Names::Table,
                (false, false) => Names::None,
            };
            coverage::run(app, &cx, domain.as_deref(), reason.as_deref(), names)
        }
        PhsCommand::Log { object, last } => log(app, &cx, object, *last),
        PhsCommand::Push { object } => push(app, &cx, object),
        PhsCommand::Enable { connector, what_if: true } => preview(app, &cx, connector.as_deref()),
        PhsCommand::Enable { connector, what_if: false } => enable(app, &cx, connector.as_deref()),
        PhsCommand::Disable { connector, what_if } => disable(app, connector.as_deref(), *what_if),
        PhsCommand::Doctor { object } => doctor(app, &cx, object.as_deref()),
    }
}

fn object_of(service: &Service, text: &str) -> Result<CsId, CommandError> {
    let browser = service.browse()?;
    only_object(&browser, browser.find_origin(text)?, text)
}

fn serve(app: &App, cx: &Context) -> Result<Exit, CommandError> {
    if matches!(app.place, Place::Service(_)) {
        let message = "the running service sends passwords by itself, as soon as they change";
        return Err(CommandError::new("busy", Exit::NotStarted, message).hint("`syncline phs run --once` looks now"));
    }
    let service = app.service(Access::Existing)?;
    if !app.output.json {
        app.output.note("Passwords that change are sent every two minutes, until this is interrupted.");
    }
    service.run_password_agent(cx)?;
    Ok(Exit::Ok)
}

fn cycle(app: &App, cx: &Context, connector: Option<&str>, full: bool) -> Result<Exit, CommandError> {
    let report = app.service(Access::Existing)?.password_cycle(cx, connector, full, || tell_of_wait(app))?;
    // What is not read and sent yet waits for the next cycle, and a full synchronization stays asked for.
    let exit = if cx.cancelled() { Exit::Stopped } else { exit_of(&report) };
    app.output.result(&document(&report), |_| {
        let mut rows = Vec::new();
        for pair in &report.pairs {
            let held = pair.held.as_ref().map(told);
            let none = pair.domains.is_empty().then(|| held.clone().unwrap_or_else(|| "nothing to do".to_owned()));
            // Of domains that it did not come to there is no line.
            if let Some(state) = pair.error.clone().or(none) {
                rows.push([pair.source.clone(), String::new(), String::new(), String::new(), String::new(), state]);
            }
            for domain in &pair.domains {
                let state = domain.error.clone().or_else(|| held.clone()).unwrap_or_else(|| "ok".to_owned());
                let what = if domain.full { "everything" } else { "changes" };
                let state = format!("{what}: {state}");
                rows.push([
                    pair.source.clone(),
                    domain.domain.clone(),
                    thousands(domain.seen),
                    thousands(domain.accepted),
                    thousands(domain.failed),
                    state,
                ]);
            }
        }
        app.output.table(table(["directory", "domain", "read", "sent", "failed", "state"], &["read", "sent", "failed"], rows));
    });
    Ok(exit)
}

fn tell_of_wait(app: &App) {
    app.output.note("Passwords are being sent; this begins when that has come to its end.");
}

fn exit_of(report: &CycleReport) -> Exit {
    let failed = report.pairs.iter().any(|pair| {
        matches!(pair.held, Some(Held::Denied | Held::Unreachable | Held::AnotherTenant))
            || pair.error.is_some()
            || pair.domains.iter().any(|domain| domain.error.is_some())
    });
    let part = report.pairs.iter().any(|pair| pair.held.is_some() || pair.domains.iter().any(|domain| domain.failed > 0));
    match (failed, part) {
        (true, _) => Exit::Errors,
        (false, true) => Exit::Warnings,
        (false, false) => Exit::Ok,
    }
}

fn document(report: &CycleReport) -> serde_json::Value {
    let domain = |domain: &crate::password::agent::DomainReport| {
        json!({
            "domain": domain.domain, "full": domain.full, "read": domain.seen, "sent": domain.accepted, "failed": domain.failed,
            "error": domain.error,
        })
    };
    let pairs = report.pairs.iter().map(|pair| {
        json!({
            "directory": pair.source, "held": pair.held, "error": pair.error,
            "domains": pair.domains.iter().map(domain).collect::<Vec<_>>(),
        })
    });
    json!({ "directories": pairs.collect::<Vec<_>>() })
}

/// Why nothing is sent, in a sentence.
fn told(held: &Held) -> String {
    completed(match held {
        Held::Staging => "nothing is sent in staging mode",
        Held::NotSynchronized => "waits for the first full synchronization: run `syncline cycle start --initial`",
        Held::SwitchedOff => "password hash synchronization is off in the tenant: `syncline phs enable` switches it on",
        Held::Disabled => "directory synchronization is off in the tenant",
        Held::Denied => "the tenant does not accept our account, or it lacks a right",
        Held::Unreachable => "the tenant does not answer",
        Held::AnotherInstallation => "another installation writes to this tenant: `syncline mode show` names it",
        Held::AnotherTenant => "another tenant answers than the one that runs have read: `syncline status` names both",
    })
}

#[derive(Serialize)]
struct Status {
    directories: Vec<PasswordStanding>,
}

fn status(app: &App, cx: &Context) -> Result<Exit, CommandError> {
    let directories = app.service(Access::Existing)?.password_status(cx)?;
    app.output.result(&Status { directories }, |found| {
        if found.directories.is_empty() {
            app.output.line("No directory with password hashes is configured: those of kind ad and ldif have them.");
        }
        for PasswordStanding { name, enabled, status } in &found.directories {
            let state = match (&status.held, &status.failure) {
                _ if !enabled && status.last_sent.is_some() => {
                    format!("off: `syncline phs enable {}` switches it on; what was sent goes on working in the cloud", quoted(name))
                }
                _ if !enabled => format!("off: `syncline phs enable {}` switches it on", quoted(name)),
                (Some(held), _) => status.held_detail.clone().unwrap_or_else(|| told(held)),
                (None, Some(failure)) => failure.clone(),
                (None, None) if status.ready => match status.domains.iter().filter(|domain| domain.failure.is_some()).count() {
                    0 => "on".to_owned(),
                    1 => "on, but a domain cannot be read".to_owned(),
                    several => format!("on, but {several} domains cannot be read"),
                },
                (None, None) => "waits for the first full synchronization".to_owned(),
            };
            // What was due when it was switched off is so no more.
            let due = status.due.iter().filter(|_| *enabled);
            let due: Vec<String> = due.map(|(status, count)| format!("{} {status}", thousands(*count))).collect();
            let waiting: u64 = status.waiting.values().filter(|_| *enabled).sum();
            let waiting = if waiting > 0 { format!("{} wait for somebody in the tenant", thousands(waiting)) } else { String::new() };
            let time = |time: &Option<String>| time.as_deref().map(moment).unwrap_or_default();
            let asked = status.full_requested.as_deref().map(|at| format!("asked for at {}", moment(at))).unwrap_or_default();
            let flagged = if status.flagged > 0 && *enabled { thousands(status.flagged) } else { String::new() };
            facts(
                &app.output,
                name,
                &[
                    ("state", state),
                    ("full synchronization", asked),
                    ("last cycle", time(&status.last_cycle)),
                    ("last password sent", time(&status.last_sent)),
                    ("last sign of life", time(&status.last_sign_of_life(cx.now()).map(str::to_owned))),
                    ("sign of life failed", status.heartbeat_failure.clone().unwrap_or_default()),
                    ("due", due.join(", ")),
                    ("not due yet", waiting),
                    ("refused again and again", flagged),
                ],
            );
            for domain in &status.domains {
                let read = match (&domain.failure, &domain.last_read) {
                    (Some(failure), _) => {
                        let since = domain.failing_since.as_deref().map(|at| format!(" (since {})", moment(at))).unwrap_or_default();
                        format!("{failure}{since}")
                    }
                    (None, Some(at)) => format!("read at {} from {}", moment(at), domain.server.as_deref().unwrap_or("its server")),
                    (None, None) => "not read yet".to_owned(),
                };
                app.output.line(clean(format!("  {}: {read}", domain.domain)));
                if let Some(passed_over) = &domain.passed_over {
                    app.output.line(clean(format!("    instead of {passed_over}")));
                }
            }
        }
    });
    Ok(Exit::Ok)
}

fn account(app: &App, cx: &Context, text: &str) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let status = service.password_of(cx, object_of(&service, text)?)?;
    app.output.result(&status, |status: &AccountStatus| {
        let time = |time: &Option<String>| time.as_deref().map(moment).unwrap_or_default();
        let part = status.reason_detail.clone().unwrap_or_else(|| "yes".to_owned());
        let state = match &status.status {
            Some(name) if status.current => format!("{name}: the tenant has the present password"),
            Some(name) => [Some((*name).to_owned()), status.detail.clone()].into_iter().flatten().collect::<Vec<_>>().join(": "),
            None => "never tried".to_owned(),
        };
        facts(
            &app.output,
            &format!("{} ({})", status.dn, status.id),
            &[
                ("takes part", part),
                ("by the rules", status.rules.join("; ")),
                ("signs in as", status.sign_in_name.clone().unwrap_or_default()),
                ("state", state),
                ("tenant's code", status.code.map(|code| code.to_string()).unwrap_or_default()),
                ("password changed", time(&status.changed)),
                ("confirmed", time(&status.confirmed)),
                ("last attempt", time(&status.attempted)),
                ("attempts in vain", if status.attempts > 0 { status.attempts.to_string() } else { String::new() }),
                ("tried again", time(&status.next_attempt)),
            ],
        );
    });
    Ok(Exit::Ok)
}

/// What was told of one account's password.
fn log(app: &App, cx: &Context, text: &str, last: usize) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let log = service.password_log(cx, object_of(&service, text)?, last)?;
    app.output.result(&log, |log| {
        if log.events.is_empty() {
            app.output.note(completed(
                "Nothing that is remembered was told of this account's password. How it stands: `syncline phs status --object`",
            ));
            return;
        }
        super::events::print(app, &log.events);
        if log.more {
            app.output.note(format!("(the last {}; --last shows more)", log.events.len()));
        }
    });
    Ok(Exit::Ok)
}

fn policy(app: &App, cx: &Context) -> Result<Exit, CommandError> {
    let features = app.service(Access::Existing)?.password_features(cx)?;
    let PasswordFeatures { synchronization, password_hashes, force_change, cloud_policy, last_writer: _ } = features;
    let document = json!({
        "directory_synchronization": synchronization, "password_hash_synchronization": password_hashes,
        "force_password_change_on_logon": force_change, "cloud_password_policy_for_synchronized_users": cloud_policy,
    });
    app.output.result(&document, |_| {
        let word = |on: bool| if on { "on" } else { "off" };
        let temporary = if force_change {
            "on: temporary passwords are sent, and the next sign-in must change them"
        } else {
            "off: temporary passwords are not sent"
        };
        let expiry = if cloud_policy {
            "on: passwords expire in the cloud as its policy says"
        } else {
            "off: each password that is sent is set to never expire in the cloud"
        };
        facts(
            &app.output,
            "The tenant",
            &[
                ("directory synchronization", word(synchronization).to_owned()),
                ("password hash synchronization", word(password_hashes).to_owned()),
                ("ForcePasswordChangeOnLogOn", temporary.to_owned()),
                ("CloudPasswordPolicyForPasswordSyncedUsers", expiry.to_owned()),
                ("length and complexity", "those of the directory count; the cloud checks neither".to_owned()),
            ],
        );
    });
    Ok(Exit::Ok)
}

fn push(app: &App, cx: &Context, text: &str) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let account = object_of(&service, text)?;
    let status = service.push_password(cx, account, || tell_of_wait(app))?;
    let told = service.password_of(cx, account)?;
    let document = json!({ "id": account.to_string(), "status": status.as_str(), "code": told.code, "detail": told.detail });
    app.output.result(&document, |_| {
        let code = told.code.map(|code| format!("code {code}"));
        let parts = [Some(status.as_str().to_owned()), code, told.detail.clone()];
        app.output.line(clean(parts.into_iter().flatten().collect::<Vec<_>>().join(": ")));
        if let Some(next) = &told.next_attempt {
            app.output.line(format!("It is tried again at {}.", moment(next)));
        }
    });
    Ok(if status.as_str() == "Success" { Exit::Ok } else { Exit::Errors })
}

#[derive(Serialize)]
struct Preview {
    /// False before the first full synchronization: nobody can say yet who is who in the tenant.
    known: bool,
    overwritten: Vec<Overwritten>,
}

fn preview(app: &App, cx: &Context, connector: Option<&str>) -> Result<Exit, CommandError> {
    let service = app.service(Access::Create)?;
    // The same refusals as without --what-if.
    let switch = service.enable_passwords(cx, connector, true)?;
    let overwritten = service.passwords_overwritten(cx, connector)?;
    app.output.result(&Preview { known: !switch.waits, overwritten }, |found| {
        app.output.line(switched(&switch, true));
        if switch.waits {
            app.output.line(
                "Whose cloud password would be overwritten is known after the first full synchronization: it tells who is who there.",
            );
            return;
        }
        let people = counted(found.overwritten.len() as u64, "person", "people");
        app.output.line(format!("The cloud password of {people} would be overwritten by that of {}:", switch.source));
        let before = |sent: bool| if sent { "yes" } else { "no" }.to_owned();
        let rows = found.overwritten.iter().map(|one| [one.id.clone(), one.sign_in_name.clone(), before(one.sent_before), one.dn.clone()]);
        app.output.table(table(["object", "signs in as", "sent before", "account"], &[], rows));
        told_problems(app, &switch);
    });
    Ok(Exit::Ok)
}

fn enable(app: &App, cx: &Context, connector: Option<&str>) -> Result<Exit, CommandError> {
    let switch = app.service(Access::Create)?.enable_passwords(cx, connector, false)?;
    app.output.result(&switch, |switch| {
        app.output.line(switched(switch, false));
        if switch.staging {
            app.output.line("This installation is in staging mode: nothing is sent before it is active.");
        } else if !switch.configured && !switch.tenant_switched {
            app.output.line(completed("Nothing had to be changed. `syncline phs full-sync` sends everything once more."));
        } else if switch.waits {
            app.output.line(completed("It waits for the first full synchronization (event 613): `syncline cycle start --initial`."));
        } else {
            app.output.line(completed("A full password synchronization is asked for: `syncline phs run` does it."));
        }
        told_problems(app, switch);
    });
    Ok(if switch.problems.is_empty() { Exit::Ok } else { Exit::Warnings })
}

/// What is not as it should be, although they are switched on.
fn told_problems(app: &App, switch: &PasswordSwitch) {
    for problem in &switch.problems {
        app.output.line(clean(completed(&format!("To be looked at: {problem}"))));
    }
    if !switch.problems.is_empty() {
        app.output.line(completed("`syncline phs doctor` says what to do about each."));
    }
}

fn switched(switch: &PasswordSwitch, what_if: bool) -> String {
    let PasswordSwitch { source, target, configured, tenant_switched, .. } = switch;
    let (would, be) = if what_if { ("would be ", "") } else { ("", " now") };
    let here = if *configured { format!("{would}on{be}") } else { "on already".to_owned() };
    let there = if *tenant_switched { format!("{would}on{be}") } else { "on already".to_owned() };
    format!("Password synchronization: {source} {here}, {target} {there}.")
}

fn disable(app: &App, connector: Option<&str>, what_if: bool) -> Result<Exit, CommandError> {
    let switch = app.service(Access::Existing)?.disable_passwords(connector, what_if)?;
    app.output.result(&switch, |switch| {
        let state = match (switch.configured, what_if) {
            (true, true) => "would be off",
            (true, false) => "is off now",
            (false, _) => "is off already",
        };
        app.output.line(format!("Password synchronization of {} {state}.", switch.source));
        app.output
            .line("Passwords that were sent go on working until they are changed in the cloud; new ones of the directory do not reach it.");
    });
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Diagnosis {
    checks: Vec<PasswordDiagnosis>,
}

/// The kind of error that there is no store.
const NO_STORE: &str = "no-store";

fn doctor(app: &App, cx: &Context, object: Option<&str>) -> Result<Exit, CommandError> {
    let checks = match app.service(Access::Existing) {
        Ok(service) => {
            let account = object.map(|text| object_of(&service, text)).transpose()?;
            service.diagnose_passwords(cx, account, false)?
        }
        // Directories can be looked at before there is anything to remember of them.
        Err(error) if error.kind == NO_STORE && object.is_none() => diagnose_unstored(cx, &Config::load(&app.config)?)?,
        Err(error) => return Err(error),
    };
    let checks: Vec<PasswordDiagnosis> =
        checks.into_iter().map(|check| PasswordDiagnosis { remedy: check.remedy.as_deref().map(completed), ..check }).collect();
    let exit = if checks.iter().any(|check| !check.good && !check.waits) {
        Exit::Errors
    } else if checks.iter().any(|check| check.waits) {
        Exit::Warnings
    } else {
        Exit::Ok
    };
    app.output.result(&Diagnosis { checks }, |found| {
        for check in &found.checks {
            let mark = match (check.good, check.waits) {
                (true, _) => "ok  ",
                (false, true) => "wait",
                (false, false) => "FAIL",
            };
            app.output.paragraph(&format!("{mark}  "), &format!("{}, {}: {}", check.area, check.what, check.evidence));
            if let Some(remedy) = &check.remedy {
                app.output.paragraph("      ", remedy);
            }
        }
    });
    Ok(exit)
}
