//! A problem of one object is data, kept on the object until it is solved.

use super::time::Timestamp;
use std::borrow::Cow;
use std::fmt;

/// The stable spelling of an object problem. Microsoft's strings where they exist, ours in the same style.
///
/// Every code that the engine raises is a constant here, so that documentation and tests can be held against one
/// list; codes that a directory sends and we do not know are kept as they came.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectErrorCode(Cow<'static, str>);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl ObjectErrorCode {
            $($(#[$doc])* pub const $name: ObjectErrorCode = ObjectErrorCode(Cow::Borrowed($text));)*
            /// Every code the engine itself can raise.
            pub const ALL: &'static [ObjectErrorCode] = &[$(Self::$name),*];
        }
    };
}

codes! {
    /// An entry without a distinguished name.
    MISSING_DN = "missing-dn";
    /// A text that is no distinguished name.
    INVALID_DN = "invalid-dn";
    /// The anchor attribute is absent.
    MISSING_ANCHOR_COMPONENT = "missing-anchor-component";
    /// The anchor attribute has several values.
    MULTI_VALUED_ANCHOR_COMPONENT = "multi-valued-anchor-component";
    /// The anchor is longer than 398 octets.
    ANCHOR_TOO_LONG = "anchor-too-long";
    /// Two entries of one import carry the same anchor.
    DUPLICATE_OBJECT = "duplicate-object";
    /// Two entries of one full import carry the same distinguished name.
    DUPLICATE_DN = "duplicate-dn";
    /// An entry without `objectClass`.
    MISSING_OBJECT_CLASS = "missing-object-class";
    /// An attribute without which nobody can say what the object is allowed is not there any more.
    MISSING_REQUIRED_ATTRIBUTE = "missing-required-attribute";
    /// A value that does not fit its attribute's syntax.
    INVALID_ATTRIBUTE_VALUE = "invalid-attribute-value";
    /// Base64 that does not decode.
    INVALID_BASE64_VALUE = "invalid-base64-value";
    /// A number that is none.
    INVALID_NUMERIC_VALUE = "invalid-numeric-value";
    /// A Boolean that is none.
    INVALID_BOOLEAN_VALUE = "invalid-boolean-value";
    /// A reference that is no distinguished name.
    INVALID_REFERENCE_VALUE = "invalid-reference-value";
    /// An entry or record that could not be read at all.
    PARSE_ERROR = "parse-error";
    /// A change record without `changetype`.
    MISSING_CHANGE_TYPE = "missing-change-type";
    /// A change record with an unknown `changetype`.
    INVALID_CHANGE_TYPE = "invalid-change-type";
    /// A change for an object whose full image is not known.
    NEED_FULL_OBJECT = "need-full-object";
    /// Several values for a single-valued attribute.
    MULTI_SINGLE_MISMATCH = "multi-single-mismatch";
    /// An exported change that the target acknowledged and an import did not show.
    EXPORTED_CHANGE_NOT_REIMPORTED = "exported-change-not-reimported";
    /// `Error(…)` was called by an expression.
    SYNC_RULE_ERROR_FUNCTION_TRIGGERED = "sync-rule-error-function-triggered";
    /// Several values flow to a single-valued attribute.
    FLOW_MULTI_VALUES_TO_SINGLE_VALUE = "flow-multi-values-to-single-value";
    /// A value of the wrong type flows to an attribute.
    CS_ATTRIBUTE_TYPE_MISMATCH = "cs-attribute-type-mismatch";
    /// A multi-valued attribute in a join criterion.
    JOIN_OBJECT_ID_MUST_BE_SINGLE_VALUED = "join-object-id-must-be-single-valued";
    /// A value that the metaverse schema does not allow (text too long).
    MV_CONSTRAINT_VIOLATION = "mv-constraint-violation";
    /// `DNComponent` beyond the name.
    DN_INDEX_OUT_OF_BOUNDS = "dn-index-out-of-bounds";
    /// Rules with different targets want to join one object.
    MULTIPLE_JOIN_RULES_IN_SCOPE = "multiple-join-rules-in-scope";
    /// The join target already has a link from this connector, or several objects want it.
    AMBIGUOUS_JOIN = "ambiguous-join";
    /// Flows of different merge types into one attribute.
    MERGE_TYPE_CONFLICT = "merge-type-conflict";
    /// A wrong type at run time of an expression.
    EXPRESSION_TYPE_MISMATCH = "expression-type-mismatch";
    /// A bad argument at run time of an expression.
    EXPRESSION_ARGUMENT = "expression-argument";
    /// Provisioning lacks an attribute that the target needs.
    MISSING_PROVISIONING_ATTRIBUTE = "missing-provisioning-attribute";
    /// One object caused more than ten provisioning rounds in one step.
    PROVISIONING_LOOP = "provisioning-loop";
    /// An update or delete of an object that the target does not have.
    CD_MISSING_OBJECT = "cd-missing-object";
    /// An add of an object that the target already has.
    CD_EXISTING_OBJECT = "cd-existing-object";
    /// The target's answer named an object that the connector space already holds, and both cannot be one.
    DUPLICATE_ANCHOR = "duplicate-anchor";
    /// Export of references failed; a later pass tries again.
    DN_ATTRIBUTES_FAILURE = "dn-attributes-failure";
    /// The account may not do this in the target.
    PERMISSION_ISSUE = "permission-issue";
    /// The target refused for a reason of its own that has no name here.
    CD_ERROR = "cd-error";
    /// A promise of ours was broken.
    UNEXPECTED_ERROR = "unexpected-error";
    /// Cloud: another object has the value.
    ATTRIBUTE_VALUE_MUST_BE_UNIQUE = "AttributeValueMustBeUnique";
    /// Cloud: another object has the value, which the tenant keeps aside; the object has another one, or none.
    QUARANTINED_ATTRIBUTE_VALUE_MUST_BE_UNIQUE = "QuarantinedAttributeValueMustBeUnique";
    /// Cloud: soft match hit an object with another anchor.
    INVALID_SOFT_MATCH = "InvalidSoftMatch";
    /// Cloud: hard match is blocked.
    INVALID_HARD_MATCH = "InvalidHardMatch";
    /// Cloud: matched an object of another type.
    OBJECT_TYPE_MISMATCH = "ObjectTypeMismatch";
    /// Cloud: malformed value.
    DATA_VALIDATION_FAILED = "DataValidationFailed";
    /// Cloud: move between federated domains.
    FEDERATED_DOMAIN_CHANGE_ERROR = "FederatedDomainChangeError";
    /// Cloud: object, attribute or value count too large.
    LARGE_OBJECT = "LargeObject";
    /// Cloud: soft match onto an administrator.
    EXISTING_ADMIN_ROLE_CONFLICT = "ExistingAdminRoleConflict";
    /// Cloud: no such object.
    OBJECT_NOT_FOUND = "ObjectNotFound";
    /// Cloud: this object may not be deleted by synchronization.
    DELETE_NOT_ALLOWED = "DeleteNotAllowed";
}

