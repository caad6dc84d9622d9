//! Access tokens: how the connector signs in, and how long what it got is good (specification: provisioning service 1.4).

use super::http::{self, Failed};
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PSS_SHA256, RsaKeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The audience of applications: Microsoft Entra AD Synchronization Service, the same in all clouds.
const APPLICATION_SCOPE: &str = "6bf85cfa-ac8a-4be5-b5de-425a0d0dc016/.default";
/// The audience of people.
const PERSON_SCOPE: &str = "https://graph.windows.net/.default offline_access openid profile";
/// Microsoft Graph of the clouds there are, each its own audience (Microsoft Graph, "National cloud deployments").
const GRAPHS: [&str; 4] = [
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://dod-graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
];
/// What a person's sign-in is asked for beside the audience, so that it can be kept.
const PERSON: &str = "offline_access openid profile";
/// A token is taken for used up this long before it is.
const MARGIN: Duration = Duration::from_mins(5);
/// Longer than this nothing is believed to be good, whatever a server says.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// A person's browser is asked after at least so often.
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);
/// How long an assertion is good, in seconds.
const ASSERTION_LIFE: i64 = 600;
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How the connector signs in.
#[derive(Clone)]
pub enum SignIn {
    /// An application with a secret.
    Secret {
        /// The application's id.
        client_id: String,
        /// Its secret.
        secret: SecretString,
    },
    /// An application with a certificate.
    Certificate {
        /// The application's id.
        client_id: String,
        /// PEM file with the certificate that is registered with the application.
        certificate: PathBuf,
        /// Its private key in PEM form.
        private_key: SecretString,
    },
    /// A person, who types a code into a browser when there is no refresh token (any more).
    Person {
        /// The public client's id.
        client_id: String,
        /// From an earlier sign-in.
        refresh_token: Option<SecretString>,
        /// Talks to the person and keeps what is good for longer.
        desk: Arc<dyn SignInDesk>,
    },
}

/// What a sign-in by a person needs from its surroundings.
pub trait SignInDesk: Send + Sync {
    /// Shows what to do; the sentence names the address and the code.
    fn show(&self, message: &str);
    /// Keeps the token that makes the next sign-in silent.
    fn keep(&self, refresh_token: &SecretString);
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, client) = match self {
            Self::Secret { client_id, .. } => ("Secret", client_id),
            Self::Certificate { client_id, .. } => ("Certificate", client_id),
            Self::Person { client_id, .. } => ("Person", client_id),
        };
        f.debug_struct(name).field("client_id", client).finish_non_exhaustive()
    }
}

/// Gets tokens and keeps the last one.
pub(super) struct Tokens {
    client: Client,
    login_url: String,
    tenant: String,
    sign_in: SignIn,
    /// The audience, asked for by an application and by a person.
    scopes: (String, String),
    /// Nobody is asked for a code: there is another sign-in of the same connector for that.
    silent: bool,
    state: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    access: Option<(SecretString, Duration)>,
    refresh: Option<SecretString>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    expires_in: u64,
    refresh_token: Option<SecretString>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: SecretString,
    message: String,
    expires_in: u64,
    #[serde(default = "five")]
    interval: u64,
}

fn five() -> u64 {
    5
}

/// A token was not given.
enum NoToken {
    /// With an error code of the protocol.
    Refused(Refusal),
    Failed(ConnectorError),
}

impl From<ConnectorError> for NoToken {
    fn from(error: ConnectorError) -> Self {
        Self::Failed(error)
    }
}

impl Tokens {
    pub(super) fn new(client: Client, login_url: &str, tenant: &str, sign_in: SignIn) -> Self {
        let refresh = match &sign_in {
            SignIn::Person { refresh_token, .. } => refresh_token.clone(),
            _ => None,
        };
        Self {
            client,
            login_url: login_url.trim_end_matches('/').to_owned(),
            tenant: tenant.to_owned(),
            sign_in,
            scopes: (APPLICATION_SCOPE.to_owned(), PERSON_SCOPE.to_owned()),
            silent: false,
            state: Mutex::new(Kept { access: None, refresh }),
        }
    }

    /// The same for Microsoft Graph.
    pub(super) fn for_graph(client: Client, login_url: &str, graph_url: &str, tenant: &str, sign_in: SignIn) -> Self {
        let audience = graph_audience(graph_url);
        let scopes = (audience.clone(), format!("{audience} {PERSON}"));
        Self { scopes, silent: true, ..Self::new(client, login_url, tenant, sign_in) }
    }

    /// The current token, or a new one. Only one request for a token is under way at a time.
    pub(super) async fn get(&self, cx: &Context) -> Result<SecretString, ConnectorError> {
        let mut kept = tokio::select! {
            biased;
            () = cx.cancel.cancelled() => return Err(stopped()),
            kept = self.state.lock() => kept,
        };
        let now = cx.clock.elapsed();
        if let Some((token, good_until)) = &kept.access
            && *good_until > now
        {
            return Ok(token.clone());
        }
        let answer = self.sign_in(cx, &mut kept).await?;
        let life = bounded(answer.expires_in, LONGEST_LIFE);
        kept.access = Some((answer.access_token.clone(), now + life.saturating_sub(MARGIN.min(life / 2))));
        Ok(answer.access_token)
    }

