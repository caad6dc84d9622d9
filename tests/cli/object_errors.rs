//! Every error that rules can cause for an object: a directory and a rule file that a person could have written, a cycle of the
//! real program, and the error as `errors` shows it.

use crate::{PEOPLE, assert_code, document, small_world, stdout, with_config};
use std::fs;

/// One mistake.
struct Mistake {
    /// The error it makes.
    code: &'static str,
    /// The object that has it, and lines that the directory holds for Ada beyond what everybody has.
    object: &'static str,
    ada: &'static str,
    /// `rules/own.toml`.
    rules: &'static str,
    /// What the detail must name: attribute, rule, value.
    told: &'static [&'static str],
}

const ADA: &str = "CN=Ada Byron,OU=People,DC=corp,DC=example";
const EMIL: &str = "CN=Emil Köhler,OU=People,DC=corp,DC=example";

/// A rule for users with these flows.
macro_rules! users {
    ($rest:literal) => {
        concat!(
            "[[rule]]\nname = \"In from HR - Own\"\ndirection = \"inbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\n",
            "mv_type = \"person\"\nlink = \"join\"\norder = 50\n",
            $rest
        )
    };
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        code: "sync-rule-error-function-triggered",
        object: ADA,
        ada: "",
        rules: users!("flows = [{ to = \"title\", expr = 'IIF(IsPresent([title]), [title], Error(\"Everybody has a title\"))' }]\n"),
        told: &["Everybody has a title", "In from HR - Own", "title"],
    },
    Mistake {
        code: "flow-multi-values-to-single-value",
        object: ADA,
        ada: "otherTelephone: 1\notherTelephone: 2\n",
        rules: users!("flows = [{ to = \"title\", from = \"otherTelephone\" }]\n"),
        told: &["In from HR - Own", "title"],
    },
    Mistake {
        code: "cs-attribute-type-mismatch",
        object: ADA,
        ada: "",
        rules: users!("flows = [{ to = \"accountEnabled\", from = \"department\" }]\n"),
        told: &["In from HR - Own", "accountEnabled", "Engines"],
    },
    Mistake {
        code: "join-object-id-must-be-single-valued",
        object: ADA,
        ada: "otherTelephone: 1\notherTelephone: 2\n",
        rules: users!("join = [[{ cs = \"otherTelephone\", mv = \"telephoneNumber\" }]]\n"),
        told: &["In from HR - Own", "otherTelephone"],
    },
    Mistake {
        code: "dn-index-out-of-bounds",
        object: ADA,
        ada: "",
        rules: users!("flows = [{ to = \"title\", expr = 'DNComponent(CRef([dn]), 9)' }]\n"),
        told: &["In from HR - Own", "title", "^"],
    },
    Mistake {
        code: "expression-argument",
        object: ADA,
        ada: "",
        rules: users!("flows = [{ to = \"title\", expr = 'Item([department], 3)' }]\n"),
        told: &["In from HR - Own", "Item([department], 3)", "^", "Engines"],
    },
    Mistake {
        code: "expression-type-mismatch",
        object: ADA,
        ada: "",
        rules: users!("flows = [{ to = \"title\", expr = 'CStr([department] + 1)' }]\n"),
        told: &["In from HR - Own", "[department] + 1", "Engines"],
    },
    Mistake {
        code: "merge-type-conflict",
        object: ADA,
        ada: "otherTelephone: 1\n",
        rules: concat!(
            "[[metaverse_attribute]]\nname = \"phones\"\ntype = \"string\"\nmulti = true\n",
            "[[rule]]\nname = \"In from HR - Merged\"\ndirection = \"inbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\n",
            "mv_type = \"person\"\nlink = \"join\"\norder = 51\nflows = [{ to = \"phones\", from = \"telephoneNumber\", merge = \"merge\" }]\n",
            "[[rule]]\nname = \"In from HR - Own\"\ndirection = \"inbound\"\nconnector = \"corp.example\"\ncs_type = \"user\"\n",
            "mv_type = \"person\"\nlink = \"join\"\norder = 50\nflows = [{ to = \"phones\", from = \"otherTelephone\" }]\n",
        ),
        told: &["phones", "In from HR - Own", "In from HR - Merged"],
    },
    Mistake {
        code: "mv-constraint-violation",
        object: ADA,
        ada: concat!(
            "info: The first programmer, and more than four hundred and forty-eight characters about her, because the metaverse can search\n",
            "  for titles, and what can be searched for must be short. So this text goes on and on, as texts in directories do that were meant\n",
            "  for something else, until somebody has the idea to flow them into an attribute that never expected them, and is told so by an\n",
            "  error that names the rule, the attribute and the length. Here it is long enough, and a little longer than that for good measure.\n",
        ),
        rules: users!("flows = [{ to = \"title\", from = \"info\" }]\n"),
        told: &["In from HR - Own", "title", "448"],
    },
    Mistake {
        code: "ambiguous-join",
        object: EMIL,
        ada: "employeeID: 7\n",
        rules: users!("join = [[{ cs = \"company\", mv = \"company\" }]]\ndirect = [\"company\"]\n"),
        told: &["Ada"],
    },
    Mistake {
        code: "missing-provisioning-attribute",
        object: ADA,
        ada: "",
        rules: concat!(
            "[[rule]]\nname = \"Out to AAD - Printer\"\ndirection = \"outbound\"\nconnector = \"@cloud\"\ncs_type = \"device\"\n",
            "mv_type = \"person\"\nlink = \"provision\"\norder = 90\nflows = [{ to = \"displayName\", from = \"displayName\" }]\n",
        ),
        told: &["Out to AAD - Printer", "dn"],
    },
    Mistake {
        code: "provisioning-loop",
        object: ADA,
        ada: "",
        rules: concat!(
            "[[rule]]\nname = \"Out to AAD - Own\"\ndirection = \"outbound\"\nconnector = \"@cloud\"\ncs_type = \"user\"\n",
            "mv_type = \"person\"\nlink = \"join\"\norder = 50\nflows = [{ to = \"title\", expr = '[title] & \"x\"' }]\n",
            "[[rule]]\nname = \"In from AAD - Own\"\ndirection = \"inbound\"\nconnector = \"@cloud\"\ncs_type = \"user\"\n",
            "mv_type = \"person\"\nlink = \"join\"\norder = 51\nflows = [{ to = \"title\", from = \"title\" }]\n",
        ),
        told: &["two rules feed each other"],
    },
];

