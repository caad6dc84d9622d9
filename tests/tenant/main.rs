//! The local tenant, over real HTTP where the wire matters and through its library where rules matter.
//!
//! Tests whose names begin with `published_material_` need the published material that is not part of this repository; the
//! variable `SYNCLINE_REFERENCES` says where it is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod graph;
mod lifecycle;
mod login;
mod matching;
mod naming;
mod passwords;
mod process;
mod readback;
mod schema;
mod support;
mod wire;
