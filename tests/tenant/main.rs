//! The local tenant, over real HTTP where the wire matters and through its library where rules matter.
//!
//! Tests whose names begin with `references_` need the published material that is not part of this repository; the
//! variable `SYNCLINE_REFERENCES` says where it is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod graph;
mod lifecycle;
mod login;
mod matching;
mod naming;
mod process;
mod readback;
mod schema;
mod support;
mod wire;
