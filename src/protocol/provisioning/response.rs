//! Answers of all operations, and faults.

use super::envelope;
use super::errors::Fault;
use super::objects::{self, SyncObject, SyncResult, boolean, is_nil, read_optional, write_optional};
use super::{ARRAYS, CREDENTIALS, INSTANCE, OBJECTS, SERVICE};
use crate::protocol::nbfx::{DecodeError, Reader, Writer};
use std::collections::BTreeMap;

/// What the service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Settings of the tenant.
    CompanyConfiguration(Box<CompanyConfiguration>),
    /// A result that is one text, such as the capabilities, which are XML inside it.
    Text(String),
    /// What became of each object, in the order of the request.
    Results(Vec<SyncResult>),
    /// Objects of the tenant.
    ReadBack(ReadBack),
    /// What became of each password hash.
    Credentials(Vec<CredentialResult>),
    /// The synchronization account: name and new password.
    ServiceAccount {
        /// The full name.
        user_name: String,
        /// The new password. A secret.
        password: String,
    },
    /// Certificates of device registration, both lists.
    DeviceConfiguration {
        /// Certificates of the cloud.
        cloud: Vec<String>,
        /// Public certificates.
        public: Vec<String>,
    },
    /// Settings of domain services: plain texts by name.
    Members(Vec<(String, Option<String>)>),
    /// No result.
    Empty,
}

/// Settings of a tenant (specification 3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompanyConfiguration {
    /// The attribute that anchors were made of.
    pub anchor_attribute: Option<String>,
    /// The application of the last client.
    pub application_version: Option<String>,
    /// The build of the last client.
    pub client_version: Option<String>,
    /// The machine of the last client.
    pub machine_name: Option<String>,
    /// The id that its installation goes by. An agreement of our two sides, as the time is: what the service calls the other
    /// members of `CurrentExport` is not known.
    pub machine_id: Option<String>,
    /// When it last wrote, as the service writes times.
    pub last_contact: Option<String>,
    /// Objects in the last client's connector space.
    pub total_connector_space_objects: i64,
    /// `Disabled`, `EnabledForCount`, `EnabledForPercentage`.
    pub deletion_prevention: String,
    /// Deletes per export.
    pub threshold_count: i64,
    /// The same as a share.
    pub threshold_percentage: i64,
    /// Feature bits.
    pub features: i64,
    /// The tenant's name.
    pub display_name: String,
    /// Directory synchronization is on.
    pub is_dir_syncing: bool,
    /// Password synchronization is on.
    pub is_password_syncing: bool,
    /// References per batch.
    pub links_max: i64,
    /// The shortest interval between cycles, an ISO duration.
    pub interval: String,
    /// The tenant's id.
    pub tenant_id: String,
}

/// A page of objects of the tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Where the next call goes on.
    pub cookie: Option<String>,
    /// There is more now.
    pub more: bool,
    /// The objects; `operation` is `Delete` for tombstones.
    pub objects: Vec<SyncObject>,
}

/// What became of one password hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialResult {
    /// The user by cloud anchor.
    pub cloud_anchor: Option<String>,
    /// More about a failure.
    pub extended_error: Option<String>,
    /// 0 is success.
    pub result: i64,
    /// The user by source anchor.
    pub source_anchor: Option<String>,
}

impl CredentialResult {
    /// Stands for a result that is missing or no number.
    pub const NO_RESULT: i64 = i64::MIN;
}

/// Writes an answer to `operation`.
pub fn encode_response(operation: &str, relates_to: &str, response: &Response) -> Vec<u8> {
    let mut writer = Writer::new();
    envelope::begin_response(&mut writer, &format!("{operation}Response"), relates_to);
    writer.start(None, &format!("{operation}Response")).default_namespace(SERVICE);
    if *response != Response::Empty {
        let namespace = match response {
            Response::Credentials(_) => CREDENTIALS,
            _ => OBJECTS,
        };
        writer.start(None, &format!("{operation}Result"));
        if !matches!(response, Response::Text(_)) {
            writer.namespace(b'b', namespace).namespace(b'i', INSTANCE);
        }
        write_result(&mut writer, response);
    }
    writer.end();
    envelope::finish(&mut writer);
    writer.finish()
}

