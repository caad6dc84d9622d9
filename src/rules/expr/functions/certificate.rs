//! Certificates (specification: expression functions, 4.9). Names follow the certificate classes of .NET: their
//! text forms are what rules written for the original compare with.

use super::super::date;
use super::Accepts::{Any, Content, Text};
use super::{Call, Cow, Fault, Function, Kind, Scalar, Val, boolean_result, date_result, each, function, list_result, text_result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{AlgorithmIdentifier, X509Name};

const NAME_TYPES: &[&str] = &["SimpleName", "EmailName", "UpnName", "DnsName", "DnsFromAlternativeName", "UrlName"];
/// The other name that carries a user principal name (MS-WCCE 2.2.2.7.5).
const UPN_OID: &str = "1.3.6.1.4.1.311.20.2.3";

macro_rules! one_argument {
    ($name:literal, $kind:expr, $body:ident) => {
        function($name, &[each("certificate", Content)], $kind, $body)
    };
}

pub(super) const FUNCTIONS: &[Function] = &[
    one_argument!("CertExtensionOids", Kind::Text, extension_oids),
    one_argument!("CertFormat", Kind::Text, format),
    one_argument!("CertFriendlyName", Kind::Text, friendly_name),
    one_argument!("CertHashString", Kind::Text, thumbprint),
    one_argument!("CertIssuer", Kind::Text, issuer),
    one_argument!("CertIssuerDN", Kind::Text, issuer),
    one_argument!("CertIssuerOid", Kind::Text, name_oid),
    one_argument!("CertKeyAlgorithm", Kind::Text, key_algorithm),
    one_argument!("CertKeyAlgorithmParams", Kind::Text, key_algorithm_params),
    function("CertNameInfo", &[each("certificate", Content), each("nameType", Text), each("issuer", Any)], Kind::Text, name_info),
    one_argument!("CertNotAfter", Kind::Date, not_after),
    one_argument!("CertNotBefore", Kind::Date, not_before),
    one_argument!("CertPublicKeyOid", Kind::Text, key_algorithm),
    // The original names the parameters by the algorithm that they belong to.
    one_argument!("CertPublicKeyParametersOid", Kind::Text, key_algorithm),
    one_argument!("CertSerialNumber", Kind::Text, serial_number),
    one_argument!("CertSignatureAlgorithmOid", Kind::Text, signature_algorithm_oid),
    one_argument!("CertSubject", Kind::Text, subject),
    one_argument!("CertSubjectNameDN", Kind::Text, subject),
    one_argument!("CertSubjectNameOid", Kind::Text, name_oid),
    one_argument!("CertThumbprint", Kind::Text, thumbprint),
    one_argument!("CertVersion", Kind::Text, version),
    function("IsCert", &[each("certificate", Any)], Kind::Boolean, is_cert),
];

/// The octets of the certificate: as they are, or from their base64 text.
fn der<'a>(call: &mut Call<'_, 'a>) -> Result<Option<Cow<'a, [u8]>>, Fault> {
    let Some(scalar) = call.scalar(0)? else { return Ok(None) };
    let scalar = match call.context.octets(scalar)? {
        Ok(octets) => return Ok(Some(octets)),
        Err(other) => other,
    };
    let text = match call.context.plain_text(scalar)? {
        Ok(text) => text,
        Err(other) => return Err(call.mismatch(0, "octets or their base64 text", other.type_name())),
    };
    let compact: String = text.chars().filter(|character| !character.is_whitespace()).collect();
    match STANDARD.decode(compact) {
        Ok(octets) => Ok(Some(Cow::Owned(octets))),
        Err(_) => Err(call.bad("the text is no base64")),
    }
}

fn parse(octets: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(octets).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, certificate)| certificate)
}

