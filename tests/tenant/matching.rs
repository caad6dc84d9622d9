//! Matching of new objects, uniqueness, and resiliency against duplicates (specification: sync engine 6.3 to 6.6).

use crate::support::{Drive, VERIFIED, delete, references, set, tenant, tenant_with, text, texts, user};
use syncline::tenant::directory::{
    Edit, Effect, FaultCode, Features, Incoming, MEMBER, Mastery, ObjectKind, Operation, PropertyValue, SyncChange,
};

fn mail(name: &str) -> String {
    format!("{name}@{VERIFIED}")
}

fn primary(name: &str) -> Incoming {
    texts(&[&format!("SMTP:{}", mail(name))])
}

/// The table of 6.3: what is there, which features are on, what comes, what happens.
#[test]
fn the_matching_table() {
    // Hard match onto a cloud object with the immutable id.
    let t = tenant();
    let cloud = t.cloud_user(&mail("a"), &[]);
    let edit = Edit { source_anchor: Some(Some("AAA=".into())), ..Edit::default() };
    let number = t.directory().read().unwrap().by_id(cloud.uuid()).unwrap().unwrap();
    t.directory().edit(number, &edit, &t.policy()).unwrap();
    t.feature(Features::BLOCK_HARD_MATCH_TAKEOVER, true);
    let outcome = t.apply(user("AAA=", &[("displayName", text("A"))]));
    let fault = outcome.result.unwrap_err();
    assert_eq!(fault.code, FaultCode::InvalidHardMatch);
    assert!(
        fault.description.starts_with("Another cloud created object with the same source anchor already exists in Azure Active Directory")
    );
    assert_eq!(fault.conflict.unwrap().object_id, cloud.uuid().to_string());
    t.feature(Features::BLOCK_HARD_MATCH_TAKEOVER, false);
    assert_eq!(t.accept(user("AAA=", &[("displayName", text("A"))])), Effect::Matched);
    assert_eq!(t.object("AAA=").id, cloud.id);
    assert_eq!(t.object("AAA=").mastery, Mastery::OnPremises);
    assert_eq!(t.refuse(set(ObjectKind::Group, "AAA=", &[])), FaultCode::ObjectTypeMismatch);
    assert_eq!(t.accept(user("aaa=", &[("displayName", text("other"))])), Effect::Created, "anchors compare with their case");

    // Soft match by primary SMTP.
    let t = tenant();
    let cloud = t.cloud_user(&mail("b"), &[("proxyAddresses", primary("b.mail"))]);
    t.feature(Features::BLOCK_SOFT_MATCH, true);
    assert_eq!(t.refuse(user("B", &[("mail", text(&mail("b.mail")))])), FaultCode::InvalidSoftMatch);
    t.feature(Features::BLOCK_SOFT_MATCH, false);
    assert_eq!(t.refuse(set(ObjectKind::Contact, "B", &[("mail", text(&mail("b.mail")))])), FaultCode::ObjectTypeMismatch);
    assert_eq!(t.accept(user("B", &[("proxyAddresses", primary("B.Mail"))])), Effect::Matched);
    assert_eq!((t.object("B").id, t.object("B").source_anchor.as_deref()), (cloud.id, Some("B")));

    // Soft match by UPN, only with its feature.
    let t = tenant();
    let cloud = t.cloud_user(&mail("c"), &[("displayName", text("cloud name"))]);
    t.feature(Features::SOFT_MATCH_ON_UPN, false);
    t.feature(Features::DUPLICATE_UPN_RESILIENCY, false);
    assert_eq!(t.refuse(user("C", &[("userPrincipalName", text(&mail("c")))])), FaultCode::AttributeValueMustBeUnique);
    t.feature(Features::SOFT_MATCH_ON_UPN, true);
    assert_eq!(t.accept(user("C", &[("userPrincipalName", text(&mail("C"))), ("displayName", text("directory name"))])), Effect::Matched);
    assert_eq!(t.object("C").id, cloud.id);
    assert_eq!(t.object("C").wanted_text("displayName"), Some("directory name"), "on-premises values overwrite");

    // An administrator is never matched.
    let t = tenant();
    let cloud = t.cloud_user(&mail("admin"), &[]);
    let number = t.directory().read().unwrap().by_id(cloud.uuid()).unwrap().unwrap();
    t.directory().edit(number, &Edit { roles: Some(vec!["Global Administrator".into()]), ..Edit::default() }, &t.policy()).unwrap();
    assert_eq!(t.refuse(user("D", &[("userPrincipalName", text(&mail("admin")))])), FaultCode::ExistingAdminRoleConflict);

    // A candidate that another object of the directory has: no soft match, with resiliency no error either.
    let t = tenant();
    t.accept(user("E1", &[("userPrincipalName", text(&mail("e"))), ("proxyAddresses", primary("e"))]));
    t.feature(Features::DUPLICATE_UPN_RESILIENCY, false);
    t.feature(Features::DUPLICATE_PROXY_ADDRESS_RESILIENCY, false);
    assert_eq!(t.refuse(user("E2", &[("userPrincipalName", text(&mail("e")))])), FaultCode::InvalidSoftMatch);
    assert_eq!(t.refuse(user("E2", &[("proxyAddresses", primary("e"))])), FaultCode::InvalidSoftMatch);
    t.feature(Features::DUPLICATE_UPN_RESILIENCY, true);
    assert_eq!(t.accept(user("E2", &[("userPrincipalName", text(&mail("e")))])), Effect::Created);

    // Known objects are updated; the same again changes nothing.
    assert_eq!(t.accept(user("E2", &[("displayName", text("x"))])), Effect::Updated);
    assert_eq!(t.accept(user("E2", &[("DisplayName", text("x"))])), Effect::Unchanged);
}

