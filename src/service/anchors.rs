//! One source anchor in all the forms in which administrators meet it.

use crate::model::Anchor;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::fmt::Write as _;
use uuid::Uuid;

/// A source anchor in every form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnchorForms {
    /// How the given text was understood.
    pub given_as: &'static str,
    /// The octets in hex.
    pub hex: String,
    /// Base64: `sourceAnchor`, `immutableId`, `onPremisesImmutableId`.
    pub base64: String,
    /// As a GUID in the order in which Active Directory stores it, when it has 16 octets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// As a GUID in network order, as `entryUUID` counts it, when it has 16 octets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_order_guid: Option<String>,
    /// For an LDAP filter: `(objectGUID=…)`.
    pub ldap_filter: String,
    /// The name in the connector space of the cloud.
    pub cloud_dn: String,
}

/// Why a text is no anchor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither a GUID, nor hex, nor base64, nor a cloud name like CN={{4E…}}")]
pub struct NoAnchor(String);

/// All forms of the anchor that `text` is one form of: a GUID, hex (plain, or as in an LDAP filter), base64, or the
/// name of a cloud object.
///
/// # Errors
/// When it is none of these.
pub fn convert_anchor(text: &str) -> Result<AnchorForms, NoAnchor> {
    let (given_as, octets) = understood(text)?;
    let base64 = STANDARD.encode(&octets);
    let sixteen = <[u8; 16]>::try_from(octets.as_slice()).ok();
    let mut filter = String::with_capacity(octets.len() * 3);
    for octet in &octets {
        // Writing to a text cannot fail.
        let _ = write!(filter, "\\{octet:02x}");
    }
    Ok(AnchorForms {
        given_as,
        hex: hex::encode(&octets),
        cloud_dn: format!("CN={{{}}}", hex::encode_upper(base64.as_bytes())),
        base64,
        guid: sixteen.map(|octets| Uuid::from_bytes_le(octets).to_string()),
        network_order_guid: sixteen.map(|octets| Uuid::from_bytes(octets).to_string()),
        ldap_filter: format!("(objectGUID={filter})"),
    })
}

/// The octets of an anchor in any of these forms.
///
/// # Errors
/// When it is none of them.
pub(super) fn octets_of(text: &str) -> Result<Vec<u8>, NoAnchor> {
    Ok(understood(text)?.1)
}

fn understood(text: &str) -> Result<(&'static str, Vec<u8>), NoAnchor> {
    let text = text.trim();
    let fits = |(_, octets): &(&str, Vec<u8>)| !octets.is_empty() && octets.len() <= Anchor::OCTETS_MAX;
    understand(text).filter(fits).ok_or_else(|| NoAnchor(text.chars().take(100).collect()))
}

fn understand(text: &str) -> Option<(&'static str, Vec<u8>)> {
    if let Some(rest) = text.get(..3).filter(|start| start.eq_ignore_ascii_case("CN=")).and_then(|_| text.get(3..)) {
        let inner = rest.trim().strip_prefix('{')?.strip_suffix('}')?;
        let anchor = String::from_utf8(hex::decode(inner).ok()?).ok()?;
        return Some(("cloud-dn", STANDARD.decode(anchor.as_bytes()).unwrap_or_else(|_| anchor.into_bytes())));
    }
    if text.contains('-') {
        let guid = Uuid::try_parse(text.trim_start_matches('{').trim_end_matches('}')).ok()?;
        return Some(("guid", guid.to_bytes_le().to_vec()));
    }
    // As it is printed for an LDAP filter, with the name of any attribute.
    let text = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')?.split_once('=')).map_or(text, |(_, value)| value);
    let plain: String = text.chars().filter(|c| !matches!(c, '\\' | ':' | ' ')).collect();
    // Most hex would also decode as base64; nobody means that.
    if let Ok(octets) = hex::decode(&plain) {
        return Some(("hex", octets));
    }
    STANDARD.decode(text).ok().map(|octets| ("base64", octets))
}

/// The octets that a text may mean as an anchor: in every form of [`convert_anchor`], and as text itself.
pub(super) fn anchor_candidates(text: &str) -> Vec<Vec<u8>> {
    let mut candidates = vec![text.as_bytes().to_vec()];
    if let Some((given_as, octets)) = understand(text.trim()) {
        if given_as == "guid"
            && let Ok(guid) = Uuid::try_parse(text.trim().trim_start_matches('{').trim_end_matches('}'))
        {
            candidates.push(guid.as_bytes().to_vec());
            candidates.push(format!("User_{guid}").into_bytes());
            candidates.push(format!("Group_{guid}").into_bytes());
            candidates.push(format!("Contact_{guid}").into_bytes());
        }
        candidates.push(octets);
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_leads_to_every_other() {
        let forms = convert_anchor("x4V0iaeB60KXxjftcwd7Hw==").unwrap();
        assert_eq!(forms.cloud_dn, "CN={783456306961654236304B58786A66746377643748773D3D}");
        assert_eq!(forms.guid.as_deref(), Some("897485c7-81a7-42eb-97c6-37ed73077b1f"));
        for form in [&forms.hex, &forms.cloud_dn, forms.guid.as_ref().unwrap(), &forms.cloud_dn.to_lowercase().replace("cn=", "CN=")] {
            let again = convert_anchor(form).unwrap();
            assert_eq!((&again.base64, &again.hex), (&forms.base64, &forms.hex), "{form}");
        }
        let value = forms.ldap_filter.trim_start_matches("(objectGUID=").trim_end_matches(')');
        for filter in [value, &forms.ldap_filter] {
            assert_eq!(convert_anchor(filter).unwrap().base64, forms.base64);
        }
        assert_eq!(convert_anchor("67452301").unwrap().hex, "67452301");
        assert_eq!(convert_anchor("{897485C7-81A7-42EB-97C6-37ED73077B1F}").unwrap().given_as, "guid");
    }

    #[test]
    fn what_is_no_anchor_is_refused() {
        for text in ["", "CN={xyz}", "not an anchor!", "1234-5", "CN=a"] {
            assert!(convert_anchor(text).is_err(), "{text}");
        }
        assert!(convert_anchor(&"00".repeat(500)).is_err());
    }
}
