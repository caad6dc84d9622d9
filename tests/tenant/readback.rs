//! Reading back: whole, in pages, deltas, tombstones (specification: provisioning service 3.5).

use crate::support::{Drive, VERIFIED, delete, references, set, tenant, text, texts, user};
use std::collections::BTreeSet;
use syncline::tenant::Tenant;
use syncline::tenant::directory::{CookieError, ObjectKind, PropertyValue, ReadBackItem, ReadBackPage, ReadBackRequest};

fn read(t: &Tenant, cookie: Option<&str>, full: bool, page_size: Option<usize>) -> ReadBackPage {
    let request = ReadBackRequest { cookie: cookie.map(str::to_owned), full, page_size };
    t.directory().read().unwrap().read_back(&request).unwrap()
}

fn value<'a>(item: &'a ReadBackItem, name: &str) -> Option<&'a PropertyValue> {
    item.properties.iter().find(|property| property.name == name).map(|property| &property.value)
}

fn anchor(item: &ReadBackItem) -> String {
    value(item, "SourceAnchor").or_else(|| value(item, "CloudAnchor")).and_then(PropertyValue::as_text).unwrap().to_owned()
}

#[test]
fn everything_comes_back_as_it_was_written() {
    let t = tenant();
    t.accept(user("OTHER", &[("userPrincipalName", text(&format!("a@{VERIFIED}")))]));
    t.accept(user(
        "A",
        &[
            ("userPrincipalName", text(&format!("a@{VERIFIED}"))),
            ("displayName", text("Alice")),
            ("manager", text("OTHER")),
            ("proxyAddresses", texts(&["smtp:x@unverified.example"])),
        ],
    ));
    t.accept(set(ObjectKind::Group, "G", &[("Description", text("x")), ("member", references(&["A", "not here yet"], &[]))]));
    let page = read(&t, None, true, None);
    assert!(!page.more);
    assert_eq!(page.items.len(), 4, "three and the sync account");
    let a = page.items.iter().find(|item| anchor(item) == "A").unwrap();
    assert_eq!(
        value(a, "UserPrincipalName").and_then(PropertyValue::as_text),
        Some(format!("a@{VERIFIED}").as_str()),
        "kept aside, but written"
    );
    assert_eq!(value(a, "Manager"), Some(&PropertyValue::Text("OTHER".into())));
    assert_eq!(value(a, "ProxyAddresses"), Some(&PropertyValue::Texts(vec!["smtp:x@unverified.example".into()])));
    assert_eq!(a.properties[0].name, "CloudAnchor");
    assert!(value(a, "Alias").is_none(), "a made nickname is not written");
    let group = page.items.iter().find(|item| anchor(item) == "G").unwrap();
    assert_eq!(value(group, "Member"), Some(&PropertyValue::Texts(vec!["A".into(), "not here yet".into()])));
    assert_eq!(value(group, "Description"), Some(&PropertyValue::Text("x".into())));
    let account = page.items.iter().find(|item| value(item, "SourceAnchor").is_none()).unwrap();
    assert_eq!(value(account, "CloudMastered"), Some(&PropertyValue::Boolean(true)));
}

#[test]
fn pages_and_deltas_miss_nothing() {
    let t = tenant();
    for number in 0..25 {
        t.accept(user(&format!("U{number:02}"), &[]));
    }
    let mut seen = BTreeSet::new();
    let mut page = read(&t, None, true, Some(10));
    let mut pages = 1;
    loop {
        assert!(page.items.len() <= 10);
        seen.extend(page.items.iter().map(anchor));
        if !page.more {
            break;
        }
        if pages == 1 {
            // What happens during a full read is in the delta behind it.
            t.accept(user("LATE", &[]));
            t.accept(delete(ObjectKind::User, "U00"));
        }
        page = read(&t, Some(&page.cookie), true, Some(10));
        pages += 1;
    }
    assert_eq!(pages, 3);
    assert_eq!(seen.len(), 27);
    let delta = read(&t, Some(&page.cookie), false, Some(10));
    let reported: Vec<_> = delta.items.iter().map(|item| (anchor(item), item.deleted)).collect();
    assert_eq!(reported, [("LATE".to_owned(), false), ("U00".to_owned(), true)]);
    assert_eq!(delta.items[1].properties.len(), 2, "a tombstone has its anchors only");
    let nothing = read(&t, Some(&delta.cookie), false, Some(10));
    assert!(nothing.items.is_empty() && !nothing.more);
    // Every accepted write is in the next delta, even if no value changed; several writes make one entry.
    t.accept(user("U01", &[]));
    t.accept(user("U01", &[]));
    t.accept(user("U02", &[("displayName", text("x"))]));
    let delta = read(&t, Some(&nothing.cookie), false, Some(1));
    assert!(delta.more);
    assert_eq!(anchor(&delta.items[0]), "U01");
    let rest = read(&t, Some(&delta.cookie), false, Some(1));
    assert_eq!((anchor(&rest.items[0]), rest.more), ("U02".to_owned(), false));
    // A cookie of a delta and the wish for everything: everything.
    assert_eq!(read(&t, Some(&rest.cookie), true, None).items.len(), 26);
}

#[test]
fn deleting_a_member_reports_its_groups() {
    let t = tenant();
    t.accept(user("A", &[]));
    t.accept(set(ObjectKind::Group, "G", &[("member", references(&["A"], &[]))]));
    let cookie = read(&t, None, true, None).cookie;
    t.accept(delete(ObjectKind::User, "A"));
    t.accept(set(ObjectKind::Contact, "C", &[]));
    t.accept(delete(ObjectKind::Contact, "C"));
    let delta = read(&t, Some(&cookie), false, None);
    let reported: BTreeSet<_> = delta.items.iter().map(|item| (anchor(item), item.deleted)).collect();
    let expected = [("A", true), ("C", true), ("G", false)].map(|(anchor, deleted)| (anchor.to_owned(), deleted));
    assert_eq!(reported, BTreeSet::from(expected));
    let group = delta.items.iter().find(|item| anchor(item) == "G").unwrap();
    assert!(value(group, "Member").is_none());
}

#[test]
fn bad_and_old_cookies_are_refused() {
    let t = tenant();
    let reader = t.directory().read().unwrap();
    for cookie in ["", "nonsense", "MTpkOjk5OTk5OQ=="] {
        let request = ReadBackRequest { cookie: Some(cookie.to_owned()), ..ReadBackRequest::default() };
        assert!(matches!(reader.read_back(&request), Err(CookieError::Unreadable | CookieError::Expired)), "{cookie}");
    }
    drop(reader);
    // Tombstones go after 60 days, and with them the cookies that would need them.
    let cookie = read(&t, None, true, None).cookie;
    t.accept(set(ObjectKind::Contact, "C", &[]));
    t.accept(delete(ObjectKind::Contact, "C"));
    t.advance_clock(61 * 86_400_000_000).unwrap();
    let request = ReadBackRequest { cookie: Some(cookie), ..ReadBackRequest::default() };
    assert!(matches!(t.directory().read().unwrap().read_back(&request), Err(CookieError::Expired)));
}
