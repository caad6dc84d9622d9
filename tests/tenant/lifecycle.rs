//! Deletes, the recycle bin, activation, and the tenant's file (specification: sync engine 6.2 and 6.7).

use crate::support::{Drive, INITIAL, VERIFIED, delete, references, set, settings, tenant, text, user};
use syncline::context::Context;
use syncline::tenant::directory::{Effect, FaultCode, Features, MEMBER, Mastery, ObjectKind, ReadBackRequest};
use syncline::tenant::state::Activation;
use syncline::tenant::{Location, Tenant, TenantCredentials, TenantError};

const DAY: i64 = 86_400_000_000;

#[test]
fn users_come_back_with_their_anchor_and_memberships() {
    let t = tenant();
    t.accept(user("U", &[("userPrincipalName", text(&format!("u@{VERIFIED}")))]));
    t.accept(set(ObjectKind::Group, "G", &[("member", references(&["U"], &[]))]));
    let before = t.object("U");
    assert_eq!(t.accept(delete(ObjectKind::User, "U")), Effect::Deleted);
    assert_eq!(t.accept(delete(ObjectKind::User, "U")), Effect::AlreadyDeleted);
    assert_eq!(t.accept(delete(ObjectKind::User, "never was")), Effect::AlreadyDeleted);
    assert_eq!((t.object("U").mastery, t.object("U").is_live()), (Mastery::Released, false));
    assert_eq!(t.object("G").members, 0);
    // The bin's values are still taken.
    t.feature(Features::DUPLICATE_UPN_RESILIENCY, false);
    assert_eq!(t.refuse(user("NEW", &[("userPrincipalName", text(&format!("u@{VERIFIED}")))])), FaultCode::AttributeValueMustBeUnique);
    // A take-over block does not stand between synchronization and its own deletes.
    t.feature(Features::BLOCK_HARD_MATCH_TAKEOVER, true);
    assert_eq!(t.accept(user("U", &[("displayName", text("back"))])), Effect::Restored);
    let after = t.object("U");
    assert_eq!((after.id, after.mastery, after.is_live()), (before.id, Mastery::OnPremises, true));
    assert_eq!(t.object("G").members, 1);
}

#[test]
fn after_thirty_days_a_user_is_gone_and_its_values_are_free() {
    let t = tenant();
    t.accept(user("U", &[("userPrincipalName", text(&format!("u@{VERIFIED}")))]));
    let id = t.object("U").id;
    t.accept(delete(ObjectKind::User, "U"));
    t.advance_clock(29 * DAY).unwrap();
    assert!(t.directory().read().unwrap().by_anchor("U").unwrap().is_some());
    t.advance_clock(2 * DAY).unwrap();
    assert!(t.directory().read().unwrap().by_anchor("U").unwrap().is_none());
    assert_eq!(t.accept(user("U", &[("userPrincipalName", text(&format!("u@{VERIFIED}")))])), Effect::Created);
    assert_ne!(t.object("U").id, id, "a new object id");
}

#[test]
fn groups_and_contacts_are_gone_at_once() {
    let t = tenant();
    for (kind, anchor) in [(ObjectKind::Group, "G"), (ObjectKind::Contact, "C"), (ObjectKind::Device, "D")] {
        t.accept(set(kind, anchor, &[("displayName", text("x"))]));
        assert_eq!(t.refuse(delete(ObjectKind::User, anchor)), FaultCode::ObjectTypeMismatch);
        assert_eq!(t.accept(delete(kind, anchor)), Effect::Deleted);
        assert!(t.directory().read().unwrap().by_anchor(anchor).unwrap().is_none());
        assert_eq!(t.accept(delete(kind, anchor)), Effect::AlreadyDeleted);
    }
}

#[test]
fn manual_restore_makes_a_cloud_object_that_matches_again() {
    let t = tenant();
    t.accept(user("U", &[("userPrincipalName", text(&format!("u@{VERIFIED}")))]));
    t.accept(delete(ObjectKind::User, "U"));
    let number = t.directory().read().unwrap().by_anchor("U").unwrap().unwrap();
    let restored = t.directory().restore(number, &t.policy()).unwrap();
    assert_eq!((restored.mastery, restored.source_anchor.as_deref()), (Mastery::Released, Some("U")));
    assert!(t.directory().restore(number, &t.policy()).is_err(), "only from the bin");
    t.feature(Features::BLOCK_HARD_MATCH_TAKEOVER, true);
    assert_eq!(t.refuse(user("U", &[])), FaultCode::InvalidHardMatch);
    t.feature(Features::BLOCK_HARD_MATCH_TAKEOVER, false);
    assert_eq!(t.accept(user("U", &[])), Effect::Matched);
}

