//! Tokens and sign-in: every grant, every code that can be provoked, discovery, TLS with the tenant's own authority.

use crate::support::{Drive, INITIAL, Served, VERIFIED, answer, client, served, settings, tenant_with, text, user};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use syncline::tenant::directory::{Authentication, CredentialChange, Features};
use syncline::tenant::identity::codes::SignInCode;
use syncline::tenant::{Tls, serve};
use tokio::net::TcpListener;
use uuid::Uuid;

const PUBLIC: &str = "1b730954-1685-4b74-9bfd-dac224a7b894";
const GRAPH: &str = "https://graph.microsoft.com/.default";
const PASSWORD: &str = "Correct horse 1";

/// Form fields, HTTP status, number of the refusal.
type Case<'a> = (&'a [(&'a str, &'a str)], u16, u64);

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn code(body: &Value) -> u64 {
    let code = body["error_codes"][0].as_u64().unwrap_or_else(|| panic!("no code in {body}"));
    assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")), "{body}");
    for name in ["error", "timestamp", "trace_id", "correlation_id"] {
        assert!(body[name].is_string(), "{name}");
    }
    code
}

async fn sign_in(served: &Served, name: &str, password: &str) -> (u16, Value) {
    served.grant(&[("grant_type", "password"), ("client_id", PUBLIC), ("username", name), ("password", password), ("scope", GRAPH)]).await
}

async fn with_user(name: &str) -> Served {
    let served = served(settings()).await;
    let body = json!({"properties": {"userPrincipalName": name, "displayName": "Someone"}, "password": PASSWORD});
    let (status, body) = answer(served.admin(Method::POST, "/objects").json(&body).send().await.unwrap()).await;
    assert_eq!(status, 200, "{body}");
    served
}

#[tokio::test]
async fn the_token_of_an_application_can_be_verified_by_anybody() {
    let served = served(settings()).await;
    let token = served.token("6bf85cfa-ac8a-4be5-b5de-425a0d0dc016").await;
    let content = claims(&token);
    assert_eq!(
        (content["tid"].as_str().unwrap(), content["appid"].as_str().unwrap()),
        (served.tenant_id().as_str(), served.client_id().as_str())
    );
    assert_eq!(content["roles"], json!(["ADSynchronization.ReadWrite.All"]));
    let (_, configuration) = answer(
        served.client.get(served.url(&format!("/{}/v2.0/.well-known/openid-configuration", served.tenant_id()))).send().await.unwrap(),
    )
    .await;
    let (_, keys) = answer(served.client.get(configuration["jwks_uri"].as_str().unwrap()).send().await.unwrap()).await;
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(keys["keys"][0][name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
}

#[tokio::test]
async fn refused_applications() {
    let served = served(settings()).await;
    let (id, secret) = (served.client_id(), served.secret());
    let unknown = Uuid::new_v4().to_string();
    let cases: [Case<'_>; 9] = [
        (&[], 400, 900_144),
        (&[("grant_type", "client_credentials")], 400, 900_144),
        (&[("grant_type", "client_credentials"), ("client_id", &id)], 400, 900_144),
        (&[("grant_type", "client_credentials"), ("client_id", &unknown), ("client_secret", "x")], 400, 700_016),
        (&[("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", "wrong")], 401, 7_000_215),
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &id),
                ("client_secret", &secret),
                ("scope", "https://other.example/.default"),
            ],
            400,
            500_011,
        ),
        (&[("grant_type", "client_credentials"), ("client_id", &id), ("client_assertion", "x")], 400, 900_144),
        (&[("grant_type", "carrier_pigeon"), ("client_id", &id)], 400, 70003),
        (&[("grant_type", "refresh_token"), ("client_id", PUBLIC), ("refresh_token", "x")], 400, 9_002_313),
    ];
    for (fields, status, expected) in cases {
        let (got, body) = served.grant(fields).await;
        assert_eq!((got, code(&body)), (status, expected), "{fields:?}");
        assert!(!body.to_string().contains(&secret));
    }
    let post = |path: String| {
        served
            .client
            .post(served.url(&path))
            .form(&[("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", secret.as_str())])
            .send()
    };
    assert_eq!(code(&answer(post("/nowhere.example/oauth2/token".into()).await.unwrap()).await.1), 90002);
    assert_eq!(code(&answer(post("/common/oauth2/token".into()).await.unwrap()).await.1), 50059);
    served.tenant.update_state(|state| state.applications[0].secret_expires = Some(1)).unwrap();
    assert_eq!(code(&answer(post(format!("/{VERIFIED}/oauth2/token")).await.unwrap()).await.1), 7_000_222);
    served.tenant.update_state(|state| state.applications[0].secret_expires = None).unwrap();
    assert_eq!(post(format!("/{VERIFIED}/oauth2/token")).await.unwrap().status(), 200, "a domain stands for its tenant");
}

