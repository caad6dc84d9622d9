//! Values inside expressions: what records hold, plus dates and names that exist in expressions only.

use super::Fault;
use crate::model::{AttributeSource, Blob, ConnectorId, Value, ValueRef, fold};
use crate::rules::RunParameters;
use std::borrow::Cow;
use std::cmp::Ordering;

/// One value. Borrows from the object or from the expression where it can.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(i64),
    Boolean(bool),
    Binary(Cow<'a, [u8]>),
    /// Ticks of 100 ns since 1601-01-01 UTC.
    Date(i64),
    /// An object of the space that the source lives in.
    Reference(u64),
    /// A distinguished name that `CRef` made from text.
    Name(Cow<'a, str>),
    LargeText(Blob),
    LargeBinary(Blob),
}

/// Nothing, one value, or several. A list of one is a single value, an empty list is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Val<'a> {
    #[default]
    Null,
    One(Scalar<'a>),
    Many(Vec<Scalar<'a>>),
    /// Removes the target's value and stops rules of lower precedence. Only as a result.
    AuthoritativeNull,
    /// As if the flow did not exist. Only as a result.
    Ignore,
}

/// What an evaluation reads: the object, the run, and whose parameters count.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) source: &'a dyn AttributeSource,
    pub(crate) run: &'a RunParameters,
    pub(crate) connector: ConnectorId,
}

impl<'a> From<ValueRef<'a>> for Scalar<'a> {
    fn from(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Text(text) => Self::Text(Cow::Borrowed(text)),
            ValueRef::Number(number) => Self::Number(number),
            ValueRef::Boolean(boolean) => Self::Boolean(boolean),
            ValueRef::Binary(bytes) => Self::Binary(Cow::Borrowed(bytes)),
            ValueRef::LargeText(blob) => Self::LargeText(blob),
            ValueRef::LargeBinary(blob) => Self::LargeBinary(blob),
            ValueRef::Reference(id) => Self::Reference(id),
        }
    }
}

impl Scalar<'_> {
    /// Owned text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    /// The same value, owning its content.
    pub(crate) fn into_owned(self) -> Scalar<'static> {
        match self {
            Self::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
            Self::Number(number) => Scalar::Number(number),
            Self::Boolean(boolean) => Scalar::Boolean(boolean),
            Self::Binary(bytes) => Scalar::Binary(Cow::Owned(bytes.into_owned())),
            Self::Date(ticks) => Scalar::Date(ticks),
            Self::Reference(id) => Scalar::Reference(id),
            Self::Name(name) => Scalar::Name(Cow::Owned(name.into_owned())),
            Self::LargeText(blob) => Scalar::LargeText(blob),
            Self::LargeBinary(blob) => Scalar::LargeBinary(blob),
        }
    }

    /// The same value, borrowing the content.
    pub(crate) fn reborrow(&self) -> Scalar<'_> {
        match self {
            Self::Text(text) => Scalar::Text(Cow::Borrowed(text)),
            Self::Binary(bytes) => Scalar::Binary(Cow::Borrowed(bytes)),
            Self::Name(name) => Scalar::Name(Cow::Borrowed(name)),
            Self::Number(number) => Scalar::Number(*number),
            Self::Boolean(boolean) => Scalar::Boolean(*boolean),
            Self::Date(ticks) => Scalar::Date(*ticks),
            Self::Reference(id) => Scalar::Reference(*id),
            Self::LargeText(blob) => Scalar::LargeText(*blob),
            Self::LargeBinary(blob) => Scalar::LargeBinary(*blob),
        }
    }

    /// The type, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::LargeText(_) => "text",
            Self::Number(_) => "a number",
            Self::Boolean(_) => "a Boolean",
            Self::Binary(_) | Self::LargeBinary(_) => "octets",
            Self::Date(_) => "a date",
            Self::Reference(_) | Self::Name(_) => "a reference",
        }
    }

    /// True for the empty text.
    pub(crate) fn is_empty_text(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    /// As a value of a record; dates and made-up names are none.
    pub(crate) fn to_value(&self) -> Option<Value> {
        Some(match self {
            Self::Text(text) => Value::Text(text.as_ref().into()),
            Self::Number(number) => Value::Number(*number),
            Self::Boolean(boolean) => Value::Boolean(*boolean),
            Self::Binary(bytes) => Value::Binary(bytes.as_ref().into()),
            Self::Reference(id) => Value::Reference(*id),
            Self::LargeText(blob) => Value::LargeText(*blob),
            Self::LargeBinary(blob) => Value::LargeBinary(*blob),
            Self::Date(_) | Self::Name(_) => return None,
        })
    }
}

impl<'a> Val<'a> {
    /// A list in its normal form.
    pub(crate) fn from_list(mut list: Vec<Scalar<'a>>) -> Self {
        match list.len() {
            0 => Self::Null,
            1 => list.pop().map_or(Self::Null, Self::One),
            _ => Self::Many(list),
        }
    }

