//! The store from outside: against a simple model, under damage, under lost power, in the hands of an administrator.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod against_model;
mod checking;
mod common;
mod disk;
mod following;
mod formats;
mod opening;
mod passwords;
mod shape;
mod upkeep;
