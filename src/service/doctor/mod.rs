//! Looks whether everything is there that synchronization needs: one finding after the other, each with what to do. A thing
//! that fails is a finding and never the end; without a store, everything else is looked at all the same.

mod directories;
mod machine;
mod tenants;

pub(super) use machine::ago;

use super::connectors::refused_anchor;
use super::secrets::secret_lines;
use super::{PasswordDiagnosis, Service, ServiceError, compile_configured};
use crate::config::{Config, ConnectorSettings};
use crate::connector::{CertificateFacts, ConnectorError, ConnectorErrorKind, ReachTarget, SignIns, Stage, Unreached, reach};
use crate::context::Context;
use crate::model::{Timestamp, counted};
use serde::Serialize;
use std::future::Future;
use std::time::Duration;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingLevel {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to: a connector, `machine`, `configuration`, `store`.
    pub area: String,
    /// What was looked at.
    pub what: String,
    /// How well it is.
    pub level: FindingLevel,
    /// What was found.
    pub evidence: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(area: &str, what: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { area: area.to_owned(), what: what.into(), level: FindingLevel::Ok, evidence: evidence.into(), remedy: None }
    }

    fn warn(area: &str, what: impl Into<String>, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: FindingLevel::Warn, remedy: Some(remedy.into()), ..Self::ok(area, what, evidence) }
    }

    fn fail(area: &str, what: impl Into<String>, evidence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: FindingLevel::Fail, ..Self::warn(area, what, evidence, remedy) }
    }

    fn of_passwords(check: PasswordDiagnosis) -> Self {
        let PasswordDiagnosis { area, what, good, waits, evidence, remedy } = check;
        let level = match (good, waits) {
            (true, _) => FindingLevel::Ok,
            (false, true) => FindingLevel::Warn,
            (false, false) => FindingLevel::Fail,
        };
        Self { area, what: format!("passwords: {what}"), level, evidence, remedy }
    }
}

/// Everything of a folder whose configuration cannot be read: why.
pub fn unreadable(error: &ServiceError) -> Vec<Finding> {
    match error {
        ServiceError::Config(error) => error
            .problems()
            .iter()
            .map(|problem| {
                let remedy =
                    problem.hint.clone().unwrap_or_else(|| "correct the file; docs/reference/config.md explains every key".to_owned());
                Finding::fail("configuration", problem.at(), problem.message.clone(), remedy)
            })
            .collect(),
        other => {
            vec![Finding::fail("configuration", "all of it", other.to_string(), "correct it; docs/reference/config.md explains every key")]
        }
    }
}

/// That a running service goes on with the configuration before the one that lies in the files, and why.
pub fn refused_by_service(why: &str) -> Finding {
    let evidence = format!("the configuration in the files is refused, and the service goes on with the one before it: {why}");
    Finding::fail("configuration", "the running service", evidence, "`syncline config check` tells all that is to be mended")
}

/// Where findings go, one after the other, as soon as they are known.
struct Told<'a> {
    cx: &'a Context,
    tell: &'a mut dyn FnMut(Finding),
}

impl Told<'_> {
    fn push(&mut self, finding: Finding) {
        // Whatever ends because somebody asked for it says nothing about what was looked at.
        if !self.cx.cancelled() {
            (self.tell)(finding);
        }
    }

    fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }
}

/// The longest wait for one check. Whoever takes a connection and says nothing is no reason to look at nothing else.
const LONGEST_CHECK: Duration = Duration::from_secs(30);

/// What a server answers, or that it does not.
pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, ConnectorError>>) -> Result<T, ConnectorError> {
    within(LONGEST_CHECK, asked).await
}

async fn within<T>(longest: Duration, asked: impl Future<Output = Result<T, ConnectorError>>) -> Result<T, ConnectorError> {
    tokio::time::timeout(longest, asked).await.unwrap_or_else(|_| {
        let message = format!("the connection is taken, and nothing was answered within {} s", longest.as_secs());
        Err(ConnectorError::new(ConnectorErrorKind::Dropped, message))
    })
}

