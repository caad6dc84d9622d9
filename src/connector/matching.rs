//! What a target would take new objects for: known objects of its own that it finds by their keys, and takes over instead of making
//! new ones (specification: sync engine, section 6.3).

use crate::model::CsId;
use std::collections::BTreeMap;

/// A new object, by what a target could know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewObject {
    /// Our number for it.
    pub id: CsId,
    /// Its type in the target.
    pub object_type: String,
    /// Its name in the target.
    pub dn: String,
    /// Its sign-in name.
    pub user_principal_name: Option<String>,
    /// Its primary mail address, without a prefix.
    pub primary_address: Option<String>,
}

/// What is known of the objects that a target would take new ones for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchReport {
    /// One for each new object that the target would know, in the order in which they were asked for.
    pub matches: Vec<Match>,
    /// What could not be found out, in sentences.
    pub gaps: Vec<String>,
    /// How many requests it took.
    pub requests: u64,
}

/// A new object that the target knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The new object.
    pub id: CsId,
    /// The key by which the target finds the other one.
    pub key: MatchKey,
    /// The value that both have.
    pub value: String,
    /// What the target would do.
    pub fate: MatchFate,
    /// The object that the target has.
    pub existing: Existing,
}

/// A key of both objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchKey {
    /// The source anchor is its immutable id ("hard match").
    SourceAnchor,
    /// The primary mail address ("soft match").
    PrimaryAddress,
    /// The sign-in name ("soft match").
    UserPrincipalName,
}

impl MatchKey {
    /// The name for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceAnchor => "source-anchor",
            Self::PrimaryAddress => "primary-address",
            Self::UserPrincipalName => "user-principal-name",
        }
    }
}

/// What a target does with a new object that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchFate {
    /// The object of the cloud becomes ours, and our values overwrite its own.
    TakenOver,
    /// It is synchronized already, by us in earlier days or by somebody else: it is changed, not made.
    Synchronized,
    /// The target refuses, for this reason.
    Refused(String),
    /// The target makes a new object and keeps the value that both have aside.
    KeptAside,
}

/// An object of the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// The target's own id of it.
    pub id: String,
    /// What it is called.
    pub display_name: Option<String>,
    /// Its sign-in name, or its mail address.
    pub name: Option<String>,
    /// The administrator roles that it holds, as far as they could be looked up.
    pub roles: Vec<String>,
    /// Its values, by the names that exports use.
    pub values: BTreeMap<String, Vec<String>>,
}
