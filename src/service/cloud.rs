//! Makes the Entra connector from its configuration: addresses, sign-in, the embedded tenant in place of the cloud.

use super::ServiceError;
use super::tenant::RunningTenant;
use crate::config::{ConfigProblem, ConnectorConfig, CredentialReference, EntraFile, Secrets, SignIn as ConfiguredSignIn};
use crate::connector::entra::{
    BATCH_OBJECTS, BATCH_OBJECTS_LOCAL, CALLS_IN_FLIGHT, EntraConnector, EntraSettings, LOGIN_URL, PROVISIONING_URL, SignIn, SignInDesk,
};
use crate::model::Names;
use secrecy::SecretString;
use std::sync::Arc;

/// A public client that people may sign in with (specification: provisioning service 1.4).
pub(super) const PUBLIC_CLIENT: &str = "1b730954-1685-4b74-9bfd-dac224a7b894";

/// The connector of a configured tenant. `tenant`: the embedded one, when it is that.
pub(super) fn entra(
    config: &ConnectorConfig,
    file: &EntraFile,
    tenant: Option<&RunningTenant>,
    secrets: &Secrets,
    names: Arc<Names>,
) -> Result<EntraConnector, ServiceError> {
    let mut settings = match tenant {
        Some(running) => {
            let credentials = running.credentials();
            let sign_in = SignIn::Secret { client_id: credentials.client_id.to_string(), secret: credentials.client_secret.clone() };
            EntraSettings {
                login_url: running.base_url().to_owned(),
                provisioning_url: format!("{}/provisioningservice.svc", running.base_url()),
                batch_objects: BATCH_OBJECTS_LOCAL,
                ..EntraSettings::new(credentials.tenant_id.to_string(), sign_in)
            }
        }
        None => EntraSettings {
            login_url: file.login_url.clone().unwrap_or_else(|| LOGIN_URL.to_owned()),
            provisioning_url: file.provisioning_url.clone().unwrap_or_else(|| PROVISIONING_URL.to_owned()),
            ca_file: file.ca_file.clone(),
            batch_objects: BATCH_OBJECTS,
            ..EntraSettings::new(&file.tenant, sign_in(config, file, secrets)?)
        },
    };
    settings.batch_objects = file.batch_objects.unwrap_or(settings.batch_objects);
    settings.calls_in_flight = file.calls_in_flight.unwrap_or(CALLS_IN_FLIGHT);
    EntraConnector::new(settings, names).map_err(|source| ServiceError::Connector { connector: config.name.clone(), source })
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

/// The credential that keeps a person's sign-in.
fn refresh_name(connector: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' };
    format!("{}-refresh-token", connector.chars().map(plain).collect::<String>())
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
    use super::refresh_name;

    #[test]
    fn names_of_credentials_are_plain() {
        assert_eq!(refresh_name("Entra (main)/1"), "entra--main--1-refresh-token");
    }
}
