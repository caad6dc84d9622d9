//! `doctor`: looks whether everything is there that synchronization needs, and says what to do.

use crate::cli::args::{DoctorArea, DoctorArguments};
use crate::cli::attached::stop_on_interrupt;
use crate::cli::calls::completed;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::Output;
use crate::cli::{App, Place};
use crate::config::Config;
use crate::service::{Access, Finding, FindingLevel, Service, ServiceError, examine, refused_by_service, unreadable};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

pub(in crate::cli) fn run(app: &App, arguments: &DoctorArguments) -> Result<Exit, CommandError> {
    let network_only = arguments.area == Some(DoctorArea::Network);
    let mut findings = Vec::new();
    // In a service the wish to stop is the caller's.
    let stopping = matches!(app.place, Place::Here).then(|| stop_on_interrupt(&app.cx.cancel));
    // Shown as it is found: some servers take their time.
    let mut tell = |finding: Finding| {
        // Whatever it proposes can be pasted.
        let finding = Finding { remedy: finding.remedy.as_deref().map(completed), ..finding };
        if !app.output.json {
            print(&app.output, &finding);
        }
        findings.push(finding);
    };
    match Config::load(&app.config) {
        Err(error) => unreadable(&ServiceError::Config(error)).into_iter().for_each(&mut tell),
        Ok(config) => {
            // Whoever only looks at the network leaves the store to others.
            if let Place::Service(station) = &app.place
                && let Some(why) = station.refused()
                && !network_only
            {
                tell(refused_by_service(&why));
            }
            let service = if network_only { Err(ServiceError::NoStore(config.store.clone())) } else { opened(app, &config) };
            examine(&app.cx, &config, service.as_deref(), network_only, &mut tell)?;
        }
    }
    drop(stopping);
    let exit = match findings.iter().map(|finding| finding.level).max() {
        None | Some(FindingLevel::Ok) => Exit::Ok,
        Some(FindingLevel::Warn) => Exit::Warnings,
        Some(FindingLevel::Fail) => Exit::Errors,
    };
    app.output.result(&Findings { findings }, |found| sum_up(&app.output, &found.findings));
    Ok(exit)
}

/// The store with its rules, at once or not at all.
pub(super) fn opened(app: &App, config: &Config) -> Result<Arc<Service>, ServiceError> {
    match &app.place {
        Place::Service(station) => Ok(station.service()),
        Place::Here => Service::open(config.clone(), app.store.as_deref(), Access::Existing).map(Arc::new),
    }
}

fn print(output: &Output, finding: &Finding) {
    let mark = match finding.level {
        FindingLevel::Ok => "ok  ",
        FindingLevel::Warn => "warn",
        FindingLevel::Fail => "FAIL",
    };
    output.paragraph(&format!("{mark}  "), &format!("{}, {}: {}", finding.area, finding.what, finding.evidence));
    if let Some(remedy) = &finding.remedy {
        output.paragraph("      ", remedy);
    }
}

fn sum_up(output: &Output, findings: &[Finding]) {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (fail, warn) = (count(FindingLevel::Fail), count(FindingLevel::Warn));
    output.line(match (fail, warn) {
        (0, 0) => "\nEverything is as it should be.".to_owned(),
        _ => format!("\n{fail} failed, {warn} to look at."),
    });
}
