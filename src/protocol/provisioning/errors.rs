//! Faults of whole calls and errors of single objects (specification: provisioning service 6).

/// A fault: the whole call was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct Fault {
    /// The caller is at fault (`s:Sender`), not the service (`s:Receiver`).
    pub sender: bool,
    /// The number, when it is one: 81 busy, 90 password synchronization is off.
    pub code: Option<u32>,
    /// The sentence.
    pub description: String,
    /// The number under which the service logged it.
    pub tracking_id: Option<String>,
    /// Go to this address instead.
    pub redirect: Option<String>,
}

impl Fault {
    /// Busy: the whole call may be repeated.
    pub const BUSY: u32 = 81;
    /// Password synchronization is not switched on.
    pub const PASSWORD_SYNC_OFF: u32 = 90;
    /// The exact words with which a tenant refuses while directory synchronization is off.
    pub const NOT_ACTIVATED: &str = "Identity synchronization is not yet activated for this company.";

    /// A fault of the caller.
    pub fn sender(description: impl Into<String>) -> Self {
        Self { sender: true, code: None, description: description.into(), tracking_id: None, redirect: None }
    }
}

macro_rules! result_errors {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Why the service refused one object. Numbers are an agreement of our two sides but for 114.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ResultError {
            $($(#[$doc])* $name,)*
        }

        impl ResultError {
            /// All of them.
            pub const ALL: &'static [ResultError] = &[$(Self::$name),*];

            /// The number on the wire.
            pub fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

result_errors! {
    /// Another object has the value.
    AttributeValueMustBeUnique = 15, "AttributeValueMustBeUnique";
    /// Soft match hit an object with another anchor, or is blocked.
    InvalidSoftMatch = 16, "InvalidSoftMatch";
    /// Hard match is blocked.
    InvalidHardMatch = 17, "InvalidHardMatch";
    /// Matched an object of another type.
    ObjectTypeMismatch = 18, "ObjectTypeMismatch";
    /// A malformed value.
    DataValidationFailed = 19, "DataValidationFailed";
    /// A move between federated domains.
    FederatedDomainChangeError = 20, "FederatedDomainChangeError";
    /// Object, attribute or number of values too large.
    LargeObject = 21, "LargeObject";
    /// Soft match onto an administrator.
    ExistingAdminRoleConflict = 22, "ExistingAdminRoleConflict";
    /// No object with this cloud anchor.
    ObjectNotFound = 23, "ObjectNotFound";
    /// Synchronization may not delete this object.
    DeleteNotAllowed = 114, "DeleteNotAllowed";
}

impl ResultError {
    /// By name first, then by number.
    pub fn find(name: Option<&str>, number: Option<u32>) -> Option<Self> {
        let by_name = name.and_then(|name| Self::ALL.iter().find(|error| error.name() == name));
        by_name.or_else(|| number.and_then(|number| Self::ALL.iter().find(|error| error.number() == number))).copied()
    }
}
