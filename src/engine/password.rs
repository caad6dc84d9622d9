//! Whose password goes where: read off links, base images and rules, and written nowhere.
//!
//! An account takes part when its base image is in scope of an inbound rule with `password_sync`, its metaverse object in
//! scope of an outbound one, and the object there is exported and confirmed (specification: sync engine 7.3). The
//! password path changes no attribute and waits for no run: it asks what runs have committed.

use super::full_steps::{READ_WITH, SYNCHRONIZED};
use super::sync::image::{CsImage, MvImage};
use super::sync::view::{Failure, Overlay, View};
use crate::connector::ACCOUNT_DISABLED;
use crate::model::{
    AttrId, ConnectorId, CsId, CsObject, DeltaKind, Link, MvId, Names, ObjectType, RuleId, Stage, StageMask, ValueRef, ValueState,
};
use crate::rules::{Direction, RuleSet, RunParameters, ScopeOperator, ScopeSet, ScopedRule, SyncRule};
use crate::store::{PasswordStatus, Snapshot, StoreError};
use std::collections::BTreeMap;
use std::fmt;

/// The only type of accounts whose passwords are sent (specification: sync engine 7.1).
const USER: &str = "user";
/// How the target names the key that synchronization gave an object.
const SOURCE_ANCHOR: &str = "sourceAnchor";
/// How it names its own key.
const CLOUD_ANCHOR: &str = "cloudAnchor";
/// How it names the name under which people sign in.
const SIGN_IN_NAME: &str = "userPrincipalName";

/// Where a password goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The target object.
    pub target: CsId,
    /// The metaverse object between both.
    pub metaverse: MvId,
    /// The key that synchronization gave the object in the target; empty when it has none.
    pub source_anchor: String,
    /// The target's own key.
    pub cloud_anchor: String,
    /// The name under which the person signs in, as the target confirmed it; empty when it has none.
    pub sign_in_name: String,
    /// The rules with `password_sync` that it takes part by, inbound and outbound.
    pub rules: [RuleId; 2],
}

impl Destination {
    /// What stands behind the `@` of the sign-in name, in lower case.
    pub fn suffix(&self) -> String {
        self.sign_in_name.rsplit_once('@').map(|(_, suffix)| suffix.to_lowercase()).unwrap_or_default()
    }
}

/// Whether an account's password is sent, and where to or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// It is sent.
    Open(Destination),
    /// It is not.
    Closed(NoRoute),
}

/// Why a password is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The object is not in its connector space, was not synchronized yet, or is about to go.
    NotPresent,
    /// Passwords of its connector are not synchronized.
    NotPaired,
    /// It is of another type than `user`.
    NotUser {
        /// Its type.
        object_type: String,
    },
    /// No enabled rule of this direction has `password_sync`.
    NoRule {
        /// Inbound or outbound.
        direction: Direction,
    },
    /// It, or its metaverse object, is in scope of no rule with `password_sync`.
    OutOfScope {
        /// Inbound or outbound.
        direction: Direction,
        /// The rules that would apply.
        rules: Vec<String>,
    },
    /// It has no metaverse object.
    NotJoined,
    /// Another account of the same person has a rule of higher precedence.
    Outranked {
        /// That account.
        by: CsId,
    },
    /// Its metaverse object has nothing in the target.
    NoTarget,
    /// The target object is there in our books only, or not as it should be.
    NotExported {
        /// The object.
        target: CsId,
        /// What is missing.
        missing: Missing,
    },
    /// The rules could not be applied.
    Failed {
        /// What the rules said.
        detail: String,
    },
}

/// What has to happen before a target object can take a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It has to be exported.
    Export,
    /// An import has to show it.
    Confirmation,
    /// It is about to be deleted.
    Leaving,
    /// Its new sign-in name has to arrive.
    SignInName,
    /// An import has to show its key.
    Anchor,
}

