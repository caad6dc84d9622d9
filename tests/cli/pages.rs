//! The HTML pages that commands write, judged by a real browser: what people see of them in windows and on paper, whoever is in them.

use crate::browser::{Browser, Medium};
use crate::config_diff::{diff, two_folders};
use crate::{assert_code, document, small_world, stderr, with_config};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// How people look at pages: width in pixels, and the medium.
const VIEWS: [(u32, Medium); 5] =
    [(1_280, Medium::Light), (1_280, Medium::Dark), (400, Medium::Light), (400, Medium::Dark), (720, Medium::Paper)];

/// Values that would do something in a page that took them for its own text: name, department before, department afterwards, title.
const HOSTILE: [[&str; 4]; 6] = [
    [
        "<script>window.hostile=1</script>",
        "<img src=x onerror=window.hostile=2>",
        "</code></td></table><script>window.hostile=3</script>",
        "\" onmouseover=\"window.hostile=4",
    ],
    ["王小明 研究開發部門", "研究開發部門", "國際業務與長期基礎設施規劃部門", "工程師"],
    ["محمد عبد الله الأحمد", "قسم المبيعات", "قسم الهندسة (Engineering)", "مهندس"],
    [
        "&lt;b&gt; &amp; &#60;i&#62;",
        "<!-- ",
        "]]><style>*{display:none}</style><link rel=stylesheet href=//hostile.example/x.css>",
        "<base href=//hostile.example/>",
    ],
    ["Turned", "a\u{202e}gpj.exe", "b\u{202e}txt.exe", "T\u{200b}T"],
    ["Long", "short", "", "javascript:window.hostile=5"],
];

/// Somebody as an entry of an LDIF file; values in base64, so that any can be.
fn entry(number: usize, name: &str, department: &str, title: &str) -> String {
    let guid = STANDARD.encode((u128::try_from(number).expect("small") + 0x1000).to_be_bytes());
    let rdn = format!("CN=Somebody {number},OU=People,DC=corp,DC=example");
    let mut text = format!(
        "\ndn: {rdn}\nobjectClass: top\nobjectClass: person\nobjectClass: organizationalPerson\nobjectClass: user\nobjectGUID:: {guid}\n\
         sAMAccountName: somebody{number}\nuserPrincipalName: somebody{number}@corp.example\nuserAccountControl: 512\n"
    );
    for (attribute, value) in [("displayName", name), ("department", department), ("title", title)] {
        if !value.is_empty() {
            let _ = writeln!(text, "{attribute}:: {}", STANDARD.encode(value));
        }
    }
    text
}

/// The directory before and after a day of changes.
fn directory(plain: &str, after: bool) -> String {
    let mut text = format!("{}\n", plain.trim_end());
    for number in 0..200 {
        if after && number % 20 == 0 {
            continue;
        }
        let department = if after && number % 2 == 1 { "Sales and customers" } else { "Engineering" };
        text.push_str(&entry(number, &format!("Person {number}"), department, if after && number % 50 == 2 { "" } else { "Engineer" }));
    }
    for (number, [name, before, afterwards, title]) in HOSTILE.into_iter().enumerate() {
        let long = "no-blank-in-it".repeat(30);
        let department = if !after {
            before
        } else if afterwards.is_empty() {
            &long
        } else {
            afterwards
        };
        text.push_str(&entry(900 + number, name, department, title));
    }
    text
}

/// Opens a page and holds it to what is expected of every page, in every view.
#[track_caller]
fn judged(browser: &mut Browser, page: &Path, title: &str) {
    browser.open(page);
    assert_eq!(browser.value("document.title"), title);
    for (width, medium) in VIEWS {
        browser.show(width, medium);
        assert_eq!(browser.flaws(), Vec::<String>::new(), "{} at {width}, {medium:?}", page.display());
    }
    assert_eq!(browser.value("typeof window.hostile"), "undefined", "a value was executed");
    assert_eq!(browser.unrest(), Vec::<String>::new());
}

/// What stands in the value cells, each as the page has it.
fn texts(browser: &mut Browser) -> Vec<String> {
    let found = browser.value("[...document.querySelectorAll('ul.values code')].map(value => value.textContent)");
    found.as_array().expect("a list").iter().map(|text| text.as_str().expect("texts").to_owned()).collect()
}

/// Values that an export sends: of all objects, those that go and those that come.
fn values(plan: &Value) -> usize {
    let objects = plan["targets"][0]["objects"].as_array().expect("objects");
    let changes = objects.iter().flat_map(|object| object["changes"].as_array().expect("changes"));
    changes.flat_map(|change| ["removed", "added"].map(|side| change[side].as_array().expect("values").len())).sum()
}

