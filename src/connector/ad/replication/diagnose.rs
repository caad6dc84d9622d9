//! One look after the other at a domain controller: is it reached, does it let us in, what is the time there, and
//! does the account have both rights.

use super::accounts::decode;
use super::controllers::Controllers;
use super::session::{Question, Session};
use super::source::EXTENDED_SUCCESS;
use super::trouble::{self, Place, RIGHTS};
use crate::connector::{Attempt, ConnectorError, ConnectorErrorKind, PasswordCheck, Wanted};
use crate::context::Context;
use crate::protocol::drsuapi::{Attribute, ChangesRequest, Target};
use std::sync::Arc;

/// A check that failed with an error, whose words name what to do.
pub(super) fn failed(what: impl Into<String>, error: &ConnectorError) -> PasswordCheck {
    let remedy = match error.kind {
        ConnectorErrorKind::Connection | ConnectorErrorKind::Dropped => {
            "check the name, the address and the firewall between here and there"
        }
        ConnectorErrorKind::Authentication => "correct account and password, then look again",
        ConnectorErrorKind::Permission => "grant the account both rights on the domain",
        ConnectorErrorKind::Configuration => "correct the configuration",
        _ => "try again later, or name another domain controller",
    };
    PasswordCheck { what: what.into(), good: false, evidence: error.message.clone(), remedy: Some(remedy.to_owned()) }
}

fn passed(what: impl Into<String>, evidence: impl Into<String>) -> PasswordCheck {
    PasswordCheck { what: what.into(), good: true, evidence: evidence.into(), remedy: None }
}

/// Looks at one controller, with the turn to sign in there. What was found is in `checks`.
///
/// # Errors
/// When the account was refused.
pub(super) async fn controller(
    cx: &Context,
    controllers: &dyn Controllers,
    index: usize,
    place: &Place,
    contexts: &[String],
    attempt: Attempt,
    checks: &mut Vec<PasswordCheck>,
) -> Result<(), ConnectorError> {
    let server = &place.server;
    let port = match controllers.port(cx, index).await {
        Ok(port) => port,
        Err(error) => {
            checks.push(failed(format!("{server}: replication interface"), &error));
            return Ok(());
        }
    };
    checks.push(passed(format!("{server}: replication interface"), format!("TCP port {port}")));
    let first = contexts.first().map_or("", String::as_str);
    // With NTLM the password is looked at only when the first call is made, so both are one step.
    let opened = match controllers.connect(cx, index, port).await {
        Ok(call) => Session::open(cx, call, place.clone(), first).await,
        Err(error) => Err(error),
    };
    super::source::tell(attempt, opened.as_ref().err());
    let mut session = match opened {
        Ok(session) => session,
        Err(error) => {
            checks.push(failed(format!("{server}: sign-in"), &error));
            return if error.kind == ConnectorErrorKind::Authentication { Err(error) } else { Ok(()) };
        }
    };
    checks.push(passed(format!("{server}: sign-in"), format!("signed in as '{}' by {}", place.account, place.authentication.as_str())));
    if let Some(ahead) = session.clock_ahead() {
        checks.push(clock(server, ahead));
    }
    if let Some(is_pdc) = session.is_pdc {
        let evidence =
            if is_pdc { "it hears of password changes first" } else { "not the PDC emulator: it hears of some changes a little later" };
        checks.push(passed(format!("{server}: role"), evidence));
    }
    for context in contexts {
        match rights(cx, &mut session, context).await {
            Ok(check) => checks.push(check),
            Err(error) => {
                checks.push(failed(format!("{server}: rights on '{context}'"), &error));
                return Ok(());
            }
        }
    }
    session.close(cx).await;
    Ok(())
}

fn clock(server: &str, ahead: i64) -> PasswordCheck {
    let what = format!("{server}: clock");
    let direction = if ahead < 0 { "behind" } else { "ahead of" };
    let evidence = format!("{} s {direction} ours", ahead.unsigned_abs() / 1_000_000);
    if ahead.unsigned_abs() <= trouble::SKEW {
        passed(what, evidence)
    } else {
        PasswordCheck { what, good: false, evidence, remedy: Some("set both clocks right: Kerberos allows five minutes".to_owned()) }
    }
}

/// Asks for the head of the naming context with the attribute of passwords: it has none, but both rights are needed.
async fn rights(cx: &Context, session: &mut Session, context: &str) -> Result<PasswordCheck, ConnectorError> {
    let what = format!("{}: rights on '{context}'", session.place.server);
    match probe(cx, session, context, &ChangesRequest::password_attributes()).await? {
        0 => return Ok(passed(what, format!("the account has {RIGHTS}"))),
        trouble::ACCESS_DENIED => {}
        status => return Err(session.place.status(status, context)),
    }
    // Without the secret the first of both rights is enough.
    let evidence = match probe(cx, session, context, &[Attribute::UserAccountControl.id()]).await? {
        0 => "\"Replicating Directory Changes All\" is missing (0x2105)".to_owned(),
        trouble::ACCESS_DENIED => {
            "\"Replicating Directory Changes\" is missing, and perhaps \"Replicating Directory Changes All\" (0x2105)".to_owned()
        }
        status => return Err(session.place.status(status, context)),
    };
    let remedy = format!("grant '{}' {RIGHTS} on '{context}'", session.place.account);
    Ok(PasswordCheck { what, good: false, evidence, remedy: Some(remedy) })
}

/// Asks for one object; gives the number of the refusal, or 0. Nothing is decrypted.
async fn probe(cx: &Context, session: &mut Session, context: &str, attributes: &[u32]) -> Result<u32, ConnectorError> {
    let stub = session.ask(cx, Question::single(Target::ObjectNamed(context), attributes)).await?;
    let nobody: Wanted = Arc::new(|_| false);
    let key = session.session_key()?;
    let facts = decode(&stub, &key, &nobody).map_err(|error| session.place.protocol(error))?.facts;
    match (facts.status, facts.extended) {
        (0, EXTENDED_SUCCESS) => Ok(0),
        (0, extended) => Err(session.place.protocol(format!("the domain's own object could not be read (extended result {extended})"))),
        (status, _) => Ok(status),
    }
}