impl ObjectErrorCode {
    /// A code that arrived from elsewhere; the constants compare equal to their spelling.
    pub fn named(code: impl Into<String>) -> Self {
        Self(Cow::Owned(code.into()))
    }

    /// The stable spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ObjectErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ObjectErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which half of the circle found the problem. An object has at most one problem on each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorSide {
    /// Reading and staging.
    Import,
    /// Rules, joins, flows.
    Sync,
    /// Sending to the target.
    Export,
}

/// A problem of one object: what, since when, how often. `detail` names attribute, rule or the other object and
/// says what to do; it never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectError {
    /// What happened.
    pub code: ObjectErrorCode,
    /// For people: which attribute, which rule, which other object, what to do.
    pub detail: String,
    /// When it happened first.
    pub first_seen: Timestamp,
    /// When it happened last.
    pub last_seen: Timestamp,
    /// How often it happened again since.
    pub retry_count: u32,
}

impl ObjectError {
    /// A problem that happened now for the first time.
    pub fn new(code: ObjectErrorCode, detail: impl Into<String>, now: Timestamp) -> Self {
        Self { code, detail: detail.into(), first_seen: now, last_seen: now, retry_count: 0 }
    }

    /// The target took the object and keeps values of it aside, because another object has them.
    pub fn kept_aside(detail: impl Into<String>, now: Timestamp) -> Self {
        Self::new(ObjectErrorCode::QUARANTINED_ATTRIBUTE_VALUE_MUST_BE_UNIQUE, detail, now)
    }

    /// True when values of the object are kept aside. That is no refusal: the target accepted what it was sent, so the problem is
    /// not over when something else is accepted or nothing waits, and it holds nothing back.
    pub fn is_kept_aside(&self) -> bool {
        self.code == ObjectErrorCode::QUARANTINED_ATTRIBUTE_VALUE_MUST_BE_UNIQUE
    }

    /// The same problem happening again: keeps the first time and counts, unless the code differs.
    #[must_use]
    pub fn after(mut self, earlier: Option<&ObjectError>) -> Self {
        if let Some(earlier) = earlier.filter(|earlier| earlier.code == self.code) {
            self.first_seen = earlier.first_seen;
            self.retry_count = earlier.retry_count.saturating_add(1);
        }
        self
    }
}
