//! `doctor`: looks whether everything is there that synchronization needs, and says what to do.

use crate::cli::args::{DoctorArea, DoctorArguments};
use crate::cli::calls::completed;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::{Output, told};
use crate::cli::{App, Place};
use crate::config::Config;
use crate::service::{Access, Finding, FindingLevel, Service, ServiceError, examine, unreadable};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

pub(in crate::cli) fn run(app: &App, arguments: &DoctorArguments) -> Result<Exit, CommandError> {
    let network_only = arguments.area == Some(DoctorArea::Network);
    let findings = match Config::load(&app.config) {
        Err(error) => unreadable(&ServiceError::Config(error)),
        Ok(config) => {
            // Whoever only looks at the network leaves the store to others.
            let service = if network_only { Err(ServiceError::NoStore(config.store.clone())) } else { opened(app, &config) };
            examine(&app.cx, &config, service.as_deref(), network_only)?
        }
    };
    // Whatever it proposes can be pasted.
    let findings: Vec<Finding> =
        findings.into_iter().map(|finding| Finding { remedy: finding.remedy.as_deref().map(completed), ..finding }).collect();
    let exit = match findings.iter().map(|finding| finding.level).max() {
        None | Some(FindingLevel::Ok) => Exit::Ok,
        Some(FindingLevel::Warn) => Exit::Warnings,
        Some(FindingLevel::Fail) => Exit::Errors,
    };
    app.output.result(&Findings { findings }, |found| print(&app.output, &found.findings));
    Ok(exit)
}

fn opened(app: &App, config: &Config) -> Result<Arc<Service>, ServiceError> {
    match &app.place {
        Place::Service(station) => Ok(station.service()),
        Place::Here => Service::open(config.clone(), app.store.as_deref(), Access::Existing).map(Arc::new),
    }
}

fn print(output: &Output, findings: &[Finding]) {
    for finding in findings {
        let mark = match finding.level {
            FindingLevel::Ok => "ok  ",
            FindingLevel::Warn => "warn",
            FindingLevel::Fail => "FAIL",
        };
        output.line(told(format!("{mark}  {}, {}: {}", finding.area, finding.what, finding.evidence)));
        if let Some(remedy) = &finding.remedy {
            output.line(told(format!("      {remedy}")));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (fail, warn) = (count(FindingLevel::Fail), count(FindingLevel::Warn));
    output.line(match (fail, warn) {
        (0, 0) => "\nEverything is as it should be.".to_owned(),
        _ => format!("\n{fail} failed, {warn} to look at."),
    });
}
