//! Makes the Entra connector from its configuration: addresses, sign-in, the embedded tenant in place of the cloud.

use super::facilities::TenantLease;
use super::tenancy::Purpose;
use super::tenant::{RunningTenant, TenantPlace};
use super::{Service, ServiceError};
use crate::config::{
    ConfigProblem, ConnectorConfig, ConnectorSettings, CredentialReference, EntraFile, REFRESHED, Secrets, SignIn as ConfiguredSignIn,
};
use crate::connector::entra::{
    BATCH_OBJECTS, BATCH_OBJECTS_LOCAL, CALLS_IN_FLIGHT, EntraConnector, EntraSettings, GRAPH_URL, LOGIN_URL, PROVISIONING_URL, SignIn,
    SignInDesk, TenantDomain, tenant_domains,
};
use crate::context::Context;
use crate::lint::Domains;
use crate::model::{ConnectorId, Names};
use secrecy::SecretString;
use std::sync::Arc;

/// A public client that people may sign in with (specification: provisioning service 1.4).
pub const PUBLIC_CLIENT: &str = "1b730954-1685-4b74-9bfd-dac224a7b894";

impl Service {
    /// The connector of a configured tenant. `tenant`: the embedded one, when it is that. Another tenant than the one that the
    /// store is about is left alone.
    pub(super) fn cloud(
        &self,
        config: &ConnectorConfig,
        file: &EntraFile,
        tenant: Option<&RunningTenant>,
        names: Arc<Names>,
        purpose: Purpose,
    ) -> Result<EntraConnector, ServiceError> {
        let mut settings = settings(config, file, tenant, &self.config.secrets)?;
        settings.installation = Some(self.installation()?);
        settings.desk = Some(Arc::from(self.tenant_desk(&config.name, file, purpose)?));
        EntraConnector::new(settings, names).map_err(|source| ServiceError::Connector { connector: config.name.clone(), source })
    }
}

/// How a configured tenant is reached, and as whom.
pub(super) fn settings(
    config: &ConnectorConfig,
    file: &EntraFile,
    tenant: Option<&RunningTenant>,
    secrets: &Secrets,
) -> Result<EntraSettings, ServiceError> {
    let mut settings = match tenant {
        Some(running) => {
            let credentials = running.credentials();
            let sign_in = SignIn::Secret { client_id: credentials.client_id.to_string(), secret: credentials.client_secret.clone() };
            EntraSettings {
                login_url: running.base_url().to_owned(),
                provisioning_url: format!("{}/provisioningservice.svc", running.base_url()),
                graph_url: running.base_url().to_owned(),
                batch_objects: BATCH_OBJECTS_LOCAL,
                ..EntraSettings::new(credentials.tenant_id.to_string(), sign_in)
            }
        }
        None => EntraSettings {
            login_url: file.login_url.clone().unwrap_or_else(|| LOGIN_URL.to_owned()),
            provisioning_url: file.provisioning_url.clone().unwrap_or_else(|| PROVISIONING_URL.to_owned()),
            graph_url: file.graph_url.clone().unwrap_or_else(|| graph_of(file.login_url.as_deref().unwrap_or(LOGIN_URL))),
            ca_file: file.ca_file.clone(),
            batch_objects: BATCH_OBJECTS,
            ..EntraSettings::new(&file.tenant, sign_in(config, file, secrets)?)
        },
    };
    settings.batch_objects = file.batch_objects.unwrap_or(settings.batch_objects);
    settings.calls_in_flight = file.calls_in_flight.unwrap_or(CALLS_IN_FLIGHT);
    Ok(settings)
}

/// The Graph of the cloud that tokens come from; a tenant that runs elsewhere is its own, so that its tokens go nowhere else
/// (Microsoft Graph, "National cloud deployments").
pub fn graph_of(login_url: &str) -> String {
    let host = login_url.strip_prefix("https://").unwrap_or_default().trim_end_matches('/');
    let known = match host {
        "login.microsoftonline.com" => GRAPH_URL,
        "login.microsoftonline.us" => "https://graph.microsoft.us",
        "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => "https://microsoftgraph.chinacloudapi.cn",
        _ => login_url,
    };
    known.trim_end_matches('/').to_owned()
}

