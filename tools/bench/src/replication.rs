//! A domain's password hashes: through the product's source, and by the same calls with nothing behind them.
//!
//! The bare exchange connects, signs in and binds as the source does, sends the same requests for changes, and takes of each
//! answer only the 128 octets in front that say where the next request begins. What both have in common is the wire, the
//! protection of packets, and the server; what the source adds is decoding objects, decrypting hashes and handing pages on.

use crate::child::{Cost, Outcome};
use crate::floors::Meter;
use futures_util::StreamExt as _;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use syncline::connector::ad::replication::{Controllers, DrsCall, ReplicationServer, ReplicationSettings, ReplicationSource, network};
use syncline::connector::{PasswordRequest, PasswordSource as _};
use syncline::context::Context;
use syncline::protocol::dcerpc::{Guid, Reader};
use syncline::protocol::drsuapi::{
    BIND, BindReply, CONTROLLERS, ChangesRequest, ControllerReply, GET_CHANGES, Handle, Position, Target, UNBIND, bind_request,
    controllers_request, unbind_request,
};

/// What a read came to.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Read {
    /// What it cost this process.
    pub(crate) cost: Cost,
    /// Objects that the server sent.
    pub(crate) objects: u64,
    /// Hashes that were decrypted.
    pub(crate) hashes: u64,
    /// Answers to requests for changes; 0 where nobody counts them.
    pub(crate) pages: u64,
}

/// Reads everything and says, as JSON, what it came to. `state`: the file with the laboratory's description.
pub(crate) fn main(meter: &Meter, state: &Path, bare: bool) -> Outcome<String> {
    let state: Value = serde_json::from_slice(&std::fs::read(state)?)?;
    let text = |key: &str| state[key].as_str().map(str::to_owned).ok_or_else(|| format!("the laboratory does not say its {key}"));
    let mut server = ReplicationServer::new(text("host")?);
    server.address = Some(text("address")?);
    let settings = ReplicationSettings::new(vec![server], text("bind_name")?, SecretString::from(text("password")?));
    let (settings, context) = (Arc::new(settings), text("base")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cx = Context::system();
    let mut read = Read::default();
    let cost = meter.process(|| {
        read = if bare {
            runtime.block_on(calls(&cx, &settings, &context))?
        } else {
            runtime.block_on(source(&cx, (*settings).clone(), &context))?
        };
        Ok(())
    })?;
    Ok(serde_json::to_string(&Read { cost, ..read })?)
}

async fn source(cx: &Context, settings: ReplicationSettings, context: &str) -> Outcome<Read> {
    let source = ReplicationSource::new(settings)?;
    let request = PasswordRequest { domain: context.to_owned(), since: None, wanted: Arc::new(|_| true) };
    let mut pages = source.changes(cx, request).await?;
    let (mut read, mut complete) = (Read::default(), false);
    while let Some(page) = pages.next().await {
        let page = page?;
        read.objects += page.seen;
        read.hashes += u64::try_from(page.changes.iter().filter(|change| matches!(change.hash, Some(Some(_)))).count())?;
        complete |= page.completion.is_some();
    }
    if complete { Ok(read) } else { Err("the source broke off".into()) }
}

/// Where a request for changes begins, as far as an answer says it.
struct Place {
    invocation: Guid,
    position: Position,
    objects: u64,
    more: bool,
}

async fn calls(cx: &Context, settings: &Arc<ReplicationSettings>, context: &str) -> Outcome<Read> {
    let controllers: Arc<dyn Controllers> = network(Arc::clone(settings));
    let host = controllers.names().into_iter().next().unwrap_or_default();
    let port = controllers.port(cx, 0).await?;
    let mut line = controllers.connect(cx, 0, port).await?;
    let bound = BindReply::read(&line.call(cx, BIND, &bind_request(0)).await?)?;
    let domain = context.split(',').filter_map(|part| part.split_once('=')).map(|(_, label)| label).collect::<Vec<_>>().join(".");
    let answer = line.call(cx, CONTROLLERS, &controllers_request(&bound.handle, &domain)).await?;
    let agent = ControllerReply::read(&answer)?.named(&host).map_or(Guid::NIL, |controller| controller.agent);
    let mut place = Place { invocation: Guid::NIL, position: [0; 3], objects: 0, more: true };
    let mut read = Read::default();
    while place.more {
        place = ask(cx, &mut *line, &bound.handle, agent, context, settings.page_objects, &place).await?;
        read.objects += place.objects;
        read.pages += 1;
    }
    line.call(cx, UNBIND, &unbind_request(&bound.handle)).await?;
    Ok(read)
}

async fn ask(
    cx: &Context,
    line: &mut dyn DrsCall,
    handle: &Handle,
    agent: Guid,
    context: &str,
    objects: u32,
    place: &Place,
) -> Outcome<Place> {
    let attributes = ChangesRequest::password_attributes();
    let request = ChangesRequest {
        handle,
        agent,
        invocation: place.invocation,
        target: Target::Context(context),
        position: place.position,
        known: &[],
        objects,
        attributes: &attributes,
    };
    let answer = line.call(cx, GET_CHANGES, &request.write()).await?;
    // DRS_MSG_GETCHGREPLY_V6 (MS-DRSR 4.1.10.2.11): version, union, agent, invocation, name, two positions, what is known,
    // prefixes, result, number of objects, octets, objects, and whether there are more.
    let mut reader = Reader::new(&answer);
    reader.u32()?;
    reader.u32()?;
    reader.guid()?;
    let invocation = reader.guid()?;
    reader.pointer()?;
    for _ in 0..3 {
        reader.i64()?;
    }
    let position = [reader.i64()?, reader.i64()?, reader.i64()?];
    reader.pointer()?;
    reader.u32()?;
    reader.pointer()?;
    reader.u32()?;
    let objects = reader.u32()?;
    reader.u32()?;
    reader.pointer()?;
    let more = reader.u32()? != 0;
    if more && position == place.position {
        return Err("the server names the same position again".into());
    }
    Ok(Place { invocation, position, objects: u64::from(objects), more })
}