struct Signer {
    pair: EcdsaKeyPair,
    certificate: Vec<u8>,
}

/// A self-signed certificate and its key, as an administrator would register one.
fn signer() -> Signer {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["sync".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &SystemRandom::new()).unwrap();
    Signer { pair, certificate: certificate.der().to_vec() }
}

impl Signer {
    fn assertion(&self, algorithm: &str, claims: &Value) -> String {
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&self.certificate));
        let header = json!({"alg": algorithm, "typ": "JWT", "x5t#S256": thumbprint});
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

#[tokio::test]
async fn assertions_by_certificate() {
    let signer = signer();
    let mut settings = settings();
    settings.certificates = vec![signer.certificate.clone()];
    let served = served(settings).await;
    let id = served.client_id();
    let audience = served.url(&format!("/{}/oauth2/v2.0/token", served.tenant_id()));
    let now = served.tenant.now().seconds();
    let good = json!({"aud": audience, "iss": id, "sub": id, "jti": Uuid::new_v4(), "nbf": now, "exp": now + 600});
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let other = self::signer();
    let cases = [
        (signer.assertion("ES256", &good), None),
        (
            signer
                .assertion("ES256", &changed("aud", json!("https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"))),
            None,
        ),
        (signer.assertion("ES256", &changed("aud", json!("https://elsewhere.example/token"))), Some(700_023)),
        (signer.assertion("ES256", &changed("iss", json!("somebody"))), Some(700_021)),
        (signer.assertion("ES256", &changed("sub", json!("somebody"))), Some(700_021)),
        (signer.assertion("ES256", &changed("exp", json!(now - 600))), Some(700_024)),
        (signer.assertion("ES256", &changed("nbf", json!(now + 3600))), Some(700_024)),
        (signer.assertion("ES256", &changed("exp", json!(now + 9 * 86_400))), Some(700_024)),
        (other.assertion("ES256", &good), Some(700_027)),
        (signer.assertion("RS256", &good), Some(700_027)),
        (signer.assertion("none", &good), Some(50027)),
        ("no.token".to_owned(), Some(50027)),
    ];
    for (assertion, expected) in cases {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
            ("scope", "6bf85cfa-ac8a-4be5-b5de-425a0d0dc016/.default"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
        ];
        let (status, body) = served.grant(&fields).await;
        match expected {
            None => assert_eq!(status, 200, "{body}"),
            Some(expected) => assert_eq!(code(&body), expected),
        }
    }
}

/// An RSA key is made by openssl, because the libraries here only verify RSA; PS256 and RS256 both.
#[tokio::test]
async fn assertions_by_rsa_certificate() {
    use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
    let decode = |text: &str| STANDARD.decode(text.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    let key = RsaKeyPair::from_pkcs8(&decode(include_str!("../../fixtures/tenant/assertion-key.pem"))).unwrap();
    let certificate = decode(include_str!("../../fixtures/tenant/assertion-certificate.pem"));
    let mut settings = settings();
    settings.certificates = vec![certificate.clone()];
    let served = served(settings).await;
    let id = served.client_id();
    let now = served.tenant.now().seconds();
    let audience = served.url(&format!("/{}/oauth2/v2.0/token", served.tenant_id()));
    let content = json!({"aud": audience, "iss": id, "sub": id, "nbf": now, "exp": now + 600}).to_string();
    let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate);
    let variants: [(&str, &'static dyn RsaEncoding, &str, String); 2] = [
        ("PS256", &RSA_PSS_SHA256, "x5t#S256", URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate))),
        ("RS256", &RSA_PKCS1_SHA256, "x5t", URL_SAFE_NO_PAD.encode(sha1)),
    ];
    for (algorithm, padding, name, thumbprint) in variants {
        let header = json!({"alg": algorithm, "typ": "JWT", name: thumbprint}).to_string();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&content));
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        let assertion = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
            ("scope", GRAPH),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
        ];
        let (status, body) = served.grant(&fields).await;
        assert_eq!(status, 200, "{algorithm}: {body}");
    }
}

