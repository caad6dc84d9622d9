//! The program against the world's malice: killed in the middle, a tenant that refuses and loses answers, and input of
//! every bad sort. After it the state is the one of an undisturbed run.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod bad_input;
mod bad_server;
mod faults;
mod first_export;
mod killed;
#[path = "../connectors/labs.rs"]
#[allow(dead_code, reason = "the tests of connectors use the rest")]
mod labs;
mod password_only;
mod world;
