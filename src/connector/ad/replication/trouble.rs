//! What went wrong at a domain controller, in words for people: where, what, and what to do (drsuapi section 16).

use super::settings::Authentication;
use super::wait::Interrupted;
use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::context::Context;
use crate::model::Timestamp;
use crate::protocol::kerberos::Refusal;
use std::fmt::Display;
use std::io;

/// Access denied (`ERROR_DS_DRA_ACCESS_DENIED`).
pub(super) const ACCESS_DENIED: u32 = 0x2105;
/// No such object (`ERROR_DS_DRA_BAD_DN`).
pub(super) const BAD_NAME: u32 = 0x20f7;
const BAD_CONTEXT: u32 = 0x20f8;
const BUSY: u32 = 0x20f6;
const SOURCE_DISABLED: u32 = 0x2108;
const MALFORMED: u32 = 0x57;

/// Protocol error (`nca_proto_error`): what a refused sign-in by NTLM looks like on the first call.
const FAULT_PROTOCOL: u32 = 0x1c01_000b;
const FAULT_ACCESS: u32 = 5;
const FAULT_SEAL: u32 = 0x721;
const FAULT_BUSY: u32 = 0x1c01_0014;

/// Microseconds by which clocks may differ (RFC 4120 section 8.2).
pub(super) const SKEW: u64 = 5 * 60 * 1_000_000;

/// Both rights by the names that every tool shows.
pub(super) const RIGHTS: &str = "\"Replicating Directory Changes\" and \"Replicating Directory Changes All\"";

/// Whom we talk to, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The server's name.
    pub(super) server: String,
    /// The account's name.
    pub(super) account: String,
    /// How it signed in.
    pub(super) authentication: Authentication,
}

impl Place {
    pub(super) fn error(&self, kind: ConnectorErrorKind, message: impl Display) -> ConnectorError {
        ConnectorError::new(kind, format!("{}: {message}", self.server)).unsent()
    }

    /// The other side broke the protocol.
    pub(super) fn protocol(&self, what: impl Display) -> ConnectorError {
        self.error(ConnectorErrorKind::Protocol, what)
    }

    /// Nothing came.
    pub(super) fn interrupted(&self, why: Interrupted, what: &str) -> ConnectorError {
        match why {
            Interrupted::Cancelled => cancelled(),
            Interrupted::TimedOut => self.error(
                ConnectorErrorKind::Dropped,
                format!("no answer in time ({what}); is the domain controller busy with a bulk change?"),
            ),
        }
    }

    /// The connection was lost.
    pub(super) fn lost(&self, error: &io::Error, what: &str) -> ConnectorError {
        let reason = if error.kind() == io::ErrorKind::UnexpectedEof { "the server closed it".to_owned() } else { error.to_string() };
        self.error(ConnectorErrorKind::Dropped, format!("the connection was lost ({what}): {reason}"))
    }

    /// There is no connection.
    pub(super) fn unreachable(&self, address: &str, error: &io::Error) -> ConnectorError {
        self.error(
            ConnectorErrorKind::Connection,
            format!("cannot connect to {address}: {error}; check name, address and firewall (TCP 135 and the port of replication, TCP 88 for Kerberos)"),
        )
    }

    /// The account was refused: nothing is tried again soon, or it would be locked out.
    fn refused(&self, reason: impl Display) -> ConnectorError {
        self.error(ConnectorErrorKind::Authentication, format!("account '{}': {reason}", self.account))
    }

    /// A fault instead of an answer. `first` when nothing was answered on the connection before.
    pub(super) fn fault(&self, status: u32, first: bool) -> ConnectorError {
        match status {
            FAULT_PROTOCOL if first && self.authentication == Authentication::Ntlm => self.refused(
                "wrong user, domain or password (or NTLM is switched off in the domain); check them before the next try, repeated tries lock the account out",
            ),
            FAULT_ACCESS => self.error(
                ConnectorErrorKind::Permission,
                format!("account '{}' may not call the replication interface (fault 0x5: access denied)", self.account),
            ),
            FAULT_SEAL => self.protocol("the server could not check the protection of our call (fault 0x721); does something between us change the traffic?"),
            FAULT_BUSY => self.error(ConnectorErrorKind::Busy, "the server is too busy to answer (fault 0x1c010014); it is asked again later"),
            _ => self.protocol(format!("the server broke the call off (fault {status:#x})")),
        }
    }

