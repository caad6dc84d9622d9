//! JWTs: issuing and checking our own (ES256), and checking the assertions of applications (PS256, RS256, ES256).

use super::codes::{SignInCode, SignInError};
use crate::tenant::state::Application;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// How far clocks may differ, in seconds.
const LEEWAY: i64 = 300;
/// The longest life of an assertion that is accepted, in seconds.
const MAX_ASSERTION_LIFE: i64 = 24 * 3600;
/// The longest token that is looked at.
const MAX_TOKEN: usize = 32 << 10;

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the tenant's signing key cannot be used; the tenant's file is damaged")]
pub struct KeyError;

/// The tenant's own signing key.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    identifier: String,
}

impl SigningKey {
    /// A new key in PKCS #8 form, to be kept.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| KeyError)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Loads a key from its PKCS #8 form.
    pub fn load(document: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document, &random).map_err(|_| KeyError)?;
        let identifier = URL_SAFE_NO_PAD.encode(&digest(&SHA256, pair.public_key().as_ref()).as_ref()[..16]);
        Ok(Self { pair, random, identifier })
    }

    /// The public half as a JSON web key set (RFC 7517).
    pub fn key_set(&self, issuer: &str) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
        json!({"keys": [{
            "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.identifier,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y), "issuer": issuer,
        }]})
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Value) -> Result<String, KeyError> {
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": self.identifier});
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&self.random, token.as_bytes()).map_err(|_| KeyError)?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Ok(token)
    }

    /// The claims of a token of ours; `None` when it is none, or when its time (seconds since 1970) is over.
    pub fn verify(&self, token: &str, now: i64) -> Option<Map<String, Value>> {
        let parts = Parts::read(token)?;
        if parts.header.get("alg").and_then(Value::as_str) != Some("ES256") {
            return None;
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        key.verify(parts.signed.as_bytes(), &parts.signature).ok()?;
        let begins = parts.claims.get("nbf").and_then(Value::as_i64)?;
        let ends = parts.claims.get("exp").and_then(Value::as_i64)?;
        (begins - LEEWAY <= now && now < ends).then_some(parts.claims)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("identifier", &self.identifier).finish_non_exhaustive()
    }
}

struct Parts<'a> {
    signed: &'a str,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn read(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |part: &str| match serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?).ok()? {
            Value::Object(map) => Some(map),
            _ => None,
        };
        Some(Self {
            signed,
            header: object(header)?,
            claims: object(claims)?,
            signature: URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')).ok()?,
        })
    }
}

/// Checks the assertion by which an application proves who it is (specification: provisioning service 1.4 b).
///
/// `audiences` are the URLs that count as our token endpoint; `now` is in seconds since 1970.
pub fn verify_assertion(assertion: &str, application: &Application, audiences: &[String], now: i64) -> Result<(), SignInError> {
    let parts = Parts::read(assertion).ok_or(SignInCode::MalformedAssertion)?;
    let text = |map: &Map<String, Value>, name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
    let algorithm: &'static dyn VerificationAlgorithm = match text(&parts.header, "alg").as_deref() {
        Some("PS256") => &RSA_PSS_2048_8192_SHA256,
        Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
        Some("ES256") => &ECDSA_P256_SHA256_FIXED,
        other => {
            let other = other.unwrap_or("none");
            return Err(SignInError::new(SignInCode::MalformedAssertion, format!("The algorithm {other} is not PS256, RS256 or ES256.")));
        }
    };
    let (sha256, sha1) = (text(&parts.header, "x5t#S256"), text(&parts.header, "x5t"));
    let signed_by_us = application.certificates.iter().filter_map(|der| STANDARD.decode(der).ok()).any(|der| {
        let named = match (&sha256, &sha1) {
            (Some(thumbprint), _) => decoded_equals(thumbprint, digest(&SHA256, &der).as_ref()),
            (None, Some(thumbprint)) => decoded_equals(thumbprint, digest(&SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref()),
            (None, None) => true,
        };
        named && verified_by(&der, algorithm, &parts)
    });
    if !signed_by_us {
        return Err(SignInCode::BadAssertionSignature.into());
    }
    let client = application.client_id.hyphenated().to_string();
    for name in ["iss", "sub"] {
        if !text(&parts.claims, name).is_some_and(|value| value.eq_ignore_ascii_case(&client)) {
            return Err(SignInError::new(SignInCode::WrongAssertionIssuer, format!("Claim: {name}.")));
        }
    }
    let audience = match parts.claims.get("aud") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list.first().and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    if !audiences.iter().any(|known| same_url(known, &audience)) {
        return Err(SignInError::new(SignInCode::WrongAssertionAudience, audiences.first().cloned().unwrap_or_default()));
    }
    let begins = parts.claims.get("nbf").and_then(Value::as_i64).unwrap_or(i64::MIN);
    let ends = parts.claims.get("exp").and_then(Value::as_i64);
    match ends {
        Some(ends) if begins.saturating_sub(LEEWAY) <= now && now < ends.saturating_add(LEEWAY) && ends - now <= MAX_ASSERTION_LIFE => {
            Ok(())
        }
        _ => Err(SignInCode::AssertionTime.into()),
    }
}

/// Thumbprints come as base64url, and from older libraries as base64 or hex.
fn decoded_equals(text: &str, octets: &[u8]) -> bool {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).is_ok_and(|decoded| decoded == octets)
        || STANDARD.decode(text).is_ok_and(|decoded| decoded == octets)
        || hex::decode(text).is_ok_and(|decoded| decoded == octets)
}

fn verified_by(der: &[u8], algorithm: &'static dyn VerificationAlgorithm, parts: &Parts<'_>) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return false };
    let key = certificate.tbs_certificate.subject_pki.subject_public_key.data.as_ref();
    UnparsedPublicKey::new(algorithm, key).verify(parts.signed.as_bytes(), &parts.signature).is_ok()
}

fn same_url(left: &str, right: &str) -> bool {
    left.trim_end_matches('/').eq_ignore_ascii_case(right.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tokens_are_known_and_others_are_not() {
        let key = SigningKey::load(&SigningKey::generate().unwrap()).unwrap();
        let token = key.sign(&json!({"nbf": 1000, "exp": 2000, "tid": "t"})).unwrap();
        assert_eq!(key.verify(&token, 1500).unwrap().get("tid"), Some(&json!("t")));
        assert!(key.verify(&token, 2000).is_none(), "expired");
        assert!(key.verify(&token, 600).is_none(), "not yet valid");
        let other = SigningKey::load(&SigningKey::generate().unwrap()).unwrap();
        assert!(other.verify(&token, 1500).is_none(), "signed by another key");
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        for bad in ["", "a.b.c", "test-token.not-a-real-jwt.0000", unsigned.as_str()] {
            assert!(key.verify(bad, 1500).is_none(), "{bad}");
        }
    }
}
