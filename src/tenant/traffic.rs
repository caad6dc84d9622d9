//! What reached the tenant: counters, and the last accepted writes one by one, so that a test can say "exactly this
//! change and no other".

use super::directory::{Incoming, Outcome, SyncChange};
use super::identity::sign_in::SignInPath;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

/// How many writes are remembered one by one.
const JOURNAL: usize = 10_000;

/// One accepted or refused write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalEntry {
    /// Running number from 1.
    pub number: u64,
    /// The operation of the service.
    pub operation: String,
    /// `User`, `Group`, …
    pub object_type: &'static str,
    /// The object by immutable id.
    pub source_anchor: Option<String>,
    /// The object by cloud anchor.
    pub cloud_anchor: Option<String>,
    /// What it did (`created`, `updated`, …) or the name of the refusal.
    pub result: String,
    /// It was accepted.
    pub accepted: bool,
    /// Names of the attributes that were sent.
    pub attributes: Vec<String>,
    /// How many references were added and removed by delta, or sent as a whole.
    pub references: usize,
}

/// How many attempts to sign in are remembered one by one.
const SIGN_INS: usize = 1_000;

/// One attempt to sign in with a password. Never the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignInAttempt {
    /// Running number from 1.
    pub number: u64,
    /// When, in microseconds since 1970 by the tenant's clock.
    pub time: i64,
    /// The name that was given.
    pub user: String,
    /// The number of the refusal; 0 for success.
    pub code: u32,
    /// What the password was held against.
    pub path: SignInPath,
}

/// Counters since the start or the last reset.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Calls by operation, answered or not.
    pub calls: BTreeMap<String, u64>,
    /// Accepted writes by what they did.
    pub writes: BTreeMap<&'static str, u64>,
    /// Accepted writes by object type.
    pub writes_by_type: BTreeMap<&'static str, u64>,
    /// All accepted writes of objects.
    pub accepted: u64,
    /// Refused objects by error name.
    pub refused: BTreeMap<&'static str, u64>,
    /// Password hashes by result number.
    pub credentials: BTreeMap<i32, u64>,
    /// Objects handed out by read-back.
    pub read_back: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Tokens issued by grant.
    pub tokens: BTreeMap<String, u64>,
    /// Sign-ins by result code; 0 for success.
    pub sign_ins: BTreeMap<u32, u64>,
    #[serde(skip)]
    journal: VecDeque<JournalEntry>,
    #[serde(skip)]
    last: u64,
    #[serde(skip)]
    attempts: VecDeque<SignInAttempt>,
    #[serde(skip)]
    last_attempt: u64,
}

impl Traffic {
    /// Counts a call.
    pub fn call(&mut self, operation: &str) {
        count(&mut self.calls, operation);
    }

    /// Counts a fault.
    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// Counts a token.
    pub fn token(&mut self, grant: &str) {
        count(&mut self.tokens, grant);
    }

    /// Counts a sign-in; 0 for success.
    pub fn sign_in(&mut self, code: u32) {
        *self.sign_ins.entry(code).or_default() += 1;
    }

    /// Remembers an attempt to sign in and gives it its number.
    pub fn attempt(&mut self, attempt: SignInAttempt) {
        self.last_attempt += 1;
        if self.attempts.len() == SIGN_INS {
            self.attempts.pop_front();
        }
        self.attempts.push_back(SignInAttempt { number: self.last_attempt, ..attempt });
    }

    /// The remembered attempts to sign in behind a number, oldest first.
    pub fn attempts_after(&self, number: u64) -> impl Iterator<Item = &SignInAttempt> {
        self.attempts.iter().filter(move |attempt| attempt.number > number)
    }

    /// Counts the objects of a batch and remembers them.
    pub fn batch(&mut self, operation: &str, changes: &[&SyncChange], outcomes: &[Outcome]) {
        for (change, outcome) in changes.iter().zip(outcomes) {
            let object_type = outcome.kind.as_str();
            let result = match &outcome.result {
                Ok(effect) => {
                    self.accepted += 1;
                    *self.writes.entry(effect.as_str()).or_default() += 1;
                    *self.writes_by_type.entry(object_type).or_default() += 1;
                    effect.as_str()
                }
                Err(fault) => {
                    *self.refused.entry(fault.code.as_str()).or_default() += 1;
                    fault.code.as_str()
                }
            };
            self.last += 1;
            if self.journal.len() == JOURNAL {
                self.journal.pop_front();
            }
            let references =
                change.properties.iter().map(|(_, value)| if let Incoming::References(changes) = value { changes.len() } else { 0 });
            self.journal.push_back(JournalEntry {
                number: self.last,
                operation: operation.to_owned(),
                object_type,
                source_anchor: outcome.source_anchor.clone(),
                cloud_anchor: outcome.cloud_anchor.clone(),
                result: result.to_owned(),
                accepted: outcome.result.is_ok(),
                attributes: change.properties.iter().map(|(name, _)| name.clone()).collect(),
                references: references.sum(),
            });
        }
    }

    /// Counts password hashes by the numbers of their results.
    pub fn credentials(&mut self, results: impl Iterator<Item = i32>) {
        for result in results {
            *self.credentials.entry(result).or_default() += 1;
        }
    }

    /// The remembered writes behind a number, oldest first.
    pub fn journal_after(&self, number: u64) -> impl Iterator<Item = &JournalEntry> {
        self.journal.iter().filter(move |entry| entry.number > number)
    }

    /// The number of the last write.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Sets all counters back; running numbers go on.
    pub fn reset(&mut self) {
        *self = Self { last: self.last, last_attempt: self.last_attempt, ..Self::default() };
    }
}

fn count(map: &mut BTreeMap<String, u64>, key: &str) {
    match map.get_mut(key) {
        Some(value) => *value += 1,
        None => {
            map.insert(key.to_owned(), 1);
        }
    }
}
