//! Names of cloud objects: `CN={hex of the anchor's octets}` (specification: provisioning service 4.1).

/// By which key the service knows an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The anchor that synchronization gave it.
    Source(String),
    /// The anchor that the cloud gave it: `User_…`.
    Cloud(String),
}

/// The name of an object with this anchor.
pub(super) fn name_of(anchor: &str) -> String {
    format!("CN={{{}}}", hex::encode_upper(anchor))
}

/// The key behind a name; `None` for names that are not of this form.
pub(super) fn key_of(name: &str) -> Option<Key> {
    let name = name.trim();
    let (kind, rest) = name.split_at_checked(3)?;
    let hex = rest.strip_prefix('{')?.strip_suffix('}')?;
    if !kind.eq_ignore_ascii_case("CN=") || hex.is_empty() {
        return None;
    }
    let anchor = String::from_utf8(hex::decode(hex).ok()?).ok()?;
    Some(if is_cloud_anchor(&anchor) { Key::Cloud(anchor) } else { Key::Source(anchor) })
}

/// True for `Type_<GUID>`. No source anchor looks so: base64 has no underscore, and one in another form that did
/// would be the service's own.
pub(super) fn is_cloud_anchor(anchor: &str) -> bool {
    type_of(anchor).is_some()
}

/// The type that a cloud anchor names.
pub(super) fn type_of(anchor: &str) -> Option<&'static str> {
    let (kind, id) = anchor.split_once('_')?;
    let kind = ["User", "Group", "Contact", "Device"].into_iter().find(|known| *known == kind)?;
    (id.len() == 36 && uuid::Uuid::try_parse(id).is_ok()).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_published_example() {
        let name = "CN={783456306961654236304B58786A66746377643748773D3D}";
        assert_eq!(name_of("x4V0iaeB60KXxjftcwd7Hw=="), name);
        assert_eq!(key_of(name), Some(Key::Source("x4V0iaeB60KXxjftcwd7Hw==".to_owned())));
        assert_eq!(key_of(&name.to_lowercase()), Some(Key::Source("x4V0iaeB60KXxjftcwd7Hw==".to_owned())));
    }

    #[test]
    fn cloud_anchors_are_told_apart() {
        let anchor = "Group_64c6616b-2f5a-4dc5-8b33-8e1ca3be4eb2";
        assert_eq!(key_of(&name_of(anchor)), Some(Key::Cloud(anchor.to_owned())));
        assert_eq!(type_of(anchor), Some("Group"));
        for other in ["Group_64c6616b", "Robot_64c6616b-2f5a-4dc5-8b33-8e1ca3be4eb2", "64c6616b-2f5a-4dc5-8b33-8e1ca3be4eb2", ""] {
            assert!(!is_cloud_anchor(other), "{other}");
        }
    }

    #[test]
    fn other_names_are_nobodys() {
        for name in ["", "CN", "CN={}", "CN={4}", "CN={zz}", "CN={FF}", "OU={41}", "CN=41", "ä=={41}"] {
            assert_eq!(key_of(name), None, "{name}");
        }
    }
}
