//! The bits of `DirSyncFeatures` that password hashes and matching depend on (specification: provisioning service 3.2). There are more, and
//! whoever writes the field keeps all that it does not know.

/// Password hashes are taken.
pub const PASSWORD_HASH_SYNC: i64 = 1;
/// The cloud's own expiry counts for synchronized users, too.
pub const ENFORCE_CLOUD_PASSWORD_POLICY: i64 = 512;
/// Temporary passwords are taken and must be changed at the next sign-in.
pub const FORCE_PASSWORD_CHANGE: i64 = 16384;

/// A duplicate sign-in name is kept aside instead of refused.
pub const DUPLICATE_UPN_RESILIENCY: i64 = 8;
/// New users match existing ones by sign-in name.
pub const SOFT_MATCH_ON_UPN: i64 = 16;
/// A duplicate address is kept aside instead of refused.
pub const DUPLICATE_PROXY_ADDRESS_RESILIENCY: i64 = 32;
/// No soft match at all.
pub const BLOCK_SOFT_MATCH: i64 = 524_288;
/// No take-over of cloud objects by hard match.
pub const BLOCK_HARD_MATCH_TAKEOVER: i64 = 1_048_576;

/// The same field with some bits set or cleared.
#[must_use]
pub fn with(field: i64, bits: i64, on: bool) -> i64 {
    if on { field | bits } else { field & !bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_stay() {
        assert_eq!(with(41016, PASSWORD_HASH_SYNC, true), 41017);
        assert_eq!(with(41017 + (1 << 30), PASSWORD_HASH_SYNC, false), 41016 + (1 << 30));
    }
}
