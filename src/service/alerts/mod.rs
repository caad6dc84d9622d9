//! Telling people: which conditions are there, and the ways by which somebody hears of them.

mod conditions;
mod mail;
mod webhook;

use super::connectors::INSTALLATION;
use super::{Service, ServiceError};
use crate::alert::{Condition, Found, Ledger, Message, News};
use crate::context::Context;
use crate::store::{ChangeSet, KeptState};
use serde::Serialize;
use std::time::Duration;

/// A call to a server of mail or of the web takes no longer.
const LONGEST_CALL: Duration = Duration::from_secs(30);

/// A way by which people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertChannel {
    /// `[alerts.mail]`.
    Mail,
    /// `[alerts.webhook]`.
    Webhook,
}

impl AlertChannel {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
        }
    }

    /// Where the installation keeps what was told by it.
    fn kept(self) -> KeptState<Ledger> {
        KeptState::named(format!("alerts-{}", self.as_str()))
    }
}

/// What is told, to whom, and what is there now.
#[derive(Clone, Debug, Serialize)]
pub struct AlertsView {
    /// The ways that are configured.
    pub channels: Vec<AlertWay>,
    /// The conditions that people are told of.
    pub conditions: Vec<Condition>,
    /// What lasts is told again after so many hours.
    pub remind_hours: u64,
    /// What is there now, of those conditions.
    pub found: Vec<Found>,
}

/// One way, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertWay {
    /// Which one.
    pub channel: AlertChannel,
    /// Where it leads: receivers by their server, or an address.
    pub to: String,
    /// Why a test did not arrive; nothing when it did, or none was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Service {
    /// The ways that are configured.
    pub fn alert_channels(&self) -> Vec<AlertWay> {
        let alerts = &self.config.alerts;
        let mail = alerts.mail.as_ref().map(|mail| (AlertChannel::Mail, format!("{} by {}", mail.to.join(", "), mail.server)));
        // What stands behind the host may be a secret of the receiver's.
        let webhook = alerts.webhook.as_ref().map(|webhook| (AlertChannel::Webhook, webhook::origin(&webhook.url)));
        [mail, webhook].into_iter().flatten().map(|(channel, to)| AlertWay { channel, to, failure: None }).collect()
    }

    /// What is told, to whom, and what is there now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn alerts(&self, cx: &Context, refused: Option<&str>) -> Result<AlertsView, ServiceError> {
        let alerts = &self.config.alerts;
        let conditions = Condition::ALL.into_iter().filter(|condition| alerts.wants(*condition)).collect();
        let (channels, found) = (self.alert_channels(), self.conditions(cx, refused)?);
        Ok(AlertsView { channels, conditions, remind_hours: alerts.remind().as_secs() / 3_600, found })
    }

    /// What was told by a channel. What cannot be understood was written by another release: things are told once more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn alert_ledger(&self, channel: AlertChannel) -> Result<Ledger, ServiceError> {
        Ok(channel.kept().read(&self.store.snapshot()?, INSTALLATION)?.or_forgotten().unwrap_or_default())
    }

    /// Keeps what was told by a channel.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn keep_alert_ledger(&self, channel: AlertChannel, ledger: &Ledger) -> Result<(), ServiceError> {
        let mut changes = ChangeSet::new();
        channel.kept().put(&mut changes, INSTALLATION, Some(ledger))?;
        Ok(self.store.apply(changes)?)
    }

    /// Tells people by one channel. Gives why it did not arrive, without secrets.
    ///
    /// # Errors
    /// A sentence.
    pub fn tell_people(&self, cx: &Context, channel: AlertChannel, messages: &[Message]) -> Result<(), String> {
        let alerts = &self.config.alerts;
        let secrets = &self.config.secrets;
        let now = cx.now();
        let done = self.with_runtime(cx, async || {
            Ok(match (channel, &alerts.mail, &alerts.webhook) {
                (AlertChannel::Mail, Some(mail), _) => mail::send(mail, secrets, &self.config.folder, messages).await,
                (AlertChannel::Webhook, _, Some(webhook)) => webhook::call(webhook, secrets, &self.config.folder, messages, now).await,
                _ => Err(format!("[alerts.{}] is not configured", channel.as_str())),
            })
        });
        done.map_err(|error| error.to_string())?
    }

    /// Tells people by every channel that this is a test. Gives each with what became of it.
    ///
    /// # Errors
    /// When none is configured.
    pub fn test_alerts(&self, cx: &Context) -> Result<Vec<AlertWay>, ServiceError> {
        let mut ways = self.alert_channels();
        if ways.is_empty() {
            return Err(ServiceError::NotReady {
                message: "nobody is told of anything: neither [alerts.mail] nor [alerts.webhook] is configured".to_owned(),
                hint: "docs/guide/service.md, \"When somebody is to be told\", shows both".to_owned(),
            });
        }
        let found = Found {
            condition: Condition::NoCycle,
            subject: String::new(),
            text: "TEST: this is a test, which somebody sent by `syncline alerts test`".to_owned(),
            command: String::new(),
        };
        let message = Message { news: News::Test, found, since: cx.now().0 };
        for way in &mut ways {
            way.failure = self.tell_people(cx, way.channel, std::slice::from_ref(&message)).err();
        }
        Ok(ways)
    }
}

/// The machine, for the receiver of several installations.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
