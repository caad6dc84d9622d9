//! `lint directory` against the tenant itself: whatever it refuses or alters at the first export was found before.

use crate::{assert_code, document, small_world, stderr, stdout, with_config};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use syncline::tenant::directory::Directory;

/// A small generator of numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

fn name_of(number: usize) -> String {
    format!("CN=Person {number},OU=People,DC=corp,DC=example")
}

fn anchor_of(number: usize) -> String {
    let mut guid = [7; 16];
    guid[..8].copy_from_slice(&(number as u64).to_le_bytes());
    STANDARD.encode(guid)
}

/// A value as LDIF has it.
fn line(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name}:: {}", STANDARD.encode(value)).expect("a text can be written");
}

/// People, contacts and groups with everything that goes wrong with names and addresses; some of them are fine.
fn messy(count: usize) -> String {
    let mut dice = Dice(11);
    let mut text = String::from("version: 1\n\n");
    for number in 0..count {
        let kind = dice.one(&["user", "user", "user", "user", "contact", "group"]);
        line(&mut text, "dn", &name_of(number));
        writeln!(text, "objectClass: top\nobjectClass: {kind}\nobjectGUID:: {}\ncn: Person {number}", anchor_of(number)).expect("text");
        let own = format!("p{number}");
        let user = match dice.below(12) {
            0 => "müller".to_owned(),
            1 => format!("a,{own}"),
            2 => format!(" {own}"),
            3 => format!("{own}."),
            4 => format!("{own}@x"),
            5 => format!("{own}{}", "x".repeat(70)),
            6 => "shared".to_owned(),
            7 => format!("o'{own}"),
            _ => own.clone(),
        };
        let suffix = dice.one(&["corp.example", "corp.example", "CORP.example", "corp.local", "syncline.onmicrosoft.com", ""]);
        if kind == "user" {
            writeln!(text, "sAMAccountName: {own}\nuserAccountControl: 512").expect("text");
            let relative = u32::try_from(number).expect("few") + 1_200;
            let mut sid = STANDARD.decode("AQUAAAAAAAUVAAAAAQAAAAIAAAADAAAAUQQAAA==").expect("base64");
            sid[24..28].copy_from_slice(&(if dice.below(40) == 0 { 1_201 } else { relative }).to_le_bytes());
            writeln!(text, "objectSid:: {}", STANDARD.encode(sid)).expect("text");
            match dice.below(15) {
                0 => {}
                1 => line(&mut text, "userPrincipalName", &user),
                _ => line(&mut text, "userPrincipalName", &format!("{user}@{suffix}")),
            }
        }
        if kind == "group" {
            writeln!(text, "sAMAccountName: {own}\ngroupType: -2147483640").expect("text");
        }
        if dice.below(8) != 0 {
            line(&mut text, "displayName", dice.one(&["Person", "Person", " ", "Łódź"]));
        }
        let mut addresses = Vec::new();
        for _ in 0..dice.below(4) {
            let scheme = dice.one(&["SMTP:", "smtp:", "smtp:", "X500:", ""]);
            let local = match dice.below(6) {
                0 => "team".to_owned(),
                1 => format!("{own} x"),
                2 => format!(".{own}"),
                3 => format!("{own}b"),
                _ => own.clone(),
            };
            addresses.push(format!(
                "{}{scheme}{local}@{}",
                dice.one(&["", "", "", " "]),
                dice.one(&["corp.example", "corp.example", "else.example"])
            ));
        }
        addresses.dedup();
        for address in &addresses {
            line(&mut text, "proxyAddresses", address);
        }
        if kind != "user" || dice.below(3) != 0 {
            let mail = match dice.below(6) {
                0 => "team@corp.example".to_owned(),
                1 => format!("{own} @corp.example"),
                2 => format!("{own}b@corp.example"),
                _ => format!("{own}@corp.example"),
            };
            line(&mut text, "mail", &mail);
        }
        match dice.below(5) {
            0 => line(&mut text, "mailNickname", &own),
            1 => line(&mut text, "mailNickname", "nick name"),
            _ => {}
        }
        text.push('\n');
    }
    text
}

