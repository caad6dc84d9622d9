//! The store from outside: against a simple model, under damage, under lost power, in the hands of an administrator.

mod against_model;
mod checking;
mod common;
mod following;
mod opening;
mod upkeep;
