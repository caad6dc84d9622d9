//! Holds Graph answers against the published subset of Graph's schema.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::LazyLock;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = references().join("protocol/graph-subset.openapi.yaml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("SYNCLINE_REFERENCES: {}: {error}", path.display()));
    serde_yaml_ng::from_str(&text).unwrap()
});

/// The folder of published material.
#[expect(clippy::disallowed_methods, reason = "tests find what cannot be in the repository by this variable")]
pub(crate) fn references() -> PathBuf {
    let folder = std::env::var("SYNCLINE_REFERENCES").unwrap_or_default();
    assert!(
        !folder.is_empty(),
        "SYNCLINE_REFERENCES is not set: it names the folder with protocol/graph-subset.openapi.yaml, which is not part of this \
         repository. Set it, or run the other tests with --skip published_material_"
    );
    PathBuf::from(folder)
}

/// Fails unless the schema has this path and method, and the answer has the shape that it demands for the status.
pub(crate) fn assert_graph(method: &str, path: &str, status: u16, body: &Value) {
    let path = path.split('?').next().unwrap().strip_prefix("/v1.0").unwrap();
    let paths = DOCUMENT["paths"].as_object().unwrap();
    // A literal segment beats a variable one.
    let (template, item) = paths
        .iter()
        .filter(|(template, item)| matches(template, path) && item.get(method.to_lowercase()).is_some())
        .min_by_key(|(template, _)| template.matches('{').count())
        .unwrap_or_else(|| panic!("the schema has no {method} {path}"));
    let responses = &item[method.to_lowercase()]["responses"];
    let group = format!("{}XX", status / 100);
    let response = responses
        .get(status.to_string())
        .or_else(|| responses.get(&group))
        .unwrap_or_else(|| panic!("{method} {template} has no {status}"));
    let response = match response["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap(),
        None => response,
    };
    let Some(content) = response.get("content") else {
        assert!(body.is_null(), "{method} {template} {status} has no body in the schema, but one came: {body}");
        return;
    };
    let mut schema = content["application/json"]["schema"].clone();
    schema["components"] = json!(DOCUMENT["components"]);
    let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).build(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{method} {template} {status}: {errors:#?}\n{body:#}");
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len() && template.iter().zip(&path).all(|(part, segment)| part.starts_with('{') || part == segment)
}
