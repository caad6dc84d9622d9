//! The Entra connector: a tenant as a target, over the provisioning service.
//!
//! Exports go in batches of `ProvisionAzureADSyncObjects2` with single reference changes; imports read back what
//! synchronization wrote, whole or behind a cookie. An object's name in its connector space is `CN={…}` around the hex
//! of its source anchor (specification: provisioning service 4.1), or of its cloud anchor while it has no other. Password
//! hashes go their own way, in [`ProvisionCredentials`](crate::protocol::provisioning::Request::ProvisionCredentials).

mod anchor;
mod domains;
mod export;
mod graph;
mod http;
mod import;
mod kept_aside;
mod matching;
mod passwords;
mod person;
mod service;
mod standing;
mod survey;
mod token;

pub use domains::{TenantDomain, tenant_domains};
pub use person::signs_in;
pub use standing::{DirectoryQuota, SyncRights};
pub use survey::{TenantSurvey, survey};
pub use token::{SignIn, SignInDesk};

use super::{
    AttributeSchema, Capabilities, Connector, ConnectorError, ConnectorErrorKind, DeleteLimit, ExportBatch, ExportReply, ExportTerms,
    ExportTotals, ImportRequest, ImportStream, Installation, KeptAside, LastWriter, MatchReport, NewObject, Schema, UniqueAttribute,
    UniqueKind,
};
use crate::context::Context;
use crate::model::{Names, Timestamp, ValueKind};
use crate::protocol::provisioning::{self, CompanyConfiguration, Request, Response, Syntax};
use async_trait::async_trait;
use graph::Graph;
use serde_json::json;
use service::{Patience, Service};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use token::Tokens;

/// Objects in one call to the real service, the only published figure (specification: provisioning service 3.4).
pub const BATCH_OBJECTS: usize = 30;
/// Objects in one call to a local tenant; more brought nothing when it was measured.
pub const BATCH_OBJECTS_LOCAL: usize = 250;
/// References in one call (`MaxLinksSupportedAcrossBatchInProvision2`).
pub const BATCH_REFERENCES: usize = 15_000;
/// An import waits so long for what only Graph tells; the next one asks again.
const KEPT_ASIDE_PATIENCE: Duration = Duration::from_secs(30);
/// Calls under way at the same time.
pub const CALLS_IN_FLIGHT: usize = 4;
/// Where tokens of the public cloud come from.
pub const LOGIN_URL: &str = "https://login.microsoftonline.com";
/// The provisioning service of the public cloud.
pub const PROVISIONING_URL: &str = "https://adminwebservice.microsoftonline.com/provisioningservice.svc";
/// Microsoft Graph of the public cloud.
pub const GRAPH_URL: &str = "https://graph.microsoft.com";

/// How to reach a tenant, and as whom.
#[derive(Clone, Debug)]
pub struct EntraSettings {
    /// Where tokens come from, without the tenant.
    pub login_url: String,
    /// The tenant's id or one of its domains.
    pub tenant: String,
    /// The provisioning service.
    pub provisioning_url: String,
    /// Microsoft Graph, without a version.
    pub graph_url: String,
    /// How to sign in.
    pub sign_in: SignIn,
    /// PEM file with the certificate authorities to trust, alone; those of the machine without it.
    pub ca_file: Option<PathBuf>,
    /// Objects in one call, 1 to 500.
    pub batch_objects: usize,
    /// Calls under way at the same time.
    pub calls_in_flight: usize,
    /// Who we are, told to the tenant with every call.
    pub installation: Option<Installation>,
    /// Asked which tenant this may be. `None` for whoever only looks at one.
    pub desk: Option<Arc<dyn TenantDesk>>,
}

/// Says whether a tenant is the one that is meant. Names and addresses may be mistyped, and one tenant has several: what counts
/// is the id that the tenant itself tells, once it has let us in.
pub trait TenantDesk: std::fmt::Debug + Send + Sync {
    /// A tenant with this id answered. Asked before anything is read from it or sent to it; may wait for the disk.
    ///
    /// # Errors
    /// Why it is left alone.
    fn meet(&self, id: &str) -> Result<(), ConnectorError>;
}

impl EntraSettings {
    /// Settings for a tenant of the public cloud.
    pub fn new(tenant: impl Into<String>, sign_in: SignIn) -> Self {
        Self {
            login_url: LOGIN_URL.to_owned(),
            tenant: tenant.into(),
            provisioning_url: PROVISIONING_URL.to_owned(),
            graph_url: GRAPH_URL.to_owned(),
            sign_in,
            ca_file: None,
            batch_objects: BATCH_OBJECTS,
            calls_in_flight: CALLS_IN_FLIGHT,
            installation: None,
            desk: None,
        }
    }
}