    /// The values in order.
    pub(crate) fn into_list(self) -> Vec<Scalar<'a>> {
        match self {
            Self::One(scalar) => vec![scalar],
            Self::Many(list) => list,
            Self::Null | Self::AuthoritativeNull | Self::Ignore => Vec::new(),
        }
    }

    /// The values in order, without taking them.
    pub(crate) fn as_slice(&self) -> &[Scalar<'a>] {
        match self {
            Self::One(scalar) => std::slice::from_ref(scalar),
            Self::Many(list) => list,
            Self::Null | Self::AuthoritativeNull | Self::Ignore => &[],
        }
    }

    /// Owned, to be kept in a compiled expression.
    pub(crate) fn into_owned(self) -> Val<'static> {
        match self {
            Self::Null => Val::Null,
            Self::One(scalar) => Val::One(scalar.into_owned()),
            Self::Many(list) => Val::Many(list.into_iter().map(Scalar::into_owned).collect()),
            Self::AuthoritativeNull => Val::AuthoritativeNull,
            Self::Ignore => Val::Ignore,
        }
    }

    /// The same values, borrowing their content.
    pub(crate) fn reborrow(&self) -> Val<'_> {
        match self {
            Self::Null => Val::Null,
            Self::One(scalar) => Val::One(scalar.reborrow()),
            Self::Many(list) => Val::Many(list.iter().map(Scalar::reborrow).collect()),
            Self::AuthoritativeNull => Val::AuthoritativeNull,
            Self::Ignore => Val::Ignore,
        }
    }
}

impl<'a> Context<'a> {
    /// The text of a text value, read from the store when it is large. `Ok(None)` when it is no text.
    pub(crate) fn plain_text(&self, scalar: Scalar<'a>) -> Result<Result<Cow<'a, str>, Scalar<'a>>, Fault> {
        Ok(match scalar {
            Scalar::Text(text) => Ok(text),
            Scalar::LargeText(blob) => {
                Ok(Cow::Owned(String::from_utf8(self.blob(blob)?).map_err(|_| Fault::argument("a large text in the store is not UTF-8"))?))
            }
            other => Err(other),
        })
    }

    /// The octets of a binary value, read from the store when they are large.
    pub(crate) fn octets(&self, scalar: Scalar<'a>) -> Result<Result<Cow<'a, [u8]>, Scalar<'a>>, Fault> {
        Ok(match scalar {
            Scalar::Binary(bytes) => Ok(bytes),
            Scalar::LargeBinary(blob) => Ok(Cow::Owned(self.blob(blob)?)),
            other => Err(other),
        })
    }

    fn blob(&self, blob: Blob) -> Result<Vec<u8>, Fault> {
        self.source.blob(blob).ok_or_else(|| Fault::argument(format!("a large value of {} octets is missing from the store", blob.length)))
    }

    /// The text form that `CStr` and `&` give: text, numbers, Booleans, names of references.
    pub(crate) fn text_form(&self, scalar: Scalar<'a>) -> Result<Cow<'a, str>, Fault> {
        match self.plain_text(scalar)? {
            Ok(text) => Ok(text),
            Err(Scalar::Number(number)) => Ok(Cow::Owned(number.to_string())),
            Err(Scalar::Boolean(boolean)) => Ok(Cow::Borrowed(if boolean { "True" } else { "False" })),
            Err(Scalar::Name(name)) => Ok(name),
            Err(Scalar::Reference(target)) => self
                .source
                .reference_dn(target)
                .map(Cow::Owned)
                .ok_or_else(|| Fault::argument(format!("the object {target} that a reference points to has no name"))),
            Err(other) => Err(Fault::mismatch(format!("{} has no text form", other.type_name()))),
        }
    }

    /// A parameter's value. `Domain.FQDN` falls back to the domain components of the object's own name, so that a
    /// file or a directory without domains gives one too, and `Connector.ID` to our number of the connector.
    pub(crate) fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        if let Some(value) = self.run.parameters.get(&self.connector).and_then(|values| values.get(name)) {
            return Some(Cow::Borrowed(value));
        }
        match name {
            "Connector.ID" => Some(Cow::Owned(self.connector.to_string())),
            "Domain.FQDN" => domain_of(self.source.dn()).map(Cow::Owned),
            "ADS_UF_ACCOUNTDISABLE" | "ADS_GROUP_TYPE_GLOBAL_GROUP" => Some(Cow::Borrowed("2")),
            "ADS_GROUP_TYPE_DOMAIN_LOCAL_GROUP" | "ADS_GROUP_TYPE_LOCAL_GROUP" => Some(Cow::Borrowed("4")),
            "ADS_GROUP_TYPE_UNIVERSAL_GROUP" => Some(Cow::Borrowed("8")),
            "ADS_GROUP_TYPE_SECURITY_ENABLED" => Some(Cow::Borrowed("2147483648")),
            _ => None,
        }
    }
}

