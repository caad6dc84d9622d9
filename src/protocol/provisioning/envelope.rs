//! The SOAP envelope around every message: header of requests, header of answers.

use super::{ADDRESSING, INSTANCE, SERVICE, SOAP, TOKEN};
use crate::protocol::nbfx::{DecodeError, Event, Reader, Writer};
use zeroize::Zeroizing;

const ACTION: &str = "http://schemas.microsoft.com/online/aws/change/2010/01/IProvisioningWebService/";
const ANONYMOUS: &str = "http://www.w3.org/2005/08/addressing/anonymous";

/// What the header of a request says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which client: see the specification, 1.4.
    pub application_id: String,
    /// The access token, bare. A secret, wiped when it is dropped.
    pub bearer_token: Zeroizing<String>,
    /// The client's build.
    pub build: String,
    /// A GUID of the call.
    pub message_id: String,
    /// The address of the service.
    pub to: String,
    /// The operation named by the action; set by decoding, ignored by encoding.
    pub operation: String,
}

impl std::fmt::Debug for RequestHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestHeader")
            .field("application_id", &self.application_id)
            .field("bearer_token", &"[redacted]")
            .field("message_id", &self.message_id)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// The operation that an action names: the last part of its path.
pub fn action_operation(action: &str) -> &str {
    action.rsplit('/').next().unwrap_or(action)
}

/// Writes envelope and header of a request and opens the body.
pub(super) fn begin_request(writer: &mut Writer, header: &RequestHeader, operation: &str) {
    begin(writer, &format!("{ACTION}{operation}"));
    writer.start(None, "SyncToken").attribute(b's', "role", TOKEN).default_namespace(TOKEN).namespace(b'i', INSTANCE);
    let fields = [
        ("ApplicationId", header.application_id.as_str()),
        ("BearerToken", &header.bearer_token),
        ("ClientVersion", "8.0"),
        ("DirSyncBuildNumber", &header.build),
        ("FIMBuildNumber", &header.build),
        ("IsInstalledOnDC", "False"),
        ("IssueDateTime", "0001-01-01T00:00:00"),
        ("LanguageId", "en-US"),
        ("LiveToken", ""),
        ("ProtocolVersion", "2.0"),
        ("RichCoexistenceEnabled", "False"),
        ("TrackingId", &header.message_id),
    ];
    for (name, value) in fields {
        writer.start(None, name).default_namespace(SERVICE).text_end(value);
    }
    writer.end();
    writer.element(Some(b'a'), "MessageID", &format!("urn:uuid:{}", header.message_id));
    writer.start(Some(b'a'), "ReplyTo").element(Some(b'a'), "Address", ANONYMOUS).end();
    writer.start(Some(b'a'), "To").must_understand().text_end(&header.to);
    writer.end().start(Some(b's'), "Body");
}

/// Writes envelope and header of an answer and opens the body.
pub(super) fn begin_response(writer: &mut Writer, operation: &str, relates_to: &str) {
    begin(writer, &format!("{ACTION}{operation}"));
    writer.element(Some(b'a'), "RelatesTo", &format!("urn:uuid:{relates_to}"));
    writer.end().start(Some(b's'), "Body");
}

/// Closes body and envelope.
pub(super) fn finish(writer: &mut Writer) {
    writer.end().end();
}

fn begin(writer: &mut Writer, action: &str) {
    writer.start(Some(b's'), "Envelope").namespace(b's', SOAP).namespace(b'a', ADDRESSING);
    writer.start(Some(b's'), "Header").start(Some(b'a'), "Action").must_understand().text_end(action);
}

/// Reads envelope and header, up to the beginning of the body's first element. Gives the header and that element's
/// name; `None` for an empty body.
pub(super) fn open(reader: &mut Reader<'_>) -> Result<(RequestHeader, Option<String>), DecodeError> {
    let mut header = RequestHeader::default();
    match reader.next()? {
        Event::Start { namespace, name, .. } if name == "Envelope" && namespace == SOAP => {}
        _ => return Err(reader.wrong("no SOAP 1.2 envelope")),
    }
    while let Some((part, _)) = reader.child()? {
        match &*part {
            "Header" => read_header(reader, &mut header)?,
            "Body" => {
                let first = reader.child()?.map(|(name, _)| name.into_owned());
                return Ok((header, first));
            }
            _ => reader.skip()?,
        }
    }
    Err(reader.wrong("an envelope without a body"))
}

fn read_header(reader: &mut Reader<'_>, header: &mut RequestHeader) -> Result<(), DecodeError> {
    while let Some((name, _)) = reader.child()? {
        match &*name {
            "Action" => action_operation(&reader.text()?).clone_into(&mut header.operation),
            "MessageID" | "RelatesTo" => {
                let id = reader.text()?;
                id.strip_prefix("urn:uuid:").unwrap_or(&id).clone_into(&mut header.message_id);
            }
            "To" => header.to = reader.text()?.into_owned(),
            "SyncToken" => {
                while let Some((field, _)) = reader.child()? {
                    match &*field {
                        "ApplicationId" => header.application_id = reader.text()?.into_owned(),
                        "BearerToken" => header.bearer_token = Zeroizing::new(reader.text()?.into_owned()),
                        "DirSyncBuildNumber" => header.build = reader.text()?.into_owned(),
                        _ => reader.skip()?,
                    }
                }
            }
            _ => reader.skip()?,
        }
    }
    Ok(())
}
