//! The sentences of password events, where Microsoft published one that one, so that people and scripts find what they
//! know.

use super::PasswordEvent;
use crate::model::Timestamp;
use std::fmt;

/// The word of the published texts.
pub(super) fn result(success: bool) -> &'static str {
    if success { "Success" } else { "Failed" }
}

/// A time in the form of the published texts.
fn date(time: Timestamp) -> impl fmt::Display {
    time.to_jiff().strftime("%m/%d/%Y %H:%M:%S").to_string()
}

/// What the target gave beside its words.
fn reference(error_code: Option<i64>, tracking_id: Option<&str>) -> String {
    let code = error_code.map(|code| format!(" Error code: {code}.")).unwrap_or_default();
    let tracking = tracking_id.map(|id| format!(" Tracking ID: {id}.")).unwrap_or_default();
    code + &tracking
}

impl fmt::Display for PasswordEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScheduledForRetry { domain, dns, .. } => {
                write!(f, "Password changes of {} accounts of {domain} failed and are scheduled for retry.", dns.len())?;
                dns.iter().try_for_each(|dn| write!(f, " DN = {dn}"))
            }
            Self::AccessDenied { message, .. } => {
                write!(f, "Access to the cloud directory has been denied. Check the account of the connector and its roles. {message}")
            }
            Self::Starting => f.write_str("Password synchronization is starting."),
            Self::Stopping => f.write_str("Password synchronization is stopping."),
            Self::Failed { message } => write!(f, "Password synchronization failed unexpectedly: {message}"),
            Self::RetryAdded { domain, count, .. } => write!(f, "{count} accounts of {domain} are tried again later."),
            Self::RetryRemoved { domain, count, .. } => write!(f, "{count} accounts of {domain} need no further attempt."),
            Self::Stopped => f.write_str("Password synchronization has stopped."),
            Self::Alive => f.write_str("Password synchronization is alive."),
            Self::PreferredUnreachable { domain, server, used, message, .. } => {
                write!(
                    f,
                    "The preferred domain controller {server} of {domain} is not reachable; {used} answered instead. Details: {message}"
                )
            }
            Self::DomainFailed { connector, domain, message, .. } => {
                let place = if domain.is_empty() { connector } else { domain };
                write!(f, "Password synchronization failed for domain: {place}. Details: {message}")
            }
            Self::TargetFailed { connector, message } => {
                write!(f, "Password synchronization cannot read the settings of {connector}: {message}")
            }
            Self::Paused { connector, waiting_for } => write!(
                f,
                "Password synchronization of {connector} is paused: the first full import and synchronization of {waiting_for} did not complete yet"
            ),
            Self::FullStarted { connector } => write!(f, "Full password hash synchronization started for {connector}."),
            Self::FullDomainStarted { domain, .. } => write!(f, "Full password hash synchronization started for domain: {domain}"),
            Self::FullProgress { domain, seen, count, .. } => {
                write!(f, "Full password hash synchronization of domain {domain}: {seen} objects read, {count} accounts sent")
            }
            Self::FullFailed { domain, message, .. } => {
                write!(f, "Full password hash synchronization failed for domain: {domain}. Details: {message}")
            }
            Self::FullDomainCompleted { domain, .. } => write!(f, "Full password hash synchronization completed for domain: {domain}"),
            Self::FullCompleted { connector } => write!(f, "Full password hash synchronization completed for {connector}"),
            Self::BatchStart { count, .. } => write!(f, "Provision credentials batch start. Count: {count}"),
            Self::BatchEnd { count, .. } => write!(f, "Provision credentials batch end. Count: {count}"),
            Self::BatchFailed { error_code, tracking_id, message, .. } => {
                write!(f, "Failed credential provisioning batch. Error: {message}{}", reference(*error_code, tracking_id.as_deref()))
            }
            Self::PingStart { .. } => f.write_str("Provision credentials ping start."),
            Self::PingEnd { .. } => f.write_str("Provision credentials ping end."),
            Self::PingFailed { error_code, tracking_id, message, .. } => {
                write!(f, "Failed credential provisioning ping. Error: {message}{}", reference(*error_code, tracking_id.as_deref()))
            }
            Self::ChangeRequest { anchor, dn, change_date, .. } => {
                write!(f, "Password Change Request - Anchor : {anchor}, Dn : {dn}, Change Date : {}", date(*change_date))
            }
            Self::ChangeResult { anchor, dn, success, force_change, error_code, message, .. } => {
                write!(
                    f,
                    "Password Change Result - Anchor : {anchor}, Dn : {dn}, PwdChangeOnLogon={force_change}, Result : {}.",
                    result(*success)
                )?;
                error_code.map_or(Ok(()), |code| write!(f, " Error code: {code}."))?;
                message.as_ref().map_or(Ok(()), |message| write!(f, " Extended Error: {message}"))
            }
            Self::HealingStart { connector, message } => write!(f, "Password hashes are not taken by {connector}: {message}"),
            Self::HealingEnd { connector } => write!(f, "Password hashes are taken by {connector} again."),
            Self::SingleFailed { dn, message, .. } => write!(f, "Password hash synchronization of {dn} failed: {message}"),
            Self::StateFailed { domain, message, .. } => write!(f, "The state of domain {domain} could not be stored: {message}"),
            Self::OnlyTimeChanged { domain, count, .. } => {
                write!(f, "{count} accounts of {domain} have another pwdLastSet and the password that they had.")
            }
            Self::ReadFailed { dn, message, .. } => {
                write!(f, "The server encountered an unexpected error while processing a password change notification: {message}")?;
                if dn.is_empty() { Ok(()) } else { write!(f, " DN = {dn}") }
            }
            Self::DomainResumed { domain, .. } => write!(f, "Password synchronization of domain {domain} works again."),
            Self::RefusedRepeatedly { dn, attempts, message, .. } => {
                write!(f, "The password of {dn} was refused {attempts} times and is tried every 30 minutes: {message}")
            }
        }
    }
}