/// Parameters that every connector knows.
pub(crate) const PARAMETERS: &[&str] = &[
    "Domain.Netbios",
    "Domain.FQDN",
    "Domain.LDAP",
    "Forest.Netbios",
    "Forest.FQDN",
    "Forest.LDAP",
    "Connector.ID",
    "ADS_UF_ACCOUNTDISABLE",
    "ADS_GROUP_TYPE_GLOBAL_GROUP",
    "ADS_GROUP_TYPE_DOMAIN_LOCAL_GROUP",
    "ADS_GROUP_TYPE_LOCAL_GROUP",
    "ADS_GROUP_TYPE_UNIVERSAL_GROUP",
    "ADS_GROUP_TYPE_SECURITY_ENABLED",
];

fn domain_of(dn: &str) -> Option<String> {
    let dn = crate::model::Dn::parse(dn).ok()?;
    let parts: Vec<&str> = (0..dn.depth())
        .filter_map(|index| dn.component(index))
        .filter(|(kind, _)| kind.eq_ignore_ascii_case("dc"))
        .map(|(_, value)| value)
        .collect();
    (!parts.is_empty()).then(|| parts.join("."))
}

/// A number written as text: decimal, or hexadecimal after `&H` or `0x`; blanks around it do not count.
pub(crate) fn parse_number(text: &str) -> Option<i64> {
    let text = text.trim();
    let hex = ["&H", "&h", "0x", "0X"].into_iter().find_map(|prefix| text.strip_prefix(prefix));
    match hex {
        Some(digits) if !digits.starts_with(['+', '-']) => u64::from_str_radix(digits, 16).ok().map(u64::cast_signed),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// `true` or `false` in any case.
pub(crate) fn parse_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Compares text without regard to case, as joins and scopes do.
pub(crate) fn same_text(left: &str, right: &str) -> bool {
    if left.is_ascii() && right.is_ascii() { left.eq_ignore_ascii_case(right) } else { fold(left) == fold(right) }
}

/// Whether two values are equal.
///
/// # Errors
/// Types that cannot be compared at all.
pub(crate) fn equal<'a>(context: &Context<'a>, left: Scalar<'a>, right: Scalar<'a>, exact: bool) -> Result<bool, Fault> {
    match (&left, &right) {
        (Scalar::Text(l), Scalar::Text(r)) => Ok(l == r || (!exact && same_text(l, r))),
        _ => Ok(compare(context, left, right, exact)? == Some(Ordering::Equal)),
    }
}

/// How two values stand to each other; `None` when nothing orders them (then they are unequal).
///
/// # Errors
/// Types that cannot be compared at all.
pub(crate) fn compare<'a>(context: &Context<'a>, left: Scalar<'a>, right: Scalar<'a>, exact: bool) -> Result<Option<Ordering>, Fault> {
    let texts = |left: &str, right: &str| if exact { left.cmp(right) } else { fold(left).cmp(&fold(right)) };
    let numeric = |number: i64, text: &str, swap: bool| {
        let ordering = match parse_number(text) {
            Some(other) => number.cmp(&other),
            None => texts(&number.to_string(), text),
        };
        if swap { ordering.reverse() } else { ordering }
    };
    let left = load(context, left)?;
    let right = load(context, right)?;
    Ok(match (&left, &right) {
        (Scalar::Text(l), Scalar::Text(r)) => Some(texts(l, r)),
        (Scalar::Number(l), Scalar::Number(r)) | (Scalar::Date(l), Scalar::Date(r)) => Some(l.cmp(r)),
        (Scalar::Number(number), Scalar::Text(text)) => Some(numeric(*number, text, false)),
        (Scalar::Text(text), Scalar::Number(number)) => Some(numeric(*number, text, true)),
        (Scalar::Boolean(l), Scalar::Boolean(r)) => Some(l.cmp(r)),
        (Scalar::Boolean(boolean), Scalar::Text(text)) | (Scalar::Text(text), Scalar::Boolean(boolean)) => {
            (parse_boolean(text) == Some(*boolean)).then_some(Ordering::Equal)
        }
        (Scalar::Binary(l), Scalar::Binary(r)) => Some(l.cmp(r)),
        (Scalar::Reference(l), Scalar::Reference(r)) => Some(l.cmp(r)),
        (Scalar::Reference(_) | Scalar::Name(_), Scalar::Text(_) | Scalar::Name(_) | Scalar::Reference(_))
        | (Scalar::Text(_), Scalar::Reference(_) | Scalar::Name(_)) => {
            let left = context.text_form(left)?;
            let right = context.text_form(right)?;
            Some(fold(&left).cmp(&fold(&right)))
        }
        _ => {
            return Err(Fault::mismatch(format!("{} cannot be compared with {}", left.type_name(), right.type_name())));
        }
    })
}

/// Large values in their small form.
pub(crate) fn load<'a>(context: &Context<'a>, scalar: Scalar<'a>) -> Result<Scalar<'a>, Fault> {
    let scalar = match context.plain_text(scalar)? {
        Ok(text) => return Ok(Scalar::Text(text)),
        Err(other) => other,
    };
    Ok(match context.octets(scalar)? {
        Ok(bytes) => Scalar::Binary(bytes),
        Err(other) => other,
    })
}
