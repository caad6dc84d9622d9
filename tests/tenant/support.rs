//! What all tests of the tenant share: a tenant in memory, served or not, and short ways to say what is sent.

use reqwest::{Client, RequestBuilder, Response};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use syncline::context::Context;
use syncline::tenant::directory::{
    Effect, FaultCode, Features, Incoming, ObjectKind, ObjectRecord, Operation, Outcome, PropertyValue, ReferenceChange, SyncChange,
};
use syncline::tenant::{Location, ServerHandle, Tenant, TenantCredentials, TenantSettings, Tls, serve};
use tokio::net::TcpListener;

/// The initial domain of all test tenants.
pub(crate) const INITIAL: &str = "contoso.onmicrosoft.com";
/// A verified domain of all test tenants.
pub(crate) const VERIFIED: &str = "verified.contoso.com";

/// Settings of a test tenant.
pub(crate) fn settings() -> TenantSettings {
    let mut settings = TenantSettings::new("Contoso", INITIAL, TenantCredentials::generate());
    settings.verified_domains = vec![VERIFIED.to_owned()];
    settings
}

/// A tenant in memory.
pub(crate) fn tenant() -> Arc<Tenant> {
    tenant_with(settings())
}

/// A tenant in memory with settings of its own.
pub(crate) fn tenant_with(settings: TenantSettings) -> Arc<Tenant> {
    Tenant::open(&Location::Memory, settings, Context::system()).unwrap()
}

/// A text value.
pub(crate) fn text(value: &str) -> Incoming {
    Incoming::Value(PropertyValue::Text(value.to_owned()))
}

/// Several text values.
pub(crate) fn texts(values: &[&str]) -> Incoming {
    Incoming::Value(PropertyValue::Texts(values.iter().map(|value| (*value).to_owned()).collect()))
}

/// Adds and removals of references by source anchor.
pub(crate) fn references(add: &[&str], remove: &[&str]) -> Incoming {
    let change = |anchor: &&str, add| ReferenceChange { anchor: (*anchor).to_owned(), by_cloud_anchor: false, add };
    Incoming::References(add.iter().map(|anchor| change(anchor, true)).chain(remove.iter().map(|anchor| change(anchor, false))).collect())
}

/// An object to be created or updated.
pub(crate) fn set(kind: ObjectKind, anchor: &str, properties: &[(&str, Incoming)]) -> SyncChange {
    SyncChange {
        kind,
        operation: Operation::Set,
        source_anchor: Some(anchor.to_owned()),
        cloud_anchor: None,
        properties: properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    }
}

/// A user to be created or updated.
pub(crate) fn user(anchor: &str, properties: &[(&str, Incoming)]) -> SyncChange {
    set(ObjectKind::User, anchor, properties)
}

/// A delete by source anchor.
pub(crate) fn delete(kind: ObjectKind, anchor: &str) -> SyncChange {
    SyncChange { operation: Operation::Delete, ..set(kind, anchor, &[]) }
}

/// Short ways to drive a tenant without the network.
pub(crate) trait Drive {
    /// Applies one object.
    fn apply(&self, change: SyncChange) -> Outcome;
    /// Applies one object that must be accepted.
    fn accept(&self, change: SyncChange) -> Effect;
    /// Applies one object that must be refused.
    fn refuse(&self, change: SyncChange) -> FaultCode;
    /// The object with an immutable id.
    fn object(&self, anchor: &str) -> ObjectRecord;
    /// Makes a user in the cloud.
    fn cloud_user(&self, name: &str, properties: &[(&str, Incoming)]) -> ObjectRecord;
    /// Sets feature bits.
    fn feature(&self, bit: i32, on: bool);
}

impl Drive for Tenant {
    fn apply(&self, change: SyncChange) -> Outcome {
        self.directory().apply(&[change], &self.policy()).unwrap().remove(0)
    }

    fn accept(&self, change: SyncChange) -> Effect {
        let outcome = self.apply(change);
        outcome.result.unwrap_or_else(|fault| panic!("refused: {fault:?}"))
    }