#[test]
fn duplicates_are_refused_or_kept_aside() {
    let t = tenant();
    t.accept(user(
        "ONE",
        &[
            ("userPrincipalName", text(&mail("one"))),
            ("proxyAddresses", texts(&[&format!("SMTP:{}", mail("one")), &format!("smtp:{}", mail("alias"))])),
        ],
    ));
    let one = t.object("ONE");

    // Resiliency on: the newcomer is created, the value is kept aside, and a placeholder is given.
    assert_eq!(
        t.accept(user(
            "TWO",
            &[
                ("userPrincipalName", text(&mail("one"))),
                ("proxyAddresses", texts(&[&format!("SMTP:{}", mail("two")), &format!("smtp:{}", mail("ALIAS"))]))
            ]
        )),
        Effect::Created
    );
    let two = t.object("TWO");
    let placeholder = two.effective.user_principal_name.clone().unwrap();
    let digits = placeholder.strip_prefix("one").unwrap().strip_suffix("@contoso.onmicrosoft.com").unwrap();
    assert!(digits.len() == 4 && digits.bytes().all(|octet| octet.is_ascii_digit()), "{placeholder}");
    assert_eq!(two.effective.proxy_addresses, [format!("SMTP:{}", mail("two"))]);
    let aside: Vec<_> = two.effective.quarantined.iter().map(|entry| (entry.property.as_str(), entry.value.clone())).collect();
    assert_eq!(aside, [("UserPrincipalName", mail("one")), ("ProxyAddresses", format!("smtp:{}", mail("ALIAS")))]);
    assert_eq!(two.written.text("userPrincipalName"), Some(mail("one").as_str()), "what was written stays as it was written");

    // The sweep releases what has become free, and only that.
    assert_eq!(t.directory().sweep(&t.policy()).unwrap(), (0, 0));
    t.accept(user("ONE", &[("userPrincipalName", text(&mail("uno"))), ("proxyAddresses", texts(&[&format!("SMTP:{}", mail("one"))]))]));
    t.advance_clock(3_600_000_000).unwrap();
    let two = t.object("TWO");
    assert_eq!(two.effective.user_principal_name.as_deref(), Some(mail("one").as_str()));
    assert!(two.effective.quarantined.is_empty());
    assert_eq!(two.effective.proxy_addresses.len(), 2);

    // Resiliency off: the update fails, names the other object, and leaves no trace.
    t.feature(Features::DUPLICATE_UPN_RESILIENCY, false);
    t.feature(Features::DUPLICATE_PROXY_ADDRESS_RESILIENCY, false);
    let before = t.object("ONE");
    for (property, value, attribute) in [
        ("userPrincipalName", text(&mail("one")), "UserPrincipalName"),
        ("proxyAddresses", texts(&[&format!("smtp:{}", mail("alias"))]), "ProxyAddresses"),
        ("mail", text(&mail("two")), "Mail"),
    ] {
        let fault = t.apply(user("ONE", &[("displayName", text("changed")), (property, value)])).result.unwrap_err();
        assert_eq!(fault.code, FaultCode::AttributeValueMustBeUnique, "{property}");
        let conflict = fault.conflict.unwrap();
        assert_eq!((conflict.object_id, conflict.attribute.as_str()), (two.uuid().to_string(), attribute));
    }
    assert_eq!(t.object("ONE"), before);
    assert_eq!(one.id, before.id);

    // The security identifier is never kept aside.
    t.feature(Features::DUPLICATE_PROXY_ADDRESS_RESILIENCY, true);
    let identifier = Incoming::Value(PropertyValue::Binary(vec![1, 5, 0, 0]));
    t.accept(user("ONE", &[("onPremiseSecurityIdentifier", identifier.clone())]));
    assert_eq!(t.refuse(user("THREE", &[("onPremiseSecurityIdentifier", identifier)])), FaultCode::AttributeValueMustBeUnique);

    // A group's address is no address for a user, resiliency or not.
    t.accept(set(ObjectKind::Group, "G", &[("mail", text(&mail("team"))), ("displayName", text("Team"))]));
    assert_eq!(
        t.refuse(user("ONE", &[("proxyAddresses", texts(&[&format!("smtp:{}", mail("team"))]))])),
        FaultCode::AttributeValueMustBeUnique
    );
}

