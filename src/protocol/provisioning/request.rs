//! Requests of all operations.

use super::envelope::{self, RequestHeader};
use super::objects::{self, SyncObject, boolean, is_nil, read_optional, write_optional};
use super::{CREDENTIALS, INSTANCE, OBJECTS, SERVICE};
use crate::protocol::nbfx::{DecodeError, Reader, Writer};
use zeroize::Zeroizing;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Settings, features and limits of the tenant.
    GetCompanyConfiguration {
        /// Also licences.
        include_licenses: bool,
    },
    /// Write the whole field of feature bits.
    SetCompanyDirsyncFeatures {
        /// All bits; unknown ones are kept by the caller.
        features: i64,
    },
    /// Versions of clients that the service likes.
    Capabilities,
    /// Create, change or delete objects.
    ProvisionObjects {
        /// The second version, which knows reference deltas.
        second: bool,
        /// One to a thousand.
        objects: Vec<SyncObject>,
    },
    /// Read the objects of the tenant.
    ReadBack {
        /// The second version, which leaves absent attributes out.
        second: bool,
        /// Everything, not only changes.
        full: bool,
        /// Where an earlier answer ended.
        cookie: Option<String>,
        /// Also licences.
        include_licenses: bool,
    },
    /// Password hashes, or a sign of life when empty.
    ProvisionCredentials(Vec<CredentialChange>),
    /// The end of an export.
    FinalizeExport {
        /// Objects sent.
        total: i64,
        /// Objects accepted.
        successful: i64,
    },
    /// Create the synchronization account, or give it a new password.
    GetServiceAccount {
        /// The account's name without domain.
        identifier: String,
    },
    /// Certificates of device registration.
    GetDeviceConfiguration,
    /// Kerberos settings.
    GetKerberosDomainSyncConfig,
    /// One Kerberos domain.
    GetKerberosDomain,
    /// A certificate of monitoring.
    GetMonitoringTenantCertificate,
    /// Settings of domain services.
    GetWindowsCredentialsSyncConfig,
}

/// One user's password hash. The text is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct CredentialChange {
    /// When the password was changed, as written.
    pub change_date: String,
    /// The user by cloud anchor.
    pub cloud_anchor: Option<String>,
    /// `v1;PPH1_MD4,…`; wiped when dropped.
    pub credential_data: Zeroizing<String>,
    /// The next sign-in must change it.
    pub force_change: bool,
    /// The user by source anchor.
    pub source_anchor: Option<String>,
}

impl std::fmt::Debug for CredentialChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialChange")
            .field("source_anchor", &self.source_anchor)
            .field("cloud_anchor", &self.cloud_anchor)
            .field("credential_data", &"[redacted]")
            .finish_non_exhaustive()
    }
}

impl Request {
    /// The operation's name, which is also the name of the body's element.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::GetCompanyConfiguration { .. } => "GetCompanyConfiguration",
            Self::SetCompanyDirsyncFeatures { .. } => "SetCompanyDirsyncFeatures",
            Self::Capabilities => "Capabilities",
            Self::ProvisionObjects { second: false, .. } => "ProvisionAzureADSyncObjects",
            Self::ProvisionObjects { second: true, .. } => "ProvisionAzureADSyncObjects2",
            Self::ReadBack { second: false, .. } => "ReadBackAzureADSyncObjects",
            Self::ReadBack { second: true, .. } => "ReadBackAzureADSyncObjects2",
            Self::ProvisionCredentials(_) => "ProvisionCredentials",
            Self::FinalizeExport { .. } => "FinalizeExport",
            Self::GetServiceAccount { .. } => "GetServiceAccount",
            Self::GetDeviceConfiguration => "GetDeviceConfiguration",
            Self::GetKerberosDomainSyncConfig => "GetKerberosDomainSyncConfig",
            Self::GetKerberosDomain => "GetKerberosDomain",
            Self::GetMonitoringTenantCertificate => "GetMonitoringTenantCertificate",
            Self::GetWindowsCredentialsSyncConfig => "GetWindowsCredentialsSyncConfig",
        }
    }
}

/// Octets of an envelope and an operation without what differs from call to call; the longest has 1.1 KiB.
const ENVELOPE: usize = 2048;
/// Octets of a password hash's element without its texts; it has 180.
const CREDENTIAL_ITEM: usize = 256;

