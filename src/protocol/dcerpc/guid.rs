//! A globally unique identifier in the form in which it travels: first three fields little-endian (MS-DTYP 2.3.4).

use std::fmt;

/// Sixteen octets as they stand on the wire; for an object in Active Directory also the octets of its `objectGUID`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// All zeros: nobody.
    pub const NIL: Self = Self([0; 16]);

    /// True for [`Self::NIL`].
    pub fn is_nil(self) -> bool {
        self == Self::NIL
    }
}

/// The usual text: `8ac6d8ec-d411-43ec-b875-06d70e3dd46c`.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, index) in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].into_iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[index])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_its_first_fields_turned() {
        let mut octets = [0; 16];
        hex::decode_to_slice("ecd8c68a11d4ec43b87506d70e3dd46c", &mut octets).unwrap();
        assert_eq!(Guid(octets).to_string(), "8ac6d8ec-d411-43ec-b875-06d70e3dd46c");
        assert!(Guid::NIL.is_nil() && !Guid(octets).is_nil());
    }
}
