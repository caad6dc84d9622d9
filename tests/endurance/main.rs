//! The program against the world's malice: killed in the middle, a tenant that refuses and loses answers, and input of
//! every bad sort. After it the state is the one of an undisturbed run.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod another_tenant;
mod bad_input;
mod bad_server;
mod disabled_in_time;
mod faults;
mod first_export;
mod guards;
mod killed;
#[path = "../connectors/labs.rs"]
#[allow(dead_code, reason = "the tests of connectors use the rest")]
mod labs;
mod leaping;
mod lessons;
mod life;
mod names;
mod near_real_time;
mod password_only;
mod reloaded;
mod restored;
mod served;
mod service_killed;
mod service_week;
mod take_overs;
mod two_active;
mod under_way;
mod world;