/// Writes a request into a buffer that is used again. The caller wipes it: a token and password hashes are in it. They are
/// in no other place, because the buffer is given the room it needs first.
pub fn encode_request(header: &RequestHeader, request: &Request, mut buffer: Vec<u8>) -> Vec<u8> {
    if let Request::ProvisionCredentials(items) = request {
        buffer.clear();
        buffer.reserve_exact(room(header, items));
    }
    let mut writer = Writer::reuse(buffer);
    let operation = request.operation();
    envelope::begin_request(&mut writer, header, operation);
    writer.start(None, operation).default_namespace(SERVICE);
    match request {
        Request::GetCompanyConfiguration { include_licenses } => {
            writer.start(None, "includeLicenseInformation").boolean_end(*include_licenses);
        }
        Request::SetCompanyDirsyncFeatures { features } => {
            writer.start(None, "dirsyncFeatures").number_end(*features);
        }
        Request::ProvisionObjects { objects, .. } => {
            writer.start(None, "syncRequest").namespace(b'b', OBJECTS).namespace(b'i', INSTANCE);
            writer.start(Some(b'b'), "SyncObjects");
            for object in objects {
                objects::write_object(&mut writer, object);
            }
            writer.end().end();
        }
        Request::ReadBack { full, cookie, include_licenses, .. } => {
            writer.start(None, "includeLicenseInformation").boolean_end(*include_licenses);
            writer.start(None, "inputCookie");
            match cookie {
                Some(cookie) => writer.text_end(cookie),
                None => writer.namespace(b'i', INSTANCE).nil().end(),
            };
            writer.start(None, "isFullSync").boolean_end(*full);
        }
        Request::ProvisionCredentials(items) => {
            writer.start(None, "request").namespace(b'b', CREDENTIALS).namespace(b'i', INSTANCE);
            writer.start(Some(b'b'), "RequestItems");
            for item in items {
                write_credential(&mut writer, item);
            }
            writer.end().end();
        }
        Request::FinalizeExport { total, successful } => {
            writer.start(None, "totalExported").number_end(*total);
            writer.start(None, "successfulExportCount").number_end(*successful);
        }
        Request::GetServiceAccount { identifier } => {
            writer.element(None, "identifier", identifier);
        }
        _ => {}
    }
    writer.end();
    envelope::finish(&mut writer);
    writer.finish()
}

/// More octets than a message with these password hashes has.
fn room(header: &RequestHeader, items: &[CredentialChange]) -> usize {
    let texts = |item: &CredentialChange| {
        let anchors = [&item.cloud_anchor, &item.source_anchor].into_iter().flatten().map(String::len).sum::<usize>();
        CREDENTIAL_ITEM + item.change_date.len() + item.credential_data.len() + anchors
    };
    let header =
        header.application_id.len() + header.bearer_token.len() + 2 * (header.build.len() + header.message_id.len()) + header.to.len();
    ENVELOPE + header + items.iter().map(texts).sum::<usize>()
}

fn write_credential(writer: &mut Writer, item: &CredentialChange) {
    writer.start(Some(b'b'), "SyncCredentialsChangeItem");
    writer.element(Some(b'b'), "ChangeDate", &item.change_date);
    write_optional(writer, "CloudAnchor", item.cloud_anchor.as_deref());
    writer.element(Some(b'b'), "CredentialData", &item.credential_data);
    writer.start(Some(b'b'), "ForcePasswordChangeOnLogon").boolean_end(item.force_change);
    write_optional(writer, "SourceAnchor", item.source_anchor.as_deref());
    write_optional(writer, "WindowsLegacyCredentials", None);
    write_optional(writer, "WindowsSupplementalCredentials", None);
    writer.end();
}