/// A tenant.
pub struct EntraConnector {
    names: Arc<Names>,
    service: Arc<Service>,
    /// For the questions that Graph answers.
    settings: EntraSettings,
    batch_objects: usize,
    calls_in_flight: usize,
}

impl EntraConnector {
    /// A connector for a tenant. Nothing is sent yet.
    ///
    /// # Errors
    /// Addresses that cannot be used, a CA file that cannot be read.
    pub fn new(settings: EntraSettings, names: Arc<Names>) -> Result<Self, ConnectorError> {
        let client = http::client(settings.ca_file.as_deref(), &[&settings.login_url, &settings.provisioning_url])?;
        let tokens = Tokens::new(client.clone(), &settings.login_url, &settings.tenant, settings.sign_in.clone());
        let service = Arc::new(Service::new(client, tokens, &settings.provisioning_url, settings.installation.clone()));
        let (batch_objects, calls_in_flight) = (settings.batch_objects.clamp(1, 500), settings.calls_in_flight.clamp(1, 16));
        Ok(Self { names, service, settings, batch_objects, calls_in_flight })
    }
}

impl EntraConnector {
    /// The tenant's settings, when it is the tenant that is meant. Comes before everything that reads or writes.
    async fn company(&self, cx: &Context, patience: Patience) -> Result<CompanyConfiguration, ConnectorError> {
        let request = Request::GetCompanyConfiguration { include_licenses: false };
        let Response::CompanyConfiguration(company) = self.service.ask(cx, &request, None, patience).await? else {
            return Err(unexpected(&request));
        };
        if let Some(desk) = self.settings.desk.clone() {
            let id = company.tenant_id.clone();
            http::off_thread(move || desk.meet(&id)).await??;
        }
        Ok(*company)
    }
}

impl std::fmt::Debug for EntraConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EntraConnector").field("batch_objects", &self.batch_objects).finish_non_exhaustive()
    }
}