impl Service {
    /// The domains of a tenant, asked for now.
    ///
    /// # Errors
    /// When the tenant does not answer, or has none that is verified.
    pub(super) fn tenant_domains(&self, cx: &Context, target: ConnectorId) -> Result<Domains, ServiceError> {
        let config = self.connectors.get(&target).and_then(|name| self.config.connector(name));
        let Some((config, ConnectorSettings::Entra(file))) = config.map(|config| (config, &config.settings)) else {
            return Err(ServiceError::Usage("this connector is no tenant".to_owned()));
        };
        let found = self.with_runtime(cx, async || {
            let pool = &self.facilities.tenants;
            let lease = if file.is_embedded() {
                Some(pool.take(&config.name, file, self.password_only(), TenantPlace::Here, cx).await?)
            } else {
                None
            };
            let asked = match settings(config, file, lease.as_ref().map(TenantLease::tenant), &self.config.secrets) {
                Ok(settings) => {
                    tenant_domains(&settings, cx).await.map_err(|source| ServiceError::Connector { connector: config.name.clone(), source })
                }
                Err(error) => Err(error),
            };
            if let Some(lease) = lease {
                pool.give_back(lease).await;
            }
            asked
        })?;
        let verified: Vec<TenantDomain> = found.into_iter().filter(|domain| domain.is_verified).collect();
        let named = |wanted: fn(&TenantDomain) -> bool| verified.iter().find(|domain| wanted(domain)).map(|domain| domain.id.clone());
        let first = || verified.first().map(|domain| domain.id.clone()).unwrap_or_default();
        let initial = named(|domain| domain.is_initial).unwrap_or_else(first);
        // Generated names look like nobody's own: another domain is proposed where there is one.
        let own = named(|domain| domain.is_default && !domain.is_initial).or_else(|| named(|domain| !domain.is_initial));
        let preferred = own.unwrap_or_else(|| initial.clone());
        if initial.is_empty() {
            return Err(ServiceError::Usage(format!("the tenant of {} has no verified domain", config.name)));
        }
        Ok(Domains::new(verified.iter().map(|domain| domain.id.clone()), &initial, &preferred))
    }
}

fn sign_in(config: &ConnectorConfig, file: &EntraFile, secrets: &Secrets) -> Result<SignIn, ServiceError> {
    // The configuration was checked for these keys when it was read.
    let needs = |key: &str| {
        ServiceError::from(ConfigProblem::of_file(&config.file, format!("signing in to tenant '{}' needs the key `{key}`", file.tenant)))
    };
    let client_id = || file.client_id.clone().ok_or_else(|| needs("client_id"));
    Ok(match file.sign_in {
        ConfiguredSignIn::ClientSecret => SignIn::Secret {
            client_id: client_id()?,
            secret: secrets.resolve(file.client_secret.as_ref().ok_or_else(|| needs("client_secret"))?)?,
        },
        ConfiguredSignIn::Certificate => SignIn::Certificate {
            client_id: client_id()?,
            certificate: file.certificate.clone().ok_or_else(|| needs("certificate"))?,
            private_key: secrets.resolve(file.private_key.as_ref().ok_or_else(|| needs("private_key"))?)?,
        },
        ConfiguredSignIn::DeviceCode => {
            let credential = CredentialReference { credential: refresh_name(&config.name) };
            SignIn::Person {
                client_id: file.client_id.clone().unwrap_or_else(|| PUBLIC_CLIENT.to_owned()),
                // Nobody signed in yet, or the kept token cannot be used: a person is asked.
                refresh_token: secrets.resolve(&credential).ok(),
                desk: Arc::new(Desk { secrets: secrets.clone(), credential: credential.credential }),
            }
        }
    })
}

/// The credential that keeps a person's sign-in, by the name of the connector.
pub fn refresh_name(connector: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    format!("{}{REFRESHED}", connector.chars().map(plain).collect::<String>())
}

/// Shows the code in the log, which goes to the terminal, and keeps the refresh token among the secrets.
struct Desk {
    secrets: Secrets,
    credential: String,
}

impl SignInDesk for Desk {
    fn show(&self, message: &str) {
        tracing::warn!("{message}");
    }

    fn keep(&self, refresh_token: &SecretString) {
        if let Err(problem) = self.secrets.keep(&self.credential, refresh_token) {
            tracing::warn!("the sign-in will be asked for again next time: {problem}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{graph_of, refresh_name};

    #[test]
    fn tokens_of_a_tenant_go_to_its_own_graph() {
        assert_eq!(graph_of("https://login.microsoftonline.com"), "https://graph.microsoft.com");
        assert_eq!(graph_of("https://login.microsoftonline.us/"), "https://graph.microsoft.us");
        assert_eq!(graph_of("http://127.0.0.1:8080/"), "http://127.0.0.1:8080");
    }

    #[test]
    fn names_of_credentials_are_plain() {
        assert_eq!(refresh_name("Entra (main)/1"), "entra--main--1-refresh-token");
    }
}