#[test]
fn placeholders_may_have_a_plus() {
    let mut settings = crate::support::settings();
    settings.placeholder_with_plus = true;
    let t = tenant_with(settings);
    t.accept(user("ONE", &[("userPrincipalName", text(&mail("one")))]));
    t.accept(user("TWO", &[("userPrincipalName", text(&mail("one")))]));
    assert!(t.object("TWO").effective.user_principal_name.unwrap().starts_with("one+"));
}

#[test]
fn cloud_anchors_select_objects_and_stamp_users() {
    let t = tenant();
    let cloud = t.cloud_user(&mail("x"), &[]);
    let by_cloud = |source: Option<&str>, operation| SyncChange {
        kind: ObjectKind::User,
        operation,
        source_anchor: source.map(str::to_owned),
        cloud_anchor: Some(cloud.cloud_anchor()),
        properties: vec![("displayName".to_owned(), text("x"))],
    };
    assert_eq!(t.refuse(by_cloud(None, Operation::Set)), FaultCode::DataValidationFailed, "cloud-only objects are not changed");
    assert_eq!(t.refuse(by_cloud(None, Operation::Delete)), FaultCode::DeleteNotAllowed);
    assert_eq!(t.accept(by_cloud(Some("X"), Operation::Set)), Effect::Matched);
    assert_eq!(t.accept(by_cloud(None, Operation::Set)), Effect::Unchanged);
    assert_eq!(t.refuse(by_cloud(Some("Y"), Operation::Set)), FaultCode::DataValidationFailed, "a source anchor is set once");
    let mut unknown = by_cloud(None, Operation::Set);
    unknown.cloud_anchor = Some("User_00000000-0000-4000-8000-000000000000".into());
    assert_eq!(t.refuse(unknown.clone()), FaultCode::ObjectNotFound);
    unknown.operation = Operation::Delete;
    assert_eq!(t.refuse(unknown), FaultCode::ObjectNotFound);
    let nobody = SyncChange { source_anchor: None, cloud_anchor: None, ..by_cloud(None, Operation::Set) };
    assert_eq!(t.refuse(nobody), FaultCode::DataValidationFailed);
}

#[test]
fn references_wait_for_their_targets() {
    let t = tenant();
    t.accept(set(ObjectKind::Group, "G", &[("displayName", text("G")), ("member", references(&["A", "B"], &[]))]));
    let group = t.directory().read().unwrap().by_anchor("G").unwrap().unwrap();
    let resolved = |t: &syncline::tenant::Tenant| {
        let reader = t.directory().read().unwrap();
        let anchors = reader.references(group, MEMBER, None, 10).unwrap();
        anchors.iter().filter(|anchor| reader.by_reference(anchor).unwrap().is_some()).count()
    };
    assert_eq!((t.object("G").members, resolved(&t)), (2, 0));
    t.accept(user("A", &[]));
    assert_eq!(resolved(&t), 1);
    // Adding twice and removing what is not there are no errors.
    assert_eq!(t.accept(set(ObjectKind::Group, "G", &[("member", references(&["A"], &["Z"]))])), Effect::Unchanged);
    assert_eq!(t.accept(set(ObjectKind::Group, "G", &[("member", references(&[], &["B"]))])), Effect::Updated);
    assert_eq!(t.object("G").members, 1);
    // A list replaces, an empty list clears.
    t.accept(set(ObjectKind::Group, "G", &[("member", texts(&["C", "D", "A"]))]));
    assert_eq!(t.object("G").members, 3);
    t.accept(set(ObjectKind::Group, "G", &[("member", texts(&[]))]));
    assert_eq!(t.object("G").members, 0);
    // A manager is one.
    t.accept(user("A", &[("manager", text("M"))]));
    t.accept(user("A", &[("manager", text("N"))]));
    let number = t.directory().read().unwrap().by_anchor("A").unwrap().unwrap();
    assert_eq!(t.directory().read().unwrap().all_references(number).unwrap().len(), 1);
    assert_eq!(t.refuse(user("A", &[("manager", texts(&["M", "N"]))])), FaultCode::DataValidationFailed);
    assert_eq!(t.refuse(user("A", &[("displayName", references(&["M"], &[]))])), FaultCode::DataValidationFailed);
    assert_eq!(t.refuse(user("A", &[("manager", Incoming::Value(PropertyValue::Integer(1)))])), FaultCode::DataValidationFailed);
    assert_eq!(t.refuse(user("A", &[("manager", text("a\u{0}b"))])), FaultCode::DataValidationFailed);
}

