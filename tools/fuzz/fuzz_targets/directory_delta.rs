//! Octets as what a domain controller says of changes. What must hold stands in `tests/fuzz/judges.rs`.

#![no_main]
#![allow(dead_code, reason = "every target has one judge of the shared file")]

#[path = "../../../tests/fuzz/judges.rs"]
mod judges;

libfuzzer_sys::fuzz_target!(|data: &[u8]| judges::directory_delta(data));
