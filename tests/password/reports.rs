//! What people are told: of one account, of all, of the agent, and of what the first synchronization would overwrite.

use crate::fakes::{Stage, failure};
use crate::{A, T, rules};
use std::collections::BTreeMap;
use syncline::connector::{ConnectorErrorKind, CredentialAnswer, CredentialErrorKind};
use syncline::model::ConnectorId;
use syncline::password::Held;
use syncline::password::report::Views;
use syncline::rules::RunParameters;

fn with_views<T>(stage: &Stage, ask: impl FnOnce(&Views<'_>) -> T) -> T {
    let pairs: BTreeMap<ConnectorId, ConnectorId> = [(A, T)].into();
    let (rules, run) = (rules(stage.world.store.names()), RunParameters::default());
    ask(&Views { store: &stage.world.store, rules: &rules, run: &run, pairs: &pairs })
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_counts_and_names_what_is_missing() {
    let mut stage = Stage::new();
    for name in ["1", "2", "3", "4"] {
        stage.hire(name, "DC=a");
    }
    stage.set("4", "disabled", Some("yes"));
    stage.set("2", "userPrincipalName", Some("2@Other.example"));
    stage.run();
    let before = with_views(&stage, |views| views.overwritten(A).unwrap());
    assert_eq!(
        before.iter().map(|account| account.sign_in_name.as_str()).collect::<Vec<_>>(),
        ["1@a.example", "2@Other.example", "3@a.example"]
    );
    let coverage = with_views(&stage, |views| views.coverage(None).unwrap());
    assert_eq!((coverage.in_scope, coverage.confirmed, coverage.missing["due"]), (3, 0, 3));

    stage.target.answers(|batch| {
        let refused = CredentialAnswer::Refused { code: 5, detail: None };
        Ok(batch.iter().map(|account| if account.source_anchor == "3" { refused.clone() } else { CredentialAnswer::Accepted }).collect())
    });
    stage.after(2).await;
    stage.hire("5", "DC=a");
    stage.world.import(A);
    stage.world.sync(A, false);
    let coverage = with_views(&stage, |views| views.coverage(None).unwrap());
    assert_eq!((coverage.in_scope, coverage.confirmed), (4, 2));
    assert_eq!(coverage.missing, BTreeMap::from([("Error".to_owned(), 1), ("not-exported".to_owned(), 1)]));
    assert!(coverage.oldest_confirmation.is_some());
    let missing = with_views(&stage, |views| views.uncovered(None, None).unwrap());
    let shown: Vec<_> = missing.iter().map(|one| (one.dn.as_str(), one.reason, one.code, one.sign_in_name.as_deref())).collect();
    assert_eq!(shown, [("CN=3,DC=a", "Error", Some(5), Some("3@a.example")), ("CN=5,DC=a", "not-exported", None, None)]);
    assert!(missing[0].next_attempt.is_some() && missing[1].detail.as_ref().is_some_and(|detail| detail.contains("export")), "{missing:?}");
    let reasons = |reason| with_views(&stage, |views| views.uncovered(None, Some(reason)).unwrap().len());
    assert_eq!((reasons("error"), reasons("not-exported"), reasons("due")), (1, 1, 0));
    let other = with_views(&stage, |views| views.coverage(Some("OTHER.example")).unwrap());
    assert_eq!((other.in_scope, other.confirmed), (1, 1));
    let again = with_views(&stage, |views| views.overwritten(A).unwrap());
    assert_eq!((again.len(), again.iter().filter(|one| one.sent_before).count()), (3, 2), "{again:?}");

    let one = |name: &str| with_views(&stage, |views| views.account(stage.id(name)).unwrap().unwrap());
    assert!(one("1").current && one("1").in_scope && one("1").status == Some("Success"));
    assert_eq!((one("3").status, one("3").code, one("3").attempts), (Some("Error"), Some(5), 1));
    assert!(!one("4").in_scope && one("4").reason == Some("out-of-scope"));
    assert!(one("5").in_scope && one("5").reason == Some("not-exported"));
    assert!(serde_json::to_string(&one("3")).unwrap().contains("\"next_attempt\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_tells_how_it_does() {
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    stage.after(2).await;
    let status = |stage: &Stage| with_views(stage, |views| views.agent().unwrap().remove(0));
    let good = status(&stage);
    assert!(good.ready && good.held.is_none() && good.last_sent.is_some() && good.due.is_empty());
    assert!(good.domains[0].has_cookie && good.domains[0].last_full.is_some() && good.domains[0].failure.is_none());
    stage.source.down("DC=a", Some(ConnectorErrorKind::Connection));
    stage.target.answers(|_| Err(failure(CredentialErrorKind::Denied, None, None)));
    stage.after(32).await;
    let bad = status(&stage);
    assert_eq!((bad.held, bad.heartbeat_failure.is_some()), (Some(Held::Denied), true));
    assert!(bad.domains[0].failure.is_some() && bad.domains[0].failing_since.is_some());
}

/// Nobody knows when that was, so somebody is told; what was heard since counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_of_life_in_the_future_is_long_ago() {
    use std::time::Duration;
    use syncline::context::Clock as _;
    let mut stage = Stage::new();
    stage.hire("1", "DC=a");
    stage.run();
    stage.clock.ahead(365 * 24 * 60);
    stage.after(2).await;
    let silence = |stage: &Stage| with_views(stage, |views| views.agent().unwrap().remove(0)).silence(stage.clock.now());
    assert_eq!(silence(&stage), Some(Duration::ZERO));
    stage.clock.ahead(0);
    assert_eq!(silence(&stage), Some(Duration::MAX));
    stage.after(2).await;
    assert_eq!(silence(&stage), Some(Duration::ZERO), "the password that was sent is still noted in the future");
    stage.clock.forward(1);
    assert_eq!(silence(&stage), Some(Duration::from_mins(1)));
}
