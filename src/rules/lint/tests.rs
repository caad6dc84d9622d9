//! Lint held against rule files of a few lines each.

use super::super::RuleSettings;
use super::super::tests::{compile_with, default_connectors, show};
use std::fmt::Write as _;

/// A rule file with one rule for each text of keys.
fn rules(keys: &[&str]) -> String {
    let rule = |(index, keys): (usize, &&str)| {
        let defaults = [
            ("direction", "\"inbound\""),
            ("connector", if keys.contains("outbound") { "\"cloud\"" } else { "\"contoso.com\"" }),
            ("cs_type", "\"user\""),
            ("mv_type", "\"person\""),
            ("link", "\"join\""),
        ];
        let mut text = format!("[[rule]]\nname = \"rule {}\"\norder = {}\n", index + 1, index + 1);
        for (key, value) in defaults.into_iter().filter(|(key, _)| !keys.contains(&format!("{key} ="))) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key} = {value}");
        }
        format!("{text}{keys}\n")
    };
    keys.iter().enumerate().map(rule).collect()
}

fn findings(keys: &[&str]) -> String {
    show(
        compile_with(&default_connectors(), &RuleSettings::default(), &rules(keys))
            .unwrap_or_else(|found| panic!("{}", show(&found)))
            .lint(),
    )
}

#[test]
fn values_that_go_round_and_change_are_named() {
    let own = "flows = [{ to = \"title\", expr = '[title] & \"!\"' }]";
    let back = "connector = \"contoso.com\"\ndirection = \"outbound\"\ndirect = [\"title\"]";
    let shown = findings(&[own, back]);
    assert_eq!(
        shown,
        "custom.toml:1:1: warning: rule \"rule 1\": values go round: title makes title of the metaverse, which comes back by \"rule 2\"\n  \
         hint: each synchronization changes the value once more: flow it one way only, or without changing it"
    );
    // Two steps through another attribute.
    let shown = findings(&[
        "flows = [{ to = \"info\", expr = 'Replace([info], \"a\", \"b\")' }]",
        "connector = \"contoso.com\"\ndirection = \"outbound\"\ndirect = [\"comment <- info\"]",
        "direct = [\"description <- comment\"]",
        "connector = \"contoso.com\"\ndirection = \"outbound\"\ndirect = [\"info <- description\"]",
    ]);
    assert!(shown.contains("info makes info of the metaverse, which comes back by \"rule 2\" and \"rule 3\" and \"rule 4\""), "{shown}");
    // Passed on as it is, trimmed, cut, or only when the link is made, a value settles.
    for flow in [
        "from = \"title\"",
        "expr = 'Trim([title])'",
        "expr = 'IIF([title] = \"x\", NULL, Left([title], 20))'",
        "expr = '[title] & \"!\"', once = true",
    ] {
        assert_eq!(findings(&[&format!("flows = [{{ to = \"title\", {flow} }}]"), back]), "", "{flow}");
    }
}

#[test]
fn rules_that_never_apply_are_named() {
    let never = "the rule never applies: its conditions exclude each other";
    for scope in [
        "[[{ attr = \"mail\", op = \"ISNULL\" }, { attr = \"mail\", op = \"EQUAL\", value = \"x\" }]]",
        "[[{ attr = \"st\", op = \"EQUAL\", value = \"NY\" }, { attr = \"st\", op = \"NOTEQUAL\", value = \"ny\" }]]",
    ] {
        let shown = findings(&[&format!("scope = {scope}\ndirect = [\"cn\"]")]);
        assert!(shown.contains(never), "{shown}");
    }
    let alternative =
        "scope = [[{ attr = \"mail\", op = \"ISNULL\" }], [{ attr = \"mail\", op = \"EQUAL\", value = \"x\" }]]\ndirect = [\"cn\"]";
    assert_eq!(findings(&[alternative]), "");
    let shown =
        findings(&["direction = \"outbound\"\nscope = [[{ attr = \"division\", op = \"EQUAL\", value = \"IT\" }]]\ndirect = [\"title\"]"]);
    assert!(shown.contains("the rule never applies: no rule gives division a value"), "{shown}");
}

#[test]
fn flows_that_never_count_are_named() {
    let first = "scope = [[{ attr = \"st\", op = \"EQUAL\", value = \"NY\" }]]\nflows = [{ to = \"company\", constant = \"Contoso\" }]";
    let narrower =
        "scope = [[{ attr = \"st\", op = \"EQUAL\", value = \"ny\" }, { attr = \"l\", op = \"ISNOTNULL\" }]]\ndirect = [\"company\"]";
    let shown = findings(&[first, narrower]);
    assert!(shown.contains("rule \"rule 2\": the flow to company never counts: rule \"rule 1\" gives it a constant before"), "{shown}");
    let other = "scope = [[{ attr = \"st\", op = \"EQUAL\", value = \"CA\" }]]\ndirect = [\"company\"]";
    assert_eq!(findings(&[first, other]), "");
}

#[test]
fn names_that_look_like_slips_are_told() {
    let shown = findings(&["scope = [[{ attr = \"departmnt\", op = \"NOTEQUAL\", value = \"IT\" }]]\ndirect = [\"cn\"]"]);
    assert!(shown.contains("no built-in rule knows the attribute departmnt\n  hint: did you mean department?"), "{shown}");
    let shown = findings(&["cs_type = \"users\"\ndirect = [\"cn\"]"]);
    assert!(shown.contains("no built-in rule knows the object type users\n  hint: did you mean user?"), "{shown}");
    let shown = findings(&["mv_type = \"people\"\nlink = \"provision\"\ndirect = [\"cn\"]"]);
    assert!(shown.contains("no rule sends metaverse objects of the type people"), "{shown}");
    assert_eq!(findings(&["direct = [\"title <- corpBadgeColour\"]"]), "", "an attribute of one's own is nobody's slip");
}
