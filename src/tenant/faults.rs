//! Faults on demand: what the network and the service do on bad days, seeded so that a test can repeat it.

use super::directory::FaultCode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Which part of the tenant a rule concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Service {
    /// The provisioning service.
    #[default]
    Provisioning,
    /// Graph.
    Graph,
    /// Tokens.
    Login,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// "Currently busy", fault 81.
    Busy,
    /// HTTP 429 with `Retry-After`.
    Throttle,
    /// The work is done, the connection is closed without an answer.
    DropAnswer,
    /// The connection is closed before anything is done.
    DropBefore,
    /// The answer comes late.
    Slow,
    /// The request is carried out twice, as if it had arrived twice; the second answer is sent.
    Duplicate,
    /// The first half of a batch is kept, then fault 81.
    Partial,
    /// The token is refused.
    Unauthorized,
    /// "Use another instance" with a URL.
    Redirect,
    /// One object of the call is refused with a code.
    Reject,
}

impl FaultKind {
    const NAMES: [(&'static str, FaultKind); 10] = [
        ("busy", Self::Busy),
        ("throttle", Self::Throttle),
        ("drop-answer", Self::DropAnswer),
        ("drop-before", Self::DropBefore),
        ("slow", Self::Slow),
        ("duplicate", Self::Duplicate),
        ("partial", Self::Partial),
        ("unauthorized", Self::Unauthorized),
        ("redirect", Self::Redirect),
        ("reject", Self::Reject),
    ];

    /// The name on the command line and in counters.
    pub fn as_str(&self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name)
    }
}

/// When something goes wrong, and what. Without `rate`, `count` and `every` it goes wrong each time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRule {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Probability per call, 0 to 1.
    #[serde(default)]
    pub rate: Option<f64>,
    /// For so many calls, then no more.
    #[serde(default)]
    pub count: Option<u64>,
    /// Every n-th call.
    #[serde(default)]
    pub every: Option<u64>,
    /// Only calls of this operation.
    #[serde(default)]
    pub operation: Option<String>,
    /// Only this service.
    #[serde(default)]
    pub service: Service,
    /// For `slow`: how late, in milliseconds.
    #[serde(default)]
    pub delay_milliseconds: u64,
    /// For `busy` and `throttle`: seconds in `Retry-After`; none for `busy` when 0.
    #[serde(default)]
    pub retry_after: f64,
    /// For `reject`: the name of the error; for password hashes the number of the result (2 to 999).
    #[serde(default)]
    pub code: Option<String>,
    /// For `reject`: the object with this source or cloud anchor. Calls without it are neither concerned nor counted.
    /// Without it the first object of the call.
    #[serde(default)]
    pub anchor: Option<String>,
    /// For `redirect`: where to.
    #[serde(default)]
    pub url: Option<String>,
    /// Calls seen so far.
    #[serde(default)]
    pub seen: u64,
}

impl FaultRule {
    /// A rule that always applies to the provisioning service.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            rate: None,
            count: None,
            every: None,
            operation: None,
            service: Service::Provisioning,
            delay_milliseconds: 0,
            retry_after: 0.0,
            code: None,
            anchor: None,
            url: None,
            seen: 0,
        }
    }

    /// With a probability per call.
    #[must_use]
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// For so many calls.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Only for one operation.
    #[must_use]
    pub fn operation(mut self, operation: impl Into<String>) -> Self {
        self.operation = Some(operation.into());
        self
    }

    /// The result that a rejected password hash gets. 0 would be no rejection, and 1 means "not yet".
    pub fn credential_code(&self) -> Option<i32> {
        self.code.as_deref()?.parse().ok().filter(|code| (2..1000).contains(code))
    }

    /// Says what is wrong with the rule, if anything.
    pub fn check(&self) -> Result<(), FaultRuleError> {
        if self.rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err(FaultRuleError::new("rate", "is a probability from 0 to 1"));
        }
        if self.every == Some(0) {
            return Err(FaultRuleError::new("every", "counts from 1"));
        }
        if !self.retry_after.is_finite() || self.retry_after < 0.0 {
            return Err(FaultRuleError::new("retry-after", "is a number of seconds from 0"));
        }
        if self.kind == FaultKind::Reject && self.credential_code().is_none() && self.code.as_deref().and_then(FaultCode::parse).is_none() {
            return Err(FaultRuleError::new(
                "code",
                "names an object error such as DataValidationFailed, or is the result of a password hash from 2 to 999; reject needs it",
            ));
        }
        if self.anchor.is_some() && self.kind != FaultKind::Reject {
            return Err(FaultRuleError::new("anchor", "goes with reject only"));
        }
        Ok(())
    }
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault rule: {part} {reason}")]
pub struct FaultRuleError {
    part: String,
    reason: &'static str,
}

impl FaultRuleError {
    fn new(part: impl Into<String>, reason: &'static str) -> Self {
        Self { part: part.into(), reason }
    }
}