#[tokio::test]
async fn people_sign_in_or_are_told_why_not() {
    let name = format!("someone@{VERIFIED}");
    let served = with_user(&name).await;
    let (status, body) = sign_in(&served, &name, PASSWORD).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(claims(body["access_token"].as_str().unwrap())["upn"], name);
    let identity = claims(body["id_token"].as_str().unwrap());
    assert_eq!((identity["aud"].as_str(), identity["preferred_username"].as_str()), (Some(PUBLIC), Some(name.as_str())));
    assert_eq!(body["scope"], GRAPH);

    assert_eq!(code(&sign_in(&served, &name, "wrong").await.1), 50126);
    assert_eq!(code(&sign_in(&served, &format!("nobody@{VERIFIED}"), PASSWORD).await.1), 50034);
    assert_eq!(code(&sign_in(&served, "no-domain", PASSWORD).await.1), 50059);
    let body = json!({"properties": {"accountEnabled": false}});
    served.admin(Method::PATCH, &format!("/objects/{name}")).json(&body).send().await.unwrap();
    assert_eq!(code(&sign_in(&served, &name, PASSWORD).await.1), 50057);
    let body = json!({"properties": {"accountEnabled": true}, "password": "Another one 2", "mustChange": true});
    served.admin(Method::PATCH, &format!("/objects/{name}")).json(&body).send().await.unwrap();
    assert_eq!(code(&sign_in(&served, &name, "Another one 2").await.1), 50055);
    // A federated domain verifies elsewhere.
    served.tenant.add_domain(VERIFIED, Authentication::Federated).unwrap();
    served
        .tenant
        .update_state(|state| state.domain_mut(VERIFIED).unwrap().federation = Some(json!({"issuerUri": "http://sts.contoso.com/trust"})))
        .unwrap();
    let (_, body) = sign_in(&served, &name, "Another one 2").await;
    assert_eq!(code(&body), 50126);
    assert!(body["error_description"].as_str().unwrap().contains("http://sts.contoso.com/trust"));
}

#[tokio::test]
async fn wrong_passwords_lock_for_a_while() {
    let name = format!("someone@{VERIFIED}");
    let served = with_user(&name).await;
    for _ in 0..9 {
        assert_eq!(code(&sign_in(&served, &name, "wrong").await.1), 50126);
    }
    assert_eq!(sign_in(&served, &name, PASSWORD).await.0, 200, "nine are not ten, and a success sets the count back");
    for _ in 0..10 {
        assert_eq!(code(&sign_in(&served, &name, "wrong").await.1), 50126);
    }
    assert_eq!(code(&sign_in(&served, &name, PASSWORD).await.1), 50053);
    served.tenant.advance_clock(61_000_000).unwrap();
    assert_eq!(sign_in(&served, &name, PASSWORD).await.0, 200);
}

#[tokio::test]
async fn unknown_users_can_be_hidden() {
    let mut settings = settings();
    settings.hide_unknown_users = true;
    let served = served(settings).await;
    assert_eq!(code(&sign_in(&served, &format!("nobody@{VERIFIED}"), PASSWORD).await.1), 50126);
}

