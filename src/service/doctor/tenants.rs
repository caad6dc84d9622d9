//! Tenants: whether they are reached, let us in, and have switched on what is configured here.

use super::{Finding, FindingLevel, Told, clock, in_time, reached};
use crate::config::{Config, ConnectorConfig, ConnectorSettings, EntraFile, SecretOrigin, SignIn, proxy_variable};
use crate::connector::entra::{DirectoryQuota, LOGIN_URL, PROVISIONING_URL, SyncRights, TenantSurvey, survey};
use crate::connector::{ConnectorErrorKind, PasswordFeatures, ReachTarget};
use crate::context::Context;
use crate::service::cloud::{refresh_name, settings};
use crate::service::{Service, ServiceError};
use std::time::Duration;

/// Longest wait for each step to a tenant.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn elsewhere(
    cx: &Context,
    config: &Config,
    connector: &ConnectorConfig,
    file: &EntraFile,
    network_only: bool,
    found: &mut Told<'_>,
) {
    let area = connector.name.as_str();
    // Behind a proxy this machine reaches nothing by itself, and need not.
    let proxy = proxy_variable();
    found.extend(proxy.map(|name| Finding::ok(area, "proxy", format!("requests go by the one that {name} names"))));
    let (mut there, mut reachable) = (true, Vec::new());
    for (given, usual) in [(&file.login_url, LOGIN_URL), (&file.provisioning_url, PROVISIONING_URL)] {
        let url = given.clone().unwrap_or_else(|| usual.to_owned());
        let target = ReachTarget { url, start_tls: false, ca_file: file.ca_file.clone(), patience: PATIENCE };
        there &= reached(cx, area, &target, &mut Told { cx, tell: &mut |finding| reachable.push(finding) }).await;
    }
    if let Some(name) = proxy.filter(|_| !there) {
        for finding in reachable.iter_mut().filter(|finding| finding.level == FindingLevel::Fail) {
            finding.level = FindingLevel::Warn;
            finding.remedy = Some(format!("nothing, if the proxy of {name} reaches it; signing in tells"));
        }
    }
    found.extend(reachable);
    if network_only || (!there && proxy.is_none()) {
        return;
    }
    if file.sign_in == SignIn::DeviceCode && config.secrets.origin(&refresh_name(&connector.name)) == SecretOrigin::Nowhere {
        let remedy = "the next cycle shows a code; a person types it into a browser, once";
        found.push(Finding::warn(area, "sign-in", "nobody has signed in yet", remedy));
        return;
    }
    let settings = match settings(connector, file, None, &config.secrets) {
        Ok(settings) => settings,
        Err(error) => {
            found.push(Finding::fail(area, "sign-in", error.to_string(), "see the secrets above"));
            return;
        }
    };
    match in_time(survey(cx, settings)).await {
        Ok(tenant) => {
            found.push(Finding::ok(area, "sign-in", format!("'{}' ({}) lets us in", tenant.name, tenant.id)));
            found.extend(tenant.clock_ahead.map(|ahead| clock(area, "clock of the tenant", ahead)));
            found.extend(switches(area, config, &tenant.features));
            found.extend(limits(area, &tenant));
        }
        Err(error) => {
            let remedy = match error.kind {
                ConnectorErrorKind::Authentication => {
                    "correct the application's id and secret (`syncline secret set`); has the secret expired?"
                }
                ConnectorErrorKind::Permission => {
                    "give the application or the person the role \"Directory Synchronization Accounts\" or \"Hybrid Identity Administrator\""
                }
                _ => "try again later; see docs/guide/entra.md, \"What the tenant needs\"",
            };
            found.push(Finding::fail(area, "sign-in", error.message, remedy));
        }
    }
}

/// Embedded tenants run with the service that has the store.
pub(super) fn embedded(cx: &Context, config: &Config, service: &Service) -> Vec<Finding> {
    let embedded = |connector: &&ConnectorConfig| matches!(&connector.settings, ConnectorSettings::Entra(file) if file.is_embedded());
    let Some(connector) = config.connectors.iter().find(embedded) else { return Vec::new() };
    let area = connector.name.as_str();
    match service.password_features(cx) {
        Ok(features) => {
            let mut found = vec![Finding::ok(area, "sign-in", "the embedded tenant runs and lets us in")];
            found.extend(switches(area, config, &features));
            found
        }
        Err(error @ ServiceError::Rules(_)) => {
            vec![Finding::fail(area, "rules", error.to_string(), "`syncline rule lint` shows all findings")]
        }
        Err(error) => vec![Finding::fail(area, "sign-in", error.to_string(), "see the tenant's folder; another process may be using it")],
    }
}

