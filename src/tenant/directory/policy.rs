//! What the tenant's settings mean for writes: features, domains, limits, time.

use crate::model::{Timestamp, fold};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The feature bits of `DirSyncFeatures` (specification: provisioning service 3.2). Unknown bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features(pub i32);

impl Features {
    /// Bits of a fresh tenant: unnamed 32768, UPN synchronization, resiliency for both, soft match on UPN.
    pub const DEFAULT: Self = Self(41016);
    /// Password hashes are accepted.
    pub const PASSWORD_HASH_SYNC: i32 = 1;
    /// Writing passwords back.
    pub const PASSWORD_WRITEBACK: i32 = 2;
    /// Directory extensions.
    pub const DIRECTORY_EXTENSIONS: i32 = 4;
    /// A duplicate sign-in name is kept aside instead of refused.
    pub const DUPLICATE_UPN_RESILIENCY: i32 = 8;
    /// New users match existing ones by sign-in name.
    pub const SOFT_MATCH_ON_UPN: i32 = 16;
    /// A duplicate address is kept aside instead of refused.
    pub const DUPLICATE_PROXY_ADDRESS_RESILIENCY: i32 = 32;
    /// The cloud's password policy counts for synchronized users, too.
    pub const ENFORCE_CLOUD_PASSWORD_POLICY: i32 = 512;
    /// Groups are written back.
    pub const UNIFIED_GROUP_WRITEBACK: i32 = 1024;
    /// Users are written back.
    pub const USER_WRITEBACK: i32 = 2048;
    /// Devices are written back.
    pub const DEVICE_WRITEBACK: i32 = 4096;
    /// Sign-in names of managed, licensed users follow the directory.
    pub const SYNCHRONIZE_UPN_FOR_MANAGED_USERS: i32 = 8192;
    /// "Must change at next sign-in" travels with the password hash.
    pub const FORCE_PASSWORD_CHANGE: i32 = 16384;
    /// No soft match at all.
    pub const BLOCK_SOFT_MATCH: i32 = 524_288;
    /// No take-over of cloud objects by hard match.
    pub const BLOCK_HARD_MATCH_TAKEOVER: i32 = 1_048_576;

    /// Names of Graph (`onPremisesDirectorySynchronizationFeature`) with their bits; 0 for those that no bit is known of.
    pub const GRAPH_NAMES: [(&'static str, i32); 20] = [
        ("allowOnPremUpdateOfOnPremisesObjectIdentifierEnabled", 0),
        ("blockCloudObjectTakeoverThroughHardMatchEnabled", Self::BLOCK_HARD_MATCH_TAKEOVER),
        ("blockSoftMatchEnabled", Self::BLOCK_SOFT_MATCH),
        ("bypassDirSyncOverridesEnabled", 0),
        ("cloudPasswordPolicyForPasswordSyncedUsersEnabled", Self::ENFORCE_CLOUD_PASSWORD_POLICY),
        ("concurrentCredentialUpdateEnabled", 0),
        ("concurrentOrgIdProvisioningEnabled", 0),
        ("deviceWritebackEnabled", Self::DEVICE_WRITEBACK),
        ("directoryExtensionsEnabled", Self::DIRECTORY_EXTENSIONS),
        ("fopeConflictResolutionEnabled", 0),
        ("groupWriteBackEnabled", 0),
        ("passwordSyncEnabled", Self::PASSWORD_HASH_SYNC),
        ("passwordWritebackEnabled", Self::PASSWORD_WRITEBACK),
        ("quarantineUponProxyAddressesConflictEnabled", Self::DUPLICATE_PROXY_ADDRESS_RESILIENCY),
        ("quarantineUponUpnConflictEnabled", Self::DUPLICATE_UPN_RESILIENCY),
        ("softMatchOnUpnEnabled", Self::SOFT_MATCH_ON_UPN),
        ("synchronizeUpnForManagedUsersEnabled", Self::SYNCHRONIZE_UPN_FOR_MANAGED_USERS),
        ("unifiedGroupWritebackEnabled", Self::UNIFIED_GROUP_WRITEBACK),
        ("userForcePasswordChangeOnLogonEnabled", Self::FORCE_PASSWORD_CHANGE),
        ("userWritebackEnabled", Self::USER_WRITEBACK),
    ];

    /// Bits that cannot be turned off once they are on (specification: sync engine 6.3).
    pub const STICKY: i32 = Self::SOFT_MATCH_ON_UPN
        | Self::SYNCHRONIZE_UPN_FOR_MANAGED_USERS
        | Self::DUPLICATE_UPN_RESILIENCY
        | Self::DUPLICATE_PROXY_ADDRESS_RESILIENCY;

    /// True when the bit is on.
    pub fn has(self, bit: i32) -> bool {
        self.0 & bit != 0
    }

    /// With a bit on or off.
    #[must_use]
    pub fn with(self, bit: i32, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// How people of a domain sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authentication {
    /// The tenant verifies the password.
    Managed,
    /// Another server does.
    Federated,
}

/// What a write has to know beside the object itself.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The time of the write.
    pub now: Timestamp,
    /// Feature bits.
    pub features: Features,
    /// The domain that generated names get.
    pub initial_domain: String,
    /// Verified domains by folded name.
    pub domains: HashMap<String, Authentication>,
    /// The placeholder of a duplicate sign-in name has a `+` before its digits.
    pub placeholder_with_plus: bool,
    /// The most live objects.
    pub quota: u64,
    /// How long a deleted user can come back, in microseconds.
    pub recycle_microseconds: i64,
    /// Accounts of the cloud take synchronized passwords when they are named by their own key.
    pub password_only_links: bool,
}

impl Policy {
    /// How a domain signs in; `None` when it is not verified.
    pub fn domain(&self, name: &str) -> Option<Authentication> {
        self.domains.get(fold(name).as_ref()).copied()
    }
}
