//! A simulated life: one seed decides what happens to two directories, which calls of the target are refused, lost,
//! doubled or out of order, and when the power goes. When quiet returns, the target must hold exactly what a few
//! naive lines work out from the directories, and nothing may be left to do.
//!
//! `SYNCLINE_SEED` runs one seed, `SYNCLINE_SEEDS` so many.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod costs;
#[path = "../laws/directory.rs"]
#[allow(dead_code, reason = "the laws use the rest")]
mod directory;
#[path = "../store/disk.rs"]
#[allow(dead_code, reason = "the tests of the store use the rest")]
mod disk;
#[path = "../laws/expected.rs"]
mod expected;
mod export;
mod life;
mod names;
#[path = "../laws/rules.rs"]
mod rules;
mod runs;
mod script;
mod source;
mod takeover;
mod target;
mod verdict;

use life::{Life, Verdict};
use rayon::prelude::*;

#[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long to run")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn seeds() -> Vec<u64> {
    match setting("SYNCLINE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=setting("SYNCLINE_SEEDS").unwrap_or(200)).collect(),
    }
}

#[test]
fn every_life_ends_as_if_nothing_had_happened() {
    let verdicts: Vec<(u64, Result<Verdict, String>)> = seeds().into_par_iter().map(|seed| (seed, Life::new(seed, false).run())).collect();
    let wrong: Vec<String> =
        verdicts.iter().filter_map(|(seed, verdict)| verdict.as_ref().err().map(|why| format!("seed {seed}: {why}"))).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} lives went wrong; SYNCLINE_SEED runs one alone\n{}",
        wrong.len(),
        verdicts.len(),
        wrong[..wrong.len().min(3)].join("\n")
    );
    if verdicts.len() >= 200 {
        // The simulation must have met what it is for.
        let sum = |of: fn(&Verdict) -> u64| verdicts.iter().filter_map(|(_, verdict)| verdict.as_ref().ok()).map(of).sum::<u64>();
        for (name, met, least) in [
            ("power losses", sum(|verdict| verdict.power_losses), 50),
            ("faults", sum(|verdict| verdict.faults), 50),
            ("exports", sum(|verdict| verdict.exports), 50),
            // It takes two changes of the selection with a full import between them that broke off: 27 in 200 lives.
            ("selections that were undone half-read", sum(|verdict| verdict.undone), 20),
        ] {
            assert!(met > least, "only {met} {name}");
        }
    }
}

/// A target that forgets what it accepted and shows it all the same: if the judge does not see that, it sees nothing.
#[test]
fn a_target_that_lies_is_caught() {
    let caught = (1..=20).into_par_iter().filter(|seed| Life::new(*seed, true).run().is_err()).count();
    assert!(caught >= 10, "of 20 lives with a lying target only {caught} were found wrong");
}