#[async_trait]
impl Connector for EntraConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            full_import: true,
            delta_import: true,
            export: true,
            batch_objects: self.batch_objects,
            batch_references: BATCH_REFERENCES,
            batches_in_flight: self.calls_in_flight,
            reference_deltas: true,
        }
    }

    async fn schema(&self, _cx: &Context) -> Result<Schema, ConnectorError> {
        let attributes = provisioning::attributes().map(|attribute| AttributeSchema {
            name: attribute.name.to_owned(),
            kind: match attribute.syntax {
                Syntax::Text => ValueKind::Text,
                Syntax::Boolean => ValueKind::Boolean,
                Syntax::Integer => ValueKind::Number,
                Syntax::Binary => ValueKind::Binary,
                Syntax::Reference => ValueKind::Reference,
            },
            multi_valued: attribute.multi_valued,
        });
        let object_types = ["user", "group", "contact", "device"].map(str::to_owned).to_vec();
        Ok(Schema { object_types, attributes: attributes.collect() })
    }

    async fn import(&self, cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        if self.settings.desk.is_some() {
            self.company(cx, Patience::Attempts).await?;
        }
        import::start(Arc::clone(&self.service), Arc::clone(&self.names), cx.clone(), request).await
    }

    async fn export(&self, cx: &Context, batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
        export::send(&self.service, cx, batch).await
    }

    async fn matches(&self, cx: &Context, adds: &[NewObject]) -> Result<Option<MatchReport>, ConnectorError> {
        let field = self.company(cx, Patience::Attempts).await?.features;
        matching::look_up(&Graph::new(&self.settings)?, cx, field, adds).await.map(Some)
    }

    fn unique_attributes(&self) -> &'static [UniqueAttribute] {
        const UNIQUE: [UniqueAttribute; 3] = [
            UniqueAttribute { name: "userPrincipalName", kind: UniqueKind::SignInName },
            UniqueAttribute { name: "mail", kind: UniqueKind::Address },
            UniqueAttribute { name: "proxyAddresses", kind: UniqueKind::Address },
        ];
        &UNIQUE
    }

    async fn kept_aside(&self, cx: &Context) -> Result<Option<Vec<KeptAside>>, ConnectorError> {
        let graph = Graph::new(&self.settings)?;
        let mut found = tokio::select! {
            found = kept_aside::list(&graph, cx) => found?,
            () = cx.clock.sleep(KEPT_ASIDE_PATIENCE) => {
                let message = format!("Microsoft Graph took longer than {} seconds", KEPT_ASIDE_PATIENCE.as_secs());
                return Err(ConnectorError::new(ConnectorErrorKind::Busy, message));
            }
        };
        if !found.is_empty() {
            let mut told = found.clone();
            let looked = tokio::select! {
                looked = kept_aside::look_up_holders(&graph, cx, &mut told) => looked,
                () = cx.clock.sleep(KEPT_ASIDE_PATIENCE) => Err(ConnectorError::new(ConnectorErrorKind::Busy, "Microsoft Graph took too long")),
            };
            match looked {
                Ok(()) => found = told,
                Err(error) if error.kind == ConnectorErrorKind::Cancelled => return Err(error),
                // Whose values they are is known; who has them is told another time.
                Err(error) => tracing::warn!("who has the values that the tenant keeps aside could not be looked up: {error}"),
            }
        }
        Ok(Some(found))
    }

    async fn set_delete_limit(&self, cx: &Context, limit: DeleteLimit) -> Result<(), ConnectorError> {
        const PATH: &str = "/directory/onPremisesSynchronization";
        let (kind, threshold) = match limit {
            DeleteLimit::Count(count) => ("enabledForCount", count),
            DeleteLimit::Percent(percent) => ("enabledForPercentage", percent),
            // The threshold of a prevention that is off means nothing, and has to be a number.
            DeleteLimit::Off => ("disabled", 500),
        };
        let graph = Graph::new(&self.settings)?;
        let tenant = self.company(cx, Patience::Attempts).await?.tenant_id;
        let prevention = json!({"synchronizationPreventionType": kind, "alertThreshold": threshold});
        let body = json!({"configuration": {"accidentalDeletionPrevention": prevention}});
        graph.patch(cx, &format!("{PATH}/{tenant}"), &body).await.map_err(|error| match error.kind {
            // Graph takes this from people only, whatever an application may do (graph 3).
            ConnectorErrorKind::Permission | ConnectorErrorKind::Authentication => ConnectorError::new(
                error.kind,
                format!(
                    "{error}. The setting belongs to the tenant: a Global Administrator who signs in with the permission \
                     OnPremDirectorySynchronization.ReadWrite.All may change it, an application may not (sign_in = \"device-code\")"
                ),
            )
            .unsent(),
            _ => error,
        })
    }

    async fn begin_export(&self, cx: &Context) -> Result<ExportTerms, ConnectorError> {
        let company = self.company(cx, Patience::Attempts).await?;
        if !company.is_dir_syncing {
            return Err(ConnectorError::new(
                ConnectorErrorKind::Disabled,
                format!("directory synchronization is switched off in the tenant {}; switch it on there first", company.display_name),
            )
            .unsent());
        }
        let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
        let prevention = company.deletion_prevention.as_str();
        Ok(ExportTerms {
            deletes_max: positive(company.threshold_count).filter(|_| prevention.eq_ignore_ascii_case("EnabledForCount")),
            delete_percent_max: positive(company.threshold_percentage)
                .filter(|_| prevention.eq_ignore_ascii_case("EnabledForPercentage"))
                .and_then(|percent| u32::try_from(percent).ok()),
            interval: company.interval.parse::<jiff::SignedDuration>().ok().and_then(|interval| interval.try_into().ok()),
            last_writer: last_writer(&company, self.service.told()),
        })
    }

    fn told(&self) -> Option<Timestamp> {
        self.service.told()
    }

    async fn finish_export(&self, cx: &Context, totals: ExportTotals) -> Result<(), ConnectorError> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let request = Request::FinalizeExport { total: number(totals.sent), successful: number(totals.accepted) };
        self.service.call(cx, &request, None).await?;
        Ok(())
    }
}

/// Who wrote to the tenant last. The public cloud tells the machine at most; a local tenant tells everything.
fn last_writer(company: &CompanyConfiguration, told: Option<Timestamp>) -> Option<LastWriter> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let at = company.last_contact.as_ref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let (id, name, at) = (text(&company.machine_id), text(&company.machine_name), at.map(|at| Timestamp(at.as_microsecond())));
    (id.is_some() || name.is_some()).then_some(LastWriter { id, name, at, told })
}

/// An answer of another kind than the operation has.
fn unexpected(request: &Request) -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::Protocol, format!("the service answered {} with something else", request.operation()))
}
