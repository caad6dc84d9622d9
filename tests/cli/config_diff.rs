//! `config diff`: two folders compared as text, as a document and as a page.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use crate::{assert_code, document, small_world, stderr, stdout, syncline};
use std::fs;
use std::path::Path;

const OLD_RULES: &str = r#"
disable = ["Out to AAD - Contact DynamicsCRM"]

[[metaverse_attribute]]
name = "costCenter"
type = "string"

[[rule]]
name = "In from HR - Title"
direction = "inbound"
connector = "corp.example"
cs_type = "user"
mv_type = "person"
link = "join"
order = 50
scope = [[{ attr = "department", op = "EQUAL", value = "IT" }, { attr = "l", op = "EQUAL", value = "Rome" }]]
flows = [{ to = "title", from = "title" }, { to = "costCenter", from = "costCenter" }]

[[rule]]
name = "In from HR - Filter"
direction = "inbound"
connector = "corp.example"
cs_type = "user"
mv_type = "person"
link = "join"
order = 51
flows = [{ to = "cloudFiltered", constant = true }]
"#;

const NEW_RULES: &str = r#"
# Comments and flow sets are no differences.
[[flow_set]]
name = "cost"
flows = [{ to = "costCenter", from = "costCenter" }]

[[metaverse_attribute]]
name = "costCenter"
type = "string"
multi = true

[[rule]]
name = "In from HR - Title"
direction = "inbound"
connector = "corp.example"
cs_type = "user"
mv_type = "person"
link = "join"
order = 600
include = ["cost"]
scope = [[{ attr = "department", op = "EQUAL", value = "IT" }, { attr = "l", op = "EQUAL", value = "Bern" }]]
flows = [{ to = "title", expr = 'IIF([title] = "<script>alert(1)</script>", "R&D", Trim([title]))' }]

[[rule]]
name = "In from HR - Guest"
direction = "inbound"
connector = "corp.example"
cs_type = "user"
mv_type = "person"
link = "join"
order = 52
join = [[{ cs = "mail", mv = "mail" }]]
flows = [{ to = "employeeType", constant = "Guest", once = true }]
"#;

/// Two folders made from one: `old` and `new`.
pub(crate) fn two_folders() -> tempfile::TempDir {
    let world = small_world();
    let old = world.path().join("config");
    let new = world.path().join("new");
    copy(&old, &new);
    for (folder, rules) in [(&old, OLD_RULES), (&new, NEW_RULES)] {
        fs::create_dir(folder.join("rules")).unwrap();
        fs::write(folder.join("rules/10-own.toml"), rules).unwrap();
    }
    let main = new.join("syncline.toml");
    fs::write(&main, fs::read_to_string(&main).unwrap().replace("max_deletes = 500", "max_deletes = 20")).unwrap();
    let source = new.join("connectors/10-corp.example.toml");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, format!("{text}\n[selection]\nexclude = [\"OU=Lab,DC=corp,DC=example\"]\n")).unwrap();
    fs::rename(&source, new.join("connectors/20-corp.toml")).unwrap();
    world
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy(&from, &to) } else { fs::copy(&from, &to).map(drop).unwrap() }
    }
}

pub(crate) fn diff(world: &Path, more: &[&str]) -> std::process::Output {
    let (old, new) = (world.join("config"), world.join("new"));
    let folders = ["config", "diff", old.to_str().unwrap(), new.to_str().unwrap()];
    syncline(folders.iter().chain(more))
}

#[test]
fn the_differences_as_text() {
    let world = two_folders();
    let output = diff(world.path(), &[]);
    assert_code(&output, 1);
    let text = stdout(&output).replace(world.path().to_str().unwrap(), "FOLDER");
    insta::assert_snapshot!(text);
    assert!(!world.path().join("config/syncline.redb").exists(), "comparing makes no store");
}

#[test]
fn the_differences_as_document() {
    let world = two_folders();
    let output = diff(world.path(), &["--json"]);
    assert_code(&output, 1);
    let found = document(&output);
    assert_eq!(found["summary"]["equal"], false);
    assert_eq!(found["settings"][0]["key"], "guard.max_deletes");
    assert_eq!((found["settings"][0]["old"].as_i64(), found["settings"][0]["new"].as_i64()), (Some(500), Some(20)));
    assert_eq!(found["connectors"][0]["fields"][0]["key"], "selection.exclude");
    assert_eq!(found["metaverse_attributes"][0]["name"], "costCenter");
    let rule = |name: &str| found["rules"].as_array().unwrap().iter().find(|rule| rule["name"] == name).unwrap().clone();
    assert_eq!(rule("In from HR - Filter")["change"], "removed");
    assert_eq!(rule("In from HR - Guest")["change"], "added");
    let title = rule("In from HR - Title");
    assert_eq!((title["precedence"]["old"].as_i64(), title["precedence"]["moved"].as_bool()), (Some(50), Some(true)));
    assert_eq!(title["flows"].as_array().unwrap().len(), 1, "a flow out of a flow set is the same flow: {title}");
    assert_eq!(title["scope"][0]["clauses"].as_array().unwrap().len(), 3);
    assert_eq!(rule("Out to AAD - Contact DynamicsCRM")["fields"][0]["key"], "enabled");
}