/// Looks at everything, or at what can be reached only, and tells what is found as it is found. `service`: the store with its
/// rules, or why it cannot be opened.
///
/// # Errors
/// When the system gives no threads for connections, or when it was told to stop before it had looked at everything.
pub fn examine(
    cx: &Context,
    config: &Config,
    service: Result<&Service, &ServiceError>,
    network_only: bool,
    tell: &mut dyn FnMut(Finding),
) -> Result<(), ServiceError> {
    look(cx, config, service, network_only, &mut Told { cx, tell })?;
    if cx.cancelled() {
        return Err(ServiceError::Interrupted("not everything was looked at".to_owned()));
    }
    Ok(())
}

/// Looks at one thing, until somebody asks for the end.
async fn unless_stopped(cx: &Context, looking: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = cx.cancel.cancelled() => {}
        () = looking => {}
    }
}

fn look(
    cx: &Context,
    config: &Config,
    service: Result<&Service, &ServiceError>,
    network_only: bool,
    found: &mut Told<'_>,
) -> Result<(), ServiceError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(ServiceError::no_threads)?;
    if !network_only {
        let connectors = counted(config.connectors.len() as u64, "connector", "connectors");
        found.push(match compile_configured(config) {
            Ok(_) => Finding::ok("configuration", "all of it", format!("it can be read, with {connectors}")),
            Err(error) => {
                Finding::fail("configuration", "rules", error.to_string(), "`syncline config check` tells all that is to be mended")
            }
        });
        found.extend(secrets(config));
        found.extend(machine::machine(config, service.ok()));
    }
    // Monitors call this again and again: a secret that was refused is left alone here, too.
    let sign_ins = service.map_or_else(|_| SignIns::default(), |service| service.sign_ins().clone());
    for connector in &config.connectors {
        let name = connector.name.as_str();
        match &connector.settings {
            ConnectorSettings::Ad(file) => {
                let looking = directories::active_directory(cx, config, connector, file, &sign_ins, network_only, found);
                runtime.block_on(unless_stopped(cx, looking));
            }
            ConnectorSettings::Ldap(file) => {
                runtime.block_on(unless_stopped(cx, directories::ldap(cx, config, connector, file, &sign_ins, network_only, found)));
            }
            ConnectorSettings::Ldif(file) if !network_only => found.extend(directories::ldif(name, file)),
            ConnectorSettings::Entra(file) if !file.is_embedded() => {
                runtime.block_on(unless_stopped(cx, tenants::elsewhere(cx, config, connector, file, network_only, found)));
            }
            ConnectorSettings::Ldif(_) | ConnectorSettings::Entra(_) => {}
        }
    }
    // A name that is still being looked up is waited for no longer.
    runtime.shutdown_background();
    if network_only || cx.cancelled() {
        return Ok(());
    }
    match service {
        Ok(service) => {
            found.extend(tenants::embedded(cx, config, service));
            found.extend(machine::store(cx, service));
            // What the files say, also where a service goes on with what they said before.
            match service.store().snapshot().and_then(|snapshot| refused_anchor(&snapshot, &config.rules.source_anchor)) {
                Ok(Some(kept)) => {
                    let evidence = format!("the objects in the cloud were made with '{kept}', so nothing runs with another one");
                    found.push(Finding::fail(
                        "configuration",
                        "rules.source_anchor",
                        evidence,
                        format!("`syncline config set rules.source_anchor {kept}`"),
                    ));
                }
                Ok(None) => {}
                Err(error) => found.push(Finding::fail("store", "source anchor", error.to_string(), "`syncline store check` tells more")),
            }
            if !service.password_sources().is_empty() {
                match service.diagnose_passwords(cx, None, true) {
                    Ok(checks) => found.extend(checks.into_iter().map(Finding::of_passwords)),
                    Err(error) => {
                        found.push(Finding::fail("passwords", "all of it", error.to_string(), "`syncline phs doctor` tells more"));
                    }
                }
            }
        }
        Err(ServiceError::NoStore(path)) => {
            let evidence = format!("there is none at {} yet", path.display());
            found.push(Finding::warn("store", "all of it", evidence, "run a first cycle: `syncline cycle start --initial`"));
        }
        Err(error) => {
            found.push(Finding::fail(
                "store",
                "all of it",
                error.to_string(),
                "`syncline store check` tells more; another command may be using it",
            ));
        }
    }
    Ok(())
}