    /// Forgets a token that the service did not like, unless somebody else did so already.
    pub(super) async fn forget(&self, token: &SecretString) {
        let mut kept = self.state.lock().await;
        if kept.access.as_ref().is_some_and(|(known, _)| known.expose_secret() == token.expose_secret()) {
            kept.access = None;
        }
    }

    async fn sign_in(&self, cx: &Context, kept: &mut Kept) -> Result<TokenAnswer, ConnectorError> {
        let url = format!("{}/{}/oauth2/v2.0/token", self.login_url, self.tenant);
        match &self.sign_in {
            SignIn::Secret { client_id, secret } => {
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id),
                    ("client_secret", secret.expose_secret()),
                    ("scope", &self.scopes.0),
                ];
                self.ask(&url, &form).await.map_err(|error| self.explain(error, "the application and its secret"))
            }
            SignIn::Certificate { client_id, certificate, private_key } => {
                let (client, audience, certificate, key, now) =
                    (client_id.clone(), url.clone(), certificate.clone(), private_key.clone(), cx.now().seconds());
                // Reads files, and signs for milliseconds.
                let assertion = http::off_thread(move || assertion(&client, &audience, &certificate, &key, now)).await??;
                let form = [
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id),
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", &*assertion),
                    ("scope", &self.scopes.0),
                ];
                self.ask(&url, &form).await.map_err(|error| self.explain(error, "the application's certificate"))
            }
            SignIn::Person { client_id, desk, .. } => {
                let answer = self.person(cx, &url, client_id, desk.as_ref(), kept.refresh.as_ref()).await?;
                if let Some(refresh) = &answer.refresh_token {
                    kept.refresh = Some(refresh.clone());
                    let (desk, refresh) = (Arc::clone(desk), refresh.clone());
                    http::off_thread(move || desk.keep(&refresh)).await?;
                }
                Ok(answer)
            }
        }
    }

    /// Silently by the refresh token, or by a code when there is none or it is not accepted any more.
    async fn person(
        &self,
        cx: &Context,
        url: &str,
        client_id: &str,
        desk: &dyn SignInDesk,
        refresh: Option<&SecretString>,
    ) -> Result<TokenAnswer, ConnectorError> {
        if let Some(refresh) = refresh {
            let form = [
                ("grant_type", "refresh_token"),
                ("client_id", client_id),
                ("refresh_token", refresh.expose_secret()),
                ("scope", &self.scopes.1),
            ];
            match self.ask(url, &form).await {
                Ok(answer) => return Ok(answer),
                Err(NoToken::Refused(refusal)) if refusal.error == "invalid_grant" => {}
                Err(other) => return Err(self.explain(other, "the sign-in that was kept")),
            }
        }
        if self.silent {
            let message = format!("nobody has signed in to tenant {} for Microsoft Graph; an import asks for a code", self.tenant);
            return Err(ConnectorError::new(ConnectorErrorKind::Authentication, message).unsent());
        }
        let device_url = format!("{}/{}/oauth2/v2.0/devicecode", self.login_url, self.tenant);
        let form = [("client_id", client_id), ("scope", &self.scopes.1)];
        let device: DeviceAnswer = self.post(&device_url, &form).await.map_err(|error| self.explain(error, "a code for a person"))?;
        desk.show(&device.message);
        let over = cx.clock.elapsed() + bounded(device.expires_in, LONGEST_LIFE);
        let mut pause = bounded(device.interval.max(1), LONGEST_INTERVAL);
        let form = [("grant_type", DEVICE_GRANT), ("client_id", client_id), ("device_code", device.device_code.expose_secret())];
        while cx.clock.elapsed() < over {
            tokio::select! {
                () = cx.cancel.cancelled() => return Err(stopped()),
                () = cx.clock.sleep(pause) => {}
            }
            match self.ask(url, &form).await {
                Ok(answer) => return Ok(answer),
                Err(NoToken::Refused(refusal)) if refusal.error == "authorization_pending" => {}
                Err(NoToken::Refused(refusal)) if refusal.error == "slow_down" => pause += Duration::from_secs(5),
                Err(other) => return Err(self.explain(other, "the code")),
            }
        }
        Err(ConnectorError::new(ConnectorErrorKind::Authentication, "nobody typed the code in time; start again").unsent())
    }

    async fn ask(&self, url: &str, form: &[(&str, &str)]) -> Result<TokenAnswer, NoToken> {
        self.post(url, form).await
    }

    async fn post<T: serde::de::DeserializeOwned>(&self, url: &str, form: &[(&str, &str)]) -> Result<T, NoToken> {
        let wrong = |failed: Failed| NoToken::Failed(ConnectorError::from(failed).unsent());
        let form = http::secret_form(form);
        let request = self.client.post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let response = request.send().await.map_err(|error| wrong(http::failed(&error)))?;
        let status = response.status();
        // The answer holds tokens: it goes into a buffer that is wiped.
        let body = http::secret_body(response).await.map_err(wrong)?;
        if status.is_success()
            && let Ok(answer) = serde_json::from_slice(&body)
        {
            return Ok(answer);
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => Err(NoToken::Refused(refusal)),
            Err(_) => Err(NoToken::Failed(
                ConnectorError::new(
                    ConnectorErrorKind::Authentication,
                    format!("{url} answered {status} and nothing that is a token answer; check login_url and tenant"),
                )
                .unsent(),
            )),
        }
    }

    fn explain(&self, error: NoToken, what: &str) -> ConnectorError {
        match error {
            NoToken::Failed(error) => error,
            NoToken::Refused(refusal) => {
                // The first line names the code; the others are trace numbers.
                let reason = refusal.error_description.lines().next().unwrap_or_default();
                let reason = if reason.is_empty() { refusal.error.as_str() } else { reason };
                ConnectorError::new(ConnectorErrorKind::Authentication, format!("tenant {} did not accept {what}: {reason}", self.tenant))
                    .unsent()
            }
        }
    }
}