/// `kind[=rate|=<n>x][,name=value…]`: `busy=0.2`, `drop-answer=3x`, `slow=0.1,delay=200`,
/// `busy,every=5,operation=ProvisionAzureADSyncObjects2`, `reject=1x,code=DataValidationFailed`,
/// `reject,operation=ProvisionCredentials,code=4,anchor=x4V0iaeB60KXxjftcwd7Hw==`.
impl FromStr for FaultRule {
    type Err = FaultRuleError;

    fn from_str(text: &str) -> Result<Self, FaultRuleError> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, amount) = first.split_once('=').map_or((first, None), |(name, amount)| (name, Some(amount)));
        let kind = FaultKind::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| kind.clone()).ok_or_else(|| {
            FaultRuleError::new(
                format!("kind {name:?}"),
                "is none of busy, throttle, drop-answer, drop-before, slow, duplicate, partial, unauthorized, redirect, reject",
            )
        })?;
        let mut rule = Self::new(kind);
        if let Some(amount) = amount {
            if let Some(count) = amount.strip_suffix('x') {
                rule.count = Some(count.parse().map_err(|_| FaultRuleError::new(amount, "is no number of calls"))?);
            } else {
                let bad = |_| FaultRuleError::new(amount, "is neither a probability nor a number of calls like 3x");
                rule.rate = Some(amount.parse().map_err(bad)?);
            }
        }
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| FaultRuleError::new(part, "has no value"))?;
            let bad = |_| FaultRuleError::new(name, "is no whole number");
            match name {
                "every" => rule.every = Some(value.parse().map_err(bad)?),
                "count" => rule.count = Some(value.parse().map_err(bad)?),
                "delay" => rule.delay_milliseconds = value.parse().map_err(bad)?,
                "retry-after" => rule.retry_after = value.parse().map_err(|_| FaultRuleError::new(name, "is no number of seconds"))?,
                "operation" => rule.operation = Some(value.to_owned()),
                "code" => rule.code = Some(value.to_owned()),
                "anchor" => rule.anchor = Some(value.to_owned()),
                "url" => rule.url = Some(value.to_owned()),
                "service" => {
                    rule.service = match value {
                        "provisioning" => Service::Provisioning,
                        "graph" => Service::Graph,
                        "login" => Service::Login,
                        _ => return Err(FaultRuleError::new(name, "is none of provisioning, graph, login")),
                    }
                }
                _ => return Err(FaultRuleError::new(name, "is no part of a rule")),
            }
        }
        rule.check()?;
        Ok(rule)
    }
}

/// What happens to one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fate {
    /// Wait so long first.
    pub delay: Option<Duration>,
    /// Then this, unless nothing goes wrong.
    pub fault: Option<FaultRule>,
}

/// All rules with their dice.
pub struct Faults {
    rules: Vec<FaultRule>,
    dice: StdRng,
}

impl Faults {
    /// With rules from the settings and a seed.
    pub fn new(rules: Vec<FaultRule>, seed: u64) -> Self {
        Self { rules, dice: StdRng::seed_from_u64(seed) }
    }

    /// Adds a rule.
    pub fn add(&mut self, rule: FaultRule) {
        self.rules.push(rule);
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// The rules as they stand.
    pub fn rules(&self) -> &[FaultRule] {
        &self.rules
    }

    /// Decides over one call. Delays add up; of everything else the first rule that fires counts.
    pub fn decide(&mut self, service: Service, operation: &str) -> Fate {
        self.decide_over(service, operation, |_| false)
    }

    /// As [`Self::decide`], for a call that names objects: `names` tells whether one with this anchor is among them.
    pub fn decide_over(&mut self, service: Service, operation: &str, names: impl Fn(&str) -> bool) -> Fate {
        let mut fate = Fate::default();
        for rule in &mut self.rules {
            let concerned = rule.service == service
                && rule.operation.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(operation))
                && rule.anchor.as_deref().is_none_or(&names);
            if !concerned || rule.count == Some(0) {
                continue;
            }
            rule.seen += 1;
            let fires = rule.every.is_none_or(|every| rule.seen.is_multiple_of(every))
                && rule.rate.is_none_or(|rate| self.dice.random_bool(rate.clamp(0.0, 1.0)));
            if !fires || (rule.kind != FaultKind::Slow && fate.fault.is_some()) {
                continue;
            }
            if let Some(count) = &mut rule.count {
                *count -= 1;
            }
            if rule.kind == FaultKind::Slow {
                let delay = Duration::from_millis(rule.delay_milliseconds);
                fate.delay = Some(fate.delay.unwrap_or_default() + delay);
            } else {
                fate.fault = Some(rule.clone());
            }
        }
        fate
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// A token bucket for writes, as the cloud has: `writes` per `window`, refilled evenly. The real service takes 7000
/// writes in 5 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// How many writes the bucket holds.
    pub writes: f64,
    /// In how many seconds an empty bucket is full again.
    pub window_seconds: f64,
}

impl Throttle {
    /// So many writes per second, with a bucket of one second.
    pub fn per_second(writes: f64) -> Self {
        Self { writes, window_seconds: 1.0 }
    }
}

/// The state of the bucket.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    throttle: Throttle,
    level: f64,
    at: Duration,
    started: Duration,
    accepted: f64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(throttle: Throttle, now: Duration) -> Self {
        Self { throttle, level: throttle.writes, at: now, started: now, accepted: 0.0 }
    }

