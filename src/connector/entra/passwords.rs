//! Password hashes to a tenant: `ProvisionCredentials` in batches, the feature bits, and what the answers mean for the agent
//! (specification: provisioning service 3.1, 3.2, 5 and 6.3; sync engine 7.5).

use super::service::{CallError, Patience, told};
use super::{EntraConnector, last_writer, unexpected};
use crate::connector::{
    ConnectorError, ConnectorErrorKind, Credential, CredentialAnswer, CredentialError, CredentialErrorKind, PASSWORD_BATCH,
    PasswordFeatures, PasswordTarget,
};
use crate::context::Context;
use crate::model::Timestamp;
use crate::protocol::provisioning::{CompanyConfiguration, CredentialChange, CredentialResult, Fault, Request, Response, features};
use async_trait::async_trait;
use secrecy::ExposeSecret as _;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long settings of the tenant are asked for; whoever wants them comes again.
pub(super) const SETTINGS_PATIENCE: Patience = Patience::Within(Duration::from_secs(30));
/// The result of an account that took the password.
const ACCEPTED: i64 = 0;
/// The result of an account that is not known (yet); an agreement of our two sides, like all numbers but 0
/// (specification: provisioning service 5.2).
const UNKNOWN: i64 = 1;

#[async_trait]
impl PasswordTarget for EntraConnector {
    async fn features(&self, cx: &Context) -> Result<PasswordFeatures, ConnectorError> {
        let company = self.company(cx, SETTINGS_PATIENCE).await?;
        Ok(features_of(&company, self.service.told()))
    }

    fn told(&self) -> Option<Timestamp> {
        self.service.told()
    }

    async fn set_enabled(&self, cx: &Context, on: bool) -> Result<(), ConnectorError> {
        let now = self.company(cx, SETTINGS_PATIENCE).await?.features;
        let wanted = features::with(now, features::PASSWORD_HASH_SYNC, on);
        if wanted != now {
            let request = Request::SetCompanyDirsyncFeatures { features: wanted };
            self.service.ask(cx, &request, None, SETTINGS_PATIENCE).await?;
        }
        Ok(())
    }

    async fn send(&self, cx: &Context, batch: &[Credential], patience: Duration) -> Result<Vec<CredentialAnswer>, CredentialError> {
        if batch.len() > PASSWORD_BATCH {
            let message = format!("a batch of {} accounts; {PASSWORD_BATCH} are allowed", batch.len());
            return Err(problem(CredentialErrorKind::Later, message));
        }
        let request = Request::ProvisionCredentials(batch.iter().map(change_of).collect());
        match self.service.ask(cx, &request, None, Patience::Within(patience)).await {
            Ok(Response::Credentials(results)) => answers(batch, &results),
            // A sign of life may be answered with nothing at all.
            Ok(Response::Empty) if batch.is_empty() => Ok(Vec::new()),
            Ok(_) => Err(problem(CredentialErrorKind::Later, unexpected(&request).message)),
            Err(error) => Err(refusal(error)),
        }
    }
}

/// What a tenant has switched on.
pub(super) fn features_of(company: &CompanyConfiguration, told: Option<Timestamp>) -> PasswordFeatures {
    let has = |bit| company.features & bit != 0;
    PasswordFeatures {
        synchronization: company.is_dir_syncing,
        password_hashes: has(features::PASSWORD_HASH_SYNC),
        force_change: has(features::FORCE_PASSWORD_CHANGE),
        cloud_policy: has(features::ENFORCE_CLOUD_PASSWORD_POLICY),
        last_writer: last_writer(company, told),
    }
}

/// One account on the wire. Of the two anchors exactly one is told.
fn change_of(credential: &Credential) -> CredentialChange {
    let by_source = !credential.source_anchor.is_empty();
    CredentialChange {
        change_date: date(credential.changed),
        cloud_anchor: credential.cloud_anchor.clone().filter(|_| !by_source),
        credential_data: Zeroizing::new(credential.data.to_text().expose_secret().to_owned()),
        force_change: credential.force_change,
        source_anchor: by_source.then(|| credential.source_anchor.clone()),
    }
}