fn world_of(people: &str) -> tempfile::TempDir {
    let world = small_world();
    fs::write(world.path().join("people.ldif"), people).expect("the folder can be written");
    world
}

/// What the tenant did not take as it was: objects that it altered, by anchor, with what became of them.
fn altered(config: &Path) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let directory = Directory::open(&config.join("tenant/tenant.redb"), 1 << 20).expect("the tenant does not run");
    let reader = directory.read().expect("a view");
    let (mut altered, mut all) = (BTreeMap::new(), BTreeSet::new());
    for number in 1..=reader.live().expect("a count") * 2 {
        let Some(record) = reader.object(number).expect("a record") else { continue };
        let Some(anchor) = record.source_anchor.clone() else { continue };
        all.insert(anchor.clone());
        let effective = &record.effective;
        let written = |name: &str| record.written.text(name).map(str::to_owned);
        let mut differences = Vec::new();
        if record.kind.as_str() == "User" && written("userPrincipalName") != effective.user_principal_name {
            differences.push(format!("{:?} became {:?}", written("userPrincipalName"), effective.user_principal_name));
        }
        if written("mail").is_some_and(|mail| Some(&mail) != effective.mail.as_ref()) {
            differences.push(format!("{:?} became {:?}", written("mail"), effective.mail));
        }
        if written("alias").is_some_and(|nickname| Some(&nickname) != effective.mail_nickname.as_ref()) {
            differences.push(format!("{:?} became {:?}", written("alias"), effective.mail_nickname));
        }
        if record.written.texts("proxyAddresses") != effective.proxy_addresses.as_slice() {
            differences.push(format!("{:?} became {:?}", record.written.texts("proxyAddresses"), effective.proxy_addresses));
        }
        if !effective.quarantined.is_empty() {
            differences.push(format!("{:?}", effective.quarantined));
        }
        if !differences.is_empty() {
            altered.insert(anchor, differences.join("; "));
        }
    }
    (altered, all)
}