#[test]
fn equal_configurations_end_with_0() {
    let world = two_folders();
    let folder = world.path().join("config");
    let again = world.path().join("again");
    copy(&folder, &again);
    let output = syncline(["config", "diff", folder.to_str().unwrap(), again.to_str().unwrap()]);
    assert_code(&output, 0);
    assert!(stdout(&output).contains("equal"), "{}", stdout(&output));
    let output = syncline(["--json", "config", "diff", folder.to_str().unwrap(), again.to_str().unwrap()]);
    assert_code(&output, 0);
    assert_eq!(document(&output)["summary"]["equal"], true);
}

#[test]
fn secrets_are_compared_by_their_names_alone() {
    let world = two_folders();
    for (folder, name, secret) in [("config", "first", "correct horse"), ("new", "second", "battery staple")] {
        let folder = world.path().join(folder);
        let text = format!(
            "kind = \"ad\"\nurl = \"ldaps://dc1.corp.example\"\nbind_name = \"svc@corp.example\"\npassword = {{ credential = \"{name}\" }}\n"
        );
        fs::write(folder.join("connectors/30-ad.toml"), text).unwrap();
        fs::create_dir_all(folder.join("secrets")).unwrap();
        fs::write(folder.join("secrets").join(name), secret).unwrap();
    }
    let page = world.path().join("diff.html");
    for more in [&[][..], &["--json"], &["--html", page.to_str().unwrap()]] {
        let output = diff(world.path(), more);
        assert_code(&output, 1);
        let text = if more.len() == 2 { fs::read_to_string(&page).unwrap() } else { stdout(&output) };
        assert!(text.contains("password.credential") && text.contains("first") && text.contains("second"), "{text}");
        assert!(!text.contains("horse") && !text.contains("staple"), "{text}");
    }
}

#[test]
fn the_page_needs_nothing_else_and_is_well_formed() {
    let world = two_folders();
    let page = world.path().join("diff.html");
    let output = diff(world.path(), &["--html", page.to_str().unwrap()]);
    assert_code(&output, 1);
    assert!(stdout(&output).contains("The comparison is in"), "{}", stdout(&output));
    let text = fs::read_to_string(&page).unwrap();
    for foreign in ["<script", "<link", "<img", "src=", "http://", "https://", "url(", "@import"] {
        assert!(!text.contains(foreign), "{foreign} stands in the page");
    }
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && text.contains("R&amp;D"), "values are escaped");
    for wanted in ["<html lang=\"en\">", "<title>", "name=\"viewport\"", "<details open>", "aria-label=\"removed\"", "@media print"] {
        assert!(text.contains(wanted), "{wanted} is missing");
    }
    assert_eq!(open_elements(&text), Vec::<String>::new(), "every element is closed, in its turn");
    let ids: Vec<&str> = text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for target in text.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(ids.contains(&target), "#{target} leads nowhere");
    }
}

/// The elements that are open at the end; panics where one is closed that is not the innermost.
fn open_elements(page: &str) -> Vec<String> {
    let mut open = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let tag = &rest[start + 1..];
        let end = tag.find('>').expect("every tag ends");
        let (inside, behind) = (&tag[..end], &tag[end + 1..]);
        rest = behind;
        let name: String = inside.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        if inside.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()));
        } else if !inside.starts_with('!') && !["meta", "br"].contains(&name.as_str()) {
            if name == "style" {
                rest = &rest[rest.find("</style>").expect("styles end")..];
            }
            open.push(name);
        }
    }
    open
}

#[test]
fn the_folder_that_cannot_be_used_is_named() {
    let world = two_folders();
    fs::write(world.path().join("new/rules/20-wrong.toml"), "[[rule]]\nnam = \"x\"\n").unwrap();
    let output = diff(world.path(), &[]);
    assert_code(&output, 4);
    let told = stderr(&output);
    assert!(told.contains("new cannot be used") && told.contains("rules/20-wrong.toml:1:1"), "{told}");
    assert!(told.contains(&format!("--config {}", world.path().join("new").display())), "{told}");
    let output = diff(world.path(), &["--html", "nowhere/at/all.html"]);
    assert_code(&output, 4);
}