fn write_result(writer: &mut Writer, response: &Response) {
    match response {
        Response::Text(text) => {
            writer.text_end(text);
            return;
        }
        Response::CompanyConfiguration(company) => write_company(writer, company),
        Response::Results(results) => {
            writer.start(Some(b'b'), "SyncObjectResults");
            for result in results {
                objects::write_result(writer, result);
            }
            writer.end();
        }
        Response::ReadBack(page) => {
            write_optional(writer, "Cookie", page.cookie.as_deref());
            writer.start(Some(b'b'), "MoreResults").boolean_end(page.more);
            writer.start(Some(b'b'), "ResultObjects");
            for object in &page.objects {
                objects::write_object(writer, object);
            }
            writer.end();
        }
        Response::Credentials(results) => {
            writer.start(Some(b'b'), "Results");
            for result in results {
                writer.start(Some(b'b'), "SyncCredentialsChangeResult");
                write_optional(writer, "CloudAnchor", result.cloud_anchor.as_deref());
                if let Some(error) = &result.extended_error {
                    writer.element(Some(b'b'), "ExtendedErrorInformation", error);
                }
                writer.element(Some(b'b'), "Result", &result.result.to_string());
                write_optional(writer, "SourceAnchor", result.source_anchor.as_deref());
                writer.end();
            }
            writer.end();
        }
        Response::ServiceAccount { user_name, password } => {
            writer.element(Some(b'b'), "Password", password).element(Some(b'b'), "UserName", user_name);
        }
        Response::DeviceConfiguration { cloud, public } => {
            for (name, list) in [("CloudPublicIssuerCertificates", cloud), ("PublicIssuerCertificates", public)] {
                writer.start(Some(b'b'), name).namespace(b'c', ARRAYS);
                for item in list {
                    writer.element(Some(b'c'), "base64Binary", item);
                }
                writer.end();
            }
        }
        Response::Members(members) => {
            for (name, value) in members {
                write_optional(writer, name, value.as_deref());
            }
        }
        Response::Empty => {}
    }
    writer.end();
}

/// Members of our own in the settings of a tenant.
const LAST_CONTACT: &str = "DirSyncClientLastContact";
const MACHINE_ID: &str = "DirSyncClientMachineId";

fn write_company(writer: &mut Writer, company: &CompanyConfiguration) {
    let optional = |writer: &mut Writer, name: &str, value: Option<&str>| {
        writer.start(None, name);
        match value {
            Some(text) => writer.text_end(text),
            None => writer.nil().end(),
        };
    };
    writer.element(None, "AllowedFeatures", "None");
    writer.start(None, "DirSyncConfiguration");
    optional(writer, "AnchorAttribute", company.anchor_attribute.as_deref());
    optional(writer, "ApplicationVersion", company.application_version.as_deref());
    optional(writer, "ClientVersion", company.client_version.as_deref());
    writer.start(None, "CurrentExport");
    for (name, value) in [(LAST_CONTACT, &company.last_contact), (MACHINE_ID, &company.machine_id)] {
        if let Some(value) = value {
            writer.element(None, name, value);
        }
    }
    optional(writer, "DirSyncClientMachineName", company.machine_name.as_deref());
    writer.start(None, "TotalConnectorSpaceObjects").number_end(company.total_connector_space_objects).end();
    writer.start(None, "IsTrackingChanges").boolean_end(false);
    writer.start(None, "PreventAccidentalDeletion");
    writer.element(None, "DeletionPrevention", &company.deletion_prevention);
    writer.start(None, "ThresholdCount").number_end(company.threshold_count);
    writer.start(None, "ThresholdPercentage").number_end(company.threshold_percentage).end();
    writer.start(None, "Writeback");
    optional(writer, "UnifiedGroupContainer", None);
    optional(writer, "UserContainer", None);
    writer.end().end();
    writer.start(None, "DirSyncFeatures").number_end(company.features);
    writer.element(None, "DisplayName", &company.display_name);
    writer.start(None, "IsDirSyncing").boolean_end(company.is_dir_syncing);
    writer.start(None, "IsPasswordSyncing").boolean_end(company.is_password_syncing);
    writer.start(None, "MaxLinksSupportedAcrossBatchInProvision2").number_end(company.links_max);
    writer.element(None, "SynchronizationInterval", &company.interval);
    writer.element(None, "TenantId", &company.tenant_id);
}

