//! What the tenant knows about itself: domains, features, activation, applications, times of the last synchronization.

use super::directory::{Authentication, Features};
use crate::model::{Timestamp, fold};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whether directory synchronization is on (specification: sync engine 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "until")]
pub enum Activation {
    /// Never turned on, or turned off.
    Disabled,
    /// On.
    Enabled,
    /// Being turned off until then (microseconds since 1970); cannot be cancelled.
    PendingDisabled(i64),
}

/// One domain of the tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// The name as it was entered.
    pub name: String,
    /// Somebody proved to own it.
    pub verified: bool,
    /// How its people sign in.
    pub authentication: Authentication,
    /// The one that cannot go.
    pub initial: bool,
    /// New cloud users get it.
    pub default: bool,
    /// Federation settings as Graph has them (`internalDomainFederation`).
    #[serde(default)]
    pub federation: Option<serde_json::Value>,
}

/// A registered application.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// The client id.
    pub client_id: Uuid,
    /// For people.
    pub name: String,
    /// SHA-256 of its secret, hex. Enough for 256 random bits.
    pub secret_hash: Option<String>,
    /// When the secret ends, in microseconds since 1970.
    #[serde(default)]
    pub secret_expires: Option<i64>,
    /// Certificates, DER in base64.
    pub certificates: Vec<String>,
    /// May write through the provisioning service.
    pub synchronization: bool,
}

/// An installation that writes through the provisioning service, by the headers of its calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Writer {
    /// Its id.
    pub id: String,
    /// Its machine, when it told.
    pub name: Option<String>,
    /// When it last wrote, in microseconds since 1970.
    pub at: i64,
}

/// Everything that is kept in one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The name of the organization.
    pub name: String,
    /// The domain of generated names.
    pub initial_domain: String,
    /// When the tenant was made.
    pub created: i64,
    /// All domains.
    pub domains: Vec<Domain>,
    /// Feature bits.
    pub features: Features,
    /// Features of Graph that no bit is known of.
    #[serde(default)]
    pub unnumbered_features: Vec<String>,
    /// Directory synchronization on or off.
    pub activation: Activation,
    /// It was on at least once.
    pub ever_activated: bool,
    /// `enabledForCount`, `enabledForPercentage` or `disabled`.
    pub deletion_prevention: String,
    /// The number that goes with it.
    pub deletion_threshold: i32,
    /// Registered applications.
    pub applications: Vec<Application>,
    /// Object ids of the accounts that `GetServiceAccount` made.
    #[serde(default)]
    pub sync_accounts: Vec<Uuid>,
    /// When synchronization was last finished.
    pub last_synchronization: Option<i64>,
    /// When password hashes or a heartbeat last arrived.
    pub last_password_synchronization: Option<i64>,
    /// The numbers of the last finished export: all and successful.
    pub last_export: (i64, i64),
    /// The installation that wrote last, when it said who it is.
    #[serde(default)]
    pub last_writer: Option<Writer>,
    /// `ApplicationId` of the last client.
    pub client_application: Option<String>,
    /// Build of the last client.
    pub client_version: Option<String>,
    /// How far the clock was advanced, in microseconds.
    pub clock_offset: i64,
    /// When the sweep ran last.
    pub last_sweep: i64,
}

impl State {
    /// A domain by name, whatever its case.
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| fold(&domain.name) == fold(name))
    }

    /// A domain by name, to be changed.
    pub fn domain_mut(&mut self, name: &str) -> Option<&mut Domain> {
        self.domains.iter_mut().find(|domain| fold(&domain.name) == fold(name))
    }

    /// True while synchronization may write.
    pub fn accepts_synchronization(&self) -> bool {
        self.activation == Activation::Enabled
    }

    /// The value of `onPremisesSyncEnabled`: never on is null.
    pub fn on_premises_sync_enabled(&self) -> Option<bool> {
        match self.activation {
            Activation::Enabled | Activation::PendingDisabled(_) => Some(true),
            Activation::Disabled if self.ever_activated => Some(false),
            Activation::Disabled => None,
        }
    }

    /// The application with a client id.
    pub fn application(&self, client_id: &str) -> Option<&Application> {
        let id = Uuid::try_parse(client_id).ok()?;
        self.applications.iter().find(|application| application.client_id == id)
    }
}

/// Microseconds as Graph writes times: seconds, `Z`.
pub(super) fn graph_time(microseconds: i64) -> String {
    Timestamp(microseconds).to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
