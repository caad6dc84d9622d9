//! What synchronization asks for, object by object, and what it is told.

use super::properties::PropertyValue;
use super::record::ObjectKind;

/// What to do with an object (specification: provisioning service 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Create or update.
    Add,
    /// Update, or create when unknown.
    Set,
    /// Delete.
    Delete,
}

impl Operation {
    /// The spelling on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::Set => "Set",
            Self::Delete => "Delete",
        }
    }

    /// Reads the spelling of the wire, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Add, Self::Set, Self::Delete].into_iter().find(|operation| operation.as_str().eq_ignore_ascii_case(text))
    }
}

/// One change of a set of references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceChange {
    /// Source anchor or cloud anchor of the target.
    pub anchor: String,
    /// `anchor` is a cloud anchor.
    pub by_cloud_anchor: bool,
    /// Add the reference, or take it away.
    pub add: bool,
}

/// A new value for an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// No value any more.
    Clear,
    /// Exactly this value.
    Value(PropertyValue),
    /// Some references more, some less.
    References(Vec<ReferenceChange>),
}

/// One object as synchronization sends it. Attributes that are not named stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncChange {
    /// The type of the object.
    pub kind: ObjectKind,
    /// What to do.
    pub operation: Operation,
    /// The immutable id.
    pub source_anchor: Option<String>,
    /// The object as a cloud anchor.
    pub cloud_anchor: Option<String>,
    /// New values by attribute name; anchors are not among them.
    pub properties: Vec<(String, Incoming)>,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// A new object.
    Created,
    /// An existing cloud object was taken over by a match.
    Matched,
    /// A deleted object came back from the recycle bin.
    Restored,
    /// Values or references changed.
    Updated,
    /// Everything was so already.
    Unchanged,
    /// The object was deleted.
    Deleted,
    /// There was nothing to delete.
    AlreadyDeleted,
}

impl Effect {
    /// A stable name for counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Matched => "matched",
            Self::Restored => "restored",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::AlreadyDeleted => "alreadyDeleted",
        }
    }
}

/// Why an object was refused: number and name of the contract with the client (specification: provisioning service 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// Another object has the value.
    AttributeValueMustBeUnique,
    /// A soft match hit an object that may not be matched.
    InvalidSoftMatch,
    /// A hard match is blocked.
    InvalidHardMatch,
    /// The matched object has another type.
    ObjectTypeMismatch,
    /// A malformed value.
    DataValidationFailed,
    /// A move between federated domains.
    FederatedDomainChangeError,
    /// Too many or too long values.
    LargeObject,
    /// A soft match onto an administrator.
    ExistingAdminRoleConflict,
    /// No object with that cloud anchor.
    ObjectNotFound,
    /// The tenant may not hold more objects.
    DirectoryQuotaExceeded,
    /// Synchronization may not delete this object.
    DeleteNotAllowed,
}

impl FaultCode {
    /// All codes.
    pub const ALL: [FaultCode; 11] = [
        Self::AttributeValueMustBeUnique,
        Self::InvalidSoftMatch,
        Self::InvalidHardMatch,
        Self::ObjectTypeMismatch,
        Self::DataValidationFailed,
        Self::FederatedDomainChangeError,
        Self::LargeObject,
        Self::ExistingAdminRoleConflict,
        Self::ObjectNotFound,
        Self::DirectoryQuotaExceeded,
        Self::DeleteNotAllowed,
    ];

    /// The name that travels as `ErrorCategory`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttributeValueMustBeUnique => "AttributeValueMustBeUnique",
            Self::InvalidSoftMatch => "InvalidSoftMatch",
            Self::InvalidHardMatch => "InvalidHardMatch",
            Self::ObjectTypeMismatch => "ObjectTypeMismatch",
            Self::DataValidationFailed => "DataValidationFailed",
            Self::FederatedDomainChangeError => "FederatedDomainChangeError",
            Self::LargeObject => "LargeObject",
            Self::ExistingAdminRoleConflict => "ExistingAdminRoleConflict",
            Self::ObjectNotFound => "ObjectNotFound",
            Self::DirectoryQuotaExceeded => "DirectoryQuotaExceeded",
            Self::DeleteNotAllowed => "DeleteNotAllowed",
        }
    }

    /// The number that travels as `ResultErrorCode`. 24 is ours; the others are in the contract.
    pub fn number(self) -> i32 {
        match self {
            Self::AttributeValueMustBeUnique => 15,
            Self::InvalidSoftMatch => 16,
            Self::InvalidHardMatch => 17,
            Self::ObjectTypeMismatch => 18,
            Self::DataValidationFailed => 19,
            Self::FederatedDomainChangeError => 20,
            Self::LargeObject => 21,
            Self::ExistingAdminRoleConflict => 22,
            Self::ObjectNotFound => 23,
            Self::DirectoryQuotaExceeded => 24,
            Self::DeleteNotAllowed => 114,
        }
    }

    /// The code of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str().eq_ignore_ascii_case(name))
    }
}

/// The other object of a conflict and the attribute that both want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The object id of the other object.
    pub object_id: String,
    /// The attribute.
    pub attribute: String,
    /// The values, joined by semicolons.
    pub values: String,
}

/// A refused object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFault {
    /// Number and name.
    pub code: FaultCode,
    /// A sentence for people.
    pub description: String,
    /// Whom it collided with.
    pub conflict: Option<Conflict>,
}

impl ObjectFault {
    /// A refusal without another object.
    pub fn new(code: FaultCode, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), conflict: None }
    }
}

/// The answer for one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The type of the object.
    pub kind: ObjectKind,
    /// What was asked for.
    pub operation: Operation,
    /// The immutable id, from the request or from the object.
    pub source_anchor: Option<String>,
    /// The object, unless it was refused.
    pub cloud_anchor: Option<String>,
    /// What was done or why not.
    pub result: Result<Effect, ObjectFault>,
}

/// A password hash for one account.
#[derive(Clone)]
pub struct CredentialChange {
    /// The account by immutable id.
    pub source_anchor: Option<String>,
    /// The account by cloud anchor.
    pub cloud_anchor: Option<String>,
    /// `CredentialData` as it was sent.
    pub data: secrecy::SecretString,
    /// When the password was changed, in microseconds since 1970; `None` when the date could not be read.
    pub changed: Option<i64>,
    /// The next sign-in must change it.
    pub force_change: bool,
}

/// The answer for one password hash: our numbers (specification: provisioning service 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialResult {
    /// Taken.
    Success,
    /// No such account yet; worth trying again.
    NotFound,
    /// The account is mastered in the cloud.
    CloudOnly,
    /// The data cannot be read.
    Malformed,
    /// No user.
    NotAUser,
}

impl CredentialResult {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::NotFound => 1,
            Self::CloudOnly => 2,
            Self::Malformed => 3,
            Self::NotAUser => 4,
        }
    }

    /// The sentence that goes with it. None for 0, and none for 1: a client that finds a text does not try again.
    pub fn description(self) -> Option<&'static str> {
        match self {
            Self::Success | Self::NotFound => None,
            Self::CloudOnly => Some("The account is a cloud-only user; synchronization may not set its password."),
            Self::Malformed => Some("The credential data cannot be read: expected v1;PPH1_MD4,<salt>,<iterations>,<key>;"),
            Self::NotAUser => Some("The object is not a user."),
        }
    }
}
