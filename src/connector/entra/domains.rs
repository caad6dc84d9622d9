//! The domains of a tenant, as Microsoft Graph lists them (`GET /domains`; permission `Domain.Read.All`).

use super::EntraSettings;
use super::graph::Graph;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use serde::Deserialize;

/// Domains at most; a tenant has some thousands.
const DOMAINS_MAX: usize = 10_000;

/// A domain of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantDomain {
    /// Its name.
    pub id: String,
    /// Names in it can be given to people.
    pub is_verified: bool,
    /// Names that the tenant makes are in it.
    #[serde(default)]
    pub is_initial: bool,
    /// New people get names in it.
    #[serde(default)]
    pub is_default: bool,
}

/// Asks a tenant for its domains.
///
/// # Errors
/// When signing in fails, Graph does not answer, or the account may not read domains.
pub async fn tenant_domains(settings: &EntraSettings, cx: &Context) -> Result<Vec<TenantDomain>, ConnectorError> {
    let (mut found, mut foreign) = (Vec::new(), false);
    let take = |value: &serde_json::Value| match TenantDomain::deserialize(value) {
        Ok(domain) if found.len() < DOMAINS_MAX => found.push(domain),
        Ok(_) => {}
        Err(_) => foreign = true,
    };
    match Graph::new(settings)?.pages(cx, "/domains", take).await {
        Ok(()) if foreign => Err(ConnectorError::new(ConnectorErrorKind::Protocol, "Microsoft Graph lists something else than domains")),
        Ok(()) => Ok(found),
        Err(mut error) => {
            if error.kind == ConnectorErrorKind::Permission {
                error.message.push_str("; give the application the permission Domain.Read.All of Microsoft Graph");
            }
            Err(error.unsent())
        }
    }
}
