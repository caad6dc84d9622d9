//! `/healthz`, `/readyz` and `/metrics`: how the service is, for machines. Counts and times; no names of people, no values.

use super::station::Station;
use crate::service::HealthFacts;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The text format of the exposition (OpenMetrics 1.0), which Prometheus reads.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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

/// The process answers, and does its work.
async fn alive(State(station): State<Arc<Station>>) -> Response {
    match station.pulse.stopped(&station.cx) {
        None => "ok\n".into_response(),
        Some(quiet) => (StatusCode::SERVICE_UNAVAILABLE, format!("nothing has got on for {} s\n", quiet.as_secs())).into_response(),
    }
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

/// What Prometheus collects.
async fn metrics(State(station): State<Arc<Station>>) -> Response {
    let exposed = match facts(station).await {
        Ok(facts) => exposition(&facts).map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match exposed {
        Ok(text) => ([(header::CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn facts(station: Arc<Station>) -> Result<HealthFacts, String> {
    let asked = tokio::task::spawn_blocking(move || station.service().health_facts(&station.cx));
    asked.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// Labels of a sample: names and values.
type Labels = Vec<(&'static str, String)>;

/// Everything as gauges: what is counted here goes down as well as up.
fn exposition(facts: &HealthFacts) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("syncline");
    let seconds = |at: Option<i64>| at.map_or(0, |at| at / 1_000_000);
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut single = |name: &str, help: &str, value: i64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    single("cycle_running", "1 while a cycle or another run is under way", i64::from(facts.running));
    single("cycle_suspended", "1 while nothing runs by itself because somebody said so", i64::from(facts.suspended));
    single("staging", "1 while nothing is exported", i64::from(facts.staging));
    single("cycle_last_begin_seconds", "When the last cycle began, seconds since 1970; 0 when none did", seconds(facts.cycle_began));
    single("cycle_last_end_seconds", "When the last cycle ended, seconds since 1970", seconds(facts.cycle_ended));
    single(
        "cycle_last_success_seconds",
        "When the last cycle began whose runs all came to their end, exports as well",
        seconds(facts.cycle_succeeded),
    );
    let mut family = |name: &str, help: &str, samples: &mut dyn Iterator<Item = (Labels, i64)>| {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in samples {
            family.get_or_create(&labels).set(value);
        }
        registry.register(name, help, family);
    };
    let connectors = |count: fn(&crate::service::ConnectorFacts) -> u64| {
        facts.connectors.iter().map(move |known| (vec![("connector", known.name.clone())], number(count(known))))
    };
    family("objects", "Objects of a connector space", &mut connectors(|known| known.objects));
    family("object_errors", "Objects of a connector space with a problem", &mut connectors(|known| known.errors));
    let passwords = |value: fn(&crate::service::PasswordFacts) -> Option<i64>| {
        facts.passwords.iter().filter_map(move |known| Some((vec![("directory", known.directory.clone())], value(known)?)))
    };
    family(
        "password_held",
        "1 while passwords of a directory are not sent or not read",
        &mut passwords(|known| Some(i64::from(known.held))),
    );
    family(
        "password_last_cycle_seconds",
        "When the password agent last looked at a directory, seconds since 1970",
        &mut passwords(|known| known.last_cycle.map(|at| at / 1_000_000)),
    );
    family(
        "password_last_sent_seconds",
        "When the tenant last took a password of a directory, seconds since 1970",
        &mut passwords(|known| known.last_sent.map(|at| at / 1_000_000)),
    );
    family(
        "password_last_heartbeat_seconds",
        "When the tenant last answered a sign of life for a directory, seconds since 1970",
        &mut passwords(|known| known.last_heartbeat.map(|at| at / 1_000_000)),
    );
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{ConnectorFacts, PasswordFacts};

    #[test]
    fn labels_cannot_break_the_format() {
        let facts = HealthFacts {
            cycle_began: Some(2_500_000),
            connectors: vec![ConnectorFacts { name: "a\"b\\c".to_owned(), objects: 7, errors: 1 }],
            passwords: vec![PasswordFacts {
                directory: "corp".to_owned(),
                held: true,
                last_cycle: Some(9_000_000),
                ..PasswordFacts::default()
            }],
            ..HealthFacts::default()
        };
        let text = exposition(&facts).unwrap();
        assert!(text.contains("\nsyncline_objects{connector=\"a\\\"b\\\\c\"} 7\n"), "{text}");
        assert!(text.contains("\nsyncline_cycle_last_begin_seconds 2\n"), "{text}");
        assert!(text.contains("\nsyncline_password_held{directory=\"corp\"} 1\n"), "{text}");
        assert!(text.contains("\nsyncline_password_last_cycle_seconds{directory=\"corp\"} 9\n"), "{text}");
        assert!(!text.contains("\nsyncline_password_last_sent_seconds{"), "what never was has no time: {text}");
        for line in text.lines() {
            let known = line.starts_with("# HELP syncline_") || line.starts_with("# TYPE syncline_") || line.starts_with("syncline_");
            assert!(known || line == "# EOF", "{line}");
        }
    }
}