#[test]
fn a_browser_shows_every_change_that_waits() {
    let world = small_world();
    let config = world.path().join("config");
    let people = world.path().join("people.ldif");
    let plain = fs::read_to_string(&people).expect("the people");
    let main = config.join("syncline.toml");
    let settings = fs::read_to_string(&main).expect("the settings");
    fs::write(&main, settings.replace("max_deletes = 500", "max_deletes = 5")).expect("written");
    let page = world.path().join("plan.html");
    let prepare = |after: bool| {
        fs::write(&people, directory(&plain, after)).expect("written");
        for step in ["full-import", "full-sync"] {
            assert_code(&with_config(&config, &["run", "start", "corp.example", step]), 0);
        }
    };
    let written = |code: i32| {
        let call = ["--json", "export", "--what-if", "--limit", "10000", "--html", page.to_str().expect("plain")];
        let output = with_config(&config, &call);
        assert_code(&output, code);
        document(&output)
    };
    let mut browser = Browser::start();
    let heads = "[document.querySelectorAll('main details').length, document.querySelectorAll('p.object').length].join()";

    prepare(false);
    let plan = written(0);
    let adds = plan["targets"][0]["adds"].as_u64().expect("a number");
    assert!(adds > 205, "{adds}");
    judged(&mut browser, &page, "What an export would send to Entra");
    assert_eq!(browser.value(heads), format!("{adds},0"));
    assert_eq!(texts(&mut browser).len(), values(&plan));

    let cycle = with_config(&config, &["cycle", "start", "--initial"]);
    assert!(cycle.status.code() < Some(3), "{}", stderr(&cycle));
    prepare(true);
    let plan = written(5);
    let target = &plan["targets"][0];
    assert_eq!((target["deletes"].as_u64(), target["stopped_by_threshold"].as_bool()), (Some(10), Some(true)), "{target:#}");
    judged(&mut browser, &page, "What an export would send to Entra");
    assert_eq!(browser.value(heads), format!("{},10", target["updates"]));
    let shown = texts(&mut browser);
    assert_eq!(shown.len(), values(&plan));
    for [_, before, afterwards, _] in HOSTILE {
        for value in [before, afterwards].iter().filter(|value| !value.contains('\u{202e}')) {
            assert!(value.is_empty() || shown.iter().any(|shown| shown.trim() == value.trim()), "{value} is not shown as it is");
        }
    }
    assert!(shown.iter().any(|shown| shown == "bU+202Etxt.exe"), "what turns letters round is named");
    let text = browser.value("document.body.innerText").to_string();
    for wanted in ["10 deletes wait, 5 are allowed", "--allow-deletes", "Would be emptied", target["plan"].as_str().expect("a plan")] {
        assert!(text.contains(wanted), "{wanted} is missing");
    }
    // What is folded away on the screen opens without a script, and its links lead to it.
    assert_eq!(browser.value("[...document.querySelectorAll('a')].every(link => document.querySelector(link.hash))"), true);
}

#[test]
fn a_browser_shows_one_object_step_by_step() {
    let world = small_world();
    let config = world.path().join("config");
    let people = world.path().join("people.ldif");
    let plain = fs::read_to_string(&people).expect("the people");
    let small = |after: bool| {
        let people_of = |number: usize, [name, before, afterwards, title]: [&str; 4]| {
            entry(900 + number, name, if after { afterwards } else { before }, title)
        };
        let others: String = HOSTILE.into_iter().enumerate().map(|(number, hostile)| people_of(number, hostile)).collect();
        format!("{}\n{others}", plain.trim_end())
    };
    fs::write(&people, small(false)).expect("written");
    let cycle = with_config(&config, &["cycle", "start", "--initial"]);
    assert!(cycle.status.code() < Some(3), "{}", stderr(&cycle));
    fs::write(&people, small(true)).expect("written");
    let page = world.path().join("object.html");
    let mut browser = Browser::start();
    for (number, [_, before, afterwards, _]) in HOSTILE.into_iter().enumerate().take(4) {
        let account = format!("somebody{}@corp.example", 900 + number);
        let title = format!("One object, step by step: CN=Somebody {},OU=People,DC=corp,DC=example", 900 + number);
        for more in [&["--what-if"][..], &[]] {
            let call = [&["object", "sync", &account, "--html", page.to_str().expect("plain")], more].concat();
            let output = with_config(&config, &call);
            assert!(output.status.code() < Some(3), "{}", stderr(&output));
            judged(&mut browser, &page, &title);
            assert_eq!(browser.value("document.querySelector('table').tBodies[0].rows.length"), 10);
            let shown = texts(&mut browser);
            for value in [before, afterwards] {
                assert!(shown.iter().any(|shown| shown.trim() == value.trim()), "{value} is not shown as it is: {shown:?}");
            }
        }
    }
}

