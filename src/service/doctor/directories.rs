//! Directories: whether they are reached, let the account in, and let it do what it needs to.

use super::{Finding, Told, clock, in_time, reached};
use crate::config::{AdFile, Config, ConnectorConfig, LdapFile, LdifFile, SelectionTable};
use crate::connector::ad::rights::{self, Feature};
use crate::connector::ad::{DomainSurvey, survey};
use crate::connector::directory::{Scope, Selection};
use crate::connector::ldap::{DirectorySurvey, LdapConnector};
use crate::connector::ldif::file_kind;
use crate::connector::{ConnectorError, ConnectorErrorKind, ReachTarget, SignIns};
use crate::context::Context;
use crate::model::{Dn, Names, quoted};
use crate::service::wiring::{ad_connection, ldap_settings};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn active_directory(
    cx: &Context,
    config: &Config,
    connector: &ConnectorConfig,
    file: &AdFile,
    sign_ins: &SignIns,
    network_only: bool,
    found: &mut Told<'_>,
) {
    let area = connector.name.as_str();
    let target = server(&file.url, file.start_tls, file.ca_file.as_deref(), file.connect_timeout_seconds);
    if !reached(cx, area, &target, found).await || network_only {
        return;
    }
    if let Ok(Some(_)) = config.secrets.next(&file.password.credential) {
        found.push(Finding::warn(
            area,
            "password",
            "a change of it was cut off; both passwords are kept",
            format!("`syncline account ad rotate {}` brings it to its end", quoted(area)),
        ));
    }
    let settings = match ad_connection(file, &config.secrets, sign_ins) {
        Ok(settings) => Arc::new(settings),
        Err(error) => {
            found.push(Finding::fail(area, "sign-in", error.to_string(), "see the secrets above"));
            return;
        }
    };
    match in_time(Box::pin(survey(cx, Arc::clone(&settings)))).await {
        Ok(domain) => {
            found.push(Finding::ok(area, "sign-in", format!("'{}' is let in", file.bind_name)));
            found.extend(domain.clock_ahead.map(|ahead| clock(area, "clock of the domain controller", ahead)));
            found.extend(rights_of(area, &domain));
            found.extend(account_in_scope(area, &file.selection, &domain));
        }
        Err(error) => {
            found.push(refused(area, &error));
            return;
        }
    }
    match in_time(Box::pin(rights::check(cx, settings, &[Feature::Read], None))).await {
        Ok((_, checks)) => {
            // Of those from other forests only the name counts, which everybody may read.
            let counts = |check: &&rights::RightCheck| check.granted == Some(false) && !check.right.contains("foreignSecurityPrincipal");
            let missing: Vec<&rights::RightCheck> = checks.iter().filter(counts).collect();
            if missing.is_empty() {
                found.push(Finding::ok(area, "rights to read", "people, groups and contacts can be read with all their attributes"));
            }
            for check in missing {
                let remedy =
                    format!("`syncline account ad grant {} --feature read --script windows` (or samba) writes the commands", quoted(area));
                found.push(Finding::warn(area, format!("rights to read: {}", check.right), check.evidence.clone(), remedy));
            }
        }
        Err(error) => found.push(refused(area, &error)),
    }
}

/// What being let in is worth.
fn rights_of(area: &str, domain: &DomainSurvey) -> Vec<Finding> {
    let remedy = format!("`syncline account ad grant {} --feature changes --script windows` (or samba) writes the commands", quoted(area));
    let deleted = if domain.sees_deleted {
        Finding::ok(area, "deleted objects", "they can be seen")
    } else {
        let evidence = "they cannot be seen, so that every import reads everything: deletes would be missed otherwise";
        Finding::warn(area, "deleted objects", evidence, remedy.clone())
    };
    let changes = match &domain.no_changes {
        None => Finding::ok(area, "changes", "they are told by the DirSync control"),
        Some(reason) => Finding::warn(area, "changes", format!("the DirSync control is refused ({reason}); slower ways are taken"), remedy),
    };
    vec![deleted, changes]
}

/// The account with these rights belongs to nobody, and should not get a life in the cloud.
fn account_in_scope(area: &str, selection: &SelectionTable, domain: &DomainSurvey) -> Option<Finding> {
    let dn = domain.account.dn.as_ref()?;
    let selection = Selection { include: selection.include.clone(), exclude: selection.exclude.clone(), ..Selection::default() };
    let (scope, key) = (Scope::new(&selection).ok()?, Dn::parse(dn).ok()?.key());
    scope.wants(&key).then(|| {
        let evidence = format!("'{dn}' lies in what is synchronized, so it would have an account and a password in the cloud");
        let remedy = "put its container into exclude of [selection], or move it to one that is not synchronized";
        Finding::warn(area, "the account itself", evidence, remedy)
    })
}

fn refused(area: &str, error: &ConnectorError) -> Finding {
    let remedy = match error.kind {
        ConnectorErrorKind::Authentication => {
            "correct bind_name and its password (`syncline secret set`); is the account locked or expired?"
        }
        ConnectorErrorKind::Permission => "let the account read there; `syncline account ad check` names the rights",
        ConnectorErrorKind::Configuration => "correct the connector's file",
        _ => "try again later; see that the server is well",
    };
    Finding::fail(area, "sign-in", error.message.clone(), remedy)
}

/// The server of a directory, as its connector reaches it.
fn server(url: &str, start_tls: bool, ca_file: Option<&Path>, seconds: u64) -> ReachTarget {
    let patience = Duration::from_secs(seconds);
    ReachTarget { url: url.to_owned(), start_tls, ca_file: ca_file.map(Path::to_owned), patience }
}