#[test]
fn every_error_of_rules_is_shown_on_its_object() {
    let mut wrong = Vec::new();
    for mistake in MISTAKES {
        let world = small_world();
        let config = world.path().join("config");
        let mut people = PEOPLE.replace("department: Engines\n", &format!("department: Engines\n{}", mistake.ada));
        if mistake.code == "ambiguous-join" {
            people = people.replace("userAccountControl: 512\n", "userAccountControl: 512\ncompany: Analytical Engines\n");
        }
        fs::write(world.path().join("people.ldif"), people).unwrap();
        fs::create_dir_all(config.join("rules")).unwrap();
        fs::write(config.join("rules/own.toml"), mistake.rules).unwrap();
        let cycle = with_config(&config, &["cycle", "start", "--initial"]);
        let output = with_config(&config, &["--json", "errors"]);
        assert_code(&output, 0);
        let problems = document(&output);
        let found = problems["problems"].as_array().unwrap().iter().find(|problem| problem["code"] == mistake.code);
        let Some(problem) = found else {
            wrong.push(format!("{}: {problems:#}\n{}", mistake.code, stdout(&cycle)));
            continue;
        };
        let detail = problem["detail"].as_str().unwrap();
        if problem["dn"] != mistake.object || cycle.status.code() != Some(2) || !mistake.told.iter().all(|word| detail.contains(word)) {
            wrong.push(format!("{}: exit {:?}, {} says: {detail}", mistake.code, cycle.status.code(), problem["dn"]));
        }
        let shown = stdout(&with_config(&config, &["errors"]));
        if !shown.contains(mistake.code) {
            wrong.push(format!("{}: errors shows {shown}", mistake.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Two directories: the first knows two people, and the second has one object that its rules join to both.
#[test]
fn rules_that_join_one_object_to_different_people_are_told() {
    let world = small_world();
    let config = world.path().join("config");
    let person = |number: u32, more: &str| {
        format!(
            "dn: CN=hr{number},DC=hr,DC=example\nobjectClass: top\nobjectClass: person\nobjectClass: organizationalPerson\nobjectClass: user\n\
             objectGUID:: {number}{number}{number}{number}AAAAAAAAAAAAAAAAAA==\nobjectSid:: AQUAAAAAAAUVAAAAAQAAAAIAAAADAAAAY{number}QAAA==\n\
             cn: hr{number}\nsAMAccountName: hr{number}\nuserAccountControl: 512\n{more}\n"
        )
    };
    fs::write(world.path().join("hr.ldif"), format!("version: 1\n\n{}{}", person(1, "employeeID: 7\n"), person(2, "company: Engines\n")))
        .unwrap();
    let source = "kind = \"ldif\"\nname = \"hr.example\"\npath = \"../hr.ldif\"\nshape = \"ad\"\n";
    fs::write(config.join("connectors/05-hr.toml"), source).unwrap();
    let people = PEOPLE.replace("department: Engines\n", "department: Engines\nemployeeID: 7\ncompany: Engines\n");
    fs::write(world.path().join("people.ldif"), people).unwrap();
    fs::create_dir_all(config.join("rules")).unwrap();
    let rule = |name: &str, connector: &str, order: u32, rest: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\ndirection = \"inbound\"\nconnector = \"{connector}\"\ncs_type = \"user\"\nmv_type = \"person\"\n\
             link = \"join\"\norder = {order}\n{rest}\n"
        )
    };
    let rules = [
        rule("In from HR - Keys", "hr.example", 40, "direct = [\"employeeID\", \"company\"]"),
        rule("In from Corp - By number", "corp.example", 41, "join = [[{ cs = \"employeeID\", mv = \"employeeID\" }]]"),
        rule("In from Corp - By company", "corp.example", 42, "join = [[{ cs = \"company\", mv = \"company\" }]]"),
    ];
    fs::write(config.join("rules/own.toml"), rules.concat()).unwrap();
    let cycle = with_config(&config, &["cycle", "start", "--initial"]);
    let problems = document(&with_config(&config, &["--json", "errors"]));
    let found = problems["problems"].as_array().unwrap().iter().find(|problem| problem["code"] == "multiple-join-rules-in-scope");
    let problem = found.unwrap_or_else(|| panic!("{problems:#}\n{}", stdout(&cycle)));
    assert_eq!(problem["dn"], ADA);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("By number") && detail.contains("By company"), "{detail}");
    assert_code(&cycle, 2);
}