    /// The bind was refused (MS-RPCE 2.2.2.5).
    pub(super) fn bind_refused(&self, reason: u16) -> ConnectorError {
        match reason {
            1 | 2 => self.error(
                ConnectorErrorKind::Busy,
                format!("the server takes no more connections (bind refused, reason {reason}); it is asked again later"),
            ),
            8 => self.refused(format!(
                "the server does not accept a sign-in by {} (bind refused, reason 8); is it allowed in the domain?",
                self.authentication.as_str()
            )),
            _ => self.protocol(format!("the server refused the bind (reason {reason})")),
        }
    }

    /// The server does not have the interface.
    pub(super) fn interface_refused(&self, result: u16, reason: u16) -> ConnectorError {
        self.error(
            ConnectorErrorKind::Connection,
            format!("the server does not offer the replication interface (result {result}, reason {reason}); is it a domain controller, and the port the right one?"),
        )
    }

    /// A return value that is not 0. `what` is the naming context or object.
    pub(super) fn status(&self, status: u32, what: &str) -> ConnectorError {
        match status {
            ACCESS_DENIED => self.error(
                ConnectorErrorKind::Permission,
                format!(
                    "account '{}' may not read password hashes of '{what}' (0x2105: access denied); it needs both rights on that object, {RIGHTS}: grant whichever is missing",
                    self.account
                ),
            ),
            BAD_CONTEXT => self.error(
                ConnectorErrorKind::Search,
                format!("'{what}' is no naming context of this server (0x20f8); name the domain that it is a controller of, like DC=corp,DC=example"),
            ),
            BAD_NAME => self.error(ConnectorErrorKind::Search, format!("'{what}' does not exist (0x20f7)")),
            SOURCE_DISABLED => self.error(
                ConnectorErrorKind::Search,
                "replication from this server is switched off, or it is a read-only domain controller (0x2108); name a writable one",
            ),
            BUSY => self.error(ConnectorErrorKind::Busy, "replication is busy at this server (0x20f6); it is asked again later"),
            MALFORMED => self.protocol(format!("the server calls the request for '{what}' malformed (0x57)")),
            _ => self.error(ConnectorErrorKind::Search, format!("the server refused to replicate '{what}' ({status:#x})")),
        }
    }

    /// The key distribution centre refused, and said why.
    pub(super) fn kerberos(&self, cx: &Context, refusal: Refusal) -> ConnectorError {
        let code = refusal.code;
        match code {
            Refusal::CLIENT_UNKNOWN => {
                self.refused("the domain does not know it; write it as user@REALM, with the user's logon name (Kerberos 6)")
            }
            Refusal::SERVICE_UNKNOWN => self.error(
                ConnectorErrorKind::Configuration,
                format!("the domain does not know the service host/{} (Kerberos 7); name the server by its full DNS name", self.server),
            ),
            Refusal::ACCOUNT_REVOKED => {
                self.refused("it is disabled, locked out, expired, or outside of its logon hours (Kerberos 18)").refusing_secret()
            }
            Refusal::PASSWORD_EXPIRED => self.refused("its password has expired or must be changed (Kerberos 23)").refusing_secret(),
            Refusal::WRONG_PASSWORD => {
                let clock =
                    if refusal.server_time.0.abs_diff(cx.now().0) > SKEW { clock_sentence(cx, refusal.server_time) } else { String::new() };
                self.refused(format!(
                    "the password is wrong (Kerberos 24); correct it before the next try, repeated tries lock the account out{clock}"
                ))
                .refusing_secret()
            }
            Refusal::CLOCK_SKEW => {
                self.refused(format!("the clocks differ too much for Kerberos (37){}", clock_sentence(cx, refusal.server_time)))
            }
            Refusal::WRONG_REALM => self.refused("it belongs to another realm than this server (Kerberos 68); check the part behind the @"),
            _ => self.refused(format!("the domain refused the sign-in (Kerberos {code}, RFC 4120 section 7.5.9)")),
        }
    }

    /// The sign-in failed on our side of it.
    pub(super) fn sign_in(&self, error: &sspi::Error) -> ConnectorError {
        // The library's descriptions may hold pieces of messages; its kinds do not.
        self.refused(format!("the sign-in by {} failed ({:?})", self.authentication.as_str(), error.error_type))
    }
}

/// The run was told to stop.
pub(super) fn cancelled() -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::Cancelled, "reading password hashes was told to stop").unsent()
}