/// What has to be on there, for what is on here.
fn switches(area: &str, config: &Config, features: &PasswordFeatures) -> Vec<Finding> {
    let mut found = vec![if features.synchronization {
        Finding::ok(area, "directory synchronization", "it is on in the tenant")
    } else {
        let remedy = "a Hybrid Identity Administrator switches it on once (docs/guide/entra.md, \"What the tenant needs\")";
        Finding::fail(area, "directory synchronization", "it is off in the tenant, so that it takes nothing", remedy)
    }];
    let wanted = config.connectors.iter().any(|connector| match &connector.settings {
        ConnectorSettings::Ad(file) => file.password_hash_sync.enabled,
        ConnectorSettings::Ldif(file) => file.password_hash_sync.enabled,
        ConnectorSettings::Ldap(_) | ConnectorSettings::Entra(_) => false,
    });
    match (wanted, features.password_hashes) {
        (true, false) => found.push(Finding::fail(
            area,
            "password hash synchronization",
            "it is off in the tenant, and on here",
            "`syncline phs enable` switches it on",
        )),
        (true, true) => found.push(Finding::ok(area, "password hash synchronization", "it is on in the tenant")),
        (false, _) => {}
    }
    found
}

/// From this share of the allowed objects on somebody should look, in percent.
const FULL_SOON: u64 = 90;

/// By what we may synchronize: enough, and no more than that.
fn role(area: &str, rights: &SyncRights) -> Finding {
    let remedy = "give the application the permission ADSynchronization.ReadWrite.All, or the account the role \"Directory Synchronization \
                  Accounts\" (docs/guide/entra.md, \"What the tenant needs\")";
    let by = rights.by.join(", ");
    if rights.by.is_empty() {
        Finding::fail(area, "role of the account", "its token names no permission and no role that lets it synchronize", remedy)
    } else if rights.too_wide {
        let evidence = format!("it synchronizes as {by}, which may do far more than that");
        Finding::warn(area, "role of the account", evidence, remedy)
    } else {
        Finding::ok(area, "role of the account", by)
    }
}

/// Room for more objects: a tenant that is full refuses every new one.
fn room(area: &str, quota: &Result<DirectoryQuota, String>) -> Finding {
    let quota = match quota {
        Ok(quota) => quota,
        Err(reason) => return Finding::ok(area, "room for objects", format!("not known: {reason}")),
    };
    let evidence = format!("{} objects of {} that it takes", quota.used, quota.allowed);
    let remedy = "remove what nobody needs, verify a domain (which raises the limit once), or have Microsoft raise it: new objects are \
                  refused when it is full";
    match quota.used.saturating_mul(100).checked_div(quota.allowed) {
        None | Some(100..) => Finding::fail(area, "room for objects", evidence, remedy),
        Some(FULL_SOON..) => Finding::warn(area, "room for objects", evidence, remedy),
        Some(_) => Finding::ok(area, "room for objects", evidence),
    }
}

fn limits(area: &str, tenant: &TenantSurvey) -> Vec<Finding> {
    let mut found = vec![room(area, &tenant.quota)];
    found.extend(tenant.rights.as_ref().map(|rights| role(area, rights)));
    if let Some(limit) = tenant.deletes_max {
        found.push(Finding::ok(area, "limit of deletes", format!("{limit} in one export; the stricter of the tenant's and ours counts")));
    }
    match &tenant.domains {
        Ok(domains) => {
            let verified: Vec<&str> = domains.iter().filter(|domain| domain.is_verified).map(|domain| domain.id.as_str()).collect();
            found.push(Finding::ok(area, "verified domains", verified.join(", ")));
        }
        Err(reason) => {
            found.push(Finding::ok(area, "verified domains", format!("not known: {reason}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged_by_what_is_left() {
        let level = |used, allowed| room("x", &Ok(DirectoryQuota { used, allowed })).level;
        assert_eq!(level(100, 50_000), FindingLevel::Ok);
        assert_eq!(level(45_000, 50_000), FindingLevel::Warn);
        assert_eq!([level(50_000, 50_000), level(50_001, 50_000), level(1, 0)], [FindingLevel::Fail; 3]);
        let unknown = room("x", &Err("Graph said no".to_owned()));
        assert!(unknown.level == FindingLevel::Ok && unknown.evidence.contains("Graph said no"));
    }

    #[test]
    fn a_role_is_neither_missing_nor_too_wide() {
        let level = |by: &[&str], too_wide| role("x", &SyncRights { by: by.iter().map(|by| (*by).to_owned()).collect(), too_wide }).level;
        assert_eq!(level(&["Directory Synchronization Accounts"], false), FindingLevel::Ok);
        assert_eq!(level(&["Global Administrator"], true), FindingLevel::Warn);
        assert_eq!(level(&[], false), FindingLevel::Fail);
    }
}