    fn refuse(&self, change: SyncChange) -> FaultCode {
        let outcome = self.apply(change);
        assert_eq!(outcome.cloud_anchor, None, "a refused object has no cloud anchor in its answer");
        outcome.result.expect_err("accepted").code
    }

    fn object(&self, anchor: &str) -> ObjectRecord {
        let reader = self.directory().read().unwrap();
        let object = reader.by_anchor(anchor).unwrap().unwrap_or_else(|| panic!("no object with the anchor {anchor}"));
        reader.object(object).unwrap().unwrap()
    }

    fn cloud_user(&self, name: &str, properties: &[(&str, Incoming)]) -> ObjectRecord {
        let mut values: Vec<(String, Incoming)> = properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        values.push(("userPrincipalName".to_owned(), text(name)));
        let edit = syncline::tenant::directory::Edit { values, ..Default::default() };
        self.directory().create_cloud_object(ObjectKind::User, &edit, &self.policy()).unwrap()
    }

    fn feature(&self, bit: i32, on: bool) {
        self.update_state(|state| state.features = Features(state.features.0).with(bit, on)).unwrap();
    }
}

/// A tenant on the network.
pub(crate) struct Served {
    /// The tenant.
    pub(crate) tenant: Arc<Tenant>,
    /// Its server.
    pub(crate) handle: ServerHandle,
    /// A client that trusts what it must.
    pub(crate) client: Client,
}

/// A client for a tenant; trusts the given authority and nothing else.
pub(crate) fn client(ca_pem: Option<&str>) -> Client {
    // Two tests may come here at once; the second one finds the provider installed.
    drop(rustls::crypto::ring::default_provider().install_default());
    let certificates = ca_pem.map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).unwrap());
    Client::builder().tls_certs_only(certificates).timeout(Duration::from_mins(1)).build().unwrap()
}

/// Serves a tenant over plain HTTP.
pub(crate) async fn served(settings: TenantSettings) -> Served {
    let tenant = tenant_with(settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handle = serve(tenant.clone(), listener, Tls::Plain, tenant.context().clone()).await.unwrap();
    Served { tenant, handle, client: client(None) }
}

impl Served {
    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.handle.base_url)
    }

    /// The tenant id as text.
    pub(crate) fn tenant_id(&self) -> String {
        self.tenant.settings().credentials.tenant_id.to_string()
    }

    /// The client id as text.
    pub(crate) fn client_id(&self) -> String {
        self.tenant.settings().credentials.client_id.to_string()
    }

    /// The client's secret.
    pub(crate) fn secret(&self) -> String {
        self.tenant.settings().credentials.client_secret.expose_secret().to_owned()
    }

    /// Posts a form to the token endpoint.
    pub(crate) async fn grant(&self, fields: &[(&str, &str)]) -> (u16, Value) {
        let url = self.url(&format!("/{}/oauth2/v2.0/token", self.tenant_id()));
        answer(self.client.post(url).form(fields).send().await.unwrap()).await
    }

    /// An access token of the application for a resource.
    pub(crate) async fn token(&self, resource: &str) -> String {
        let (client, secret, scope) = (self.client_id(), self.secret(), format!("{resource}/.default"));
        let fields = [("grant_type", "client_credentials"), ("client_id", &client), ("client_secret", &secret), ("scope", &scope)];
        let (status, body) = self.grant(&fields).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// A request to the administrator's endpoint.
    pub(crate) fn admin(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        let token = self.tenant.settings().credentials.admin_token.expose_secret().to_owned();
        self.client.request(method, self.url(&format!("/syncline-admin{path}"))).bearer_auth(token)
    }

    /// Adds a fault rule in the form of the command line.
    pub(crate) async fn fault(&self, rule: &str) {
        let response = self.admin(reqwest::Method::POST, "/faults").json(&json!(rule)).send().await.unwrap();
        assert_eq!(response.status(), 204, "{rule}");
    }
}

/// Status and JSON body of an answer.
pub(crate) async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
}
