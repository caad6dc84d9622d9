//! A person's sign-in with name and password (RFC 6749, section 4.3): how a demonstration shows that a synchronized password
//! opens the door. What it gets is thrown away.

use super::http;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use secrecy::{ExposeSecret as _, SecretString};

/// What is asked for; nobody uses it.
const SCOPE: &str = "https://graph.microsoft.com/.default";

/// True when the token service of a tenant lets somebody in. `client_id`: a public client that people may sign in with.
///
/// # Errors
/// When the token service does not answer, or has something else to say than yes or no.
pub async fn signs_in(login_url: &str, tenant: &str, client_id: &str, user: &str, password: &SecretString) -> Result<bool, ConnectorError> {
    let url = format!("{login_url}/{tenant}/oauth2/v2.0/token");
    let form = [
        ("grant_type", "password"),
        ("client_id", client_id),
        ("username", user),
        ("password", password.expose_secret()),
        ("scope", SCOPE),
    ];
    let request = http::client(None, &[login_url])?.post(&url).form(&form);
    let status = request.send().await.map_err(|error| http::failed(&error))?.status();
    match status.as_u16() {
        200 => Ok(true),
        400 | 401 => Ok(false),
        _ => Err(ConnectorError::new(ConnectorErrorKind::Protocol, format!("{login_url} answered a sign-in with {status}"))),
    }
}
