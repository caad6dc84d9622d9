//! A reader for the small, well-formed XML texts beside the recorded messages; gives the same lines as the binary
//! reader. It knows elements, attributes, namespaces, five entities, and nothing else.

/// One line per element and text, white space around texts dropped.
pub(crate) fn infoset(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut scopes: Vec<Vec<(String, String)>> = Vec::new();
    let mut rest = text.split_once("?>").map_or(text, |(_, rest)| rest);
    while let Some(open) = rest.find('<') {
        let content = unescape(rest[..open].trim());
        if !content.is_empty() {
            lines.push(format!("{} {content}", scopes.len()));
        }
        let close = open + rest[open..].find('>').expect("a tag ends");
        let tag = &rest[open + 1..close];
        rest = &rest[close + 1..];
        if tag.starts_with('/') {
            scopes.pop();
            continue;
        }
        let empty = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once([' ', '\n']).unwrap_or((tag, ""));
        let attributes = split_attributes(attributes);
        let declared = attributes.iter().filter_map(|(name, value)| {
            let prefix = if name == "xmlns" { Some("") } else { name.strip_prefix("xmlns:") };
            prefix.map(|prefix| (prefix.to_owned(), value.clone()))
        });
        let depth = scopes.len();
        scopes.push(declared.collect());
        let mut shown: Vec<String> = attributes
            .iter()
            .filter(|(name, _)| name != "xmlns" && !name.starts_with("xmlns:"))
            .map(|(name, value)| {
                let (namespace, local) = if name.contains(':') { resolve(&scopes, name) } else { (String::new(), name.clone()) };
                let value = if local == "type" {
                    let (namespace, local) = resolve(&scopes, value);
                    format!("{{{namespace}}}{local}")
                } else {
                    value.clone()
                };
                format!("{{{namespace}}}{local}={value}")
            })
            .collect();
        shown.sort();
        let (namespace, local) = resolve(&scopes, name);
        lines.push(format!("{depth} {{{namespace}}}{local} {}", shown.join(" ")));
        if empty {
            scopes.pop();
        }
    }
    lines
}

fn split_attributes(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while let Some((name, behind)) = rest.split_once("=\"") {
        let (value, behind) = behind.split_once('"').expect("an attribute ends");
        found.push((name.trim().to_owned(), unescape(value)));
        rest = behind.trim();
    }
    found
}

fn resolve(scopes: &[Vec<(String, String)>], qualified: &str) -> (String, String) {
    let (prefix, local) = qualified.split_once(':').unwrap_or(("", qualified));
    let namespace = if prefix == "xml" {
        "http://www.w3.org/XML/1998/namespace".to_owned()
    } else {
        let declared = scopes.iter().rev().flatten().find(|(known, _)| known == prefix);
        declared.map(|(_, uri)| uri.clone()).unwrap_or_default()
    };
    (namespace, local.to_owned())
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}