#[test]
fn whatever_the_tenant_refuses_or_alters_was_found_before() {
    const COUNT: usize = 500;
    let world = world_of(&messy(COUNT));
    let config = world.path().join("config");
    let nothing = with_config(&config, &["lint", "directory"]);
    assert_code(&nothing, 4);
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    let linted = with_config(&config, &["--json", "lint", "directory", "--limit", "100000"]);
    assert_code(&linted, 2);
    let linted = document(&linted);
    assert!(
        !linted["more"].as_bool().expect("a flag") && linted["verified_domains"][0] == "corp.example",
        "{}",
        linted["verified_domains"]
    );
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for finding in linted["findings"].as_array().expect("findings") {
        let (dn, kind) = (finding["dn"].as_str().expect("a name"), finding["kind"].as_str().expect("a kind"));
        let consequence = finding["consequence"].as_str().expect("a consequence");
        if consequence != "odd" {
            found.entry(dn.to_owned()).or_default().insert(kind.to_owned());
        }
        if kind.ends_with("-duplicate") {
            assert!(finding["other"]["dn"].as_str().is_some_and(|other| other != dn && !other.is_empty()), "{finding:#}");
        }
    }
    for kind in ["upn-suffix", "upn-characters", "upn-malformed", "upn-duplicate", "address-duplicate", "sid-duplicate"] {
        assert!(linted["counts"][kind]["count"].as_u64().is_some_and(|count| count > 0), "{kind}: {:#}", linted["counts"]);
    }

    let cycle = with_config(&config, &["--json", "cycle", "start", "--initial"]);
    assert!(matches!(cycle.status.code(), Some(1 | 2)), "{}", stderr(&cycle));
    let problems = document(&with_config(&config, &["--json", "errors", "--limit", "100000"]));
    let (altered, arrived) = altered(&config);
    assert!(altered.len() > 50 && arrived.len() > 100, "{} altered of {}", altered.len(), arrived.len());
    let mut missed = Vec::new();
    for number in 0..COUNT {
        let (dn, anchor) = (name_of(number), anchor_of(number));
        if let Some(what) = altered.get(&anchor).filter(|_| !found.contains_key(&dn)) {
            missed.push(format!("{dn}: {what}"));
        }
    }
    assert!(missed.is_empty(), "the tenant altered what the lint called clean:\n{}", missed.join("\n"));
    let mut refused = 0;
    for problem in problems["problems"].as_array().expect("problems") {
        let told = problem.to_string();
        let number = (0..COUNT).find(|number| {
            let hex = hex::encode(anchor_of(*number));
            told.to_lowercase().contains(&hex) || told.contains(&format!("{},", name_of(*number).split(',').next().expect("a part")))
        });
        let number = number.unwrap_or_else(|| panic!("whose problem is it? {problem:#}"));
        refused += 1;
        assert!(found.contains_key(&name_of(number)), "the lint called clean what failed: {problem:#}");
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn findings_become_a_table_and_the_changes_that_mend_them() {
    let people = "dn: CN=Ann,DC=corp,DC=example\nobjectClass: user\nobjectGUID:: EREREREREREREREREREREQ==\ncn: Ann\nsAMAccountName: ann\n\
         userAccountControl: 512\ndisplayName: =Ann\nuserPrincipalName: ann@corp.local\nproxyAddresses: SMTP:ann@corp.example\n\
         proxyAddresses: SMTP:ann2@corp.example\n\n\
         dn: CN=Bob,DC=corp,DC=example\nobjectClass: user\nobjectGUID:: IiIiIiIiIiIiIiIiIiIiIg==\ncn: Bob\nsAMAccountName: bob\n\
         userAccountControl: 512\nuserPrincipalName: ann@corp.example\nproxyAddresses: smtp:ann@corp.example\nmail: bob@corp.example\n\
         proxyAddresses: SMTP:bob@corp.example\ndisplayName: Bob\n\n\
         dn: CN=Cem,DC=corp,DC=example\nobjectClass: user\nobjectGUID:: MzMzMzMzMzMzMzMzMzMzMw==\ncn: Cem\nsAMAccountName: cem\n\
         userAccountControl: 512\nuserPrincipalName: cem@corp.example\ndisplayName: Cem\n";
    let world = world_of(people);
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    let (csv, ldif) = (world.path().join("found.csv"), world.path().join("mend.ldif"));
    let arguments = ["lint", "directory", "corp.example", "--csv", csv.to_str().expect("plain"), "--ldif", ldif.to_str().expect("plain")];
    let output = with_config(&config, &arguments);
    assert_code(&output, 2);
    let text = stdout(&output);
    assert!(text.contains("upn-suffix") && text.contains("CN=Ann") && !text.contains("CN=Cem"), "{text}");
    let table = fs::read_to_string(&csv).expect("the table");
    assert!(table.starts_with("id,connector,name,type,kind,") && table.contains("address-primary-several"), "{table}");
    let changes = fs::read_to_string(&ldif).expect("the changes");
    // Ann's name would be ann@corp.example, which Bob has.
    assert!(changes.contains("replace: userPrincipalName\nuserPrincipalName: ann2@corp.example"), "{changes}");
    assert!(changes.contains("delete: proxyAddresses\nproxyAddresses: smtp:ann@corp.example\n-"), "{changes}");

    // The changes do what they say: with them nothing is refused or altered any more.
    let files = fs::read_dir(config.join("connectors")).expect("the folder").flatten().map(|file| file.path());
    let connector = files.into_iter().find(|file| !file.ends_with("entra.toml")).expect("the directory's file");
    let settings = fs::read_to_string(&connector).expect("the connector");
    fs::write(&connector, settings.replacen("path = ", "changes = \"../mend.ldif\"\npath = ", 1)).expect("written");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    let again = document(&with_config(&config, &["--json", "lint", "directory"]));
    let kinds: BTreeSet<&str> =
        again["findings"].as_array().expect("findings").iter().filter_map(|finding| finding["kind"].as_str()).collect();
    assert!(kinds.is_empty(), "{:#}", again["findings"]);
    assert_eq!(again["objects"], 3);
    let cycle = with_config(&config, &["cycle", "start", "--initial"]);
    assert_code(&cycle, 0);
}

/// A contact without a nickname gets it from its `cn`, which is its name: a directory refuses to replace that.
#[test]
fn a_value_that_names_an_entry_is_mended_by_a_rename() {
    let contact = |cn: &str, number: u8, more: &str| {
        format!(
            "dn: CN={cn},OU=Partners,DC=corp,DC=example\nobjectClass: contact\nobjectGUID:: {}\ncn: {cn}\ndisplayName: {cn}\n{more}\n",
            STANDARD.encode([number; 16])
        )
    };
    let people = [
        contact("Ann Partner", 1, "mail: ann partner@else.example\n"),
        // Two of the same new name, and one whose new name somebody has.
        contact("Bo b", 2, "mail: bob@else.example\n"),
        contact("B ob", 3, "mail: bob2@else.example\n"),
        contact("Ce m", 4, "mail: cem@else.example\n"),
        contact("Cem", 5, "mail: cem2@else.example\n"),
    ];
    let world = world_of(&people.concat());
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    let ldif = world.path().join("mend.ldif");
    let found = document(&with_config(&config, &["--json", "lint", "directory", "--ldif", ldif.to_str().expect("plain")]));
    let of = |cn: &str| {
        let findings = found["findings"].as_array().expect("findings");
        let finding = findings.iter().find(|one| one["kind"] == "nickname-unusable" && one["value"] == cn);
        let finding = finding.unwrap_or_else(|| panic!("{cn}: {found:#}"));
        (finding["action"].as_str().expect("an action").to_owned(), finding["proposed"].clone())
    };
    assert_eq!(of("Ann Partner"), ("write".to_owned(), "AnnPartner".into()));
    assert_eq!(of("Bo b"), ("write".to_owned(), "Bob".into()));
    assert_eq!((of("B ob"), of("Ce m")), (("decide".to_owned(), Value::Null), ("decide".to_owned(), Value::Null)));
    let changes = fs::read_to_string(&ldif).expect("the changes");
    assert!(!changes.contains("replace: cn") && found["ldif_entries"] == 2, "{changes}");
    let name = "dn: CN=Ann Partner,OU=Partners,DC=corp,DC=example\nchangetype: ";
    let (mail, rename) =
        (changes.find(&format!("{name}modify\nreplace: mail\n")), changes.find(&format!("{name}modrdn\nnewrdn: CN=AnnPartner\n")));
    assert!(mail.expect("the mail is mended") < rename.expect("and then the name"), "{changes}");
    assert_eq!(changes.matches("deleteoldrdn: 1\n").count(), 2, "{changes}");
}

#[test]
fn a_directory_without_trouble_has_none_and_targets_are_no_directories() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    let clean = document(&with_config(&config, &["--json", "lint", "directory"]));
    assert_eq!((&clean["affected"], &clean["counts"]), (&Value::from(0), &Value::Object(serde_json::Map::new())), "{clean:#}");
    assert_code(&with_config(&config, &["lint", "directory"]), 0);
    assert_code(&with_config(&config, &["lint", "directory", "entra"]), 64);
    // Another set of domains, without asking.
    let other = with_config(&config, &["--json", "lint", "directory", "--verified-domain", "other.example"]);
    assert_code(&other, 1);
    assert!(document(&other)["counts"]["upn-suffix"]["count"].as_u64().is_some_and(|count| count >= 2));
}
