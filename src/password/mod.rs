//! Passwords on their way from directories to the target: the derivation that both ends share, and the agent that finds
//! out what is due, sends it, tries again and remembers what came of it.
//!
//! A hash is read, derived, sent and wiped. It is never kept: what has to be sent again is read again.

pub mod agent;
mod decision;
mod domain;
mod flight;
mod hand;
pub mod hash;
mod health;
pub mod lanes;
mod outcome;
mod pass;
mod plan;
mod push;
pub mod report;
mod retry;
mod shared;
mod state;

pub use state::{Held, forget_target};