/// Writes a fault as an answer to `operation`; the HTTP status that goes with it is 500.
pub fn encode_fault(operation: &str, relates_to: &str, fault: &Fault) -> Vec<u8> {
    let mut writer = Writer::new();
    envelope::begin_response(&mut writer, &format!("{operation}AdminWebServiceFaultFault"), relates_to);
    writer.start(Some(b's'), "Fault");
    writer.start(Some(b's'), "Code").element(Some(b's'), "Value", if fault.sender { "s:Sender" } else { "s:Receiver" }).end();
    writer.start(Some(b's'), "Reason").start(Some(b's'), "Text").language("en-US").text_end(&fault.description).end();
    writer.start(Some(b's'), "Detail");
    if let Some(url) = &fault.redirect {
        writer.start(None, "BindingRedirectionFault").default_namespace(CREDENTIALS).element(None, "Url", url).end();
    } else {
        writer.start(None, "AdminWebServiceFault").default_namespace(CREDENTIALS).namespace(b'i', INSTANCE);
        writer.element(None, "ErrorCode", &fault.code.map_or_else(|| "Unknown".to_owned(), |code| code.to_string()));
        writer.element(None, "ErrorDescription", &fault.description);
        writer.element(None, "ServerName", "LOCALTENANT01");
        writer.element(None, "TrackingId", fault.tracking_id.as_deref().unwrap_or_default()).end();
    }
    writer.end().end();
    envelope::finish(&mut writer);
    writer.finish()
}

/// Reads an answer to `operation`.
pub fn decode_response(operation: &str, data: &[u8]) -> Result<Result<Response, Fault>, DecodeError> {
    let mut reader = Reader::new(data)?;
    let (_, body) = envelope::open(&mut reader)?;
    let Some(body) = body else { return Err(reader.wrong("an empty body")) };
    if body == "Fault" {
        return Ok(Err(read_fault(&mut reader)?));
    }
    if body != format!("{operation}Response") {
        return Err(reader.wrong(&format!("an answer {body} to the operation {operation}")));
    }
    let Some((result, _)) = reader.child()? else { return Ok(Ok(Response::Empty)) };
    if result != format!("{operation}Result") {
        return Err(reader.wrong(&format!("a result {result} of the operation {operation}")));
    }
    Ok(Ok(match operation {
        "GetCompanyConfiguration" => Response::CompanyConfiguration(Box::new(read_company(&mut reader)?)),
        "ProvisionAzureADSyncObjects" | "ProvisionAzureADSyncObjects2" => {
            Response::Results(read_list(&mut reader, "SyncObjectResults", objects::read_result)?)
        }
        "ReadBackAzureADSyncObjects" | "ReadBackAzureADSyncObjects2" => Response::ReadBack(read_page(&mut reader)?),
        "ProvisionCredentials" => Response::Credentials(read_list(&mut reader, "Results", read_credential)?),
        "GetServiceAccount" => {
            let leaves = leaves(&mut reader)?;
            let find = |name: &str| leaves.get(name).cloned().flatten().unwrap_or_default();
            Response::ServiceAccount { user_name: find("UserName"), password: find("Password") }
        }
        "GetDeviceConfiguration" => read_devices(&mut reader)?,
        "Capabilities" => Response::Text(reader.text()?.into_owned()),
        _ => Response::Members(leaves(&mut reader)?.into_iter().collect()),
    }))
}

fn read_list<T>(reader: &mut Reader<'_>, name: &str, item: fn(&mut Reader<'_>) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    let mut items = Vec::new();
    while let Some((part, _)) = reader.child()? {
        if part != name {
            reader.skip()?;
            continue;
        }
        while reader.child()?.is_some() {
            items.push(item(reader)?);
        }
    }
    Ok(items)
}

fn read_page(reader: &mut Reader<'_>) -> Result<ReadBack, DecodeError> {
    let mut page = ReadBack::default();
    while let Some((part, attributes)) = reader.child()? {
        match &*part {
            "Cookie" => page.cookie = read_optional(reader, is_nil(&attributes))?,
            "MoreResults" => page.more = boolean(&reader.text()?).unwrap_or(false),
            "ResultObjects" => {
                while reader.child()?.is_some() {
                    page.objects.push(objects::read_object(reader)?);
                }
            }
            _ => reader.skip()?,
        }
    }
    Ok(page)
}

