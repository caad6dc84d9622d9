//! Gates that noise cannot trip: processor instructions of fixed pieces of work, counted under valgrind and held against
//! `fixtures/gates/instructions.tsv`. Times tell about the machine, instructions about the code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../../benches/shared/scene.rs"]
mod scene;

use scene::Scene;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::Command;

/// How much more than the baseline is let through, in percent.
const SLACK: u64 = 5;
/// How often the work is done in the run that is compared with one without it.
const TIMES: u64 = 200;
const BASELINE: &str = include_str!("../../fixtures/gates/instructions.tsv");

/// What is counted: the test that does the work, and its name in the table.
const WORK: &[(&str, &str)] =
    &[("work::a_user", "one user through all built-in rules"), ("work::a_group", "one group through all built-in rules")];

#[test]
fn built_in_rules_take_no_more_instructions_than_they_did() {
    let mut told = String::new();
    let mut wrong = false;
    for (test, name) in WORK {
        let counted = (instructions(test, TIMES) - instructions(test, 0)) / TIMES;
        let baseline: u64 = BASELINE
            .lines()
            .find_map(|line| line.strip_prefix(*name)?.strip_prefix('\t')?.parse().ok())
            .unwrap_or_else(|| panic!("fixtures/gates/instructions.tsv has no line '{name}'; it takes {counted} now"));
        let change = i128::from(counted) * 1_000 / i128::from(baseline) - 1_000;
        // Writing to a String cannot fail.
        let _ = writeln!(told, "{name}: {counted} instructions, baseline {baseline} ({:+}.{} %)", change / 10, change.abs() % 10);
        wrong |= counted * 100 > baseline * (100 + SLACK);
    }
    assert!(
        !wrong,
        "not within -{} and +{SLACK} % of fixtures/gates/instructions.tsv. Make it cheaper, or write the new figure there and say why:\n{told}",
        2 * SLACK
    );
}

/// Runs one of the tests below under valgrind and gives the instructions of the whole process.
fn instructions(test: &str, times: u64) -> u64 {
    let program = std::env::current_exe().unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--exact", test, "--test-threads=1"])
        .env("SYNCLINE_GATE_TIMES", times.to_string())
        .output()
        .expect("valgrind cannot be started; tools/test installs it (Debian: apt-get install valgrind)");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "there is no test {test}");
    let counted = told.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim().parse());
    counted.and_then(Result::ok).unwrap_or_else(|| panic!("valgrind told no count: {told}"))
}

/// The work. Run by itself, each does it once and looks at what came of it.
mod work {
    use super::{Scene, black_box};

    #[expect(clippy::disallowed_methods, reason = "the counting test says how often")]
    fn times() -> u64 {
        std::env::var("SYNCLINE_GATE_TIMES").map_or(1, |times| times.parse().unwrap())
    }

    #[test]
    fn a_user() {
        let scene = Scene::new();
        // Once before, so that what is worked out once is not counted.
        let wanted = scene.want(&scene.metaverse(&scene.user, "person"));
        assert!(wanted.dn.is_some() && wanted.values.attributes().count() > 20);
        for _ in 0..times() {
            black_box(scene.want(&scene.metaverse(black_box(&scene.user), "person")));
        }
    }

    #[test]
    fn a_group() {
        let scene = Scene::new();
        let wanted = scene.want(&scene.metaverse(&scene.group, "group"));
        assert!(wanted.dn.is_some() && !wanted.references.is_empty());
        for _ in 0..times() {
            black_box(scene.want(&scene.metaverse(black_box(&scene.group), "group")));
        }
    }
}