/// Runs `read` over the certificate; nothing gives nothing, what is no certificate is an error.
fn read<'a>(call: &mut Call<'_, 'a>, read: impl FnOnce(&X509Certificate<'_>, &[u8]) -> Result<Val<'a>, Fault>) -> Result<Val<'a>, Fault> {
    let Some(octets) = der(call)? else { return Ok(Val::Null) };
    match parse(&octets) {
        Some(certificate) => read(&certificate, &octets),
        None => Err(call.bad(format_args!("these {} octets are no X.509 certificate; guard with IsCert", octets.len()))),
    }
}

fn is_cert<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    boolean_result(matches!(der(call), Ok(Some(octets)) if parse(&octets).is_some()))
}

fn extension_oids<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| {
        let critical = certificate.extensions().iter().filter(|extension| extension.critical);
        list_result(critical.map(|extension| Scalar::text(extension.oid.to_id_string())).collect())
    })
}

fn format<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |_, _| text_result("X509"))
}

fn friendly_name<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    // The alias belongs to a certificate store; a certificate from a directory has none.
    read(call, |_, _| text_result(""))
}

fn thumbprint<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |_, octets| text_result(hex::encode_upper(sha1::Sha1::digest(octets))))
}

fn issuer<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| text_result(name_text(certificate.issuer())))
}

fn subject<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| text_result(name_text(certificate.subject())))
}

fn name_oid<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    // Names have no object identifier of their own.
    read(call, |_, _| text_result(""))
}

fn key_algorithm<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| text_result(certificate.public_key().algorithm.algorithm.to_id_string()))
}

fn key_algorithm_params<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| text_result(parameters(&certificate.public_key().algorithm).map(hex::encode_upper).unwrap_or_default()))
}

/// The DER of an algorithm's parameters. Only short ones occur: a null or an object identifier.
fn parameters(algorithm: &AlgorithmIdentifier<'_>) -> Option<Vec<u8>> {
    let any = algorithm.parameters.as_ref()?;
    let length = u8::try_from(any.data.len()).ok().filter(|length| *length < 128)?;
    let tag = u8::try_from(any.tag().0).ok().filter(|tag| *tag < 31)?;
    let constructed = if any.header.is_constructed() { 0x20 } else { 0 };
    let mut der = vec![tag | constructed, length];
    der.extend_from_slice(any.data);
    Some(der)
}

fn not_after<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| date_result(ticks(certificate.validity().not_after)))
}

fn not_before<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| date_result(ticks(certificate.validity().not_before)))
}

fn ticks(time: ASN1Time) -> i64 {
    date::from_unix_microseconds(time.timestamp().saturating_mul(1_000_000))
}

fn serial_number<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| text_result(hex::encode_upper(certificate.raw_serial())))
}

fn signature_algorithm_oid<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| text_result(certificate.signature_algorithm.algorithm.to_id_string()))
}

fn version<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    read(call, |certificate, _| text_result((u64::from(certificate.version().0) + 1).to_string()))
}

fn name_info<'a>(call: &mut Call<'_, 'a>) -> Result<Val<'a>, Fault> {
    let kind = call.text_or_empty(1)?;
    let Some(kind) = NAME_TYPES.iter().find(|known| known.eq_ignore_ascii_case(&kind)).copied() else {
        return Err(call.bad(format_args!("{kind:?} is none of {}", NAME_TYPES.join(", "))));
    };
    let of_issuer = match call.scalar(2)? {
        Some(Scalar::Boolean(boolean)) => boolean,
        None => false,
        Some(other) => return Err(call.mismatch(2, "True or False", other.type_name())),
    };
    read(call, |certificate, _| text_result(element(certificate, kind, of_issuer).unwrap_or_default()))
}

