//! The secrets that a configuration names, and whether they are there; never what they are.

use super::ad_accounts::origin_text;
use super::cloud::refresh_name;
use crate::config::{Config, ConnectorSettings, CredentialReference, SecretOrigin, SignIn};
use serde::Serialize;
use std::collections::BTreeMap;

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretLine {
    /// Its name.
    pub name: String,
    /// Who names it: connectors by name, and `[alerts.mail]` or `[alerts.webhook]` of the main file.
    pub used_by: Vec<String>,
    /// Where it comes from.
    pub origin: String,
    /// It can be used.
    pub usable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The secrets that the configuration names, and who does.
fn named(config: &Config) -> BTreeMap<String, Vec<String>> {
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for connector in &config.connectors {
        let references: Vec<&CredentialReference> = match &connector.settings {
            ConnectorSettings::Ldif(_) => Vec::new(),
            ConnectorSettings::Ad(file) => std::iter::once(&file.password).chain(&file.password_hash_sync.password).collect(),
            ConnectorSettings::Ldap(file) => vec![&file.password],
            ConnectorSettings::Entra(file) if file.is_embedded() => Vec::new(),
            ConnectorSettings::Entra(file) => file.client_secret.iter().chain(&file.private_key).collect(),
        };
        for reference in references {
            let users = named.entry(reference.credential.clone()).or_default();
            if !users.contains(&connector.name) {
                users.push(connector.name.clone());
            }
        }
    }
    let mail = config.alerts.mail.as_ref().and_then(|mail| mail.password.as_ref());
    let webhook = config.alerts.webhook.as_ref().and_then(|webhook| webhook.secret.as_ref());
    for (table, reference) in [("[alerts.mail]", mail), ("[alerts.webhook]", webhook)] {
        if let Some(reference) = reference {
            named.entry(reference.credential.clone()).or_default().push(table.to_owned());
        }
    }
    named
}

/// Every secret that is named or kept.
pub fn secret_lines(config: &Config) -> Vec<SecretLine> {
    let mut all = named(config);
    // Kept by a sign-in of a person, not named anywhere.
    for connector in &config.connectors {
        if let ConnectorSettings::Entra(file) = &connector.settings
            && file.sign_in == SignIn::DeviceCode
            && !file.is_embedded()
        {
            let name = refresh_name(&connector.name);
            if !matches!(config.secrets.origin(&name), SecretOrigin::Nowhere) {
                all.entry(name).or_default().push(connector.name.clone());
            }
        }
    }
    for name in config.secrets.kept() {
        all.entry(name).or_default();
    }
    let line = |(name, used_by): (String, Vec<String>)| {
        let origin = config.secrets.origin(&name);
        let problem = config.secrets.resolve(&CredentialReference { credential: name.clone() }).err().map(|problem| problem.to_string());
        SecretLine { origin: origin_text(&origin), usable: problem.is_none(), problem, name, used_by }
    };
    all.into_iter().map(line).collect()
}