pub(super) async fn ldap(
    cx: &Context,
    config: &Config,
    connector: &ConnectorConfig,
    file: &LdapFile,
    sign_ins: &SignIns,
    network_only: bool,
    found: &mut Told<'_>,
) {
    let area = connector.name.as_str();
    let target = server(&file.url, file.start_tls, file.ca_file.as_deref(), file.connect_timeout_seconds);
    if !reached(cx, area, &target, found).await || network_only {
        return;
    }
    let settings = match ldap_settings(connector, file, &config.secrets, sign_ins) {
        Ok(settings) => settings,
        Err(error) => {
            found.push(Finding::fail(area, "sign-in", error.to_string(), "see the secrets above"));
            return;
        }
    };
    let directory = match LdapConnector::new(settings, Arc::new(Names::new())) {
        Ok(directory) => directory,
        Err(error) => {
            found.push(refused(area, &error));
            return;
        }
    };
    match in_time(Box::pin(directory.survey(cx))).await {
        Ok(survey) => {
            found.push(Finding::ok(area, "sign-in", format!("'{}' is let in", file.bind_name)));
            found.extend(shown(area, file, survey));
        }
        Err(error) => found.push(refused(area, &error)),
    }
}

/// Whether entries show what imports go by.
fn shown(area: &str, file: &LdapFile, survey: DirectorySurvey) -> Vec<Finding> {
    let DirectorySurvey { looked, keyless, untold, no_changes } = survey;
    let (account, base) = (&file.bind_name, &file.base);
    let mut found = Vec::new();
    found.push(if looked == 0 {
        let remedy =
            format!("let '{account}' read there, or correct base and [selection]; `syncline partition tree '{area}'` shows what there is");
        Finding::warn(area, "entries", format!("'{account}' sees nobody of the selected types below '{base}'"), remedy)
    } else if keyless.count == 0 {
        Finding::ok(area, "keys", format!("all of {looked} entries show {}", file.anchor))
    } else {
        let evidence =
            format!("{} of {looked} entries show no {}, '{}' first; imports cannot use them", keyless.count, file.anchor, keyless.first);
        let remedy = format!("let '{account}' read and search {} of everything below '{base}'", file.anchor);
        Finding::fail(area, "keys", evidence, remedy)
    });
    let remedy = format!("let '{account}' read and search entryUUID and entryCSN of everything below '{base}'");
    if untold.count > 0 {
        let evidence = format!(
            "the account may not search {} of {looked} entries by entryUUID and entryCSN, '{}' first; no change of them is told, and only a \
             full import sees it",
            untold.count, untold.first
        );
        found.push(Finding::warn(area, "changes", evidence, remedy));
    } else if let Some(why) = no_changes {
        found.push(Finding::warn(area, "changes", why, "what to do stands there; until then cycles take longer"));
    } else if looked > 0 && file.anchor.eq_ignore_ascii_case("entryUUID") {
        found.push(Finding::ok(area, "changes", "they are told (RFC 4533)"));
    }
    found
}

pub(super) fn ldif(area: &str, file: &LdifFile) -> Vec<Finding> {
    let look = |key: &str, path: &Path| {
        let finding = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => std::fs::read_dir(path).map(|_| "a folder that can be read".to_owned()),
            // What does not open must not be opened.
            Ok(metadata) => match file_kind(&metadata) {
                Some(kind) => Err(std::io::Error::other(format!("it is {kind} and no regular file"))),
                None => std::fs::File::open(path).map(|_| format!("a file of {} octets that can be read", metadata.len())),
            },
            Err(error) => Err(error),
        };
        match finding {
            Ok(evidence) => Finding::ok(area, path.display().to_string(), evidence),
            Err(error) => {
                Finding::fail(area, path.display().to_string(), error.to_string(), format!("put the file there, or correct `{key}`"))
            }
        }
    };
    let files = [("path", Some(&file.path)), ("changes", file.changes.as_ref())];
    files.into_iter().filter_map(|(key, path)| path.map(|path| look(key, path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::ad::AccountSurvey;

    fn domain(account: &str) -> DomainSurvey {
        DomainSurvey {
            host: None,
            domain: "DC=corp,DC=example".into(),
            domain_name: None,
            short_name: None,
            schema: String::new(),
            samba: false,
            clock_ahead: None,
            account: AccountSurvey { dn: Some(account.into()), ..AccountSurvey::default() },
            sees_deleted: false,
            no_changes: Some("insufficient".into()),
            may_replicate: None,
            may_replicate_secrets: None,
        }
    }

    #[test]
    fn the_account_should_not_synchronize_itself() {
        let account = "CN=svc,OU=Service Accounts,DC=corp,DC=example";
        let scope =
            |exclude: &[&str]| SelectionTable { exclude: exclude.iter().map(|dn| (*dn).to_owned()).collect(), ..SelectionTable::default() };
        let found = account_in_scope("AD", &scope(&[]), &domain(account)).expect("it is in scope");
        assert!(found.evidence.contains(account), "{found:?}");
        assert_eq!(account_in_scope("AD", &scope(&["OU=Service Accounts,DC=corp,DC=example"]), &domain(account)), None);
    }

    #[test]
    fn what_is_missing_comes_with_the_command_that_grants_it() {
        let found = rights_of("AD", &domain("CN=a,DC=x"));
        assert!(
            found.iter().all(|finding| finding.remedy.as_deref().is_some_and(|remedy| remedy.contains("--feature changes"))),
            "{found:?}"
        );
    }
}