/// UTC with microseconds and the `Z` that one client forgets.
fn date(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// One answer per account, in the order of the batch. The service keeps the order, and says whom each result is for: when
/// that is somebody else, nothing can be told apart, and the batch is sent again.
fn answers(batch: &[Credential], results: &[CredentialResult]) -> Result<Vec<CredentialAnswer>, CredentialError> {
    if results.len() != batch.len() {
        let message = format!("the service answered {} accounts with {} results", batch.len(), results.len());
        return Err(problem(CredentialErrorKind::Later, message));
    }
    let answer = |(credential, result): (&Credential, &CredentialResult)| {
        let told = |anchor: &Option<String>| anchor.clone().filter(|anchor| !anchor.is_empty());
        let stranger = if credential.source_anchor.is_empty() {
            let meant = credential.cloud_anchor.as_deref().unwrap_or_default();
            told(&result.cloud_anchor).is_some_and(|told| !told.eq_ignore_ascii_case(meant))
        } else {
            told(&result.source_anchor).is_some_and(|told| told != credential.source_anchor)
        };
        if stranger {
            let message = "the service answered with results of other accounts than were sent".to_owned();
            return Err(problem(CredentialErrorKind::Later, message));
        }
        let detail = result.extended_error.clone().filter(|text| !text.is_empty());
        Ok(match result.result {
            ACCEPTED => CredentialAnswer::Accepted,
            UNKNOWN => CredentialAnswer::Unknown,
            CredentialResult::NO_RESULT => CredentialAnswer::Refused {
                code: -1,
                detail: Some(detail.unwrap_or_else(|| "the service gave no result that is a number".to_owned())),
            },
            code => CredentialAnswer::Refused { code, detail },
        })
    };
    batch.iter().zip(results).map(answer).collect()
}

/// What a failed call means for the agent.
fn refusal(error: CallError) -> CredentialError {
    let (kind, fault, after) = match &error {
        CallError::Refused(fault) if fault.description.contains(Fault::NOT_ACTIVATED) => {
            (CredentialErrorKind::Disabled, Some(fault.clone()), None)
        }
        CallError::Refused(fault) if fault.code == Some(Fault::PASSWORD_SYNC_OFF) => {
            (CredentialErrorKind::SwitchedOff, Some(fault.clone()), None)
        }
        // Something in the batch, perhaps: the agent sends its parts.
        CallError::Refused(fault) => (CredentialErrorKind::Later, Some(fault.clone()), None),
        CallError::Exhausted { fault, after, .. } => (CredentialErrorKind::Later, fault.clone(), *after),
        CallError::TooLarge(_) => (CredentialErrorKind::Later, None, None),
        CallError::Connector(error) => (kind_of(error.kind), None, None),
    };
    let message = match (&error, kind) {
        (CallError::Refused(fault), CredentialErrorKind::SwitchedOff) => {
            format!("password hash synchronization is switched off in the tenant{}; switch it on with `syncline phs enable`", told(fault))
        }
        _ => ConnectorError::from(error).message,
    };
    CredentialError {
        kind,
        code: fault.as_ref().and_then(|fault| fault.code).map(i64::from),
        tracking_id: fault.and_then(|fault| fault.tracking_id),
        retry_after: after,
        message,
    }
}

fn kind_of(kind: ConnectorErrorKind) -> CredentialErrorKind {
    match kind {
        ConnectorErrorKind::Authentication | ConnectorErrorKind::Permission => CredentialErrorKind::Denied,
        ConnectorErrorKind::Cancelled => CredentialErrorKind::Cancelled,
        ConnectorErrorKind::Disabled => CredentialErrorKind::Disabled,
        _ => CredentialErrorKind::Later,
    }
}

fn problem(kind: CredentialErrorKind, message: String) -> CredentialError {
    CredentialError { kind, code: None, tracking_id: None, retry_after: None, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::hash::{CredentialData, NtHash};

    fn credential(anchor: &str, cloud: Option<&str>) -> Credential {
        Credential {
            source_anchor: anchor.to_owned(),
            cloud_anchor: cloud.map(str::to_owned),
            changed: Timestamp(1_704_164_645_678_901),
            data: CredentialData::derive(&NtHash::new([7; 16]), &[1; 10], 1).unwrap(),
            force_change: false,
        }
    }

    fn result(anchor: Option<&str>, number: i64, text: Option<&str>) -> CredentialResult {
        CredentialResult {
            source_anchor: anchor.map(str::to_owned),
            result: number,
            extended_error: text.map(str::to_owned),
            cloud_anchor: None,
        }
    }

    #[test]
    fn one_anchor_is_told() {
        let both = change_of(&credential("a", Some("User_1")));
        assert_eq!((both.source_anchor.as_deref(), both.cloud_anchor), (Some("a"), None));
        let cloud = change_of(&credential("", Some("User_1")));
        assert_eq!((cloud.source_anchor, cloud.cloud_anchor.as_deref()), (None, Some("User_1")));
        assert_eq!(cloud.change_date, "2024-01-02T03:04:05.678901Z");
        assert!(cloud.credential_data.starts_with("v1;PPH1_MD4,01010101010101010101,1,") && cloud.credential_data.ends_with(';'));
    }

    #[test]
    fn answers_belong_to_their_accounts() {
        let batch = [credential("a", None), credential("b", None), credential("c", None), credential("d", None)];
        let results = [
            result(Some("a"), 0, None),
            result(None, 1, None),
            result(Some("c"), 3, Some("malformed")),
            result(Some("d"), CredentialResult::NO_RESULT, None),
        ];
        let answers_of = |results: &[CredentialResult]| answers(&batch, results);
        let all = answers_of(&results).unwrap();
        assert_eq!(all[..2], [CredentialAnswer::Accepted, CredentialAnswer::Unknown]);
        assert_eq!(all[2], CredentialAnswer::Refused { code: 3, detail: Some("malformed".to_owned()) });
        assert!(matches!(&all[3], CredentialAnswer::Refused { code: -1, detail: Some(_) }));
        assert_eq!(answers_of(&results[..3]).unwrap_err().kind, CredentialErrorKind::Later);
        let mixed = [results[2].clone(), results[1].clone(), results[0].clone(), results[3].clone()];
        assert_eq!(answers_of(&mixed).unwrap_err().kind, CredentialErrorKind::Later);
    }

    #[test]
    fn faults_tell_the_agent_what_to_do() {
        let fault = |code, text: &str| Fault { code, tracking_id: Some("track".to_owned()), ..Fault::sender(text) };
        let off = refusal(CallError::Refused(fault(Some(90), "Password Synchronization has not been activated for this company.")));
        assert_eq!((off.kind, off.code, off.tracking_id.as_deref()), (CredentialErrorKind::SwitchedOff, Some(90), Some("track")));
        assert!(off.message.contains("phs enable"), "{off}");
        let disabled = refusal(CallError::Refused(fault(None, Fault::NOT_ACTIVATED)));
        assert_eq!((disabled.kind, disabled.code), (CredentialErrorKind::Disabled, None));
        let busy = refusal(CallError::Exhausted {
            error: ConnectorError::new(ConnectorErrorKind::Busy, "busy"),
            fault: Some(fault(Some(81), "busy")),
            after: Some(Duration::from_secs(7)),
        });
        assert_eq!((busy.kind, busy.code, busy.retry_after), (CredentialErrorKind::Later, Some(81), Some(Duration::from_secs(7))));
        for (kind, expected) in [
            (ConnectorErrorKind::Authentication, CredentialErrorKind::Denied),
            (ConnectorErrorKind::Permission, CredentialErrorKind::Denied),
            (ConnectorErrorKind::Cancelled, CredentialErrorKind::Cancelled),
            (ConnectorErrorKind::Connection, CredentialErrorKind::Later),
            (ConnectorErrorKind::Protocol, CredentialErrorKind::Later),
        ] {
            assert_eq!(refusal(CallError::Connector(ConnectorError::new(kind, "x"))).kind, expected);
        }
        assert_eq!(refusal(CallError::TooLarge("413".to_owned())).kind, CredentialErrorKind::Later);
    }
}
