//! What commands show on a terminal of 80 columns: nothing is broken where the terminal's edge happens to be.

use crate::{assert_code, small_world, stdout, syncline, with_config};
use rexpect::session::spawn_command;
use std::path::Path;
use std::process::Command;

/// What a command shows on a terminal of a width.
fn on_terminal(columns: u32, config: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("stty cols {columns} rows 50; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_syncline"), "--config"]);
    command.arg(config).args(arguments).env_remove("COLUMNS").env("NO_COLOR", "1").env("TERM", "xterm");
    let mut terminal = spawn_command(command, Some(60_000)).expect("a terminal");
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
    let commands: [&[&str]; 16] = [
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