/// References by cloud anchor follow the object when it gets an immutable id.
#[test]
fn references_follow_a_match() {
    let t = tenant();
    let cloud = t.cloud_user(&mail("x"), &[]);
    t.accept(set(ObjectKind::Group, "G", &[("member", texts(&[&cloud.cloud_anchor()]))]));
    t.accept(user("X", &[("userPrincipalName", text(&mail("x")))]));
    let reader = t.directory().read().unwrap();
    let group = reader.by_anchor("G").unwrap().unwrap();
    assert_eq!(reader.references(group, MEMBER, None, 10).unwrap(), ["X"]);
}

#[test]
fn limits_and_bad_values_are_refused_per_object() {
    let mut settings = crate::support::settings();
    settings.quota = 3;
    let t = tenant_with(settings);
    let certificates = |count: usize| Incoming::Value(PropertyValue::Binaries(vec![vec![1]; count]));
    assert_eq!(t.refuse(user("L", &[("userCertificate", certificates(16))])), FaultCode::LargeObject);
    assert_eq!(t.accept(user("L", &[("userCertificate", certificates(15))])), Effect::Created);
    let addresses: Vec<String> = (0..301).map(|number| format!("smtp:a{number}@{VERIFIED}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    assert_eq!(t.refuse(user("L", &[("proxyAddresses", texts(&addresses))])), FaultCode::LargeObject);
    let long = "x".repeat(251);
    assert_eq!(t.refuse(user("L", &[("extension_0123_long", text(&long))])), FaultCode::LargeObject);
    let many: Vec<(String, Incoming)> = (0..101).map(|number| (format!("extension_0123_n{number}"), text("x"))).collect();
    let many: Vec<(&str, Incoming)> = many.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(t.refuse(user("L", &many)), FaultCode::LargeObject);
    for bad in ["nobody", "a b@x.example", "a@@x.example"] {
        assert_eq!(t.refuse(user("L", &[("userPrincipalName", text(bad))])), FaultCode::DataValidationFailed, "{bad}");
    }
    assert_eq!(t.refuse(user(&"x".repeat(257), &[])), FaultCode::DataValidationFailed);
    // The tenant's own sync account counts, too.
    assert_eq!(t.accept(user("L2", &[])), Effect::Created);
    assert_eq!(t.refuse(user("L3", &[])), FaultCode::DirectoryQuotaExceeded);
    assert_eq!(t.accept(delete(ObjectKind::User, "L2")), Effect::Deleted);
    assert_eq!(t.accept(user("L3", &[])), Effect::Created);
}

#[test]
fn a_move_between_federated_domains_is_refused() {
    use syncline::tenant::directory::Authentication;
    let t = tenant();
    t.add_domain("one.example", Authentication::Federated).unwrap();
    t.add_domain("two.example", Authentication::Federated).unwrap();
    t.accept(user("F", &[("userPrincipalName", text("f@one.example"))]));
    assert_eq!(t.refuse(user("F", &[("userPrincipalName", text("f@two.example"))])), FaultCode::FederatedDomainChangeError);
    assert_eq!(t.accept(user("F", &[("userPrincipalName", text(&mail("f")))])), Effect::Updated);
    assert_eq!(t.accept(user("F", &[("userPrincipalName", text("f@two.example"))])), Effect::Updated);
}
