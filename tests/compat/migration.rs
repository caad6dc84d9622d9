//! Configurations as Entra Connect exports them: what becomes of every part, and the way back.

use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use syncline::config::Config;
use syncline::migration::{ForeignFile, ImportOptions, Imported, Outcome, Report, from_config, import, write};
use syncline::rules::{Direction, LinkType, MergeType, PlainRule, PlainSource, ScopeOperator};
use syncline::service::compile_configured;

const RULE_1: &str = "SynchronizationRules/SynchronizationRule_{00000000-0000-0000-0000-000000000001}.xml";
const RULE_2: &str = "SynchronizationRules/SynchronizationRule_{00000000-0000-0000-0000-000000000002}.xml";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/migration").join(name)
}

/// The files below a folder, in the order of their names.
fn folder(root: &Path) -> Vec<ForeignFile> {
    let (mut open, mut files) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                files.push(ForeignFile::decode(&name, &fs::read(&path).unwrap()).unwrap());
            }
        }
    }
    files.sort_by(|left, right| left.name.cmp(&right.name));
    files
}

fn one(name: &str) -> Vec<ForeignFile> {
    vec![ForeignFile::decode(name, &fs::read(fixture(name)).unwrap()).unwrap()]
}

fn imported(files: &[ForeignFile], tenant: Option<&str>) -> (Imported, Report) {
    let mut report = Report::default();
    let options = ImportOptions { tenant: tenant.map(str::to_owned) };
    let imported = import(files, &options, &mut report).unwrap_or_else(|| panic!("{:#?}", report.lines()));
    (imported, report)
}

/// What a report says of a filter that is no name.
const KEPT_FROM_RUNNING: &str = "is no distinguished name; nothing runs before it is mended";
/// What a report says of a connector that selected nothing.
const NO_PARTITION: &str = "no partition was selected";

