//! How many names rules may bring along: the table of names that the whole store shares has 65,535 places.

use super::file::{RawFile, RawJoin, RawSource};
use super::problem::{RuleProblem, Severity};
use std::collections::HashSet;

/// The most names of attributes and types that rule files may hold; directories need the other places.
const NAMES_MAX: usize = 30_000;

/// Refuses rules with more names than a store can take, before any of them is entered there.
pub(super) fn too_many_names(files: &[RawFile]) -> Option<RuleProblem> {
    let mut names: HashSet<&str> = HashSet::new();
    // Attributes of an expression stand in brackets or in quotation marks; each counts, so this is never too low.
    let mut in_expressions = 0;
    for file in files {
        names.extend(file.attributes.iter().map(|attribute| attribute.name.text.as_str()));
        for rule in &file.rules {
            names.extend(rule.cs_types.iter().map(String::as_str));
            names.insert(&rule.mv_type.text);
            names.extend(rule.scope.iter().flatten().map(|clause| clause.attr.text.as_str()));
            if let RawJoin::Groups(groups) = &rule.join {
                names.extend(groups.iter().flatten().flat_map(|clause| [clause.cs.text.as_str(), clause.mv.text.as_str()]));
            }
            for flow in &rule.flows {
                names.insert(&flow.to.text);
                match &flow.source {
                    RawSource::Direct(attribute) => drop(names.insert(&attribute.text)),
                    RawSource::Constant(..) => {}
                    RawSource::Expression(expression) => in_expressions += expression.text.matches(['[', '"']).count(),
                }
            }
        }
        let count = names.len() + in_expressions;
        if count > NAMES_MAX {
            return Some(RuleProblem {
                severity: Severity::Error,
                file: file.name.clone(),
                line: 0,
                column: 0,
                rule: None,
                message: format!("the rules up to here name too many attributes: {count}, at most {NAMES_MAX} can be kept apart"),
                hint: Some("leave out what no directory has".to_owned()),
            });
        }
    }
    None
}