fn read_credential(reader: &mut Reader<'_>) -> Result<CredentialResult, DecodeError> {
    let mut result = CredentialResult { result: CredentialResult::NO_RESULT, ..CredentialResult::default() };
    while let Some((part, attributes)) = reader.child()? {
        let nil = is_nil(&attributes);
        match &*part {
            "CloudAnchor" => result.cloud_anchor = read_optional(reader, nil)?,
            "SourceAnchor" => result.source_anchor = read_optional(reader, nil)?,
            "ExtendedErrorInformation" => result.extended_error = read_optional(reader, nil)?,
            "Result" => result.result = reader.text()?.trim().parse().unwrap_or(CredentialResult::NO_RESULT),
            _ => reader.skip()?,
        }
    }
    Ok(result)
}

fn read_devices(reader: &mut Reader<'_>) -> Result<Response, DecodeError> {
    let (mut cloud, mut public) = (Vec::new(), Vec::new());
    while let Some((part, _)) = reader.child()? {
        let list = if part == "CloudPublicIssuerCertificates" { &mut cloud } else { &mut public };
        while reader.child()?.is_some() {
            list.push(reader.text()?.into_owned());
        }
    }
    Ok(Response::DeviceConfiguration { cloud, public })
}

/// All elements with plain text below the open one, by name, whatever they are nested in.
fn leaves(reader: &mut Reader<'_>) -> Result<BTreeMap<String, Option<String>>, DecodeError> {
    use crate::protocol::nbfx::Event;
    let mut leaves = BTreeMap::new();
    let mut open: Vec<(String, bool, String, bool)> = Vec::new();
    loop {
        match reader.next()? {
            Event::Start { name, attributes, .. } => {
                if let Some(parent) = open.last_mut() {
                    parent.3 = true;
                }
                open.push((name.into_owned(), is_nil(&attributes), String::new(), false));
            }
            Event::Text(text) => {
                if let Some(element) = open.last_mut() {
                    element.2.push_str(&text);
                }
            }
            Event::End => {
                let Some((name, nil, text, parent)) = open.pop() else { return Ok(leaves) };
                if !parent {
                    leaves.insert(name, (!nil).then_some(text));
                }
            }
            Event::Eof => return Err(reader.wrong("the message ends inside an element")),
        }
    }
}

fn read_company(reader: &mut Reader<'_>) -> Result<CompanyConfiguration, DecodeError> {
    let mut leaves = leaves(reader)?;
    let mut text = |name: &str| leaves.remove(name).flatten();
    let number = |text: Option<String>| text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let flag = |text: Option<String>| text.as_deref().and_then(boolean).unwrap_or(false);
    Ok(CompanyConfiguration {
        anchor_attribute: text("AnchorAttribute"),
        application_version: text("ApplicationVersion"),
        client_version: text("ClientVersion"),
        machine_name: text("DirSyncClientMachineName"),
        machine_id: text(MACHINE_ID),
        last_contact: text(LAST_CONTACT),
        total_connector_space_objects: number(text("TotalConnectorSpaceObjects")),
        deletion_prevention: text("DeletionPrevention").unwrap_or_default(),
        threshold_count: number(text("ThresholdCount")),
        threshold_percentage: number(text("ThresholdPercentage")),
        features: number(text("DirSyncFeatures")),
        display_name: text("DisplayName").unwrap_or_default(),
        is_dir_syncing: flag(text("IsDirSyncing")),
        is_password_syncing: flag(text("IsPasswordSyncing")),
        links_max: number(text("MaxLinksSupportedAcrossBatchInProvision2")),
        interval: text("SynchronizationInterval").unwrap_or_default(),
        tenant_id: text("TenantId").unwrap_or_default(),
    })
}

fn read_fault(reader: &mut Reader<'_>) -> Result<Fault, DecodeError> {
    let leaves = leaves(reader)?;
    let text = |name: &str| leaves.get(name).cloned().flatten();
    let description = text("ErrorDescription").or_else(|| text("Text")).unwrap_or_else(|| "a fault without a reason".to_owned());
    Ok(Fault {
        sender: text("Value").is_some_and(|value| value.ends_with("Sender")),
        code: text("ErrorCode").and_then(|code| code.trim().parse().ok()),
        description,
        tracking_id: text("TrackingId").filter(|id| !id.is_empty()),
        redirect: text("Url"),
    })
}