/// The hash that synchronization sent opens the door, and an administrator's reset closes it until the next one.
#[tokio::test]
async fn synchronized_hashes_are_verified() {
    let served = served(settings()).await;
    let t = &served.tenant;
    let name = format!("synced@{VERIFIED}");
    t.accept(user("S", &[("userPrincipalName", text(&name))]));
    t.feature(Features::PASSWORD_HASH_SYNC, true);
    let item = CredentialChange {
        source_anchor: Some("S".into()),
        cloud_anchor: None,
        data: "v1;PPH1_MD4,317ee9d1dec6508fa510,1000,7eaea8e1628dffee62cf319f4e1fc05254da30a1d42ff755ff352f5b13497531;".into(),
        changed: None,
        force_change: true,
    };
    let mut others = vec![item.clone(), item.clone(), item.clone(), item.clone(), item];
    others[1].source_anchor = Some("nobody".into());
    others[2].data = "rubbish".into();
    let (account, anchor) = (t.state().sync_accounts[0], t.object("S").cloud_anchor());
    others[3].source_anchor = None;
    others[3].cloud_anchor = Some(format!("User_{account}"));
    others[4].source_anchor = None;
    others[4].cloud_anchor = Some(anchor);
    let results = t.directory().apply_credentials(&others, &t.policy()).unwrap();
    assert_eq!(results.iter().map(|result| result.number()).collect::<Vec<_>>(), [0, 1, 3, 2, 0]);
    assert_eq!(sign_in(&served, &name, "Pa$$w0rd").await.0, 200, "the force flag counts only with its feature");
    let body = json!({"user": name, "password": "Pa$$w0rd"});
    let (_, tried) = answer(served.admin(Method::POST, "/sign-in").json(&body).send().await.unwrap()).await;
    assert_eq!((tried["result"].as_str(), tried["path"].as_str()), (Some("success"), Some("synchronized hash")));
    served.admin(Method::PUT, "/objects/S/password").json(&json!({"password": PASSWORD})).send().await.unwrap();
    assert_eq!(code(&sign_in(&served, &name, "Pa$$w0rd").await.1), 50126);
    assert_eq!(sign_in(&served, &name, PASSWORD).await.0, 200);
    t.feature(Features::FORCE_PASSWORD_CHANGE, true);
    t.directory().apply_credentials(&others[..1], &t.policy()).unwrap();
    assert_eq!(code(&sign_in(&served, &name, "Pa$$w0rd").await.1), 50055);
    // Nothing that was stored gives the password or its hash away.
    let dump = served.admin(Method::GET, "/dump?volatile=true").send().await.unwrap().text().await.unwrap();
    assert!(!dump.contains("PPH1") && !dump.contains("7eaea8e1"));
}

#[tokio::test]
async fn refresh_tokens_work_until_the_password_changes() {
    let name = format!("someone@{VERIFIED}");
    let served = with_user(&name).await;
    let (_, first) = sign_in(&served, &name, PASSWORD).await;
    let token = first["refresh_token"].as_str().unwrap().to_owned();
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", PUBLIC),
        ("refresh_token", token.as_str()),
        ("scope", "https://graph.windows.net/.default offline_access"),
    ];
    let (status, second) = served.grant(&fields).await;
    assert_eq!(status, 200, "{second}");
    assert_eq!(claims(second["access_token"].as_str().unwrap())["aud"], "https://graph.windows.net");
    let other = [("grant_type", "refresh_token"), ("client_id", "04b07795-8ddb-461a-bbee-02f9e1bf7b46"), ("refresh_token", token.as_str())];
    assert_eq!(code(&served.grant(&other).await.1), 9_002_313, "another client's token");
    served.tenant.advance_clock(2_000_000).unwrap();
    served.admin(Method::PUT, &format!("/objects/{name}/password")).json(&json!({"password": "Another one 2"})).send().await.unwrap();
    assert_eq!(code(&served.grant(&fields).await.1), 50173);
    served.tenant.advance_clock(91 * 86_400_000_000).unwrap();
    assert_eq!(code(&served.grant(&fields).await.1), 70008);
}

#[tokio::test]
async fn device_codes_wait_for_approval() {
    let name = format!("someone@{VERIFIED}");
    let served = with_user(&name).await;
    let url = served.url(&format!("/{}/oauth2/v2.0/devicecode", served.tenant_id()));
    let fields = [("client_id", PUBLIC), ("scope", "https://graph.windows.net/.default offline_access openid profile")];
    let (status, begun) = answer(served.client.post(&url).form(&fields).send().await.unwrap()).await;
    assert_eq!(status, 200);
    let device = begun["device_code"].as_str().unwrap().to_owned();
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", PUBLIC),
        ("device_code", device.as_str()),
        ("client_info", "1"),
    ];
    let (status, body) = served.grant(&poll).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("authorization_pending")));
    let wrong = [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("client_id", PUBLIC), ("device_code", "x")];
    assert_eq!(code(&served.grant(&wrong).await.1), 70018);
    let approve = format!("/device-codes/{}", begun["user_code"].as_str().unwrap());
    assert_eq!(served.admin(Method::POST, &approve).json(&json!({"user": name})).send().await.unwrap().status(), 204);
    let (status, body) = served.grant(&poll).await;
    assert_eq!(status, 200, "{body}");
    for field in ["token_type", "scope", "expires_in", "access_token", "refresh_token", "id_token", "client_info"] {
        assert!(!body[field].is_null(), "{field}");
    }
    let information: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body["client_info"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(information["utid"], served.tenant_id());
    assert_eq!(code(&served.grant(&poll).await.1), 70018, "a code is good once");
    let (_, begun) = answer(served.client.post(&url).form(&fields).send().await.unwrap()).await;
    served.tenant.advance_clock(901_000_000).unwrap();
    let late = [("grant_type", "device_code"), ("client_id", PUBLIC), ("device_code", begun["device_code"].as_str().unwrap())];
    assert_eq!(code(&served.grant(&late).await.1), 70019);
}

