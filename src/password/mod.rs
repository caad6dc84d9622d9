//! Passwords on their way from the directory to the tenant: the derivation that both ends share.

pub mod hash;
pub mod lanes;
