//! The built-in rules, and what their placeholders stand for.

use super::input::{AnchorAttribute, ConnectorKind, RuleSettings, UserMatching};

/// The embedded files: name and text.
pub(super) const FILES: &[(&str, &str)] = &[
    ("built-in/in-from-ad.toml", include_str!("defaults/in-from-ad.toml")),
    ("built-in/in-from-ldap.toml", include_str!("defaults/in-from-ldap.toml")),
    ("built-in/in-from-cloud.toml", include_str!("defaults/in-from-cloud.toml")),
    ("built-in/out-to-cloud.toml", include_str!("defaults/out-to-cloud.toml")),
    ("built-in/out-to-ad.toml", include_str!("defaults/out-to-ad.toml")),
    ("built-in/password-only.toml", include_str!("defaults/password-only.toml")),
];

/// Names that stand in `${…}` inside expressions and scope values.
pub(super) const SUBSTITUTIONS: &[&str] =
    &["user_anchor", "user_anchor_binary", "object_anchor", "ldap_user_anchor", "ldap_object_anchor", "group_members_max"];

/// As the operand of a test of membership: each of the connector's pilot groups.
pub(super) const PILOT_GROUP: &str = "${pilot_group}";

/// An attribute as anchor text: text as it is, octets in base64.
fn as_text(attribute: &str) -> String {
    format!("IIF(IsString([{attribute}]), CStr([{attribute}]), ConvertToBase64([{attribute}]))")
}

/// What a name in `${…}` stands for.
pub(super) fn substitution(name: &str, kind: ConnectorKind, settings: &RuleSettings) -> Option<String> {
    // Servers and files without Active Directory's attributes have entryUUID (RFC 4530) instead.
    let other = matches!(kind, ConnectorKind::OpenLdap | ConnectorKind::Ldif);
    let guid = || {
        if other {
            format!("IIF(IsPresent([objectGUID]), {}, {})", as_text("objectGUID"), as_text("entryUUID"))
        } else {
            as_text("objectGUID")
        }
    };
    Some(match (name, &settings.anchor_attribute) {
        ("user_anchor" | "ldap_user_anchor", AnchorAttribute::Attribute(attribute)) => as_text(attribute),
        ("user_anchor", AnchorAttribute::ConsistencyGuid) => {
            format!("IIF(IsPresent([mS-DS-ConsistencyGuid]), {}, {})", as_text("mS-DS-ConsistencyGuid"), guid())
        }
        ("user_anchor" | "object_anchor", _) => guid(),
        ("ldap_user_anchor" | "ldap_object_anchor", _) => as_text("entryUUID"),
        ("user_anchor_binary", AnchorAttribute::ConsistencyGuid) => {
            "IIF(IsPresent([mS-DS-ConsistencyGuid]), [mS-DS-ConsistencyGuid], [objectGUID])".to_owned()
        }
        ("user_anchor_binary", _) => "[objectGUID]".to_owned(),
        ("group_members_max", _) => settings.group_members_max.to_string(),
        _ => return None,
    })
}

/// Placeholders that stand for join groups.
pub(super) const JOINS: &[&str] = &["@user-matching", "@ldap-user-matching", "@ldap-matching"];

/// The join groups of a placeholder, as pairs of connector-space and metaverse attribute.
pub(super) fn join(placeholder: &str, kind: ConnectorKind, settings: &RuleSettings) -> Option<Vec<(String, String)>> {
    let pair = |cs: &str, mv: &str| (cs.to_owned(), mv.to_owned());
    let by_anchor = |cs: &str| vec![pair(cs, "sourceAnchor")];
    Some(match (placeholder, &settings.user_matching) {
        ("@user-matching" | "@ldap-user-matching", UserMatching::Once) => Vec::new(),
        ("@user-matching" | "@ldap-user-matching", UserMatching::Mail) => vec![pair("mail", "mail")],
        ("@user-matching" | "@ldap-user-matching", UserMatching::Attribute(attribute)) => vec![pair(attribute, attribute)],
        ("@user-matching", UserMatching::AccountName) => vec![pair("sAMAccountName", "mailNickname"), pair("mailNickname", "accountName")],
        ("@user-matching", UserMatching::ObjectSid) => {
            let mut pairs = vec![
                pair("objectSid", "objectSid"),
                pair("msExchMasterAccountSid", "objectSid"),
                pair("objectSid", "msExchMasterAccountSid"),
                pair("msRTCSIP-OriginatorSid", "objectSid"),
                pair("objectSid", "msRTCSIP-OriginatorSid"),
            ];
            if matches!(kind, ConnectorKind::OpenLdap | ConnectorKind::Ldif) {
                // Copies of a directory often lack the identifiers; an object needs one criterion with a value.
                pairs.push(pair("objectGUID", "sourceAnchorBinary"));
                pairs.push(pair("entryUUID", "sourceAnchor"));
            }
            pairs
        }
        ("@ldap-user-matching", _) => match &settings.anchor_attribute {
            AnchorAttribute::Attribute(attribute) => by_anchor(attribute),
            _ => by_anchor("entryUUID"),
        },
        ("@ldap-matching", _) => by_anchor("entryUUID"),
        _ => return None,
    })
}
