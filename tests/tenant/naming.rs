//! Sign-in names and nicknames: the five documented scenarios and what surrounds them (specification: sync engine 6.4).

use crate::support::{Drive, INITIAL, VERIFIED, tenant, text, texts, user};
use syncline::tenant::Tenant;
use syncline::tenant::directory::{Authentication, Edit, Features, Incoming};

/// Anchor, what is written, the nickname that follows.
type Case<'a> = (&'a str, &'a [(&'a str, Incoming)], &'a str);

fn names(t: &Tenant, anchor: &str) -> (String, String) {
    let record = t.object(anchor);
    (record.effective.mail_nickname.unwrap(), record.effective.user_principal_name.unwrap())
}

#[test]
fn the_five_documented_scenarios() {
    let t = tenant();
    let expect = |nickname: &str, name: &str| assert_eq!(names(&t, "U"), (nickname.to_owned(), name.to_owned()));
    t.accept(user(
        "U",
        &[
            ("proxyAddresses", texts(&["SMTP:user1@contoso.com"])),
            ("mail", text("user2@contoso.com")),
            ("userPrincipalName", text("user3@contoso.com")),
        ],
    ));
    expect("user1", &format!("user1@{INITIAL}"));
    t.accept(user("U", &[("mailNickname", text("user4"))]));
    expect("user4", &format!("user1@{INITIAL}"));
    t.accept(user("U", &[("userPrincipalName", text("user5@contoso.com"))]));
    expect("user4", &format!("user4@{INITIAL}"));
    t.accept(user("U", &[("proxyAddresses", texts(&["SMTP:user6@contoso.com"])), ("mail", text("user7@contoso.com"))]));
    expect("user4", &format!("user4@{INITIAL}"));
    t.accept(user("U", &[("userPrincipalName", text(&format!("user5@{VERIFIED}")))]));
    expect("user4", &format!("user5@{VERIFIED}"));
}

#[test]
fn the_first_present_value_gives_the_nickname() {
    let t = tenant();
    let cases: [Case<'_>; 6] = [
        ("1", &[("alias", text("nick")), ("mail", text("m@c.example"))], "nick"),
        ("2", &[("proxyAddresses", texts(&["smtp:second@c.example", "SMTP:first@c.example"])), ("mail", text("m2@c.example"))], "first"),
        ("3", &[("mail", text("m3@c.example")), ("userPrincipalName", text("u3@c.example"))], "m3"),
        ("4", &[("userPrincipalName", text("u4@c.example"))], "u4"),
        ("5", &[("proxyAddresses", texts(&["smtp:second5@c.example"])), ("userPrincipalName", Incoming::Clear)], "second5"),
        ("6", &[("onPremisesSamAccountName", text("dns-server"))], "dns-server"),
    ];
    for (anchor, properties, nickname) in cases {
        t.accept(user(anchor, properties));
        assert_eq!(names(&t, anchor).0, nickname, "{anchor}");
    }
}

#[test]
fn names_without_a_usable_upn_are_generated() {
    let t = tenant();
    t.accept(user("S", &[("userPrincipalName", Incoming::Clear), ("onPremisesSamAccountName", text("dns-dc1"))]));
    assert_eq!(names(&t, "S").1, format!("dns-dc1@{INITIAL}"));
    t.accept(user("N", &[]));
    assert_eq!(t.object("N").effective.user_principal_name, Some(format!("user@{INITIAL}")));
    t.accept(user("M", &[("userPrincipalName", text(&format!("müller@{VERIFIED}"))), ("mailNickname", text("mueller"))]));
    assert_eq!(names(&t, "M").1, format!("mueller@{INITIAL}"), "characters that the cloud does not take");
    // Two with the same generated name.
    t.accept(user("N2", &[]));
    let second = t.object("N2").effective.user_principal_name.unwrap();
    assert!(second.starts_with("user") && second.len() == "user1234@".len() + INITIAL.len(), "{second}");
}

#[test]
fn verifying_and_removing_domains_makes_names_again() {
    let t = tenant();
    t.accept(user("V", &[("userPrincipalName", text("v@new.example"))]));
    assert_eq!(names(&t, "V").1, format!("v@{INITIAL}"));
    t.add_domain("New.Example", Authentication::Managed).unwrap();
    assert_eq!(names(&t, "V").1, "v@new.example");
    assert!(t.remove_domain("new.example").unwrap());
    assert_eq!(names(&t, "V").1, format!("v@{INITIAL}"));
    assert!(!t.remove_domain(INITIAL).unwrap(), "the initial domain stays");
}

#[test]
fn mailbox_users_keep_names_or_get_an_address() {
    let t = tenant();
    t.accept(user("B", &[("userPrincipalName", text(&format!("b@{VERIFIED}")))]));
    let number = t.directory().read().unwrap().by_anchor("B").unwrap().unwrap();
    t.directory().edit(number, &Edit { mailbox: Some(true), ..Edit::default() }, &t.policy()).unwrap();
    t.feature(Features::SYNCHRONIZE_UPN_FOR_MANAGED_USERS, false);
    t.accept(user("B", &[("userPrincipalName", text(&format!("b2@{VERIFIED}")))]));
    assert_eq!(names(&t, "B").1, format!("b@{VERIFIED}"));
    t.feature(Features::SYNCHRONIZE_UPN_FOR_MANAGED_USERS, true);
    t.accept(user("B", &[("userPrincipalName", text(&format!("b3@{VERIFIED}")))]));
    assert_eq!(names(&t, "B").1, format!("b3@{VERIFIED}"));
    assert_eq!(t.object("B").effective.proxy_addresses, [format!("smtp:b3@{VERIFIED}")]);
}
