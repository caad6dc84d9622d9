//! What a tenant says of itself to whoever sets synchronization up: its name, its switches and limits, its clock, and the
//! domains whose names it lets people sign in with.

use super::domains::{TenantDomain, tenant_domains};
use super::http;
use super::passwords::{SETTINGS_PATIENCE, features_of};
use super::standing::{DirectoryQuota, SyncRights, quota};
use super::{EntraConnector, EntraSettings};
use crate::connector::{ConnectorError, PasswordFeatures};
use crate::context::Context;
use crate::model::Names;
use std::sync::Arc;

/// What a tenant says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSurvey {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// What it has switched on.
    pub features: PasswordFeatures,
    /// Its own limit of deletes in one export, where it counts objects.
    pub deletes_max: Option<u64>,
    /// The machine of the client that was there last, and the objects that it had: another one may be at work.
    pub last_client: Option<String>,
    /// Seconds by which the clock of its token service is ahead of ours.
    pub clock_ahead: Option<i64>,
    /// Its domains; unknown where Graph cannot be asked, with the reason.
    pub domains: Result<Vec<TenantDomain>, String>,
    /// By what it lets us synchronize; unknown where the token does not say.
    pub rights: Option<SyncRights>,
    /// How many objects it has and may have; unknown where Graph does not tell, with the reason.
    pub quota: Result<DirectoryQuota, String>,
}

/// Asks a tenant.
///
/// # Errors
/// When it does not let us in, or does not answer.
pub async fn survey(cx: &Context, settings: EntraSettings) -> Result<TenantSurvey, ConnectorError> {
    let connector = EntraConnector::new(settings.clone(), Arc::new(Names::new()))?;
    let company = connector.company(cx, SETTINGS_PATIENCE).await?;
    let clock_ahead = clock_ahead(cx, &settings).await;
    let domains = tenant_domains(&settings, cx).await.map_err(|error| error.message);
    let rights = connector.service.rights(cx).await?;
    let quota = quota(&settings, cx).await.map_err(|error| error.message);
    Ok(TenantSurvey {
        features: features_of(&company, connector.service.told()),
        deletes_max: u64::try_from(company.threshold_count)
            .ok()
            .filter(|count| *count > 0 && company.deletion_prevention.eq_ignore_ascii_case("EnabledForCount")),
        last_client: company.machine_name.filter(|name| !name.is_empty()),
        name: company.display_name,
        id: company.tenant_id,
        clock_ahead,
        domains,
        rights,
        quota,
    })
}

/// Whatever the token service answers, it says when (RFC 9110 section 6.6.1).
async fn clock_ahead(cx: &Context, settings: &EntraSettings) -> Option<i64> {
    let client = http::client(settings.ca_file.as_deref(), &[&settings.login_url]).ok()?;
    let answer = client.get(&settings.login_url).send().await.ok()?;
    Some(http::date(answer.headers())?.seconds() - cx.now().seconds())
}
