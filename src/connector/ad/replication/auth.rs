//! Who protects a connection: the seam between our packets and the library that knows Kerberos, SPNEGO and NTLM.

use super::kdc::KdcClient;
use super::settings::{Authentication, ReplicationServer, ReplicationSettings};
use super::trouble::Place;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::protocol::dcerpc::AuthenticationType;
use crate::protocol::drsuapi::SessionKey;
use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use sspi::generator::GeneratorState;
use sspi::{
    AuthIdentity, BufferType, ClientRequestFlags, CredentialUse, Credentials, DataRepresentation, EncryptionFlags, Kerberos,
    KerberosConfig, Negotiate, NegotiateConfig, Ntlm, SecurityBuffer, SecurityBufferFlags, SecurityBufferRef, SecurityStatus, Sspi,
    SspiImpl, Username,
};
use zeroize::Zeroizing;

/// What we call this machine where a name is asked for.
const WORKSTATION: &str = "SYNCLINE";
/// Octets of an authentication token at most, which is a part of one packet.
const TOKEN_MAX: usize = 32 << 10;

/// One leg of a sign-in.
pub(super) struct Leg {
    /// What to send; may be empty.
    pub(super) token: Vec<u8>,
    /// We need nothing more from the server.
    pub(super) done: bool,
}

/// The parts of a packet that is to be protected, or was.
pub(super) struct Parts<'a> {
    /// Everything before the body; signed.
    pub(super) header: &'a mut [u8],
    /// Signed and encrypted in place.
    pub(super) body: &'a mut [u8],
    /// The trailer; signed.
    pub(super) trailer: &'a mut [u8],
    /// The token.
    pub(super) token: &'a mut [u8],
    /// Header and trailer are signed, too.
    pub(super) all: bool,
}