#[tokio::test]
async fn device_codes_may_approve_themselves() {
    let mut settings = settings();
    settings.approve_device_codes = true;
    let served = served(settings).await;
    let url = served.url("/common/oauth2/v2.0/devicecode");
    let (_, begun) = answer(
        served.client.post(&url).form(&[("client_id", PUBLIC), ("scope", "https://graph.windows.net/.default")]).send().await.unwrap(),
    )
    .await;
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", PUBLIC),
        ("device_code", begun["device_code"].as_str().unwrap()),
    ];
    assert_eq!(code(&served.grant(&poll).await.1), 70016);
    let (status, body) = served.grant(&poll).await;
    assert_eq!(status, 200);
    assert_eq!(claims(body["access_token"].as_str().unwrap())["wids"], json!(["d29b2b05-8046-44ba-8758-1e26182fcf32"]));
}

#[tokio::test]
async fn discovery_tells_the_tenant() {
    let served = served(settings()).await;
    for name in [served.tenant_id(), VERIFIED.to_owned(), INITIAL.to_uppercase(), "common".to_owned()] {
        let (status, body) =
            answer(served.client.get(served.url(&format!("/{name}/.well-known/openid-configuration"))).send().await.unwrap()).await;
        assert_eq!(status, 200);
        let endpoint = body["token_endpoint"].as_str().unwrap();
        assert_eq!(endpoint.split('/').nth(3), Some(served.tenant_id().as_str()), "the tenant id is the first segment");
    }
    let (_, v2) =
        answer(served.client.get(served.url(&format!("/{VERIFIED}/v2.0/.well-known/openid-configuration"))).send().await.unwrap()).await;
    for name in ["authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "issuer"] {
        assert!(v2[name].as_str().is_some_and(|url| url.starts_with(&served.handle.base_url)), "{name}");
    }
    let (status, body) =
        answer(served.client.get(served.url("/nowhere.example/.well-known/openid-configuration")).send().await.unwrap()).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("invalid_tenant")));
    assert!(body["error_description"].is_string());
    let (_, instance) =
        answer(served.client.get(served.url("/common/discovery/instance?api-version=1.1&authorization_endpoint=x")).send().await.unwrap())
            .await;
    assert!(instance["tenant_discovery_endpoint"].is_string() && instance["metadata"][0]["aliases"].is_array());
}

#[tokio::test]
async fn realms() {
    let served = served(settings()).await;
    served.tenant.add_domain("fed.example", Authentication::Federated).unwrap();
    let federation = json!({"activeSignInUri": "https://sts.fed.example/active", "passiveSignInUri": "https://sts.fed.example/passive", "metadataExchangeUri": "https://sts.fed.example/mex"});
    served.tenant.update_state(|state| state.domain_mut("fed.example").unwrap().federation = Some(federation)).unwrap();
    let realm = |user: String, version: &'static str| {
        let url = served.url(&format!("/common/userrealm/{user}?api-version={version}"));
        let client = served.client.clone();
        async move { answer(client.get(url).send().await.unwrap()).await.1 }
    };
    let managed = realm(format!("a@{VERIFIED}"), "1.0").await;
    assert_eq!(
        (managed["ver"].as_str(), managed["account_type"].as_str(), managed["domain_name"].as_str()),
        (Some("1.0"), Some("Managed"), Some(VERIFIED))
    );
    assert_eq!(managed["cloud_audience_urn"], "urn:federation:MicrosoftOnline");
    assert_eq!(realm(format!("a@{VERIFIED}"), "2.0").await["NameSpaceType"], "Managed");
    let federated = realm("a@fed.example".into(), "1.0").await;
    assert_eq!(
        (federated["account_type"].as_str(), federated["federation_protocol"].as_str(), federated["federation_active_auth_url"].as_str()),
        (Some("Federated"), Some("WSTrust"), Some("https://sts.fed.example/active"))
    );
    assert_eq!(realm("a@fed.example".into(), "2.0").await["AuthURL"], "https://sts.fed.example/passive");
    assert_eq!(realm("a@nowhere.example".into(), "1.0").await["account_type"], "Unknown");
    assert_eq!(realm("a@nowhere.example".into(), "2.0").await["NameSpaceType"], "Unknown");
}

