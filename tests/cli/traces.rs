//! A collector of OpenTelemetry gets spans of cycles, steps and batches.

use crate::alerts::web_server;
use crate::serve::Served;
use crate::{small_world, with_config};
use serde_json::Value;
use std::sync::{Arc, Mutex};

#[test]
fn a_collector_is_told_of_cycles_steps_and_batches() {
    let world = small_world();
    let config = world.path().join("config");
    let (address, calls) = web_server(Arc::new(Mutex::new(200)));
    let main = config.join("syncline.toml");
    let text = std::fs::read_to_string(&main).expect("text");
    let with =
        |address: &str| std::fs::write(&main, format!("{text}\n[service]\ntraces = \"{address}\"\n")).expect("the folder can be written");
    with("no address");
    let refused = with_config(&config, &["serve"]);
    assert_eq!(refused.status.code(), Some(4), "{}", crate::stderr(&refused));
    assert!(crate::stderr(&refused).contains("traces"), "{}", crate::stderr(&refused));
    with(&format!("http://{address}"));
    let service = Served::start(&config);
    service.cycles(1);
    service.stop();

    let bodies: Vec<Value> = calls.try_iter().map(|(_, body)| serde_json::from_slice(&body).expect("JSON")).collect();
    let shown = format!("{bodies:?}");
    let each = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let scopes = bodies.iter().flat_map(|body| each(body, "resourceSpans")).flat_map(|resource| each(&resource, "scopeSpans"));
    let spans: Vec<Value> = scopes.flat_map(|scope| each(&scope, "spans")).collect();
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    let (cycles, steps, batches) = (named("cycle"), named("step"), named("batch"));
    assert!(!cycles.is_empty() && steps.len() >= 5 && !batches.is_empty(), "{shown}");
    assert!(
        steps.iter().all(|step| cycles.iter().any(|cycle| cycle["spanId"] == step["parentSpanId"])),
        "steps are parts of cycles: {shown}"
    );
    assert!(
        batches.iter().all(|batch| steps.iter().any(|step| step["spanId"] == batch["parentSpanId"])),
        "batches are parts of steps: {shown}"
    );
    for person in ["ada", "emil", "corp.example\\\\"] {
        assert!(!shown.to_lowercase().contains(&format!("cn={person}")), "{person}");
    }
}