/// Reads a request. The operation is the body's element; `None` for an operation that is not known.
pub fn decode_request(data: &[u8]) -> Result<(RequestHeader, Option<Request>), DecodeError> {
    let mut reader = Reader::new(data)?;
    let (header, body) = envelope::open(&mut reader)?;
    let Some(body) = body else { return Err(reader.wrong("an empty body")) };
    let request = match body.as_str() {
        "GetCompanyConfiguration" => {
            let fields = fields(&mut reader)?;
            Request::GetCompanyConfiguration { include_licenses: flag(&fields, "includeLicenseInformation") }
        }
        "SetCompanyDirsyncFeatures" => {
            let fields = fields(&mut reader)?;
            Request::SetCompanyDirsyncFeatures { features: number(&reader, &fields, "dirsyncFeatures")? }
        }
        "Capabilities" => Request::Capabilities,
        "ProvisionAzureADSyncObjects" | "ProvisionAzureADSyncObjects2" => {
            Request::ProvisionObjects { second: body.ends_with('2'), objects: read_objects(&mut reader)? }
        }
        "ReadBackAzureADSyncObjects" | "ReadBackAzureADSyncObjects2" => {
            let fields = fields(&mut reader)?;
            let cookie = fields.iter().find(|(name, _)| name == "inputCookie").and_then(|(_, value)| value.clone());
            Request::ReadBack {
                second: body.ends_with('2'),
                full: flag(&fields, "isFullSync"),
                cookie: cookie.filter(|cookie| !cookie.is_empty()),
                include_licenses: flag(&fields, "includeLicenseInformation"),
            }
        }
        "ProvisionCredentials" => Request::ProvisionCredentials(read_credentials(&mut reader)?),
        "FinalizeExport" => {
            let fields = fields(&mut reader)?;
            Request::FinalizeExport {
                total: number(&reader, &fields, "totalExported")?,
                successful: number(&reader, &fields, "successfulExportCount")?,
            }
        }
        "GetServiceAccount" => {
            let fields = fields(&mut reader)?;
            let identifier = fields.into_iter().find(|(name, _)| name == "identifier").and_then(|(_, value)| value);
            Request::GetServiceAccount { identifier: identifier.unwrap_or_default() }
        }
        "GetDeviceConfiguration" => Request::GetDeviceConfiguration,
        "GetKerberosDomainSyncConfig" => Request::GetKerberosDomainSyncConfig,
        "GetKerberosDomain" => Request::GetKerberosDomain,
        "GetMonitoringTenantCertificate" => Request::GetMonitoringTenantCertificate,
        "GetWindowsCredentialsSyncConfig" => Request::GetWindowsCredentialsSyncConfig,
        _ => return Ok((header, None)),
    };
    Ok((header, Some(request)))
}

/// Children with plain text; nil gives `None`.
fn fields(reader: &mut Reader<'_>) -> Result<Vec<(String, Option<String>)>, DecodeError> {
    let mut fields = Vec::new();
    while let Some((name, attributes)) = reader.child()? {
        let value = read_optional(reader, is_nil(&attributes))?;
        fields.push((name.into_owned(), value));
    }
    Ok(fields)
}

fn flag(fields: &[(String, Option<String>)], name: &str) -> bool {
    let value = fields.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_deref());
    value.and_then(boolean).unwrap_or(false)
}

fn number(reader: &Reader<'_>, fields: &[(String, Option<String>)], name: &str) -> Result<i64, DecodeError> {
    let value = fields.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_deref());
    value.and_then(|text| text.trim().parse().ok()).ok_or_else(|| reader.wrong(&format!("{name} is missing or no number")))
}

fn read_objects(reader: &mut Reader<'_>) -> Result<Vec<SyncObject>, DecodeError> {
    let mut objects = Vec::new();
    while let Some((name, _)) = reader.child()? {
        if name != "syncRequest" {
            reader.skip()?;
            continue;
        }
        while let Some((name, _)) = reader.child()? {
            if name != "SyncObjects" {
                reader.skip()?;
                continue;
            }
            while reader.child()?.is_some() {
                objects.push(objects::read_object(reader)?);
            }
        }
    }
    Ok(objects)
}

fn read_credentials(reader: &mut Reader<'_>) -> Result<Vec<CredentialChange>, DecodeError> {
    let mut items = Vec::new();
    while let Some((name, _)) = reader.child()? {
        if name != "request" {
            reader.skip()?;
            continue;
        }
        while let Some((name, _)) = reader.child()? {
            if name != "RequestItems" {
                reader.skip()?;
                continue;
            }
            while reader.child()?.is_some() {
                let mut values = fields(reader)?;
                let mut take = |name: &str| values.iter_mut().find(|(known, _)| known == name).and_then(|(_, value)| value.take());
                items.push(CredentialChange {
                    change_date: take("ChangeDate").unwrap_or_default(),
                    cloud_anchor: take("CloudAnchor"),
                    credential_data: Zeroizing::new(take("CredentialData").unwrap_or_default()),
                    force_change: take("ForcePasswordChangeOnLogon").as_deref().and_then(boolean).unwrap_or(false),
                    source_anchor: take("SourceAnchor"),
                });
            }
        }
    }
    Ok(items)
}