/// A security context on its way and in use.
#[async_trait]
pub(super) trait RpcAuth: Send {
    /// Its number on the wire.
    fn kind(&self) -> AuthenticationType;
    /// Header and trailer are signed whatever the server says.
    fn signs_all(&self) -> bool;
    /// Takes the server's token and gives ours.
    async fn step(&mut self, cx: &Context, token: &[u8]) -> Result<Leg, ConnectorError>;
    /// Octets of the token of every packet. Only when the sign-in is complete.
    fn token_length(&mut self) -> Result<usize, ConnectorError>;
    /// Encrypts and signs.
    fn seal(&mut self, parts: Parts<'_>) -> Result<(), ConnectorError>;
    /// Decrypts and holds signature and order.
    fn unseal(&mut self, parts: Parts<'_>) -> Result<(), ConnectorError>;
    /// The key under which attributes are encrypted.
    fn session_key(&mut self) -> Result<SessionKey, ConnectorError>;
    /// Microseconds by which the domain's clock is ahead of ours, if it was told.
    fn clock_ahead(&self) -> Option<i64>;
}

/// A sign-in at a server as the settings say.
pub(super) fn sign_in(
    settings: &ReplicationSettings,
    server: &ReplicationServer,
    place: &Place,
) -> Result<Box<dyn RpcAuth>, ConnectorError> {
    let kdc = KdcClient::new(place.clone(), settings.connect_timeout, settings.answer_timeout);
    let target = format!("host/{}", server.host);
    let failed =
        |error: sspi::Error| place.error(ConnectorErrorKind::Configuration, format!("sign-in cannot be set up ({:?})", error.error_type));
    let username = Username::parse(&settings.account).map_err(|_| {
        let sentence = format!("account '{}' is no name of an account; write user@REALM or DOMAIN\\user", settings.account);
        place.error(ConnectorErrorKind::Configuration, sentence)
    })?;
    let identity = AuthIdentity { username, password: settings.password.expose_secret().to_owned().into() };
    let kerberos = || KerberosConfig::new_with_kdc_url(&format!("tcp://{}", server.kdc()), WORKSTATION.to_owned());
    let parts = Common { place: place.clone(), target, kdc };
    Ok(match settings.authentication {
        Authentication::Ntlm => Box::new(SspiAuth::new(Ntlm::new(), &identity, AuthenticationType::Ntlm, parts).map_err(failed)?),
        Authentication::Kerberos => {
            let context = Kerberos::new_client_from_config(kerberos()).map_err(failed)?;
            Box::new(SspiAuth::new(context, &Credentials::from(identity), AuthenticationType::Kerberos, parts).map_err(failed)?)
        }
        Authentication::Negotiate => {
            let packages = Some("kerberos,!ntlm".to_owned());
            let config = NegotiateConfig::new(Box::new(kerberos()), packages, WORKSTATION.to_owned());
            let context = Negotiate::new_client(config).map_err(failed)?;
            Box::new(SspiAuth::new(context, &Credentials::from(identity), AuthenticationType::Negotiate, parts).map_err(failed)?)
        }
    })
}

struct Common {
    place: Place,
    target: String,
    kdc: KdcClient,
}

/// A context of the library.
struct SspiAuth<C: SspiImpl> {
    context: C,
    credentials: C::CredentialsHandle,
    kind: AuthenticationType,
    common: Common,
    /// The number that the next token of Kerberos must have. The library does not look at it.
    next: Option<u64>,
}

impl<C: Sspi> SspiAuth<C> {
    fn new(mut context: C, identity: &C::AuthenticationData, kind: AuthenticationType, common: Common) -> sspi::Result<Self> {
        let acquired = context
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(identity)
            .execute(&mut context)?;
        Ok(Self { context, credentials: acquired.credentials_handle, kind, common, next: None })
    }

    fn broken(&self, what: &str, error: &sspi::Error) -> ConnectorError {
        self.common.place.protocol(format!("{what} ({:?})", error.error_type))
    }

    /// Holds that tokens of Kerberos come encrypted and in order (RFC 4121 section 4.2.6.2).
    fn check_order(&mut self, token: &[u8]) -> Result<(), ConnectorError> {
        if self.kind == AuthenticationType::Ntlm {
            return Ok(());
        }
        let Some(&[5, 4, flags, _, _, _, _, _, s0, s1, s2, s3, s4, s5, s6, s7]) = token.first_chunk::<16>() else {
            return Err(self.common.place.protocol("a packet is protected by something else than what was agreed on"));
        };
        let number = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        if flags & 2 == 0 {
            return Err(self.common.place.protocol("a packet came signed, but not encrypted"));
        }
        if self.next.is_some_and(|next| next != number) {
            return Err(self.common.place.protocol("a packet came out of order or twice"));
        }
        self.next = Some(number.wrapping_add(1));
        Ok(())
    }
}

fn buffers(parts: Parts<'_>) -> Vec<SecurityBufferRef<'_>> {
    let signed = SecurityBufferFlags::SECBUFFER_READONLY_WITH_CHECKSUM;
    let body = SecurityBufferRef::data_buf(parts.body);
    let token = SecurityBufferRef::token_buf(parts.token);
    if parts.all {
        let header = SecurityBufferRef::data_buf(parts.header).with_flags(signed);
        let trailer = SecurityBufferRef::data_buf(parts.trailer).with_flags(signed);
        vec![header, body, trailer, token]
    } else {
        vec![body, token]
    }
}

#[async_trait]
impl<C> RpcAuth for SspiAuth<C>
where
    C: Sspi + Send + Sync,
    C::CredentialsHandle: Send + Sync,
{
    fn kind(&self) -> AuthenticationType {
        self.kind
    }

    fn signs_all(&self) -> bool {
        self.kind == AuthenticationType::Ntlm
    }

    async fn step(&mut self, cx: &Context, token: &[u8]) -> Result<Leg, ConnectorError> {
        let Common { place, target, kdc } = &mut self.common;
        let mut input = [SecurityBuffer::new(token.to_vec(), BufferType::Token)];
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let requirements = ClientRequestFlags::MUTUAL_AUTH
            | ClientRequestFlags::INTEGRITY
            | ClientRequestFlags::CONFIDENTIALITY
            | ClientRequestFlags::USE_DCE_STYLE
            | ClientRequestFlags::SEQUENCE_DETECT
            | ClientRequestFlags::REPLAY_DETECT;
        let mut builder = self
            .context
            .initialize_security_context()
            .with_credentials_handle(&mut self.credentials)
            .with_context_requirements(requirements)
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name(target)
            .with_input(&mut input)
            .with_output(&mut output);
        let result = {
            let mut work = self.context.initialize_security_context_impl(&mut builder).map_err(|error| place.sign_in(&error))?;
            let mut state = work.start();
            loop {
                match state {
                    GeneratorState::Completed(result) => break result,
                    GeneratorState::Suspended(request) => {
                        let host = request.url.host_str().unwrap_or_default();
                        let address = format!("{host}:{}", request.url.port().unwrap_or(88));
                        let answer = kdc.exchange(cx, &address, &request.data).await?;
                        state = work.resume(Ok(answer));
                    }
                }
            }
        };
        let result = result.map_err(|error| match kdc.refusal() {
            Some(refusal) => place.kerberos(cx, refusal),
            None => place.sign_in(&error),
        })?;
        let [SecurityBuffer { buffer: token, .. }] = output;
        if token.len() > TOKEN_MAX {
            return Err(place.protocol("the ticket is too large for a packet; is the account in very many groups?"));
        }
        let done = match result.status {
            SecurityStatus::Ok => true,
            SecurityStatus::ContinueNeeded => false,
            other => return Err(place.protocol(format!("the sign-in ended in an unexpected state ({other:?})"))),
        };
        Ok(Leg { token, done })
    }

    fn token_length(&mut self) -> Result<usize, ConnectorError> {
        let sizes = self.context.query_context_sizes().map_err(|error| self.broken("the sign-in is not complete", &error))?;
        usize::try_from(sizes.security_trailer).map_err(|_| self.common.place.protocol("tokens have an impossible size"))
    }

    fn seal(&mut self, parts: Parts<'_>) -> Result<(), ConnectorError> {
        let sealed = self.context.encrypt_message(EncryptionFlags::empty(), &mut buffers(parts));
        sealed.map(|_| ()).map_err(|error| self.broken("a call could not be encrypted", &error))
    }

    fn unseal(&mut self, parts: Parts<'_>) -> Result<(), ConnectorError> {
        self.check_order(parts.token)?;
        let opened = self.context.decrypt_message(&mut buffers(parts));
        opened
            .map(|_| ())
            .map_err(|error| self.broken("the signature of an answer is wrong; does something between us change the traffic?", &error))
    }

    fn session_key(&mut self) -> Result<SessionKey, ConnectorError> {
        let keys = self.context.query_context_session_key().map_err(|error| self.broken("there is no session key", &error))?;
        Ok(SessionKey::new(Zeroizing::new(keys.session_key.as_ref().clone())))
    }

    fn clock_ahead(&self) -> Option<i64> {
        self.common.kdc.clock_ahead()
    }
}
