//! The rule model as configured (specification: default rules, section 10; sync engine, section 3).

use crate::model::{AttrId, ConnectorId, ObjectType, RuleId, Value};

/// Which way a rule works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From a connector space to the metaverse.
    Inbound,
    /// From the metaverse to a connector space.
    Outbound,
}

/// What a rule does to links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Neither creates nor holds.
    Join,
    /// Does not create; once joined, holds until the source object is gone.
    StickyJoin,
    /// Creates and holds.
    Provision,
}

/// A synchronization rule.
#[derive(Clone, Debug)]
pub struct SyncRule {
    /// Stable number, derived from tag (or name) and connector.
    pub id: RuleId,
    /// The name people see; once per connector.
    pub name: String,
    /// What it is for, in the words of who wrote it.
    pub description: String,
    /// Immutable tag of a built-in rule.
    pub tag: Option<String>,
    /// Which way it works.
    pub direction: Direction,
    /// The connector whose space it reads or writes.
    pub connector: ConnectorId,
    /// The type in the connector space.
    pub cs_type: ObjectType,
    /// The type in the metaverse; `None` is `*`, any type (joins only).
    pub mv_type: Option<ObjectType>,
    /// What it does to links.
    pub link: LinkType,
    /// Lower wins. Computed from group order and connector order for built-in rules.
    pub precedence: u32,
    /// The place in the precedence as it is configured; several rules may have one.
    pub order: u32,
    /// When it applies.
    pub scope: Scope,
    /// How it finds partners; groups in order.
    pub join: Vec<Vec<JoinClause>>,
    /// What it flows.
    pub flows: Vec<Flow>,
    /// Objects in its scope take part in password hash synchronization.
    pub password_sync: bool,
    /// Disabled rules are kept and shown, not applied.
    pub enabled: bool,
    /// Why the rule does not apply although nobody disabled it: a condition of a built-in rule that does not hold.
    pub hindrance: Option<String>,
    /// File and line it came from, for messages.
    pub origin: String,
}

/// Groups of clauses: any group, all clauses of it. No group: every object of the type.
#[derive(Clone, Debug, Default)]
pub struct Scope(pub Vec<Vec<ScopeClause>>);

/// One test of a scope.
#[derive(Clone, Debug)]
pub struct ScopeClause {
    /// The attribute tested.
    pub attr: AttrId,
    /// The test.
    pub operator: ScopeOperator,
    /// The operand, parameters not yet replaced; empty for `ISNULL` and `ISNOTNULL`.
    pub value: String,
}

/// Tests of a scope (specification: sync engine, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's own")]
pub enum ScopeOperator {
    Equal,
    NotEqual,
    LessThan,
    LessThanOrEqual,
    GreaterThan,
    GreaterThanOrEqual,
    Contains,
    NotContains,
    StartsWith,
    NotStartsWith,
    EndsWith,
    NotEndsWith,
    IsNull,
    IsNotNull,
    IsIn,
    IsNotIn,
    IsBitSet,
    IsNotBitSet,
    IsMemberOf,
    IsNotMemberOf,
}

/// One pair of a join group.
#[derive(Clone, Debug)]
pub struct JoinClause {
    /// The attribute in the connector space.
    pub cs: AttrId,
    /// The attribute in the metaverse.
    pub mv: AttrId,
    /// Compare text exactly.
    pub case_sensitive: bool,
}

/// One attribute flow.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The attribute written.
    pub target: AttrId,
    /// Where the value comes from.
    pub source: FlowSource,
    /// Only when the link (inbound) or the object (outbound) is made.
    pub once: bool,
    /// How it goes together with other flows into the same attribute.
    pub merge: MergeType,
    /// An absent source leaves the target as it is, as if the flow said `IgnoreThisFlow`, instead of clearing it.
    pub keep_when_absent: bool,
    /// Text in the expression compares exactly.
    pub exact: bool,
}

/// Where a flow's value comes from.
#[derive(Clone, Debug)]
pub enum FlowSource {
    /// An attribute as it is.
    Direct(AttrId),
    /// A fixed value.
    Constant(Value),
    /// An expression, as written.
    Expression(String),
}

/// How several flows into one attribute go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeType {
    /// One winner.
    Update,
    /// Union.
    Merge,
    /// Union, values equal but for case once.
    MergeCaseInsensitive,
}

impl Direction {
    /// The spelling in rule files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

impl LinkType {
    /// The spelling in rule files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::StickyJoin => "sticky-join",
            Self::Provision => "provision",
        }
    }
}

impl MergeType {
    /// The spelling in rule files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Merge => "merge",
            Self::MergeCaseInsensitive => "merge-case-insensitive",
        }
    }
}

impl ScopeOperator {
    /// Every operator with its spelling; the first one of an operator is the one that is written.
    pub const SPELLINGS: &'static [(&'static str, Self)] = &[
        ("EQUAL", Self::Equal),
        ("NOTEQUAL", Self::NotEqual),
        ("LESSTHAN", Self::LessThan),
        ("LESSTHAN_OR_EQUAL", Self::LessThanOrEqual),
        ("GREATERTHAN", Self::GreaterThan),
        ("GREATERTHAN_OR_EQUAL", Self::GreaterThanOrEqual),
        ("CONTAINS", Self::Contains),
        ("NOTCONTAINS", Self::NotContains),
        ("STARTSWITH", Self::StartsWith),
        ("NOTSTARTSWITH", Self::NotStartsWith),
        ("ENDSWITH", Self::EndsWith),
        ("NOTENDSWITH", Self::NotEndsWith),
        ("ISNULL", Self::IsNull),
        ("ISNOTNULL", Self::IsNotNull),
        ("ISIN", Self::IsIn),
        ("ISNOTIN", Self::IsNotIn),
        ("ISBITSET", Self::IsBitSet),
        ("ISBITNOTSET", Self::IsNotBitSet),
        ("ISNOTBITSET", Self::IsNotBitSet),
        ("ISMEMBEROF", Self::IsMemberOf),
        ("ISNOTMEMBEROF", Self::IsNotMemberOf),
    ];

    /// The spelling in rule files.
    pub fn as_str(self) -> &'static str {
        Self::SPELLINGS.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }

    /// True for the tests of membership in a group.
    pub fn tests_membership(self) -> bool {
        matches!(self, Self::IsMemberOf | Self::IsNotMemberOf)
    }

    /// False for the tests of presence.
    pub fn takes_value(self) -> bool {
        !matches!(self, Self::IsNull | Self::IsNotNull)
    }
}