/// One element of a name, as the original looks for it: in the alternative names, then in the name itself.
fn element(certificate: &X509Certificate<'_>, kind: &str, of_issuer: bool) -> Option<String> {
    let name = if of_issuer { certificate.issuer() } else { certificate.subject() };
    let alternatives = || {
        certificate.extensions().iter().flat_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) if !of_issuer => names.general_names.as_slice(),
            ParsedExtension::IssuerAlternativeName(names) if of_issuer => names.general_names.as_slice(),
            _ => &[],
        })
    };
    let first = |attributes: &[&str]| {
        attributes.iter().find_map(|wanted| parts(name).into_iter().rev().find(|(oid, _)| oid == wanted).map(|(_, value)| value))
    };
    let email = || alternatives().find_map(|name| if let GeneralName::RFC822Name(mail) = name { Some((*mail).to_owned()) } else { None });
    let dns = || alternatives().find_map(|name| if let GeneralName::DNSName(dns) = name { Some((*dns).to_owned()) } else { None });
    match kind {
        // Common name, organizational unit, organization, mail; else the first of the name.
        "SimpleName" => first(&["2.5.4.3", "2.5.4.11", "2.5.4.10", "1.2.840.113549.1.9.1"])
            .or_else(email)
            .or_else(|| parts(name).pop().map(|(_, value)| value)),
        "EmailName" => email().or_else(|| first(&["1.2.840.113549.1.9.1"])),
        "DnsName" => dns().or_else(|| first(&["2.5.4.3"])),
        "DnsFromAlternativeName" => dns(),
        "UrlName" => alternatives().find_map(|name| if let GeneralName::URI(url) = name { Some((*url).to_owned()) } else { None }),
        _ => alternatives().find_map(|name| match name {
            GeneralName::OtherName(oid, value) if oid.to_id_string() == UPN_OID => inner_text(value),
            _ => None,
        }),
    }
}

/// The text inside `[0] EXPLICIT UTF8String`: the last element of nested short lengths.
fn inner_text(value: &[u8]) -> Option<String> {
    let mut rest = value;
    loop {
        let [tag, length, inner @ ..] = rest else { return None };
        if usize::from(*length) != inner.len() {
            return None;
        }
        if *tag == 0x0c || *tag == 0x16 {
            return String::from_utf8(inner.to_vec()).ok();
        }
        rest = inner;
    }
}

/// The attributes of a name in the order of the certificate: object identifier and text.
fn parts(name: &X509Name<'_>) -> Vec<(String, String)> {
    name.iter_attributes()
        .map(|attribute| {
            let value = attribute.as_str().map_or_else(|_| format!("#{}", hex::encode_upper(attribute.as_slice())), str::to_owned);
            (attribute.attr_type().to_id_string(), value)
        })
        .collect()
}

/// `CN=x, O=y, C=z`: the most specific part first, as .NET writes it.
fn name_text(name: &X509Name<'_>) -> String {
    let label = |oid: &str| {
        Some(match oid {
            "2.5.4.3" => "CN",
            "2.5.4.4" => "SN",
            "2.5.4.5" => "SERIALNUMBER",
            "2.5.4.6" => "C",
            "2.5.4.7" => "L",
            "2.5.4.8" => "S",
            "2.5.4.9" => "STREET",
            "2.5.4.10" => "O",
            "2.5.4.11" => "OU",
            "2.5.4.12" => "T",
            "2.5.4.42" => "G",
            "2.5.4.43" => "I",
            "1.2.840.113549.1.9.1" => "E",
            "0.9.2342.19200300.100.1.25" => "DC",
            _ => return None,
        })
    };
    let written = |(oid, value): (String, String)| {
        let special = value.contains([',', '+', '=', '"', '\n', '<', '>', '#', ';']);
        let quoted = if special || value.starts_with(' ') || value.ends_with(' ') || value.is_empty() {
            format!("\"{}\"", value.replace('"', "\"\""))
        } else {
            value
        };
        label(&oid).map_or_else(|| format!("OID.{oid}={quoted}"), |label| format!("{label}={quoted}"))
    };
    parts(name).into_iter().rev().map(written).collect::<Vec<_>>().join(", ")
}