#[tokio::test]
async fn tls_by_the_tenants_own_authority() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = tenant_with(settings());
    let own = || Tls::Own { folder: folder.path().to_owned() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handle = serve(tenant.clone(), listener, own(), tenant.context().clone()).await.unwrap();
    let pem = handle.ca_pem.clone().unwrap();
    assert!(handle.base_url.starts_with("https://localhost:"));
    let url = format!("{}/common/discovery/instance", handle.base_url);
    let (status, body) = answer(client(Some(&pem)).get(&url).send().await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(body["tenant_discovery_endpoint"].as_str().unwrap().starts_with(&handle.base_url));
    let by_address = url.replace("localhost", "127.0.0.1");
    assert_eq!(client(Some(&pem)).get(&by_address).send().await.unwrap().status(), 200);
    assert!(client(None).get(&url).send().await.is_err(), "who does not trust the authority does not connect");
    handle.shutdown().await;
    // The authority stays the same, so that clients need not learn it again.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let again = serve(tenant.clone(), listener, own(), tenant.context().clone()).await.unwrap();
    assert_eq!(again.ca_pem.as_ref(), Some(&pem));
    let url = format!("{}/common/discovery/instance", again.base_url);
    assert_eq!(client(Some(&pem)).get(&url).send().await.unwrap().status(), 200);
    again.shutdown().await;
    let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = serve(tenant.clone(), everywhere, Tls::Plain, tenant.context().clone()).await.unwrap_err();
    assert!(refused.to_string().contains("loopback"), "{refused}");
}

#[tokio::test]
async fn the_administrator_needs_the_token() {
    let served = served(settings()).await;
    let url = served.url("/syncline-admin/traffic");
    assert_eq!(served.client.get(&url).send().await.unwrap().status(), 401);
    assert_eq!(
        served.client.get(&url).bearer_auth(served.token(GRAPH.trim_end_matches("/.default")).await).send().await.unwrap().status(),
        401
    );
    let (status, body) = answer(served.admin(Method::GET, "/traffic").send().await.unwrap()).await;
    assert_eq!((status, body["tokens"]["client_credentials"].as_u64()), (200, Some(1)));
    for (method, path, body, status) in [
        (Method::GET, "/objects/nobody", Value::Null, 404),
        (Method::POST, "/faults", json!("sleepy"), 400),
        (Method::PUT, "/throttle", json!({"writes": 0.0, "windowSeconds": 1.0}), 422),
        (Method::PUT, "/throttle", json!({"writes": 0.0, "window_seconds": 1.0}), 400),
        (Method::PUT, "/features", json!({"set": {"flying": true}}), 400),
        (Method::POST, "/domains", json!({"name": "not a domain"}), 400),
        (Method::POST, "/objects", json!({"type": "Castle"}), 400),
        (Method::POST, "/objects", json!({"colour": 1}), 422),
        (Method::POST, "/device-codes/NOBODY", json!({"user": "x"}), 404),
    ] {
        let request = served.admin(method.clone(), path);
        let response = if body.is_null() { request } else { request.json(&body) }.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
    }
}

#[tokio::test]
async fn token_faults_on_demand() {
    let served = served(settings()).await;
    served.fault("busy=1x,service=login").await;
    let (id, secret) = (served.client_id(), served.secret());
    let fields = [("grant_type", "client_credentials"), ("client_id", id.as_str()), ("client_secret", secret.as_str()), ("scope", GRAPH)];
    let (status, body) = served.grant(&fields).await;
    assert_eq!((status, code(&body)), (503, u64::from(SignInCode::Busy.number())));
    assert_eq!(served.grant(&fields).await.0, 200);
}
