//! Which conditions are there now, from what `status` finds and from what lasts too long.

use super::super::status::Attention;
use super::super::{Service, ServiceError};
use crate::alert::{Condition, Found};
use crate::config::ConnectorSettings;
use crate::context::Context;
use crate::model::{ErrorSide, Timestamp, quoted};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::path::Path;
use std::time::Duration;

/// Problems are counted so far.
const PROBLEMS: usize = 5_000;
const DAY: u64 = 86_400;

impl Service {
    /// What is there now, of the conditions that people want to be told of. `refused`: why the configuration that lies
    /// in the folder does not count.
    ///
    /// # Errors
    /// When the store cannot be read, but for the reason that its disk failed: that is a condition.
    pub fn conditions(&self, cx: &Context, refused: Option<&str>) -> Result<Vec<Found>, ServiceError> {
        let mut found = Vec::new();
        if let Some(message) = refused {
            found.push(of(Condition::ConfigurationRefused, message, "syncline config check"));
        }
        self.look_at_certificates(cx, &mut found);
        if let Some(message) = self.store.failure() {
            found.push(of(Condition::StoreLost, &message, "syncline events explain 7065"));
        } else {
            let attention = self.standing(cx, true, false)?.attention;
            attention.into_iter().filter_map(Attention::into_found).for_each(|one| add(&mut found, one));
            self.look_at_exports(&mut found)?;
            self.look_at_ages(cx, &mut found)?;
        }
        found.retain(|found| self.config.alerts.wants(found.condition));
        Ok(found)
    }

    fn look_at_exports(&self, found: &mut Vec<Found>) -> Result<(), ServiceError> {
        let Ok(rules) = self.rules() else { return Ok(()) };
        let most = self.config.alerts.export_errors as usize;
        let snapshot = self.store.snapshot()?;
        for id in rules.targets() {
            let Some(name) = self.connectors.get(id) else { continue };
            let refused = snapshot.errors(*id, None, PROBLEMS)?.iter().filter(|(_, side, _)| *side == ErrorSide::Export).count();
            if refused > most {
                let text = format!("{name} refuses {refused} objects, more than {most}");
                let command = format!("syncline errors {}", quoted(name));
                found.push(Found { subject: name.clone(), ..of(Condition::ExportErrors, &text, &command) });
            }
        }
        Ok(())
    }

    fn look_at_ages(&self, cx: &Context, found: &mut Vec<Found>) -> Result<(), ServiceError> {
        let (now, alerts) = (cx.now(), &self.config.alerts);
        let memory = self.scheduler_memory()?;
        // Where none ever succeeded, the first one that began counts.
        if let Some(since) = memory.cycle_succeeded.or(memory.maintained).or(memory.cycle_began) {
            let silence = now.since(Timestamp(since));
            let hours = silence.as_secs() / 3_600;
            if hours >= u64::from(alerts.cycle_hours.max(1)) {
                let why = memory.suspended.map(|suspension| format!("; suspended by {}", suspension.by)).unwrap_or_default();
                let text = format!("no cycle has succeeded {}{why}", lasting(silence, &format!("{hours} hours")));
                found.push(of(Condition::NoCycle, &text, "syncline status"));
            }
        }
        if self.rules.is_err() || self.password_sources().is_empty() || self.config.guard.staging {
            return Ok(());
        }
        for standing in self.password_status_uncounted(cx)?.into_iter().filter(|standing| standing.enabled && standing.status.ready) {
            let status = &standing.status;
            let Some(silence) = status.silence(now) else { continue };
            let minutes = silence.as_secs() / 60;
            if minutes >= u64::from(alerts.password_minutes.max(1)) {
                let how_long = lasting(silence, &format!("{minutes} minutes"));
                let text = format!("nothing was heard from password synchronization of {} {how_long}", standing.name);
                found.push(Found { subject: standing.name, ..of(Condition::PasswordsStale, &text, "syncline phs doctor") });
            }
        }
        Ok(())
    }

    fn look_at_certificates(&self, cx: &Context, found: &mut Vec<Found>) {
        let days = u64::from(self.config.alerts.expiry_days);
        for config in &self.config.connectors {
            let ConnectorSettings::Entra(file) = &config.settings else { continue };
            let Some(path) = &file.certificate else { continue };
            let Some(expires) = expires(path) else { continue };
            let left = u64::try_from(expires.saturating_sub(cx.now().0 / 1_000_000)).unwrap_or(0) / DAY;
            if left < days {
                let at = Timestamp::from_seconds(expires);
                let text = format!("the certificate {} that signs in to {} expires in {left} days, at {at}", path.display(), config.name);
                found.push(Found { subject: config.name.clone(), ..of(Condition::Expiry, &text, "syncline status") });
            }
        }
    }
}

/// People are told once of a condition and what it is about: what is found for several reasons is told together.
fn add(found: &mut Vec<Found>, one: Found) {
    match found.iter_mut().find(|other| (other.condition, &other.subject) == (one.condition, &one.subject)) {
        Some(other) => other.text = format!("{}; {}", other.text, one.text),
        None => found.push(one),
    }
}

fn of(condition: Condition, text: &str, command: &str) -> Found {
    Found { condition, subject: String::new(), text: text.to_owned(), command: command.to_owned() }
}

/// `for 30 hours`, or what is known when the last time was noted by a clock that was ahead.
fn lasting(silence: Duration, told: &str) -> String {
    if silence == Duration::MAX { "since the clock was set back".to_owned() } else { format!("for {told}") }
}

/// When a certificate in PEM form expires, in seconds since 1970. One that cannot be read is told by the runs that need it.
fn expires(path: &Path) -> Option<i64> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
