//! Names in the extended form in which Active Directory gives them on request: the object's GUID, its SID, its name
//! (MS-ADTS 3.1.1.3.4.1.5).

use uuid::Uuid;

/// Object identifier of the control that asks for names in the extended form.
pub const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
/// Its value: `SEQUENCE { INTEGER 1 }`, GUIDs as text with hyphens.
pub const EXTENDED_DN_TEXT: [u8; 5] = [0x30, 3, 2, 1, 1];

/// The GUID of a name in the extended form, `<GUID=…>;…;CN=…`, in the octets in which `objectGUID` has it.
pub fn guid_of(name: &str) -> Option<[u8; 16]> {
    let (guid, _) = name.strip_prefix("<GUID=")?.split_once('>')?;
    let identifier = Uuid::try_parse(guid).ok()?;
    // As text the first three fields are numbers, whose octets lie the other way round.
    Some(if guid.contains('-') { identifier.to_bytes_le() } else { identifier.into_bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_give_the_octets_of_the_object() {
        let octets = [0x8e, 0x15, 0xc3, 0x7a, 0x3b, 0xd6, 0x5e, 0x45, 0xac, 0x29, 0x2e, 0x9e, 0x80, 0xe6, 0x8e, 0x13];
        assert_eq!(guid_of("<GUID=7ac3158e-d63b-455e-ac29-2e9e80e68e13>;<SID=S-1-5>;CN=a,DC=x"), Some(octets));
        assert_eq!(guid_of("<GUID=8e15c37a3bd65e45ac292e9e80e68e13>;CN=a"), Some(octets));
    }

    #[test]
    fn other_names_have_none() {
        for name in ["CN=a", "<SID=1>;CN=a", "<GUID=>;CN=a", "<GUID=12", "<GUID=8e15c37a3bd65e45ac292e9e80e68e1>;", "<GUID=zz>"] {
            assert_eq!(guid_of(name), None, "{name}");
        }
        assert_eq!(guid_of("<GUID=8e15c37a3bd65e45ac292e9e80e68e1300>;CN=a"), None);
    }
}
