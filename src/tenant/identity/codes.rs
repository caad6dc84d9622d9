//! The sign-in codes, all in one table (specification: graph 3 and 3.1).

use std::fmt;

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignInCode {
    /// The request lacks a parameter or has one twice.
    MissingParameter,
    /// A grant that this endpoint does not know.
    UnsupportedGrant,
    /// No such user.
    UnknownUser,
    /// Wrong password.
    WrongPassword,
    /// Locked after wrong passwords.
    Locked,
    /// Multi-factor sign-in is demanded.
    MultiFactorRequired,
    /// Disabled account.
    Disabled,
    /// Password expired or must be changed.
    PasswordExpired,
    /// No tenant to be found from the name.
    NoTenantInName,
    /// No such tenant.
    UnknownTenant,
    /// Wrong secret.
    WrongSecret,
    /// Secret expired.
    ExpiredSecret,
    /// Unknown application.
    UnknownApplication,
    /// Assertion not signed by a registered certificate.
    BadAssertionSignature,
    /// Wrong issuer or subject of the assertion.
    WrongAssertionIssuer,
    /// Wrong audience of the assertion.
    WrongAssertionAudience,
    /// Assertion too old, not yet valid, or valid for too long.
    AssertionTime,
    /// Assertion that is no token.
    MalformedAssertion,
    /// Refresh token expired or revoked.
    RefreshExpired,
    /// Refresh token that is none of ours.
    RefreshMalformed,
    /// The password changed after the refresh token was issued.
    GrantRevoked,
    /// Nobody approved the code yet.
    AuthorizationPending,
    /// Unknown device code.
    UnknownDeviceCode,
    /// The device code's time is over.
    ExpiredDeviceCode,
    /// Unknown resource.
    UnknownResource,
    /// The service is busy; a fault on demand.
    Busy,
}

impl SignInCode {
    /// All codes.
    pub const ALL: [SignInCode; 26] = [
        Self::MissingParameter,
        Self::UnsupportedGrant,
        Self::UnknownUser,
        Self::WrongPassword,
        Self::Locked,
        Self::MultiFactorRequired,
        Self::Disabled,
        Self::PasswordExpired,
        Self::NoTenantInName,
        Self::UnknownTenant,
        Self::WrongSecret,
        Self::ExpiredSecret,
        Self::UnknownApplication,
        Self::BadAssertionSignature,
        Self::WrongAssertionIssuer,
        Self::WrongAssertionAudience,
        Self::AssertionTime,
        Self::MalformedAssertion,
        Self::RefreshExpired,
        Self::RefreshMalformed,
        Self::GrantRevoked,
        Self::AuthorizationPending,
        Self::UnknownDeviceCode,
        Self::ExpiredDeviceCode,
        Self::UnknownResource,
        Self::Busy,
    ];

    /// Number, OAuth error, HTTP status, sentence.
    fn row(self) -> (u32, &'static str, u16, &'static str) {
        match self {
            Self::MissingParameter => (900_144, "invalid_request", 400, "The request body must contain the following parameter:"),
            Self::UnsupportedGrant => (70003, "unsupported_grant_type", 400, "The app requested an unsupported grant type:"),
            Self::UnknownUser => (
                50034,
                "invalid_grant",
                400,
                "The user account does not exist in the directory. To sign into this application, the account must be added to the directory:",
            ),
            Self::WrongPassword => (50126, "invalid_grant", 400, "Error validating credentials due to invalid username or password."),
            Self::Locked => (
                50053,
                "invalid_grant",
                400,
                "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.",
            ),
            Self::MultiFactorRequired => (
                50076,
                "interaction_required",
                400,
                "Due to a configuration change made by your administrator, you must use multi-factor authentication to access",
            ),
            Self::Disabled => (50057, "invalid_grant", 400, "The user account is disabled."),
            Self::PasswordExpired => (50055, "invalid_grant", 400, "The password is expired or must be changed at this sign-in."),
            Self::NoTenantInName => (
                50059,
                "invalid_request",
                400,
                "No tenant-identifying information found in either the request or implied by any provided credentials.",
            ),
            Self::UnknownTenant => (
                90002,
                "invalid_tenant",
                400,
                "Tenant not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Tenant:",
            ),
            Self::WrongSecret => (
                7_000_215,
                "invalid_client",
                401,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for app",
            ),
            Self::ExpiredSecret => (7_000_222, "invalid_client", 401, "The provided client secret keys for the app are expired:"),
            Self::UnknownApplication => (700_016, "unauthorized_client", 400, "Application was not found in the directory. Application:"),
            Self::BadAssertionSignature => (
                700_027,
                "invalid_client",
                401,
                "The certificate with identifier used to sign the client assertion is not registered on application, or the signature is not valid.",
            ),
            Self::WrongAssertionIssuer => {
                (700_021, "invalid_client", 401, "Client assertion application identifier doesn't match 'client_id' parameter.")
            }
            Self::WrongAssertionAudience => {
                (700_023, "invalid_client", 401, "Client assertion audience claim does not match the token endpoint:")
            }
            Self::AssertionTime => (700_024, "invalid_client", 401, "Client assertion is not within its valid time range."),
            Self::MalformedAssertion => (50027, "invalid_request", 400, "JWT token is invalid or malformed."),
            Self::RefreshExpired => (
                70008,
                "invalid_grant",
                400,
                "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.",
            ),
            Self::RefreshMalformed => {
                (9_002_313, "invalid_grant", 400, "Invalid request. Request is malformed or invalid: the refresh token cannot be read.")
            }
            Self::GrantRevoked => (
                50173,
                "invalid_grant",
                400,
                "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password.",
            ),
            Self::AuthorizationPending => {
                (70016, "authorization_pending", 400, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
            }
            Self::UnknownDeviceCode => (
                70018,
                "bad_verification_code",
                400,
                "Invalid verification code due to the user typing in a wrong user code for the device code flow.",
            ),
            Self::ExpiredDeviceCode => (70019, "expired_token", 400, "Verification code expired."),
            Self::UnknownResource => (500_011, "invalid_resource", 400, "The resource principal was not found in the tenant:"),
            Self::Busy => (90033, "temporarily_unavailable", 503, "A transient error has occurred. Please try again."),
        }
    }

    /// The number behind `AADSTS`.
    pub fn number(self) -> u32 {
        self.row().0
    }

    /// The value of `error`.
    pub fn oauth_error(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().2
    }

    /// The sentence behind the number.
    pub fn sentence(self) -> &'static str {
        self.row().3
    }
}

/// A refused token: the code and what it is about. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SignInError {
    /// The code.
    pub code: SignInCode,
    /// What is added to the sentence.
    pub about: String,
}

impl SignInError {
    /// A refusal.
    pub fn new(code: SignInCode, about: impl Into<String>) -> Self {
        Self { code, about: about.into() }
    }
}

impl From<SignInCode> for SignInError {
    fn from(code: SignInCode) -> Self {
        Self::new(code, "")
    }
}

/// `AADSTS<number>: <sentence> <what it is about>`.
impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AADSTS{}: {}", self.code.number(), self.code.sentence())?;
        if self.about.is_empty() { Ok(()) } else { write!(f, " {}", self.about) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_a_number_of_its_own() {
        let numbers: BTreeSet<u32> = SignInCode::ALL.into_iter().map(SignInCode::number).collect();
        assert_eq!(numbers.len(), SignInCode::ALL.len());
        assert_eq!(SignInError::from(SignInCode::WrongPassword).to_string().get(..14), Some("AADSTS50126: E"));
    }
}
