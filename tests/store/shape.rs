//! Objects of the measured shape (storage and performance, section 1): users of 36 to 41 values, 0.9 to 1.3 KB.

use syncline::model::{
    Anchor, ConnectorId, CsId, CsObject, DeltaKind, FlatBuilder, MvId, MvObject, Names, ObjectType, StageDelta, ValueRef,
};

/// The attributes of a common user of Active Directory, for records of the measured shape: 36–41 values.
const USER: [(&str, Shape); 33] = [
    ("accountNameHistory", Shape::Text("jw00000")),
    ("c", Shape::Text("DE")),
    ("cn", Shape::Numbered("Johanna Wintermeier")),
    ("co", Shape::Text("Germany")),
    ("company", Shape::Text("Contoso Manufacturing GmbH")),
    ("countryCode", Shape::Number(276)),
    ("department", Shape::Text("Product Engineering")),
    ("description", Shape::Text("Engineer, fixed term, building 12")),
    ("displayName", Shape::Numbered("Wintermeier, Johanna")),
    ("employeeID", Shape::Numbered("4711")),
    ("employeeType", Shape::Text("internal")),
    ("extensionAttribute1", Shape::Text("cost-center-4100")),
    ("extensionAttribute2", Shape::Text("E3")),
    ("facsimileTelephoneNumber", Shape::Text("+49 89 1234 5679")),
    ("givenName", Shape::Text("Johanna")),
    ("l", Shape::Text("München")),
    ("mail", Shape::Numbered("johanna.wintermeier@contoso.example")),
    ("mailNickname", Shape::Numbered("johanna.wintermeier")),
    ("mobile", Shape::Text("+49 170 1234567")),
    ("objectGUID", Shape::Binary(16)),
    ("objectSid", Shape::Binary(28)),
    ("physicalDeliveryOfficeName", Shape::Text("12/3.047")),
    ("postalCode", Shape::Text("80331")),
    ("pwdLastSet", Shape::Number(133_500_000_000_000_000)),
    ("sAMAccountName", Shape::Numbered("jwinterm")),
    ("sn", Shape::Text("Wintermeier")),
    ("st", Shape::Text("Bayern")),
    ("streetAddress", Shape::Text("Lindwurmstraße 123")),
    ("telephoneNumber", Shape::Text("+49 89 1234 5678")),
    ("title", Shape::Text("Senior Engineer")),
    ("userAccountControl", Shape::Number(512)),
    ("userPrincipalName", Shape::Numbered("johanna.wintermeier@contoso.example")),
    ("whenCreated", Shape::Text("20240131083015.0Z")),
];

#[derive(Clone, Copy)]
enum Shape {
    Text(&'static str),
    Numbered(&'static str),
    Number(i64),
    Binary(usize),
}

/// A common user: 36 to 41 values by its number, as the second import of it leaves it.
pub(crate) fn user(names: &Names, connector: u16, number: u64) -> CsObject {
    let mut values = FlatBuilder::with_capacity(41, 1000);
    for (name, shape) in USER {
        let attr = names.intern(name);
        match shape {
            Shape::Text(text) => values.push(attr, ValueRef::Text(text), 1),
            Shape::Numbered(text) => values.push(attr, ValueRef::Text(&with_number(text, number)), 1),
            Shape::Number(value) => values.push(attr, ValueRef::Number(value + (number % 7).cast_signed()), 1),
            Shape::Binary(length) => values.push(attr, ValueRef::Binary(&octets(number, length)), 1),
        }
    }
    let proxies = names.intern("proxyAddresses");
    for alias in 0..3 + number % 6 {
        let address = format!("smtp:j.w{alias}.{number:06}@contoso.example");
        values.push(proxies, ValueRef::Text(&address), 1);
    }
    let dn = format!("CN=Johanna Wintermeier {number:06},OU=Engineering,OU=People,DC=contoso,DC=example");
    let mut object = CsObject::new(CsId::new(ConnectorId(connector), number), names.object_type("user"), dn);
    object.anchor = Some(Anchor::new(octets(number, 16)));
    object.in_base = true;
    object.values = values.finish();
    object.stages[0] = StageDelta { kind: DeltaKind::Update, rename: None };
    object
}

/// A metaverse object with the values of a user.
pub(crate) fn person(names: &Names, id: u64) -> MvObject {
    let values = user(names, 1, id).values;
    MvObject { id: MvId(id), object_type: ObjectType(names.intern("person").0), values, lineage: Vec::new() }
}

fn with_number(text: &str, number: u64) -> String {
    match text.split_once('@') {
        Some((local, domain)) => format!("{local}{number:06}@{domain}"),
        None => format!("{text} {number:06}"),
    }
}

/// Octets that look random and are the same for the same number.
pub(crate) fn octets(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}
