//! `[alerts]`: who is told by mail or webhook of what needs a person.

use super::address::holds_account;
use super::secrets::CredentialReference;
use crate::alert::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// `[alerts]`: of which conditions people are told, and by which way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsTable {
    /// The conditions that are told; without it all of them.
    pub conditions: Option<Vec<Condition>>,
    /// What lasts is told again after so many hours.
    pub remind_hours: u32,
    /// Hours without a cycle that succeeds.
    pub cycle_hours: u32,
    /// Minutes without a sign of password synchronization.
    pub password_minutes: u32,
    /// Objects that one target refuses.
    pub export_errors: u32,
    /// Days before a certificate expires.
    pub expiry_days: u32,
    /// By mail.
    pub mail: Option<MailTable>,
    /// By a call of a web address.
    pub webhook: Option<WebhookTable>,
}

impl Default for AlertsTable {
    fn default() -> Self {
        Self {
            conditions: None,
            remind_hours: 24,
            cycle_hours: 24,
            password_minutes: 120,
            export_errors: 50,
            expiry_days: 30,
            mail: None,
            webhook: None,
        }
    }
}

impl AlertsTable {
    /// True when somebody is to be told.
    pub fn is_wanted(&self) -> bool {
        self.mail.is_some() || self.webhook.is_some()
    }

    /// True when people are told of a condition.
    pub fn wants(&self, condition: Condition) -> bool {
        self.conditions.as_ref().is_none_or(|wanted| wanted.contains(&condition))
    }

    /// Time after which what lasts is told again.
    pub fn remind(&self) -> Duration {
        Duration::from_hours(u64::from(self.remind_hours.max(1)))
    }

    /// What is wrong, if anything.
    ///
    /// # Errors
    /// A sentence.
    pub fn check(&self) -> Result<(), String> {
        if let Some(mail) = &self.mail {
            if mail.to.is_empty() {
                return Err("[alerts.mail] to is empty: name who is to be told".to_owned());
            }
            if mail.user.is_some() != mail.password.is_some() {
                return Err("[alerts.mail] has only one of user and password: give both, or none where the server wants none".to_owned());
            }
            if mail.password.is_some() && mail.security == MailSecurity::None {
                return Err("[alerts.mail] would send a password in clear text: write security = \"starttls\" or \"tls\"".to_owned());
            }
        }
        match &self.webhook {
            Some(webhook) if !(webhook.url.starts_with("https://") || is_local(&webhook.url)) => {
                Err("[alerts.webhook] url would be called in clear text: write https://".to_owned())
            }
            Some(webhook) if holds_account(&webhook.url) => {
                Err("[alerts.webhook] url holds an account, and everybody may read this file: take an address with a key behind its host"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// An address that never leaves the machine.
fn is_local(url: &str) -> bool {
    ["http://127.0.0.1", "http://localhost", "http://[::1]"]
        .iter()
        .any(|local| url.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])))
}

/// `[alerts.mail]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailTable {
    /// The server that takes mail.
    pub server: String,
    /// Its port; by default 587 for `starttls`, 465 for `tls`, 25 for `none`.
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub security: MailSecurity,
    /// The authorities that signed the server's certificate; by default those of the machine.
    pub ca_file: Option<PathBuf>,
    /// The sender: `syncline@corp.example`, or `Syncline <syncline@corp.example>`.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
    /// Who signs in at the server.
    pub user: Option<String>,
    /// The password for it, by reference.
    pub password: Option<CredentialReference>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MailSecurity {
    /// By STARTTLS, which the server must offer (RFC 3207).
    #[default]
    Starttls,
    /// By TLS from the first octet (RFC 8314).
    Tls,
    /// Not at all: for a server on the machine itself or on a network of its own.
    None,
}

/// `[alerts.webhook]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTable {
    /// The address that is called by POST.
    pub url: String,
    /// The authorities that signed its certificate; by default those of the machine.
    pub ca_file: Option<PathBuf>,
    /// The secret with which calls are signed, by reference; unsigned without it.
    pub secret: Option<CredentialReference>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AlertsTable, String> {
        let table: AlertsTable = toml::from_str(text).map_err(|error| error.to_string())?;
        table.check().map(|()| table)
    }

    #[test]
    fn nobody_is_told_without_a_way() {
        assert!(!read("").unwrap().is_wanted());
        let some = read("conditions = [\"no-cycle\"]\n[webhook]\nurl = \"https://hooks.example/x\"").unwrap();
        assert!(some.is_wanted() && some.wants(Condition::NoCycle) && !some.wants(Condition::StoreLost));
    }

    #[test]
    fn what_would_tell_a_secret_or_nobody_is_refused() {
        let mail = "[mail]\nserver = \"s\"\nfrom = \"a@b.example\"\n";
        for (wrong, named) in [
            (format!("{mail}to = []"), "to is empty"),
            (format!("{mail}to = [\"a@b.example\"]\nuser = \"u\""), "only one"),
            (format!("{mail}to = [\"a@b.example\"]\nuser = \"u\"\npassword = {{ credential = \"p\" }}\nsecurity = \"none\""), "clear text"),
            (format!("{mail}to = [\"a@b.example\"]\nuser = \"u\"\npassword = \"p\""), "never written here"),
            ("[webhook]\nurl = \"http://hooks.example/x\"".to_owned(), "clear text"),
            ("[webhook]\nurl = \"http://localhost.example/x\"".to_owned(), "clear text"),
            ("[webhook]\nurl = \"https://u:p@hooks.example/x\"".to_owned(), "holds an account"),
            ("conditions = [\"weather\"]".to_owned(), "weather"),
        ] {
            let error = read(&wrong).unwrap_err();
            assert!(error.contains(named), "{wrong}: {error}");
        }
        read("[webhook]\nurl = \"http://127.0.0.1:8080/x\"").unwrap();
    }
}