impl NoRoute {
    /// The status that people know (specification: sync engine 7.6).
    pub fn status(&self) -> PasswordStatus {
        match self {
            Self::NotPresent | Self::NotPaired | Self::NotUser { .. } | Self::Outranked { .. } => PasswordStatus::SourceConnectorNotPresent,
            Self::NoRule { direction: Direction::Inbound } | Self::OutOfScope { direction: Direction::Inbound, .. } => {
                PasswordStatus::SourceConnectorNotPresent
            }
            Self::NoRule { .. } | Self::OutOfScope { .. } | Self::NotJoined | Self::NoTarget => PasswordStatus::NoTargetConnection,
            Self::NotExported { .. } => PasswordStatus::TargetNotExportedToDirectory,
            Self::Failed { .. } => PasswordStatus::Error,
        }
    }

    /// True when the account is wanted and only its way there is not open yet.
    pub fn waits(&self) -> bool {
        matches!(self, Self::NotJoined | Self::NoTarget | Self::NotExported { .. } | Self::Failed { .. })
    }

    /// A name for machines.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotPresent => "not-present",
            Self::NotPaired => "not-enabled",
            Self::NotUser { .. } => "not-a-user",
            Self::NoRule { .. } => "no-rule",
            Self::OutOfScope { direction: Direction::Inbound, .. } => "out-of-scope",
            Self::OutOfScope { direction: Direction::Outbound, .. } => "out-of-scope-outbound",
            Self::NotJoined => "not-joined",
            Self::Outranked { .. } => "outranked",
            Self::NoTarget => "no-target",
            Self::NotExported { .. } => "not-exported",
            Self::Failed { .. } => "rules-failed",
        }
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |direction: &Direction| if *direction == Direction::Inbound { "inbound" } else { "outbound" };
        match self {
            Self::NotPresent => f.write_str("the account is not in its connector space, or was not synchronized yet"),
            Self::NotPaired => f.write_str("passwords of its directory are not synchronized"),
            Self::NotUser { object_type } => write!(f, "it is of type {object_type}; only passwords of type user are sent"),
            Self::NoRule { direction } => write!(f, "no enabled {} rule has password_sync", side(direction)),
            Self::OutOfScope { direction, rules } => {
                write!(f, "it is in scope of no {} rule with password_sync: {}", side(direction), rules.join(", "))
            }
            Self::NotJoined => f.write_str("it is linked to no metaverse object"),
            Self::Outranked { by } => write!(f, "the account {by} of the same person comes first"),
            Self::NoTarget => f.write_str("its metaverse object has no object in the target"),
            Self::NotExported { target, missing } => match missing {
                Missing::Export => write!(f, "the target object {target} waits for its export"),
                Missing::Confirmation => write!(f, "the target object {target} waits for an import that shows it"),
                Missing::Leaving => write!(f, "the target object {target} is about to be deleted"),
                Missing::SignInName => write!(f, "the new sign-in name of the target object {target} did not arrive yet"),
                Missing::Anchor => write!(f, "no import showed the key of the target object {target}"),
            },
            Self::Failed { detail } => write!(f, "the rules could not be applied: {detail}"),
        }
    }
}

/// Finds routes. Make one for each look at the rules; asking it reads a handful of rows.
pub struct Routes<'a> {
    rules: &'a RuleSet,
    run: &'a RunParameters,
    names: &'a Names,
    /// The target of each directory whose passwords are synchronized.
    pairs: &'a BTreeMap<ConnectorId, ConnectorId>,
    overlay: Overlay,
    memberships: Option<(AttrId, AttrId)>,
    user: ObjectType,
    source_anchor: AttrId,
    cloud_anchor: AttrId,
    sign_in_name: AttrId,
}

impl<'a> Routes<'a> {
    /// Routes by these rules. `pairs` gives the target of each directory whose passwords are synchronized.
    pub fn new(names: &'a Names, rules: &'a RuleSet, run: &'a RunParameters, pairs: &'a BTreeMap<ConnectorId, ConnectorId>) -> Self {
        let mut routes = Self {
            rules,
            run,
            names,
            pairs,
            overlay: Overlay::default(),
            memberships: None,
            user: names.object_type(USER),
            source_anchor: names.intern(SOURCE_ANCHOR),
            cloud_anchor: names.intern(CLOUD_ANCHOR),
            sign_in_name: names.intern(SIGN_IN_NAME),
        };
        if routes.pairs.keys().any(|source| routes.asks_for_members(*source)) {
            routes.memberships = Some((names.intern("memberOf"), names.intern("member")));
        }
        routes
    }