/// Writes files into a new folder.
fn written(files: &[(String, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Writes files into a new folder and reads them as the program does.
fn loaded(files: &[(String, String)]) -> (tempfile::TempDir, Config) {
    let folder = written(files);
    let config = Config::load(folder.path()).unwrap_or_else(|error| panic!("{error}"));
    (folder, config)
}

/// Every rule of a configuration with names, disabled ones included, by precedence.
fn rules(config: &Config) -> Vec<PlainRule> {
    let (set, connectors) = compile_configured(config).unwrap_or_else(|error| panic!("{error}"));
    let mut rules: Vec<PlainRule> =
        set.rules().iter().chain(set.disabled_rules()).map(|rule| set.plain(rule, &connectors[&rule.connector])).collect();
    rules.sort_by_key(|rule| rule.order);
    rules
}

fn exported(config: &Config) -> Vec<(String, String)> {
    let (set, connectors) = compile_configured(config).unwrap_or_else(|error| panic!("{error}"));
    write(&from_config(config, &set, &connectors)).unwrap()
}

fn as_foreign(files: &[(String, String)]) -> Vec<ForeignFile> {
    files.iter().map(|(name, text)| ForeignFile { name: name.clone(), text: text.clone() }).collect()
}

/// Lines of an outcome as `subject: note (place)`.
fn lines(report: &Report, outcome: Outcome) -> Vec<String> {
    let of = report.lines().into_iter().filter(|line| line.outcome == outcome);
    of.map(|line| format!("{}: {} ({})", line.subject, line.note, line.place())).collect()
}

#[track_caller]
fn has(lines: &[String], parts: &[&str]) {
    assert!(lines.iter().any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?} is not in\n{}", lines.join("\n"));
}

#[test]
fn a_server_becomes_a_configuration_that_loads() {
    let (imported, report) = imported(&folder(&fixture("server")), None);
    assert_eq!(lines(&report, Outcome::Failed), Vec::<String>::new());
    assert_eq!((imported.rules, imported.credentials.as_slice()), (6, &["corp-example-bind".to_owned()][..]));
    let names: Vec<&str> = imported.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "syncline.toml",
            "connectors/10-corp.example.toml",
            "connectors/20-corpexample.onmicrosoft.com-aad.toml",
            "rules/00-metaverse.toml",
            "rules/10-in-from-corp.example.toml",
            "rules/20-in-from-corpexample.onmicrosoft.com-aad.toml",
            "rules/30-out-to-corp.example.toml",
            "rules/40-out-to-corpexample.onmicrosoft.com-aad.toml",
        ]
    );
    for (name, text) in &imported.files {
        assert!(!text.contains("c2VjcmV0"), "{name} holds a secret");
    }
    assert!(!format!("{:?}", report.lines()).contains("c2VjcmV0"), "the report holds a secret");
    insta::assert_snapshot!(imported.files[1].1, @r#"
    # Active Directory. The account only needs to read.
    kind = "ad"
    name = "corp.example"
    url = "ldaps://corp.example"
    bind_name = 'CORP\svc-sync'
    password = { credential = "corp-example-bind" }
    partitions = ["DC=corp,DC=example"]
    page_size = 250

    [selection]
    object_types = ["user", "group"]
    include = ["OU=People,DC=corp,DC=example"]
    exclude = ["DC=corp,DC=example", "OU=Test,OU=People,DC=corp,DC=example"]

    [parameters]
    domain_fqdn = "corp.example"
    domain_netbios = "CORP"
    forest_fqdn = "corp.example"
    forest_netbios = "CORP"

    [password_hash_sync]
    enabled = true
    "#);
    let (_folder, config) = loaded(&imported.files);
    assert_eq!((config.guard.max_deletes, config.guard.staging, config.limits.history_days), (70, true, 14));
    assert_eq!((config.rules.built_in, config.rules.user_matching.as_str()), (false, "mail"));
    let rules = rules(&config);
    let numbers: Vec<(u32, bool)> = rules.iter().map(|rule| (rule.order, rule.enabled)).collect();
    assert_eq!(numbers, [(10, true), (20, true), (30, true), (40, false), (50, false), (60, true)]);
    let first = &rules[0];
    assert_eq!(first.description, "Two groups, every operator; <tags> & more");
    assert_eq!((first.tag.as_deref(), first.password_sync, first.link), (Some("Example.PersonJoin.001"), true, LinkType::Provision));
    let operators: BTreeSet<&str> = first.scope.iter().flatten().map(|clause| clause.operator.as_str()).collect();
    let all: BTreeSet<&str> = ScopeOperator::SPELLINGS.iter().map(|(_, operator)| operator.as_str()).collect();
    assert_eq!(operators, all);
    assert_eq!(first.scope.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10]);
    assert_eq!(first.scope[0][0].value, "R&D");
    assert_eq!(first.join.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    assert!(first.join[1][0].case_sensitive && !first.join[1][1].case_sensitive);
    let second = &rules[1];
    let flow = |target: &str| second.flows.iter().find(|flow| flow.target == target).unwrap_or_else(|| panic!("{second:#?}"));
    assert!(flow("badgeNumber").once && !flow("mail").once);
    assert_eq!((flow("proxyAddresses").merge, flow("otherTelephone").merge), (MergeType::MergeCaseInsensitive, MergeType::Merge));
    assert_eq!(flow("displayName").source, PlainSource::Direct("displayName".to_owned()));
    assert_eq!(rules[5].link, LinkType::StickyJoin);
}

#[test]
fn every_part_is_accounted_for() {
    let (_, report) = imported(&folder(&fixture("server")), None);
    let (changed, not_taken, taken) = (lines(&report, Outcome::Changed), lines(&report, Outcome::NotTaken), lines(&report, Outcome::Taken));
    has(&changed, &["rule \"In from AD - Person Common\"", "DisplayName is spelled displayName", RULE_2]);
    has(&changed, &["rule \"Out to AD - Person Back\"", "disabled"]);
    has(&changed, &["staging mode", "MV.xml:15"]);
    has(&changed, &["metaverse attribute mailEnabled", "true or false", "MV.xml:7"]);
    has(&changed, &["selected attributes", "objectGUID"]);
    has(&not_taken, &["parameter password", "never part of an export"]);
    has(&not_taken, &["parameter Site.Code"]);
    has(&not_taken, &["partition DC=lab,DC=corp,DC=example", "not selected"]);
    has(&not_taken, &["run profile \"Everything\"", "full-import, export"]);
    has(&not_taken, &["selected, and no enabled rule uses them: pager"]);
    has(&not_taken, &["<description>", ".xml:6"]);
    has(&not_taken, &["AutoUpgradeState"]);
    has(&taken, &["password hash synchronization", "password_hash_sync.enabled = true"]);
    has(&taken, &["metaverse attribute badgeNumber", "rules/00-metaverse.toml"]);
    has(&taken, &["rule \"In from AD - Person Join\"", "4 flows, 20 scope clauses, 3 join pairs"]);
    assert_eq!(report.unknown(), 0, "{not_taken:#?}");
}

#[test]
fn an_embedded_tenant_is_ready_to_be_tried() {
    let (imported, _) = imported(&folder(&fixture("server")), Some("embedded"));
    let (_folder, config) = loaded(&imported.files);
    assert!(!config.guard.staging);
    let text = &imported.files[2].1;
    assert!(text.contains("tenant = \"embedded\"") && text.contains("verified_domains = [\"corp.example\"]"), "{text}");
}

/// The server's files with one piece of one file replaced.
fn broken(file: &str, from: &str, to: &str) -> Vec<ForeignFile> {
    let mut files = folder(&fixture("server"));
    let found = files.iter_mut().find(|found| found.name == file).unwrap();
    assert!(found.text.contains(from), "{from} is not in {file}");
    found.text = found.text.replacen(from, to, 1);
    files
}

#[test]
fn what_nobody_knows_is_told_and_the_rest_goes_on() {
    let (imported, report) = imported(&broken(RULE_2, "<precedence>", "<novelty>x<inner/></novelty>\n  <precedence>"), None);
    has(&lines(&report, Outcome::NotTaken), &["<novelty> in <synchronizationRule>", "not known to Syncline", &format!("{RULE_2}:14")]);
    assert_eq!((imported.rules, report.unknown(), report.count(Outcome::Failed)), (6, 1, 0));
}

#[test]
fn a_bad_expression_costs_its_flow_and_stays_as_a_comment() {
    let (imported, report) = imported(&broken(RULE_2, "Trim([mail])", "Trimm([mail])"), None);
    has(&lines(&report, Outcome::Failed), &["flow to mail", "Trimm", "the flow is left out", &format!("{RULE_2}:30")]);
    assert_eq!(imported.rules, 6);
    let text = &imported.files.iter().find(|(name, _)| name.starts_with("rules/10-")).unwrap().1;
    assert!(text.contains("# { to = \"mail\", expr = \"Trimm([mail])\" }"), "{text}");
    loaded(&imported.files);
}

#[test]
fn a_rule_is_never_taken_with_a_part_of_its_scope() {
    for (from, to, what) in [
        ("<csOperator>EQUAL<", "<csOperator>MAYBE<", "the operator \"MAYBE\" is not known here"),
        ("<csAttribute>department</csAttribute>", "", "<csAttribute> is missing"),
        ("<linkType>Provision<", "<linkType>JoinNoFlow<", "the link type \"JoinNoFlow\""),
        ("<precedence>10<", "<precedence>ten<", "the precedence \"ten\""),
        ("<csOperator>EQUAL</csOperator>", "<csOperator>EQUAL</csOperator><not>1</not>", "<not> in <scope> is not known"),
        ("<csOperator>EQUAL</csOperator>", "<csOperator>EQUAL</csOperator><csOperator>ISNULL</csOperator>", "<csOperator> stands twice"),
        ("<scope><csAttribute>", "<scope negate=\"1\"><csAttribute>", "attribute negate of <scope> is not known"),
        ("<conditions>", "<otherwise/><conditions>", "<otherwise> in <relationshipCriteria> is not known"),
        ("</synchronizationCriteria>", "</synchronizationCriteria><synchronizationCriteria/>", "<synchronizationCriteria> stands twice"),
    ] {
        let (imported, report) = imported(&broken(RULE_1, from, to), None);
        has(&lines(&report, Outcome::Failed), &["rule \"In from AD - Person Join\"", what, "the rule is left out", RULE_1]);
        assert_eq!(imported.rules, 5, "{from}");
        loaded(&imported.files);
    }
}

#[test]
fn a_filter_that_cannot_be_read_keeps_its_connector_from_running() {
    const CONNECTOR: &str = "Connectors/Connector_{11111111-2222-3333-4444-555555555555}.xml";
    for (from, to, what, key) in [
        ("<inclusion>OU=People,", "<inclusion>People,", KEPT_FROM_RUNNING, "People,DC=corp,DC=example"),
        ("<exclusion>OU=Test,", "<exclusion>Test,", KEPT_FROM_RUNNING, "Test,OU=People"),
        ("<selected>1</selected>", "<selected>0</selected>", NO_PARTITION, "\"fill-in\""),
    ] {
        let (imported, report) = imported(&broken(CONNECTOR, from, to), None);
        has(&lines(&report, Outcome::Failed), &[what, CONNECTOR]);
        let (_, text) = imported.files.iter().find(|(name, _)| name.starts_with("connectors/10-")).unwrap();
        assert!(text.contains(key), "{from}: {text}");
        let folder = written(&imported.files);
        // Whoever reads the folder is told at once.
        let error = Config::load(folder.path()).expect_err("a filter that is no name").to_string();
        assert!(error.contains("connectors/10-"), "{error}");
    }
}

#[test]
fn twins_strangers_and_torn_files_are_named() {
    let stranger = "{99999999-2222-3333-4444-555555555555}";
    let (imported_one, report) = imported(&broken(RULE_2, "{11111111-2222-3333-4444-555555555555}", stranger), None);
    has(&lines(&report, Outcome::Failed), &["Person Common", "is not part of the export", RULE_2]);
    assert_eq!(imported_one.rules, 5);

    let mut files = folder(&fixture("server"));
    let twin = files.iter().find(|file| file.name == RULE_2).unwrap().text.replace("000000000002}", "000000000007}");
    files.push(ForeignFile { name: "SynchronizationRules/twin.xml".to_owned(), text: twin });
    let (imported_two, report) = imported(&files, None);
    has(&lines(&report, Outcome::Failed), &["Person Common", "another rule of this name", "twin.xml:1"]);
    assert_eq!(imported_two.rules, 6);

    let mut files = folder(&fixture("server"));
    let torn = files.iter_mut().find(|file| file.name == RULE_2).unwrap();
    torn.text.truncate(torn.text.len() / 2);
    let (imported_three, report) = imported(&files, None);
    has(&lines(&report, Outcome::Failed), &["file: not well-formed XML", RULE_2]);
    assert_eq!(imported_three.rules, 5);
    loaded(&imported_three.files);
}

#[test]
fn a_script_of_the_rules_editor_is_read_and_not_run() {
    let (imported, report) = imported(&one("rules.ps1"), None);
    has(&lines(&report, Outcome::Failed), &["connector {11111111-2222-3333-4444-555555555555}", "fill in url", "rules.ps1:2:1"]);
    let (_folder, config) = loaded(&imported.files);
    assert!(config.rules.built_in, "a single rule cannot stand alone");
    let rules = rules(&config);
    let rule = rules.iter().find(|rule| rule.name == "In from AD - Person's Badge").unwrap();
    assert_eq!((rule.order, rule.password_sync, rule.description.as_str()), (5, true, "Badge of \"everybody\""));
    assert_eq!(rule.flows.len(), 3);
    assert!(rule.flows[0].once);
    let expression = "IIF(IsNullOrEmpty([department]),[company],[department] & \"'s\")";
    assert_eq!(rule.flows[1].source, PlainSource::Expression(expression.to_owned()));
    assert_eq!(rule.scope[0].len(), 2);
    assert_eq!(rule.scope[0][1].operator, ScopeOperator::IsNotNull);
    assert_eq!((rule.join[0][0].cs.as_str(), rule.join[0][0].case_sensitive), ("mail", false));
}

#[test]
fn what_a_script_computes_is_refused_with_its_place() {
    let text = fs::read_to_string(fixture("rules.ps1")).unwrap();
    let script = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let mut report = Report::default();
        let file = ForeignFile { name: "own.ps1".to_owned(), text: text.replacen(from, to, 1) };
        let rules = import(&[file], &ImportOptions::default(), &mut report).map_or(0, |imported| imported.rules);
        (rules, lines(&report, Outcome::Failed))
    };
    let (rules, failed) = script("-Precedence 5", "-Precedence $wanted");
    has(&failed, &["-precedence is the value of a variable", "the rule is left out", "own.ps1:7:1"]);
    assert_eq!(rules, 0);
    let (rules, failed) = script("'department','IT','EQUAL'", "'department',$(Get-Team),'EQUAL'");
    has(&failed, &["worked out when the script runs", "own.ps1:"]);
    has(&failed, &["scopeconditions holds what is no condition"]);
    assert_eq!(rules, 0);
    let (rules, failed) = script("-FlowType 'Direct'", "-FlowType 'Magic'");
    has(&failed, &["the flow type \"Magic\""]);
    assert_eq!(rules, 1);
    let (rules, failed) = script("Get-ADSyncRule  `", "Remove-Everything -Force\nGet-ADSyncRule  `");
    has(&failed, &["statement Remove-Everything", "is not executed"]);
    assert_eq!(rules, 1);
    let (rules, failed) = script("-LinkType 'Join'", "-LinkType 'Join");
    has(&failed, &["without its closing quotation mark"]);
    assert_eq!(rules, 0);
    let (rules, failed) = script("Add-ADSyncRule  `\n-SynchronizationRule $syncRule[0]", "");
    has(&failed, &["does not add it"]);
    assert_eq!(rules, 0);
    let (rules, _) = script("-Precedence 5", "-Precedence 5 -Novelty 1");
    assert_eq!(rules, 1);
}

#[test]
fn rules_as_json_are_read_when_they_are_written_in_words() {
    let (imported, report) = imported(&one("rules.json"), None);
    has(&lines(&report, Outcome::Failed), &["rule \"Numbers\"", "Direction is a number", "rules.json:24"]);
    assert_eq!((imported.rules, imported.flows), (1, 2));
    let (_folder, config) = loaded(&imported.files);
    let rules = rules(&config);
    let rule = rules.iter().find(|rule| rule.name == "Out to AAD - Person Phone").unwrap();
    assert_eq!((rule.direction, rule.enabled, rule.order), (Direction::Outbound, false, 7));
    assert!(rule.flows[1].once);
    assert_eq!(rule.scope[0][0].value, "IT");
}

#[test]
fn of_the_settings_of_newer_servers_the_documented_part_is_taken() {
    let (imported, report) = imported(&one("policy.json"), None);
    has(&lines(&report, Outcome::Failed), &["rule \"In from AD - Own\"", "not documented", "policy.json:19"]);
    has(&lines(&report, Outcome::NotTaken), &["rule \"In from AD - User Join\"", "built-in rules stand in"]);
    has(&lines(&report, Outcome::NotTaken), &["property deploymentMetadata", "not known to Syncline"]);
    let (_folder, config) = loaded(&imported.files);
    assert!(config.rules.built_in);
    assert!(imported.files[1].1.contains("include = [\"OU=People,DC=corp,DC=example\"]"), "{}", imported.files[1].1);
}

/// Exports, imports, exports again: both exports must be the same, octet by octet.
#[track_caller]
fn fixed_point(config: &Config) {
    let first = exported(config);
    let (again, report) = imported(&as_foreign(&first), None);
    assert_eq!(lines(&report, Outcome::Failed), Vec::<String>::new());
    assert_eq!(report.unknown(), 0, "{:#?}", lines(&report, Outcome::NotTaken));
    let (_folder, second) = loaded(&again.files);
    let second = exported(&second);
    assert_eq!(first.iter().map(|(name, _)| name).collect::<Vec<_>>(), second.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for ((name, before), (_, after)) in first.iter().zip(&second) {
        assert_eq!(before, after, "{name}");
    }
}

#[test]
fn export_and_import_come_to_rest_at_once() {
    let (imported, _) = imported(&folder(&fixture("server")), None);
    let (_folder, config) = loaded(&imported.files);
    fixed_point(&config);
}

#[test]
fn the_built_in_rules_and_every_kind_of_connector_survive_the_way_round() {
    let files = [
        (
            "syncline.toml",
            "version = 1\nstore = \"other.redb\"\n[guard]\ndelete_threshold = false\nshrink_percent = 7\nmax_delete_percent = 3\n[rules]\nuser_matching = \"employeeID\"\n[limits]\nthreads = 3\n",
        ),
        (
            "connectors/10-ad.toml",
            "kind = \"ad\"\nname = \"corp\"\nurl = \"ldap://dc1:3890\"\nstart_tls = true\nca_file = \"ca.pem\"\nbind_name = \"svc@corp.example\"\n\
             password = { credential = \"ad-bind\" }\nvalue_range = 500\npage_size = 300\npartitions = [\"DC=a,DC=x\", \"DC=b,DC=x\"]\n\
             [selection]\ninclude = [\"OU=1,DC=b,DC=x\", \"OU=1,DC=a,DC=x\"]\nexclude = [\"OU=2,OU=1,DC=a,DC=x\"]\n[parameters]\ndomain_netbios = \"CORP\"\n",
        ),
        (
            "connectors/20-files.toml",
            "kind = \"ldif\"\nname = \"files\"\npath = \"data/people.ldif\"\nshape = \"ldap\"\n[parameters]\ndomain_fqdn = \"x\"\n",
        ),
        (
            "connectors/30-ldap.toml",
            "kind = \"ldap\"\nname = \"branch\"\nurl = \"ldaps://ldap\"\nbind_name = \"cn=svc,dc=x\"\npassword = { credential = \"b\" }\nbase = \"dc=x\"\n",
        ),
        (
            "connectors/90-entra.toml",
            "kind = \"entra\"\nname = \"Entra\"\ntenant = \"embedded\"\n[embedded]\norganization = \"A \\\"quoted\\\" name\"\nverified_domains = [\"corp.example\", \"b.example\"]\n",
        ),
        (
            "rules/own.toml",
            "disable = [\"Out to AAD - Contact Join\"]\n[[metaverse_attribute]]\nname = \"badge\"\ntype = \"string\"\nmulti = true\n[[rule]]\nname = \"  Own <&> \\\"rule\\\" \"\n\
             direction = \"inbound\"\nconnector = \"corp\"\ncs_type = \"user\"\nmv_type = \"person\"\nlink = \"join\"\norder = 3\n\
             flows = [{ to = \"badge\", expr = \"IIF([cn] = \\\"\\r\\n\\t]]>\\\", NULL, [cn])\", merge = \"merge\" }, { to = \"mailEnabled\", constant = true }]\n",
        ),
    ];
    let (_folder, config) = loaded(&files.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let count = rules(&config).len();
    assert!(count > 60, "{count}");
    fixed_point(&config);
    let (imported, _) = imported(&as_foreign(&exported(&config)), None);
    assert_eq!(imported.rules, count);
    let (_folder, again) = loaded(&imported.files);
    assert_eq!((again.guard.shrink_percent, again.guard.max_delete_percent, again.limits.threads), (7, Some(3), 3));
    assert_eq!(again.connectors.len(), 4);
}

#[test]
fn what_only_syncline_knows_of_a_flow_survives_and_what_xml_cannot_hold_is_refused() {
    let config = |description: &str| {
        let rule = format!(
            "[[rule]]\nname = \"Own\"\ndescription = \"{description}\"\ndirection = \"inbound\"\nconnector = \"files\"\ncs_type = \"user\"\n\
             mv_type = \"person\"\nlink = \"join\"\norder = 3\n\
             flows = [{{ to = \"cn\", from = \"cn\", when_source_absent = \"keep\" }}, {{ to = \"mail\", expr = \"Trim([mail])\", compare = \"binary\" }}]\n"
        );
        let files = [
            ("syncline.toml", "version = 1\n"),
            ("connectors/files.toml", "kind = \"ldif\"\npath = \"people.ldif\"\n"),
            ("rules/own.toml", rule.as_str()),
        ];
        loaded(&files.map(|(name, text)| (name.to_owned(), text.to_owned())))
    };
    let (_folder, good) = config("plain");
    fixed_point(&good);
    let (again, _) = imported(&as_foreign(&exported(&good)), None);
    let (_folder, again) = loaded(&again.files);
    let rules = rules(&again);
    let own = rules.iter().find(|rule| rule.name == "Own").unwrap();
    assert!(own.flows[0].keep_when_absent && !own.flows[0].exact && own.flows[1].exact);
    let (_folder, bad) = config("a \\u0001 in it");
    let (set, connectors) = compile_configured(&bad).unwrap();
    let problem = write(&from_config(&bad, &set, &connectors)).unwrap_err();
    assert!(problem.contains("rule \"Own\"") && problem.contains("control character \\u{1}"), "{problem}");
}

// ---- published material ----

#[expect(clippy::disallowed_methods, reason = "where the references are is told by the environment")]
fn sample() -> Vec<ForeignFile> {
    let references = std::env::var("SYNCLINE_REFERENCES").expect(
        "SYNCLINE_REFERENCES is not set: it names the folder with entra-connect-config/, which is not part of this repository. \
         Set it, or run the other tests with --skip published_material_",
    );
    folder(&Path::new(&references).join("entra-connect-config"))
}

/// The texts between two marks, entities resolved: as far from the reader of the program as can be.
fn between(text: &str, open: &str, close: &str) -> Vec<String> {
    let pieces = text.split(open).skip(1).map(|rest| rest.split(close).next().unwrap().to_owned());
    pieces.collect()
}

fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&").to_lowercase()
}

fn only(text: &str, name: &str) -> String {
    plain(&between(text, &format!("<{name}>"), &format!("</{name}>")).into_iter().next().unwrap_or_default())
}

#[test]
fn published_material_is_imported_without_loss() {
    let files = sample();
    let (imported, report) = imported(&files, None);
    assert_eq!(lines(&report, Outcome::Failed), Vec::<String>::new());
    assert_eq!(report.unknown(), 0, "{:#?}", lines(&report, Outcome::NotTaken));
    let (_folder, config) = loaded(&imported.files);
    let found = rules(&config);
    let texts: Vec<&str> =
        files.iter().filter(|file| file.text.starts_with("<synchronizationRule>")).map(|file| file.text.as_str()).collect();
    let count = |what: &str| texts.iter().map(|text| text.matches(what).count()).sum::<usize>();
    assert_eq!((texts.len(), count("<dest>"), count("<scope>"), count("<condition>")), (62, 1_200, 92, 40));
    assert_eq!(found.len(), 62);
    assert_eq!(found.iter().map(|rule| rule.flows.len()).sum::<usize>(), 1_200);
    for text in texts {
        let name = only(text, "name");
        let rule = found.iter().find(|rule| rule.name.to_lowercase() == name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(rule.order.to_string(), only(text, "precedence"), "{name}");
        assert_eq!(rule.tag.as_deref().unwrap_or_default().to_lowercase(), only(text, "immutable-tag"), "{name}");
        assert_eq!(rule.password_sync.to_string(), only(text, "EnablePasswordSync"), "{name}");
        let expected: Vec<String> = between(text, "<mapping", "</mapping>").iter().map(|mapping| expected_flow(mapping)).collect();
        let flows: Vec<String> = rule
            .flows
            .iter()
            .map(|flow| {
                let source = match &flow.source {
                    PlainSource::Direct(name) => format!("[{name}]"),
                    PlainSource::Constant(value) => constant(value),
                    PlainSource::Expression(text) => text.clone(),
                };
                let merge = format!("{:?}", flow.merge);
                format!("{} <- {source} {merge} {}", flow.target, flow.once).to_lowercase()
            })
            .collect();
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list
        };
        assert_eq!(sorted(flows), sorted(expected), "{name}");
        let scope: Vec<Vec<String>> = between(text, "<synchronizationCriteria>", "</synchronizationCriteria>")
            .iter()
            .flat_map(|criteria| between(criteria, "<conditions>", "</conditions>"))
            .map(|group| {
                between(&group, "<scope>", "</scope>")
                    .iter()
                    .map(|scope| format!("{} {} {}", only(scope, "csAttribute"), only(scope, "csOperator"), only(scope, "csValue")))
                    .collect()
            })
            .collect();
        let own: Vec<Vec<String>> = rule
            .scope
            .iter()
            .map(|group| {
                let clause = |clause: &syncline::rules::PlainClause| {
                    format!("{} {} {}", clause.attribute, clause.operator.as_str(), clause.value).to_lowercase()
                };
                group.iter().map(clause).collect()
            })
            .collect();
        assert_eq!(own, scope, "{name}");
        let join: Vec<Vec<String>> = between(text, "<relationshipCriteria>", "</relationshipCriteria>")
            .iter()
            .flat_map(|criteria| between(criteria, "<conditions>", "</conditions>"))
            .map(|group| {
                between(&group, "<condition>", "</condition>")
                    .iter()
                    .map(|pair| {
                        format!("{} {} {}", only(pair, "csAttribute"), only(pair, "ilmAttribute"), only(pair, "caseSensitive") == "true")
                    })
                    .collect()
            })
            .collect();
        let own: Vec<Vec<String>> = rule
            .join
            .iter()
            .map(|group| {
                group.iter().map(|pair| format!("{} {} {}", pair.cs.to_lowercase(), pair.mv.to_lowercase(), pair.case_sensitive)).collect()
            })
            .collect();
        assert_eq!(own, join, "{name}");
        let to_directory = name.starts_with("out to ad ");
        assert_eq!(rule.enabled, !to_directory, "{name}");
    }
}

/// `target <- source merge once` of a mapping's XML, in lower case.
fn expected_flow(mapping: &str) -> String {
    let once = mapping.starts_with(" execute-once=\"true\"");
    let expression = between(mapping, "<expression>", "</expression>");
    let source = match (expression.first(), between(mapping, "<attr>", "</attr>").first()) {
        (Some(text), _) => plain(text),
        (None, Some(name)) => format!("[{}]", plain(name)),
        (None, None) => only(mapping, "src"),
    };
    format!("{} <- {source} {} {once}", only(mapping, "dest"), only(mapping, "valueMergeType"))
}

fn constant(value: &syncline::model::Value) -> String {
    match value {
        syncline::model::Value::Text(text) => text.to_string(),
        syncline::model::Value::Boolean(flag) => flag.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn published_material_comes_to_rest_at_once() {
    let (imported, _) = imported(&sample(), None);
    let (_folder, config) = loaded(&imported.files);
    fixed_point(&config);
}

// ---- anything at all ----

proptest! {
    #[test]
    fn no_octets_make_a_reader_panic(octets in proptest::collection::vec(any::<u8>(), 0..400), name in "(a\\.xml|a\\.json|a\\.ps1|a\\.txt)") {
        if let Ok(file) = ForeignFile::decode(&name, &octets) {
            let _ = import(&[file], &ImportOptions::default(), &mut Report::default());
        }
    }

    #[test]
    fn no_damage_to_an_export_makes_a_reader_panic(which in 0_usize..11, at in 0_usize..20_000, with in "[<>\"'`$@(){}\\[\\],|=#&;/a1 \\n\u{e9}]{0,4}", cut in 0_usize..40) {
        let mut files = folder(&fixture("server"));
        files.extend(["rules.ps1", "rules.json", "policy.json"].into_iter().flat_map(one));
        let which = which % files.len();
        let text = &mut files[which].text;
        let mut from = at % (text.len() + 1);
        while !text.is_char_boundary(from) { from -= 1; }
        let mut to = (from + cut).min(text.len());
        while !text.is_char_boundary(to) { to += 1; }
        text.replace_range(from..to, &with);
        let mut report = Report::default();
        if let Some(imported) = import(&files, &ImportOptions::default(), &mut report) {
            let folder = written(&imported.files);
            match Config::load(folder.path()) {
                Ok(config) => prop_assert!(compile_configured(&config).is_ok()),
                // The one refusal that is meant: a filter that is no name is kept as it stood, and the report says so.
                Err(error) => {
                    prop_assert!(error.to_string().contains("is no distinguished name"), "{}", error);
                    let told = report.lines().iter().any(|line| {
                        line.outcome == Outcome::Failed && (line.note.contains(KEPT_FROM_RUNNING) || line.note.contains(NO_PARTITION))
                    });
                    prop_assert!(told, "{}", error);
                }
            }
        }
    }

    #[test]
    fn scripts_of_any_tokens_are_read(text in "(New-ADSyncRule|Add-ADSyncRule|-Name|-OutVariable|\\$r|\\[0\\]|'x'|\"\\$a\"|@\\(|\\)|,|`\\n|\\n|\\{|=|\\|| ){0,60}") {
        let file = ForeignFile { name: "a.ps1".to_owned(), text: format!("New-ADSyncRule {text}") };
        let _ = import(&[file], &ImportOptions::default(), &mut Report::default());
    }
}