/// Seconds that a server names, and not more than makes sense.
fn bounded(seconds: u64, most: Duration) -> Duration {
    Duration::from_secs(seconds).min(most)
}

/// The audience of a Graph. A tenant that runs elsewhere takes the one of the public cloud.
fn graph_audience(graph_url: &str) -> String {
    let graph_url = graph_url.trim_end_matches('/');
    let known = GRAPHS.into_iter().find(|known| known.eq_ignore_ascii_case(graph_url)).unwrap_or(GRAPHS[0]);
    format!("{known}/.default")
}

fn stopped() -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::Cancelled, "stopped while waiting for a sign-in").unsent()
}

/// A signed statement of who we are, good for ten minutes: PS256 with an RSA key, ES256 with a P-256 key.
fn assertion(
    client_id: &str,
    audience: &str,
    certificate: &Path,
    private_key: &SecretString,
    now: i64,
) -> Result<Zeroizing<String>, ConnectorError> {
    let wrong = |reason: String| ConnectorError::new(ConnectorErrorKind::Configuration, reason).unsent();
    let der =
        CertificateDer::from_pem_file(certificate).map_err(|error| wrong(format!("certificate {}: {error}", certificate.display())))?;
    let unusable = || wrong("the private key is no RSA or P-256 key in PEM form (PKCS #8)".to_owned());
    let key = PrivateKeyDer::from_pem_slice(private_key.expose_secret().as_bytes()).map_err(|_| unusable())?;
    let key = Key::read(&key).ok_or_else(unusable)?;
    let header = json!({"alg": key.algorithm(), "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(&der))});
    let claims = json!({
        "aud": audience, "iss": client_id, "sub": client_id, "jti": Uuid::new_v4().to_string(),
        "nbf": now, "iat": now, "exp": now + ASSERTION_LIFE,
    });
    let mut token =
        Zeroizing::new(format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string())));
    let signature = key.sign(token.as_bytes()).ok_or_else(|| wrong("the private key cannot sign".to_owned()))?;
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(token)
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Elliptic(Box<EcdsaKeyPair>),
}

impl Key {
    fn read(der: &PrivateKeyDer<'_>) -> Option<Self> {
        match der {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok().map(|key| Self::Rsa(Box::new(key))),
            PrivateKeyDer::Pkcs8(key) => {
                let octets = key.secret_pkcs8_der();
                let elliptic = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, octets, &SystemRandom::new()).ok();
                RsaKeyPair::from_pkcs8(octets)
                    .ok()
                    .map(|key| Self::Rsa(Box::new(key)))
                    .or_else(|| elliptic().map(|key| Self::Elliptic(Box::new(key))))
            }
            _ => None,
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "PS256",
            Self::Elliptic(_) => "ES256",
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PSS_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Self::Elliptic(key) => key.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_has_its_own_graph() {
        for known in GRAPHS {
            assert_eq!(graph_audience(&format!("{known}/")), format!("{known}/.default"));
        }
        assert_eq!(graph_audience("http://127.0.0.1:8080"), "https://graph.microsoft.com/.default");
        let tokens = Tokens::for_graph(
            http::client(None, &[]).unwrap(),
            "https://login.microsoftonline.us",
            "https://graph.microsoft.us",
            "tenant",
            SignIn::Secret { client_id: "x".to_owned(), secret: SecretString::from("y") },
        );
        assert_eq!(tokens.scopes.1, "https://graph.microsoft.us/.default offline_access openid profile");
    }

    #[test]
    fn nothing_is_good_for_longer_than_a_day() {
        assert_eq!(bounded(u64::MAX, LONGEST_LIFE), Duration::from_hours(24));
        assert_eq!(bounded(3_600, LONGEST_LIFE), Duration::from_hours(1));
    }
}
