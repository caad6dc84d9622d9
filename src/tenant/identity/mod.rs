//! Who may do what: tokens, applications, sign-in.

pub mod codes;
pub mod sign_in;
pub mod token;
