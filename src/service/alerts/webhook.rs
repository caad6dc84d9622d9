//! Webhooks: what is told together is one POST of JSON, signed with a secret that both sides know.

use super::{LONGEST_CALL, host};
use crate::alert::{Message, News};
use crate::config::{Secrets, WebhookTable};
use crate::connector::tls;
use crate::model::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use sha2::Sha256;
use std::path::Path;

/// The version of the body.
const VERSION: u32 = 1;
/// When the call was made, in seconds since 1970; part of what is signed, so that an old call cannot be made again.
const TIMESTAMP: &str = "x-syncline-timestamp";
/// `sha256=` and HMAC-SHA-256 of the timestamp, a point and the body, in hexadecimal.
const SIGNATURE: &str = "x-syncline-signature";

#[derive(Serialize)]
struct Body<'m> {
    version: u32,
    host: String,
    configuration: String,
    sent: String,
    alerts: Vec<Alert<'m>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Alert<'m> {
    Real(Told<'m>),
    /// Without a condition, so that nobody acts on one.
    Test {
        news: News,
        text: &'m str,
        since: String,
    },
}

#[derive(Serialize)]
struct Told<'m> {
    #[serde(flatten)]
    message: &'m Message,
    since: String,
}

impl<'m> Alert<'m> {
    fn of(message: &'m Message) -> Self {
        let since = Timestamp(message.since).to_string();
        if message.news == News::Test {
            Self::Test { news: message.news, text: &message.found.text, since }
        } else {
            Self::Real(Told { message, since })
        }
    }
}

/// Makes one call.
pub(super) async fn call(
    table: &WebhookTable,
    secrets: &Secrets,
    folder: &Path,
    messages: &[Message],
    now: Timestamp,
) -> Result<(), String> {
    let alerts = messages.iter().map(Alert::of).collect();
    let body = Body { version: VERSION, host: host(), configuration: folder.display().to_string(), sent: now.to_string(), alerts };
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    let place = origin(&table.url);
    let ca_file = table.ca_file.as_ref().map(|file| folder.join(file));
    let encrypted = table.url.starts_with("https://");
    let trusted = if encrypted { tls::configuration(ca_file.as_deref()) } else { tls::trusting_nobody() };
    let client = reqwest::Client::builder()
        .timeout(LONGEST_CALL)
        // A signed call is for the address that somebody wrote, and no other.
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured((*trusted.map_err(|error| error.message)?).clone())
        .build()
        .map_err(|error| format!("the HTTP client cannot be made: {error}"))?;
    let stamp = (now.0 / 1_000_000).to_string();
    let mut request = client.post(&table.url).header("content-type", "application/json").header(TIMESTAMP, &stamp);
    if let Some(secret) = &table.secret {
        let secret = secrets.resolve(secret).map_err(|problem| problem.to_string())?;
        request = request.header(SIGNATURE, format!("sha256={}", signature(secret.expose_secret().as_bytes(), &stamp, &body)?));
    }
    let answer = request.body(body).send().await.map_err(|error| format!("{place}: {}", without_address(error)))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("{place} answered {status}")) }
}

fn signature(secret: &[u8], stamp: &str, body: &[u8]) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|error| error.to_string())?;
    mac.update(stamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    Ok(hex::encode(mac.finalize().into_bytes()))
}

/// Scheme, host and port of an address.
pub(super) fn origin(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(|_| "the webhook".to_owned(), |url| url.origin().ascii_serialization())
}

/// An error with its causes and without the address, whose path may be a secret of the receiver's.
fn without_address(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held against `openssl dgst -sha256 -hmac`.
    #[test]
    fn calls_are_signed_with_time_and_body() {
        let found = signature(b"key", "1700000000", b"{}").unwrap();
        assert_eq!(found, "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae");
        assert_ne!(found, signature(b"key", "1700000001", b"{}").unwrap());
        assert_eq!(origin("https://hooks.example/secret/path?x=1"), "https://hooks.example");
    }
}
