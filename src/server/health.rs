//! `/healthz`, `/readyz` and `/metrics`: how the service is, for machines. Counts and times; no names of people, no values.

use super::station::Station;
use crate::service::HealthFacts;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Answers until the station's context is cancelled.
pub(super) async fn serve(listener: TcpListener, station: Arc<Station>) {
    let stop = station.cx.cancel.clone();
    let routes =
        Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics)).with_state(station);
    let served = axum::serve(listener, routes).with_graceful_shutdown(async move { stop.cancelled().await }).await;
    if let Err(error) = served {
        tracing::warn!("health is not served any more: {error}");
    }
}

/// The process answers.
async fn alive() -> &'static str {
    "ok\n"
}

/// The last cycle came to its end, and nothing holds the next one up.
async fn ready(State(station): State<Arc<Station>>) -> Response {
    match facts(station).await {
        Ok(facts) => match facts.unready() {
            None => "ok\n".into_response(),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
        },
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// Prometheus' text format, version 0.0.4.
async fn metrics(State(station): State<Arc<Station>>) -> Response {
    match facts(station).await {
        Ok(facts) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exposition(&facts)).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn facts(station: Arc<Station>) -> Result<HealthFacts, String> {
    let asked = tokio::task::spawn_blocking(move || station.service().health_facts(&station.cx));
    asked.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn exposition(facts: &HealthFacts) -> String {
    let mut text = String::new();
    let seconds = |at: Option<i64>| at.map_or(0, |at| at / 1_000_000);
    let mut gauge = |name: &str, help: &str, samples: &[(String, i64)]| {
        // Writing to a text cannot fail.
        let _ = write!(text, "# HELP syncline_{name} {help}\n# TYPE syncline_{name} gauge\n");
        for (labels, value) in samples {
            let _ = writeln!(text, "syncline_{name}{labels} {value}");
        }
    };
    let single = |value: i64| vec![(String::new(), value)];
    gauge("cycle_running", "1 while a cycle or another run is under way.", &single(i64::from(facts.running)));
    gauge("cycle_suspended", "1 while nothing runs by itself because somebody said so.", &single(i64::from(facts.suspended)));
    gauge("staging", "1 while nothing is exported.", &single(i64::from(facts.staging)));
    gauge(
        "cycle_last_begin_seconds",
        "When the last cycle began, seconds since 1970; 0 when none did.",
        &single(seconds(facts.cycle_began)),
    );
    gauge("cycle_last_end_seconds", "When the last cycle ended, seconds since 1970.", &single(seconds(facts.cycle_ended)));
    gauge(
        "cycle_last_success_seconds",
        "When the last cycle began whose imports and synchronizations came to their end.",
        &single(seconds(facts.cycle_succeeded)),
    );
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let by_connector = |count: fn(&crate::service::ConnectorFacts) -> u64| -> Vec<(String, i64)> {
        facts.connectors.iter().map(|known| (format!("{{connector=\"{}\"}}", escaped(&known.name)), number(count(known)))).collect()
    };
    gauge("objects", "Objects of a connector space.", &by_connector(|known| known.objects));
    gauge("object_errors", "Objects of a connector space with a problem.", &by_connector(|known| known.errors));
    text
}

/// A label's value (Prometheus: Exposition formats).
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ConnectorFacts;

    #[test]
    fn labels_cannot_break_the_format() {
        let facts = HealthFacts {
            cycle_began: Some(2_500_000),
            connectors: vec![ConnectorFacts { name: "a\"b\\c".to_owned(), objects: 7, errors: 1 }],
            ..HealthFacts::default()
        };
        let text = exposition(&facts);
        assert!(text.contains("\nsyncline_objects{connector=\"a\\\"b\\\\c\"} 7\n"), "{text}");
        assert!(text.contains("\nsyncline_cycle_last_begin_seconds 2\n"), "{text}");
        for line in text.lines() {
            let known = line.starts_with("# HELP syncline_") || line.starts_with("# TYPE syncline_") || line.starts_with("syncline_");
            assert!(known, "{line}");
        }
    }
}