/// By how much the clocks differ, and what to do.
pub(super) fn clock_sentence(cx: &Context, server_time: Timestamp) -> String {
    let difference = server_time.0.saturating_sub(cx.now().0) / 1_000_000;
    let direction = if difference < 0 { "behind" } else { "ahead of" };
    format!("; the domain controller's clock is {} s {direction} ours, set both right", difference.unsigned_abs())
}

/// True when another server may do better. A refused account is refused everywhere, and a missing right is missing everywhere.
pub(super) fn another_server_may_help(error: &ConnectorError) -> bool {
    use ConnectorErrorKind as Kind;
    matches!(error.kind, Kind::Connection | Kind::Dropped | Kind::Search | Kind::Busy | Kind::Protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(authentication: Authentication) -> Place {
        Place { server: "dc1.corp.example".to_owned(), account: "svc@corp.example".to_owned(), authentication }
    }

    #[test]
    fn every_return_value_says_what_to_do() {
        use ConnectorErrorKind as Kind;
        let place = place(Authentication::Kerberos);
        let cases = [
            (0x2105, Kind::Permission, "\"Replicating Directory Changes\" and \"Replicating Directory Changes All\""),
            (0x57, Kind::Protocol, "malformed"),
            (0x20f8, Kind::Search, "no naming context of this server"),
            (0x20f7, Kind::Search, "does not exist"),
            (0x2108, Kind::Search, "read-only domain controller"),
            (0x20f6, Kind::Busy, "busy"),
            (0x1234, Kind::Search, "0x1234"),
        ];
        for (status, kind, words) in cases {
            let error = place.status(status, "DC=corp,DC=example");
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(words) && error.message.starts_with("dc1.corp.example: "), "{error}");
            assert_eq!(another_server_may_help(&error), kind != Kind::Permission);
        }
    }

    #[test]
    fn faults_and_refused_binds_have_their_reasons() {
        use ConnectorErrorKind as Kind;
        let ntlm = place(Authentication::Ntlm);
        let wrong = ntlm.fault(0x1c01_000b, true);
        assert_eq!(wrong.kind, Kind::Authentication);
        assert!(wrong.message.contains("wrong user, domain or password") && wrong.message.contains("lock"), "{wrong}");
        assert!(!another_server_may_help(&wrong));
        assert_eq!(ntlm.fault(0x1c01_000b, false).kind, Kind::Protocol);
        assert_eq!(place(Authentication::Kerberos).fault(0x1c01_000b, true).kind, Kind::Protocol);
        assert_eq!(ntlm.fault(5, true).kind, Kind::Permission);
        assert_eq!(ntlm.fault(0x721, false).kind, Kind::Protocol);
        assert_eq!(ntlm.fault(0x1c01_0014, false).kind, Kind::Busy);
        assert_eq!(
            (ntlm.bind_refused(1).kind, ntlm.bind_refused(8).kind, ntlm.bind_refused(4).kind),
            (Kind::Busy, Kind::Authentication, Kind::Protocol)
        );
        assert_eq!(ntlm.interface_refused(2, 1).kind, Kind::Connection);
    }

    #[test]
    fn refusals_of_kerberos_have_their_reasons() {
        use ConnectorErrorKind as Kind;
        let cx = Context::system();
        let place = place(Authentication::Kerberos);
        let at = |code, shift: i64| place.kerberos(&cx, Refusal { code, server_time: Timestamp(cx.now().0 + shift) });
        let cases = [
            (6, Kind::Authentication, "user@REALM"),
            (7, Kind::Configuration, "host/dc1.corp.example"),
            (18, Kind::Authentication, "locked out"),
            (23, Kind::Authentication, "expired"),
            (24, Kind::Authentication, "the password is wrong"),
            (68, Kind::Authentication, "another realm"),
            (14, Kind::Authentication, "Kerberos 14"),
        ];
        for (code, kind, words) in cases {
            let error = at(code, 0);
            assert_eq!(error.kind, kind);
            assert!(error.message.contains(words) && !error.message.contains("clock"), "{error}");
            // The others say something of a name or a clock, which may not matter elsewhere.
            assert_eq!(error.refuses_secret, [18, 23, 24].contains(&code), "{error}");
        }
        assert!(at(37, -700_000_000).message.contains("behind ours"));
        assert!(at(24, 700_000_000).message.contains("ahead of ours"));
    }
}