    /// True when a password rule of the connector asks who is a member of what.
    pub fn asks_for_members(&self, source: ConnectorId) -> bool {
        let clauses = self.flagged(source, Direction::Inbound).flat_map(|rule| rule.scope.0.iter().flatten());
        clauses.into_iter().any(|clause| matches!(clause.operator, ScopeOperator::IsMemberOf | ScopeOperator::IsNotMemberOf))
    }

    /// The route of an account.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(&self, snapshot: &Snapshot, account: CsId) -> Result<Route, StoreError> {
        let failure = Failure::default();
        let view = View { snapshot, overlay: &self.overlay, index: None, failure: &failure, memberships: self.memberships, noted: None };
        let found = self.look(&view, account)?;
        failure.take()?;
        Ok(found.map_or_else(Route::Closed, Route::Open))
    }

    /// The accounts whose routes an object decides: of a target object those that give it a password, of an account it
    /// and its rivals.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn concerned(&self, snapshot: &Snapshot, object: CsId) -> Result<Vec<CsId>, StoreError> {
        let mut found = match snapshot.cs_link(object)?.and_then(Link::mv) {
            Some(mv) => snapshot.mv_links(mv)?,
            None => Vec::new(),
        };
        found.retain(|id| self.pairs.contains_key(&id.connector()));
        if self.pairs.contains_key(&object.connector()) && !found.contains(&object) {
            found.push(object);
        }
        Ok(found)
    }

    fn look(&self, view: &View<'_>, account: CsId) -> Result<Result<Destination, NoRoute>, StoreError> {
        let Some(target) = self.pairs.get(&account.connector()).copied() else { return Ok(Err(NoRoute::NotPaired)) };
        let Some(object) = view.snapshot.cs_object(account)? else { return Ok(Err(NoRoute::NotPresent)) };
        let inbound = match self.inbound(view, &object) {
            Ok(rule) => rule,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(mv) = object.link.mv() else { return Ok(Err(NoRoute::NotJoined)) };
        for rival in view.snapshot.mv_links(mv)? {
            if rival == account || self.pairs.get(&rival.connector()) != Some(&target) {
                continue;
            }
            let Some(object) = view.snapshot.cs_object(rival)? else { continue };
            if self.inbound(view, &object).is_ok_and(|other| (other.precedence, rival) < (inbound.precedence, account)) {
                return Ok(Err(NoRoute::Outranked { by: rival }));
            }
        }
        let linked = view.snapshot.mv_link(mv, target)?;
        let Some(person) = view.snapshot.mv_object(mv)? else { return Ok(Err(NoRoute::NotJoined)) };
        let scope = self.rules.outbound_scope(target, &MvImage::new(view, &person), self.run);
        let object = match linked {
            Some(id) => view.snapshot.cs_object(id)?,
            None => None,
        };
        let fits = |rule: &ScopedRule| object.as_ref().is_none_or(|object| rule.partner_type.is_none_or(|kind| kind == object.object_type));
        let outbound = match self.first(target, Direction::Outbound, scope, fits) {
            Ok(rule) => rule,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(object) = object else { return Ok(Err(NoRoute::NoTarget)) };
        let rules = [inbound.id, outbound.id];
        Ok(self.destination(mv, &object, rules).map_err(|missing| NoRoute::NotExported { target: object.id, missing }))
    }

    /// The rule by which an account takes part.
    fn inbound(&self, view: &View<'_>, object: &CsObject) -> Result<&'a SyncRule, NoRoute> {
        let leaves = matches!(object.stage(Stage::PendingImport).kind, DeltaKind::Delete | DeltaKind::DeleteAdd);
        if !object.in_base || leaves || object.link == Link::Placeholder {
            return Err(NoRoute::NotPresent);
        }
        if object.object_type != self.user {
            return Err(NoRoute::NotUser { object_type: self.names.object_type_name(object.object_type).to_string() });
        }
        let connector = object.id.connector();
        let scope = self.rules.inbound_scope(connector, &CsImage::base(view, object), self.run);
        self.first(connector, Direction::Inbound, scope, |_| true)
    }

    /// The first flagged rule in scope.
    fn first(
        &self,
        connector: ConnectorId,
        direction: Direction,
        scope: Result<ScopeSet, crate::rules::FlowError>,
        fits: impl Fn(&ScopedRule) -> bool,
    ) -> Result<&'a SyncRule, NoRoute> {
        let scope = scope.map_err(|error| NoRoute::Failed { detail: error.detail })?;
        let found = scope.rules.iter().find(|rule| rule.password_sync && fits(rule)).and_then(|rule| self.rules.rule(rule.id));
        if let Some(rule) = found {
            return Ok(rule);
        }
        let rules: Vec<String> = self.flagged(connector, direction).map(|rule| rule.name.clone()).collect();
        Err(if rules.is_empty() { NoRoute::NoRule { direction } } else { NoRoute::OutOfScope { direction, rules } })
    }

    /// The enabled rules of a connector with `password_sync` for users.
    fn flagged(&self, connector: ConnectorId, direction: Direction) -> impl Iterator<Item = &'a SyncRule> {
        let user = self.user;
        let rules = self.rules.rules().iter().filter(move |rule| rule.connector == connector && rule.direction == direction);
        rules.filter(move |rule| rule.password_sync && (direction == Direction::Outbound || rule.cs_type == user))
    }

    /// What the target knows an object by, once it is exported and confirmed.
    fn destination(&self, metaverse: MvId, object: &CsObject, rules: [RuleId; 2]) -> Result<Destination, Missing> {
        const WAYS: [Stage; 3] = [Stage::PendingExport, Stage::InProgress, Stage::Unconfirmed];
        let kind = |stage: Stage| object.stage(stage).kind;
        let goes = |kind: DeltaKind| matches!(kind, DeltaKind::Delete | DeltaKind::DeleteAdd);
        if goes(kind(Stage::PendingImport)) || WAYS.into_iter().any(|stage| goes(kind(stage))) {
            return Err(Missing::Leaving);
        }
        if kind(Stage::PendingExport) == DeltaKind::Add {
            return Err(Missing::Export);
        }
        // An import that shows it is enough: that synchronization has consumed it makes no difference to the target.
        if kind(Stage::InProgress) == DeltaKind::Add || kind(Stage::Unconfirmed) == DeltaKind::Add || !object.imported() {
            return Err(Missing::Confirmation);
        }
        let mut names = object.values.attribute(self.sign_in_name);
        if names.any(|item| WAYS.into_iter().any(|stage| ValueState(item.flags).touched(stage))) {
            return Err(Missing::SignInName);
        }
        let text = |attr: AttrId| {
            let mut values = object.values.attribute(attr).filter(|item| ValueState(item.flags).present(StageMask::IMPORTED));
            values.find_map(|item| if let ValueRef::Text(text) = item.value { Some(text.to_owned()) } else { None })
        };
        let key = object.anchor.as_ref().and_then(|anchor| std::str::from_utf8(anchor.as_bytes()).ok()).map(str::to_owned);
        let cloud_anchor = text(self.cloud_anchor).or(key).ok_or(Missing::Anchor)?;
        Ok(Destination {
            target: object.id,
            metaverse,
            source_anchor: text(self.source_anchor).unwrap_or_default(),
            cloud_anchor,
            sign_in_name: text(self.sign_in_name).unwrap_or_default(),
            rules,
        })
    }
}

impl fmt::Debug for Routes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("pairs", self.pairs).finish_non_exhaustive()
    }
}

/// Whether an account of Active Directory is disabled in one of its images; `None` where the image does not tell.
pub fn is_disabled(names: &Names, account: &CsObject, image: StageMask) -> Option<bool> {
    let attr = names.find("userAccountControl")?;
    account.values.attribute(attr).filter(|item| ValueState(item.flags).present(image)).find_map(|item| {
        let control = match item.value {
            ValueRef::Number(number) => Some(number),
            ValueRef::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        control.map(|control| control & ACCOUNT_DISABLED != 0)
    })
}

/// True when a connector was read completely and synchronized in full: before that nobody knows whose password goes where
/// (specification: sync engine 7.2).
///
/// # Errors
/// When the store cannot be read.
pub fn is_synchronized(snapshot: &Snapshot, connector: ConnectorId) -> Result<bool, StoreError> {
    Ok(snapshot.state(connector, READ_WITH)?.is_some() && snapshot.state(connector, SYNCHRONIZED)?.is_some())
}
