//! Values as traces show them: with their type, shortened, and without secrets.

use super::RuleSet;
use super::expr::{AttributeRef, Scalar, date_text};
use crate::model::{AttrId, AttributeSource, ValueKind};
use serde::Serialize;
use std::fmt;

/// How many values of one attribute are shown.
const VALUES: usize = 5;
/// How many characters of a text are shown.
const CHARACTERS: usize = 120;
/// How many octets of a binary value are shown.
const OCTETS: usize = 16;

/// Attributes that hold passwords, keys or what they can be made from, in the directories that we know (Active
/// Directory schema; RFC 4519; Samba and Kerberos schemas of OpenLDAP). Nothing of them is ever shown.
const SECRETS: &[&str] = &[
    "authPassword",
    "currentValue",
    "dBCSPwd",
    "initialAuthIncoming",
    "initialAuthOutgoing",
    "ipaNTHash",
    "krbPrincipalKey",
    "lmPwdHistory",
    "ms-FVE-RecoveryPassword",
    "ms-Mcs-AdmPwd",
    "msDS-ManagedPassword",
    "msFVE-KeyPackage",
    "msFVE-RecoveryPassword",
    "msLAPS-EncryptedPassword",
    "msLAPS-EncryptedPasswordHistory",
    "msLAPS-Password",
    "ntPwdHistory",
    "oathSecret",
    "priorValue",
    "pwdHistory",
    "sambaLMPassword",
    "sambaNTPassword",
    "sambaPasswordHistory",
    "supplementalCredentials",
    "trustAuthIncoming",
    "trustAuthOutgoing",
    "unicodePwd",
    "userPassword",
    "userPKCS12",
];

/// One value as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceValue {
    /// `text`, `number`, `boolean`, `octets`, `date`, `reference` or `secret`.
    pub kind: &'static str,
    /// The value: text as it is, octets in hexadecimal digits, references by name; shortened where it is long.
    pub value: String,
}

/// The values of one attribute or the result of one flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TraceValues {
    /// The first few.
    pub values: Vec<TraceValue>,
    /// How many there are.
    pub count: u64,
}

impl fmt::Display for TraceValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            "text" => write!(f, "\"{}\"", self.value),
            _ => f.write_str(&self.value),
        }
    }
}

impl fmt::Display for TraceValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("absent");
        }
        for (index, value) in self.values.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            value.fmt(f)?;
        }
        let shown = self.values.len() as u64;
        if self.count > shown {
            write!(f, "{}… {} more", if shown > 0 { ", " } else { "" }, self.count - shown)?;
        }
        Ok(())
    }
}

impl TraceValues {
    /// In place of values that must not be shown.
    fn withheld(count: u64) -> Self {
        let secret = TraceValue { kind: "secret", value: "(a secret, not shown)".to_owned() };
        Self { values: if count > 0 { vec![secret] } else { Vec::new() }, count: count.min(1) }
    }
}

/// True for attributes that hold secrets, whatever the case of the name.
pub fn is_secret(attribute: &str) -> bool {
    SECRETS.iter().any(|secret| secret.eq_ignore_ascii_case(attribute))
}

impl RuleSet {
    /// True when any of these attributes holds secrets.
    pub(super) fn secret_among(&self, attributes: &[AttributeRef]) -> bool {
        attributes.iter().any(|attribute| is_secret(&self.names.name(attribute.id)))
    }

    /// What an object has of an attribute, as rules read it.
    pub(super) fn shown_attribute(&self, source: &dyn AttributeSource, attribute: AttributeRef) -> TraceValues {
        if attribute.id == AttrId::DN {
            let dn = source.dn();
            let values: Vec<TraceValue> = (!dn.is_empty()).then(|| shown(source, &Scalar::text(dn))).into_iter().collect();
            return TraceValues { count: values.len() as u64, values };
        }
        if attribute.kind == Some(ValueKind::Reference) {
            return shown_references(source, attribute.id);
        }
        let all = source.values(attribute.id);
        if is_secret(&self.names.name(attribute.id)) {
            return TraceValues::withheld(all.count() as u64);
        }
        let mut result = TraceValues::default();
        for value in all {
            if result.values.len() < VALUES {
                result.values.push(shown(source, &Scalar::from(value)));
            }
            result.count += 1;
        }
        result
    }

    /// What a flow gave. What was made from a secret is one.
    pub(super) fn shown_result(&self, source: &dyn AttributeSource, reads: &[AttributeRef], scalars: &[Scalar<'_>]) -> TraceValues {
        if self.secret_among(reads) {
            return TraceValues::withheld(scalars.len() as u64);
        }
        shown_scalars(source, scalars)
    }
}

/// Some values, shortened.
pub(super) fn shown_scalars(source: &dyn AttributeSource, scalars: &[Scalar<'_>]) -> TraceValues {
    TraceValues { values: scalars.iter().take(VALUES).map(|scalar| shown(source, scalar)).collect(), count: scalars.len() as u64 }
}

/// The objects that an attribute refers to.
pub(super) fn shown_references(source: &dyn AttributeSource, attribute: AttrId) -> TraceValues {
    let targets = source.references(attribute);
    let values = targets.iter().take(VALUES).map(|target| shown(source, &Scalar::Reference(*target))).collect();
    TraceValues { values, count: targets.len() as u64 }
}

/// One value, shortened.
pub(super) fn shown(source: &dyn AttributeSource, scalar: &Scalar<'_>) -> TraceValue {
    let (kind, value) = match scalar {
        Scalar::Text(text) => ("text", cut(text)),
        Scalar::Number(number) => ("number", number.to_string()),
        Scalar::Boolean(boolean) => ("boolean", if *boolean { "True" } else { "False" }.to_owned()),
        Scalar::Binary(octets) if octets.len() > OCTETS => {
            ("octets", format!("0x{}… ({} octets)", hex::encode(&octets[..OCTETS]), octets.len()))
        }
        Scalar::Binary(octets) => ("octets", format!("0x{}", hex::encode(octets))),
        Scalar::Date(ticks) => ("date", date_text(*ticks)),
        Scalar::Reference(target) => {
            ("reference", source.reference_dn(*target).map_or_else(|| format!("object {target}"), |name| cut(&name)))
        }
        Scalar::Name(name) => ("reference", cut(name)),
        // The beginning of a large text tells more than its length, but reading it may cost a megabyte.
        Scalar::LargeText(blob) => ("text", format!("… ({} octets of text)", blob.length)),
        Scalar::LargeBinary(blob) => ("octets", format!("({} octets)", blob.length)),
    };
    TraceValue { kind, value }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
