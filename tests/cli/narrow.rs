//! What commands show on a terminal of 80 columns: nothing is broken where the terminal's edge happens to be.

use crate::{assert_code, small_world, stdout, syncline, with_config};
use rexpect::session::spawn_command;
use std::path::Path;
use std::process::Command;

/// A command on a terminal of a width.
fn at_terminal(columns: u32, config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("stty cols {columns} rows 50; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_syncline"), "--config"]);
    command.arg(config).args(arguments).env_remove("COLUMNS").env_remove("CREDENTIALS_DIRECTORY").env("NO_COLOR", "1").env("TERM", "xterm");
    command
}

/// What a command shows on a terminal of a width.
fn on_terminal(columns: u32, config: &Path, arguments: &[&str]) -> String {
    let mut terminal = spawn_command(at_terminal(columns, config, arguments), Some(60_000)).expect("a terminal");
    // Each octet comes as a letter of its own.
    let octets: Vec<u8> = terminal.exp_eof().expect("the command ends").chars().filter_map(|letter| u8::try_from(letter).ok()).collect();
    String::from_utf8(octets).expect("UTF-8").replace('\r', "")
}

/// Words in their order.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn everyday_commands_fit_80_columns() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let people = world.path().join("people.ldif");
    let text = std::fs::read_to_string(&people).expect("the people");
    let broken = text.replace("userAccountControl: 514", "userAccountControl: many").replace("department: Engines", "department: Looms");
    std::fs::write(&people, broken).expect("written");
    for step in ["full-import", "full-sync"] {
        with_config(&config, &["run", "start", "corp.example", step]);
    }
    let commands: [&[&str]; 19] = [
        &["status"],
        &["run", "list"],
        &["run", "show", "6", "--step", "1"],
        &["errors"],
        &["export", "--what-if"],
        &["mv", "show", "ada@corp.example"],
        &["mv", "why", "ada@corp.example", "department"],
        &["object", "explain", "ada@corp.example"],
        &["object", "sync", "ada@corp.example", "--what-if"],
        &["cs", "search", "Entra"],
        &["preview", "ada@corp.example"],
        &["rule", "list"],
        &["rule", "lint"],
        &["doctor"],
        &["guard", "show"],
        &["config", "show"],
        &["events", "list"],
        &["config", "set", "guard.max_delete", "7"],
        &["promote", "--what-if"],
    ];
    for command in commands {
        let shown = on_terminal(80, &config, command);
        // Commands to be pasted stay whole, however long they are; so does what has no blank.
        let long = |line: &&str| {
            let whole = line.contains("syncline --config") || line.split_whitespace().count() < 2;
            line.chars().count() > 80 && !whole && !line.contains(world.path().to_str().expect("plain"))
        };
        assert_eq!(shown.lines().filter(long).collect::<Vec<_>>(), Vec::<&str>::new(), "{command:?}\n{shown}");
        assert!(!shown.contains(" 1 objects") && !shown.contains(" 1 deletes") && !shown.contains(" 1 updates"), "{command:?}\n{shown}");
    }
}

#[test]
fn nothing_is_lost_on_a_narrow_terminal() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    for command in [&["run", "list"][..], &["rule", "list"], &["mv", "show", "ada@corp.example"]] {
        let wide = with_config(&config, command);
        assert_code(&wide, 0);
        let wide = stdout(&wide);
        let narrow = on_terminal(80, &config, command);
        assert!(narrow.lines().count() > wide.lines().count(), "{command:?}\n{narrow}");
        let shown = words(&narrow);
        for word in words(&wide) {
            assert!(shown.contains(&word), "{word} is missing: {command:?}\n{narrow}");
        }
    }
    // Whoever reads lines gets whole rows, whatever the environment says of a terminal.
    let runs = syncline([std::ffi::OsStr::new("--config"), config.as_os_str(), "run".as_ref(), "list".as_ref()]);
    assert!(stdout(&runs).lines().skip(1).all(|line| line.contains("success")), "{}", stdout(&runs));
}

/// Columns below their row say which they are.
#[test]
fn what_stands_below_a_row_says_what_it_is() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let why = on_terminal(80, &config, &["mv", "why", "ada@corp.example", "department"]);
    assert!(why.lines().any(|line| line.trim_start().starts_with("confirmed run 6 20")), "{why}");
    let rules = on_terminal(80, &config, &["rule", "list"]);
    assert!(rules.lines().any(|line| line.contains("types user → person  link provision  flows 1")), "{rules}");
    let events = on_terminal(60, &config, &["events", "list"]);
    assert!(events.contains("\n      ended: success\n") || events.contains("\n      success\n"), "{events}");
}

#[test]
fn events_that_come_fit_the_terminal() {
    let world = small_world();
    let config = world.path().join("config");
    assert_code(&with_config(&config, &["cycle", "start", "--initial"]), 0);
    let mut terminal = spawn_command(at_terminal(60, &config, &["events", "follow"]), Some(60_000)).expect("a terminal");
    let mut shown = String::new();
    // It begins behind what was told before it looked for the first time.
    for _ in 0..20 {
        assert_code(&with_config(&config, &["run", "start", "corp.example", "full-sync"]), 0);
        std::thread::sleep(std::time::Duration::from_secs(1));
        shown.extend(std::iter::from_fn(|| terminal.try_read()));
        if shown.contains("success") {
            break;
        }
    }
    terminal.send_control('c').expect("a terminal");
    let lines: Vec<&str> = shown.lines().map(|line| line.trim_end_matches('\r')).collect();
    assert!(words(&shown).join(" ").contains("Full Synchronization on corp.example ended: success"), "{shown}");
    assert!(lines.iter().any(|line| line.starts_with("      ")), "{shown}");
    assert!(lines.iter().all(|line| line.chars().count() <= 60), "{shown}");
}

/// The wizard's own words; what somebody types may go on in the next line.
#[test]
fn the_questions_of_init_fit_80_columns() {
    let world = small_world();
    let people = world.path().join("people.ldif");
    let config = world.path().join("another");
    let mut terminal = spawn_command(at_terminal(80, &config, &["init", "--tenant", "local"]), Some(60_000)).expect("a terminal");
    let mut shown = String::new();
    let mut answer = |question: &str, answer: &str| {
        shown.push_str(&terminal.exp_string(question).unwrap_or_else(|error| panic!("'{question}' did not come: {error}\n{shown}")));
        shown.push_str(question);
        std::thread::sleep(std::time::Duration::from_millis(300));
        terminal.send_line(answer).expect("a terminal");
    };
    answer("Kind of directory", "\u{1b}[B\u{1b}[B");
    answer("The file, or the folder", "nothing-of-that-name-is-anywhere-in-this-folder-or-in-any-other-one.ldif");
    answer("The file, or the folder", people.to_str().expect("plain"));
    answer("come from Active Directory", "");
    answer("The domain of these people", "corp.example");
    answer("Write it", "");
    answer("Read everything now", "n");
    shown.push_str(&terminal.exp_eof().expect("it ends"));
    assert!(shown.contains("wrong") && shown.contains("Six questions"), "{shown}");
    let long = |line: &&str| line.chars().count() > 80 && !line.contains("syncline") && line.split_whitespace().count() > 1;
    let lines: Vec<&str> = shown.split(['\n', '\r']).filter(|line| !line.contains("The file, or the folder")).filter(long).collect();
    assert_eq!(lines, Vec::<&str>::new(), "{shown}");
}