fn secrets(config: &Config) -> Vec<Finding> {
    let line = |line: super::SecretLine| match line.problem {
        None if line.used_by.is_empty() => {
            let evidence = format!("{}; nothing in the configuration names it", line.origin);
            Finding::warn("secrets", line.name.clone(), evidence, format!("`syncline secret remove {}` removes it", line.name))
        }
        None => Finding::ok("secrets", line.name, line.origin),
        Some(problem) => {
            let remedy = format!("`syncline secret set {}` keeps it in the configuration folder", line.name);
            Finding::fail("secrets", line.name, problem, remedy)
        }
    };
    secret_lines(config).into_iter().map(line).collect()
}

/// A certificate that ends within so many days should be looked at.
const EXPIRES_SOON: i64 = 30;
const DAY: i64 = 86_400_000_000;

/// Reaches a server: a finding for every step. True when it was reached.
async fn reached(cx: &Context, area: &str, target: &ReachTarget, found: &mut Told<'_>) -> bool {
    let url = &target.url;
    match reach(cx, target).await {
        Ok(reached) => {
            let addresses: Vec<String> = reached.addresses.iter().map(ToString::to_string).collect();
            found.push(Finding::ok(
                area,
                format!("{url}: name and port"),
                format!("answers at {} ({})", reached.place, addresses.join(", ")),
            ));
            match &reached.certificate {
                Some(certificate) => found.push(expiry(area, url, certificate, cx.now())),
                None if url.starts_with("ldap://") => {
                    let remedy = "use ldaps:// or start_tls; the account's password travels readable";
                    found.push(Finding::warn(area, format!("{url}: encryption"), "there is none", remedy));
                }
                None => {}
            }
            true
        }
        Err(Unreached { stage, message, .. }) => {
            let (what, remedy) = match stage {
                Stage::Name => ("name", "correct the address, or the name servers of this machine (/etc/resolv.conf)"),
                Stage::Port => ("port", "see that the server runs, and that firewalls let this machine reach it"),
                Stage::Encryption => ("encryption", "name the authority that issued the server's certificate as ca_file, or renew it"),
            };
            found.push(Finding::fail(area, format!("{url}: {what}"), message, remedy));
            false
        }
    }
}

fn expiry(area: &str, url: &str, certificate: &CertificateFacts, now: Timestamp) -> Finding {
    let days = (certificate.expires.0 - now.0) / DAY;
    let evidence =
        format!("{}, issued by {}, is good for {days} more days ({})", certificate.subject, certificate.issuer, certificate.expires);
    let what = format!("{url}: certificate");
    if days < EXPIRES_SOON {
        Finding::warn(area, what, evidence, "have it renewed before it ends: then nothing can connect any more")
    } else {
        Finding::ok(area, what, evidence)
    }
}

/// Clocks may differ so far before anything breaks, in seconds: Kerberos allows five minutes.
const SKEW: i64 = 300;
/// From here on somebody should look.
const SKEW_SEEN: i64 = 60;

fn clock(area: &str, whose: &str, ahead: i64) -> Finding {
    let direction = if ahead < 0 { "behind" } else { "ahead of" };
    let evidence = format!("{} s {direction} ours", ahead.abs());
    let remedy = "set this machine's clock by a time service; tickets and tokens are refused when clocks differ by five minutes";
    match ahead.abs() {
        ..SKEW_SEEN => Finding::ok(area, whose, evidence),
        SKEW_SEEN..SKEW => Finding::warn(area, whose, evidence, remedy),
        _ => Finding::fail(area, whose, evidence, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_says_nothing_is_not_waited_for_without_end() {
        let silent = within(Duration::from_millis(5), std::future::pending::<Result<(), ConnectorError>>()).await;
        assert!(silent.is_err_and(|error| error.message.contains("nothing was answered within 0 s")));
        assert!(in_time(async { Ok(7) }).await.is_ok_and(|answer| answer == 7));
    }

    #[test]
    fn clocks_are_judged_by_what_breaks() {
        let level = |ahead| clock("x", "clock", ahead).level;
        assert_eq!([0, 59, -60, 299, 300, -3_600].map(level).map(|level| level as u8), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn certificates_are_told_of_before_they_end() {
        let certificate = |days: i64| CertificateFacts { subject: "CN=a".into(), issuer: "CN=b".into(), expires: Timestamp(days * DAY) };
        assert_eq!(expiry("x", "ldaps://a", &certificate(29), Timestamp(0)).level, FindingLevel::Warn);
        assert_eq!(expiry("x", "ldaps://a", &certificate(31), Timestamp(0)).level, FindingLevel::Ok);
    }
}