    /// Takes `cost` writes, or says how many seconds to wait. A call that costs more than the whole bucket is let
    /// through when the bucket is full, and leaves it in debt.
    pub fn take(&mut self, cost: f64, now: Duration) -> Result<(), f64> {
        let per_second = self.throttle.writes / self.throttle.window_seconds.max(0.001);
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level + passed * per_second).min(self.throttle.writes);
        self.at = now;
        let needed = cost.min(self.throttle.writes);
        if self.level + 1e-9 >= needed {
            self.level -= cost;
            self.accepted += cost;
            return Ok(());
        }
        Err((needed - self.level) / per_second.max(1e-9))
    }

    /// Writes that the bucket would have allowed since it was set up, and writes accepted.
    pub fn allowance(&self, now: Duration) -> (f64, f64) {
        let per_second = self.throttle.writes / self.throttle.window_seconds.max(0.001);
        (self.throttle.writes + now.saturating_sub(self.started).as_secs_f64() * per_second, self.accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let rule: FaultRule = "busy=0.2".parse().unwrap();
        assert_eq!((rule.kind.as_str(), rule.rate, rule.count), ("busy", Some(0.2), None));
        let rule: FaultRule = "drop-answer=3x,operation=ProvisionCredentials".parse().unwrap();
        assert_eq!((rule.count, rule.operation.as_deref()), (Some(3), Some("ProvisionCredentials")));
        let rule: FaultRule = "reject=2x,operation=ProvisionCredentials,code=4,anchor=x4V0iaeB60KXxjftcwd7Hw==".parse().unwrap();
        assert_eq!((rule.credential_code(), rule.anchor.as_deref()), (Some(4), Some("x4V0iaeB60KXxjftcwd7Hw==")));
        let rule: FaultRule = "slow=0.5,delay=200,service=graph".parse().unwrap();
        assert_eq!((rule.delay_milliseconds, rule.service), (200, Service::Graph));
        for bad in [
            "",
            "sleepy",
            "busy=2",
            "busy=x",
            "busy=yx",
            "busy,every=0",
            "busy,nothing",
            "busy,colour=red",
            "reject",
            "throttle,retry-after=-1",
            "reject,code=1",
            "reject,code=0",
            "busy,anchor=x",
        ] {
            assert!(bad.parse::<FaultRule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_end_and_rates_repeat_with_the_seed() {
        let mut faults = Faults::new(vec!["busy=2x".parse().unwrap()], 1);
        let fired = (0..5).filter(|_| faults.decide(Service::Provisioning, "x").fault.is_some()).count();
        assert_eq!(fired, 2);
        let run = |seed| {
            let mut faults = Faults::new(vec!["busy=0.2".parse().unwrap()], seed);
            (0..1000).map(|_| faults.decide(Service::Provisioning, "x").fault.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let hits = run(7).into_iter().filter(|hit| *hit).count();
        assert!((150..250).contains(&hits), "{hits}");
        let mut faults = Faults::new(vec!["busy,every=3,operation=A".parse().unwrap()], 1);
        let fired: Vec<bool> = (0..6).map(|_| faults.decide(Service::Provisioning, "a").fault.is_some()).collect();
        assert_eq!(fired, [false, false, true, false, false, true]);
        assert_eq!(faults.decide(Service::Graph, "A"), Fate::default());
        let mut faults = Faults::new(vec!["reject=1x,code=4,anchor=b".parse().unwrap()], 1);
        let fired = |faults: &mut Faults, anchors: &[&str]| {
            faults.decide_over(Service::Provisioning, "x", |anchor| anchors.contains(&anchor)).fault.is_some()
        };
        assert!(!fired(&mut faults, &["a"]) && fired(&mut faults, &["a", "b"]) && !fired(&mut faults, &["b"]), "counted where it concerns");
    }

    #[test]
    fn the_bucket_refills_evenly_and_large_calls_are_possible() {
        let mut bucket = Bucket::new(Throttle { writes: 100.0, window_seconds: 10.0 }, Duration::ZERO);
        assert_eq!(bucket.take(100.0, Duration::ZERO), Ok(()));
        let wait = bucket.take(50.0, Duration::ZERO).unwrap_err();
        assert!((wait - 5.0).abs() < 1e-6, "{wait}");
        assert!(bucket.take(50.0, Duration::from_secs(5)).is_ok());
        assert!(bucket.take(1000.0, Duration::from_secs(10)).is_err());
        assert!(bucket.take(1000.0, Duration::from_secs(15)).is_ok());
        assert!(bucket.take(1.0, Duration::from_mins(1)).is_err(), "the debt is paid first");
        assert_eq!(bucket.allowance(Duration::from_mins(1)), (700.0, 1150.0));
    }
}