#[test]
fn turning_off_takes_its_time_and_releases_everything() {
    let mut settings = settings();
    settings.deactivation = std::time::Duration::from_hours(72);
    let t = crate::support::tenant_with(settings);
    t.accept(user("U", &[("displayName", text("U"))]));
    let cookie = t.directory().read().unwrap().read_back(&ReadBackRequest::default()).unwrap().cookie;
    assert!(t.activate(false).unwrap());
    assert!(matches!(t.state().activation, Activation::PendingDisabled(_)));
    assert!(!t.activate(true).unwrap(), "cannot be cancelled");
    t.advance_clock(71 * DAY / 24).unwrap();
    assert!(!t.state().accepts_synchronization());
    t.advance_clock(2 * DAY / 24).unwrap();
    assert_eq!((t.state().activation, t.state().on_premises_sync_enabled()), (Activation::Disabled, Some(false)));
    let released = t.object("U");
    assert_eq!((released.mastery, released.wanted_text("displayName")), (Mastery::Cloud, Some("U")));
    assert!(t.directory().read().unwrap().read_back(&ReadBackRequest { cookie: Some(cookie), ..ReadBackRequest::default() }).is_err());
    assert!(t.activate(true).unwrap());
    t.feature(Features::BLOCK_HARD_MATCH_TAKEOVER, true);
    assert_eq!(t.refuse(user("U", &[])), FaultCode::InvalidHardMatch);
    t.feature(Features::BLOCK_HARD_MATCH_TAKEOVER, false);
    assert_eq!(t.accept(user("U", &[("displayName", text("U"))])), Effect::Matched);
}

#[test]
fn a_tenant_survives_being_closed() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("tenant.redb"));
    let settings = settings();
    let credentials = settings.credentials.clone();
    let open = || Tenant::open(&location, settings.clone(), Context::system());
    {
        let t = open().unwrap();
        t.accept(user("U", &[("userPrincipalName", text(&format!("u@{VERIFIED}")))]));
        t.accept(set(ObjectKind::Group, "G", &[("member", references(&["U"], &[]))]));
        t.feature(Features::PASSWORD_HASH_SYNC, true);
        assert!(matches!(open(), Err(TenantError::Directory(_))), "one process at a time");
    }
    {
        let t = open().unwrap();
        assert_eq!(t.state().tenant_id, credentials.tenant_id);
        assert!(t.state().features.has(Features::PASSWORD_HASH_SYNC));
        assert_eq!(t.accept(user("U", &[("userPrincipalName", text(&format!("u@{VERIFIED}")))])), Effect::Unchanged);
        let reader = t.directory().read().unwrap();
        let group = reader.by_anchor("G").unwrap().unwrap();
        assert_eq!(reader.references(group, MEMBER, None, 5).unwrap(), ["U"]);
        // Only one sync account was made.
        assert_eq!(reader.live().unwrap(), 3);
    }
    let mut other = settings.clone();
    other.credentials = TenantCredentials::generate();
    assert!(matches!(Tenant::open(&location, other, Context::system()), Err(TenantError::OtherTenant { .. })));
}

/// A hundred thousand writes would take too long here; the shape of the cost shows at five thousand: batches, one
/// transaction each, and lookups that do not grow with the tenant.
#[test]
fn many_objects_are_written_in_batches() {
    let t = tenant();
    let changes: Vec<_> = (0..5000)
        .map(|number| {
            user(
                &format!("anchor-{number:06}"),
                &[("userPrincipalName", text(&format!("user{number}@{VERIFIED}"))), ("displayName", text(&format!("User {number}")))],
            )
        })
        .collect();
    for batch in changes.chunks(250) {
        let outcomes = t.directory().apply(batch, &t.policy()).unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.result == Ok(Effect::Created)));
    }
    let members: Vec<String> = (0..5000).map(|number| format!("anchor-{number:06}")).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    t.accept(set(ObjectKind::Group, "G", &[("member", references(&members, &[]))]));
    assert_eq!(t.object("G").members, 5000);
    assert_eq!(t.directory().read().unwrap().live().unwrap(), 5002);
    assert_eq!(t.object("anchor-004999").effective.user_principal_name, Some(format!("user4999@{VERIFIED}")));
    assert_ne!(t.object("anchor-000001").effective.user_principal_name, Some(format!("user1@{INITIAL}")));
}