#[test]
fn a_browser_shows_where_an_object_and_its_values_stand() {
    let world = small_world();
    let config = world.path().join("config");
    let people = world.path().join("people.ldif");
    let mut text = fs::read_to_string(&people).expect("the people");
    for (number, [name, before, _, title]) in HOSTILE.into_iter().enumerate() {
        text.push_str(&entry(900 + number, name, before, title));
    }
    fs::write(&people, &text).expect("written");
    let cycle = with_config(&config, &["cycle", "start", "--initial"]);
    assert!(cycle.status.code() < Some(3), "{}", stderr(&cycle));
    crate::ada_changes(world.path());
    assert_code(&with_config(&config, &["run", "start", "corp.example", "full-import"]), 0);
    let page = world.path().join("page.html");
    let mut browser = Browser::start();
    let mut shown = |call: &[&str], title: &str| {
        let output = with_config(&config, &[call, &["--html", page.to_str().expect("plain")]].concat());
        assert!(output.status.code() < Some(3), "{}", stderr(&output));
        judged(&mut browser, &page, title);
        let codes = browser.value("[...document.querySelectorAll('code')].map(code => code.textContent)");
        (browser.value("document.body.innerText").to_string(), codes)
    };
    for (number, [name, before, ..]) in HOSTILE.into_iter().enumerate().take(4) {
        let account = format!("somebody{}@corp.example", 900 + number);
        let dn = format!("CN=Somebody {},OU=People,DC=corp,DC=example", 900 + number);
        let (_, codes) = shown(&["mv", "why", &account, "department"], &format!("Where a value comes from: department of {name}"));
        // Blanks around values go by a rule.
        assert!(
            codes.as_array().expect("codes").iter().any(|code| code.as_str().map(str::trim) == Some(before.trim())),
            "{before}: {codes}"
        );
        shown(&["object", "explain", &account], &format!("Where one object stands: {dn}"));
        shown(&["preview", &account], &format!("What synchronization would do: {dn}"));
    }
    let dn = "CN=Ada Byron,OU=People,DC=corp,DC=example";
    let (ahead, codes) = shown(&["preview", "ada@corp.example"], &format!("What synchronization would do: {dn}"));
    assert!(codes.to_string().contains("Engines") && codes.to_string().contains("Looms"), "{codes}");
    assert!(ahead.contains("Nothing was written.") && ahead.contains("In from AD - User Common"), "{ahead}");
    let (why, _) = shown(&["mv", "why", "ada@corp.example", "department"], "Where a value comes from: department of Ada Byron");
    for wanted in ["Engines", "In from AD - User Common", "Looms", "confirmed", "run 6"] {
        assert!(why.contains(wanted), "{wanted} is missing: {why}");
    }
    let (way, _) = shown(&["object", "explain", "ada@corp.example"], &format!("Where one object stands: {dn}"));
    assert!(way.contains("provisioning") && way.contains("waits"), "{way}");
}

#[test]
fn a_browser_shows_how_configurations_differ() {
    let world = two_folders();
    let page = world.path().join("diff.html");
    assert_code(&diff(world.path(), &["--html", page.to_str().expect("plain")]), 1);
    let (old, new) = (world.path().join("config"), world.path().join("new"));
    let mut browser = Browser::start();
    judged(&mut browser, &page, &format!("Configurations compared: {} and {}", old.display(), new.display()));
    let expression = "IIF([title] = \"<script>alert(1)</script>\", \"R&D\", Trim([title]))";
    assert!(texts(&mut browser).iter().any(|shown| shown == expression), "the expression is shown as it is");
}

/// Who judges is judged: what pages must not do is found in one that does it.
#[test]
fn a_browser_finds_what_is_wrong_with_a_page() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let page = folder.path().join("wrong.html");
    let text = "<!DOCTYPE html><title>x</title><style>.faint { color: #999 } .wide { width: 3000px }</style><main><h1>x</h1><h3>deep</h3>\
                <p class=faint onclick='0'>faint</p><table><tr><td>without names</table><table><caption>c</caption><thead><tr><th scope=col>one\
                <tbody><tr><th scope=row>1<td>2</table><div class=wide>wide</div><details><summary>s</summary><p>folded</p></details>\
                <div style='width: 1ch; overflow-wrap: anywhere'>narrow-word</div></main><img src='http://hostile.example/x.png'>\
                <script>window.hostile = 1; console.error('said')</script>";
    fs::write(&page, text).expect("written");
    let mut browser = Browser::start();
    browser.open(&page);
    assert_eq!(browser.value("window.hostile"), 1);
    browser.show(720, Medium::Paper);
    let flaws = browser.flaws().join("\n");
    for wanted in [
        "does not say its language",
        "holds a script",
        "holds <img>",
        "has onclick",
        "skips a level",
        "has no caption",
        "2 cells below 1 headings",
        "contrast of 2.85",
        "\"folded\" is missing on paper",
        "lines of few letters",
        "wide",
    ] {
        assert!(flaws.contains(wanted), "{wanted} was not found:\n{flaws}");
    }
    let unrest = browser.unrest().join("\n");
    assert!(unrest.contains("asked for \"http://hostile.example/x.png\"") && unrest.contains("said"), "{unrest}");
}
