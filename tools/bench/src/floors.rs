//! The least thinkable work of each stage, done on the very store that the stage left, in a process of its own
//! (design: storage and performance, section 1).

use crate::child::{Cost, Outcome};
use crate::delta;
use crate::password_floors::{self, PasswordFloor};
use crate::place::{BATCH, SOURCE, TARGET};
use clap::Subcommand;
use redb::{Database, ReadableDatabase, TableDefinition};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use syncline::config::Config;
use syncline::connector::directory::class_filter;
use syncline::context::Context;
use syncline::model::{ConnectorId, CsObject, FlatBuilder, StageMask, ValueRef, ValueState};
use syncline::protocol::provisioning::{PropertyValue, Request, RequestHeader, SyncObject, encode_request};
use syncline::service::{Access, Service};
use syncline::store::ChangeSet;
use xxhash_rust::xxh3::xxh3_128;

const SPACE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("cs_object");
const METAVERSE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("mv_object");
/// Rows of one transaction, as the engine's bulk batches.
const ROWS: usize = 4_000;
const CACHE: usize = 96 << 20;

/// What the program does when it starts itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Floor {
    /// Says what an import asks the server for.
    Question,
    /// Walks all values of the source's space and hashes each once.
    Hash,
    /// Decodes every record of the source's space and copies 36 of its values.
    Read,
    /// Loads the source's records into a bare file.
    LoadSource,
    /// Loads the metaverse's and the target's records into bare files.
    LoadResult,
    /// Reads and writes so many records in one durable commit.
    Change {
        /// How many.
        count: usize,
    },
    /// Encodes all objects of the target and sends them to a server that discards them.
    Send,
    /// Runs delta cycles.
    Cycles {
        /// Files of changes for the second one and those behind it; each loses its last extension when its cycle begins.
        next: Vec<PathBuf>,
    },
    /// What concerns passwords.
    #[command(subcommand)]
    Passwords(PasswordFloor),
}

/// What an import asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The filter.
    pub filter: String,
    /// The attributes.
    pub attributes: Vec<String>,
}

/// Does the work and says, as JSON, what it cost or found.
pub(crate) fn main(floor: &Floor, configuration: &Path) -> Outcome<String> {
    if let Floor::Passwords(floor) = floor {
        return password_floors::main(floor, configuration);
    }
    if let Floor::Cycles { next } = floor {
        return Ok(serde_json::to_string(&delta::cycles(configuration, next)?)?);
    }
    let service = Service::open(Config::load(configuration)?, None, Access::Create)?;
    let source = service.connector_id(SOURCE)?;
    let target = service.connector_id(TARGET)?;
    let meter = Meter(Context::system());
    let cost = match floor {
        Floor::Question => return Ok(serde_json::to_string(&question(&service, source)?)?),
        Floor::Hash => hash(&meter, &service, source)?,
        Floor::Read => meter.process(|| read(&service, source))?,
        Floor::LoadSource => {
            let path = closed(service);
            load(&meter, &path, SPACE, Some(source))?
        }
        Floor::LoadResult => {
            let path = closed(service);
            sum(load(&meter, &path, SPACE, Some(target))?, load(&meter, &path, METAVERSE, None)?)
        }
        Floor::Change { count } => meter.process(|| change(&service, source, *count))?,
        Floor::Send => send(&meter, &service, target)?,
        Floor::Cycles { .. } | Floor::Passwords(_) => Cost::default(),
    };
    Ok(serde_json::to_string(&cost)?)
}

/// The store's file, free to be opened without the store.
pub(crate) fn closed(service: Service) -> PathBuf {
    let path = service.store_path().to_owned();
    drop(service);
    path
}

fn question(service: &Service, source: ConnectorId) -> Outcome<Question> {
    let names = service.store().names();
    let mut attributes: Vec<String> = service
        .rules()?
        .inbound_attributes(source)
        .iter()
        .map(|attr| names.name(*attr).to_string())
        .filter(|name| name != "memberOf")
        .collect();
    attributes.extend(["objectClass", "entryUUID"].map(str::to_owned));
    attributes.sort_by_key(|name| name.to_ascii_lowercase());
    attributes.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
    let types = service.config().connector(SOURCE).map(syncline::config::ConnectorConfig::object_types).unwrap_or_default();
    Ok(Question { filter: class_filter(&types), attributes })
}

/// Tells what some work of this process costs.
pub(crate) struct Meter(pub(crate) Context);

impl Meter {
    /// Work of all threads.
    pub(crate) fn process(&self, work: impl FnOnce() -> Outcome<()>) -> Outcome<Cost> {
        self.by(ClockId::ProcessCPUTime, work)
    }

    pub(crate) fn by(&self, processor: ClockId, work: impl FnOnce() -> Outcome<()>) -> Outcome<Cost> {
        let (began, before) = (self.0.clock.elapsed(), processor_clock(processor));
        work()?;
        let (wall, cpu) = (self.0.clock.elapsed().saturating_sub(began), processor_clock(processor).saturating_sub(before));
        Ok(Cost { cpu: cpu.as_secs_f64(), wall: wall.as_secs_f64(), peak: 0 })
    }
}

fn processor_clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

pub(crate) fn sum(one: Cost, other: Cost) -> Cost {
    Cost { cpu: one.cpu + other.cpu, wall: one.wall + other.wall, peak: 0 }
}

/// Shows all objects of a space, a thousand at a time.
fn objects(service: &Service, connector: ConnectorId, mut each: impl FnMut(&[CsObject]) -> Outcome<()>) -> Outcome<()> {
    let snapshot = service.store().snapshot()?;
    let mut after = None;
    loop {
        let found = snapshot.cs_scan(connector, after, 1_000)?;
        let Some(last) = found.last() else { return Ok(()) };
        after = Some(last.id);
        each(&found)?;
    }
}

fn hash(meter: &Meter, service: &Service, source: ConnectorId) -> Outcome<Cost> {
    let mut cost = Cost::default();
    objects(service, source, |found| {
        let part = meter.process(|| {
            let mut sum = 0u128;
            for item in found.iter().flat_map(|object| object.values.iter()) {
                sum = sum.wrapping_add(match item.value {
                    ValueRef::Text(text) => xxh3_128(text.as_bytes()),
                    ValueRef::Binary(octets) => xxh3_128(octets),
                    ValueRef::Number(number) => xxh3_128(&number.to_le_bytes()),
                    ValueRef::Boolean(boolean) => xxh3_128(&[u8::from(boolean)]),
                    ValueRef::LargeText(_) | ValueRef::LargeBinary(_) | ValueRef::Reference(_) => 0,
                });
            }
            black_box(sum);
            Ok(())
        })?;
        cost = sum(cost, part);
        Ok(())
    })?;
    Ok(cost)
}

fn read(service: &Service, source: ConnectorId) -> Outcome<()> {
    objects(service, source, |found| {
        for object in found {
            let mut copy = FlatBuilder::with_capacity(48, 1_400);
            for item in object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::WANTED)).take(36) {
                copy.push(item.attr, item.value, 0);
            }
            black_box(copy.finish());
        }
        Ok(())
    })
}

/// Copies rows by a cursor into a new file; only the writing counts.
pub(crate) fn load(meter: &Meter, path: &Path, table: TableDefinition<'_, u64, &[u8]>, connector: Option<ConnectorId>) -> Outcome<Cost> {
    let folder = tempfile::tempdir_in(path.parent().unwrap_or(Path::new(".")))?;
    let from = Database::builder().set_cache_size(CACHE).open(path)?;
    let to = Database::builder().set_cache_size(CACHE).create(folder.path().join("floor.redb"))?;
    let rows = from.begin_read()?.open_table(table)?;
    let range = connector.map_or((0, u64::MAX), |id| (u64::from(id.0) << 48, (u64::from(id.0) + 1) << 48));
    let mut rows = rows.range(range.0..range.1)?;
    let mut cost = Cost::default();
    loop {
        let mut batch = Vec::with_capacity(ROWS);
        for row in rows.by_ref().take(ROWS) {
            let (id, octets) = row?;
            batch.push((id.value(), octets.value().to_vec()));
        }
        if batch.is_empty() {
            return Ok(cost);
        }
        let part = meter.process(|| {
            let mut transaction = to.begin_write()?;
            transaction.set_quick_repair(true);
            let mut into = transaction.open_table(table)?;
            let mut cursor = into.upper_bound_mut(Bound::<u64>::Unbounded)?;
            for (id, octets) in &batch {
                cursor.insert_before(*id, octets.as_slice())?;
            }
            cursor.close()?;
            drop(into);
            transaction.commit()?;
            Ok(())
        })?;
        cost = sum(cost, part);
    }
}

fn change(service: &Service, source: ConnectorId, count: usize) -> Outcome<()> {
    let mut changes = ChangeSet::new();
    for mut object in service.store().snapshot()?.cs_scan(source, None, count)? {
        object.transient = !object.transient;
        changes.cs_hash.push((object.id, Some(u128::from(object.id.0))));
        changes.cs_put.push(object);
    }
    service.store().apply(changes)?;
    Ok(())
}

/// A connection to a server that takes requests and forgets them.
pub(crate) struct Nobody {
    stream: TcpStream,
    header: RequestHeader,
    server: JoinHandle<()>,
    buffer: Vec<u8>,
}

impl Nobody {
    pub(crate) fn connect() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = std::thread::spawn(move || drop(discard(&listener)));
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let header = RequestHeader { to: format!("http://{address}/provisioningservice.svc"), ..RequestHeader::default() };
        Ok(Self { stream, header, server, buffer: Vec::new() })
    }

    /// Encodes a request, sends it, and waits for the answer; what this thread spends on it.
    pub(crate) fn send(&mut self, meter: &Meter, request: &Request) -> Outcome<Cost> {
        meter.by(ClockId::ThreadCPUTime, || {
            self.buffer = encode_request(&self.header, request, std::mem::take(&mut self.buffer));
            write!(self.stream, "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", self.buffer.len())?;
            self.stream.write_all(&self.buffer)?;
            let mut answer = [0; ANSWER.len()];
            self.stream.read_exact(&mut answer)?;
            Ok(())
        })
    }

    pub(crate) fn close(self) {
        drop(self.stream);
        drop(self.server.join());
    }
}

fn send(meter: &Meter, service: &Service, target: ConnectorId) -> Outcome<Cost> {
    let mut nobody = Nobody::connect()?;
    let names = service.store().names();
    let mut cost = Cost::default();
    objects(service, target, |found| {
        for batch in found.chunks(BATCH) {
            // Making the objects is the engine's work; the floor begins with their octets.
            let objects = batch.iter().map(|object| wire_object(object, &|attr| names.name(attr).to_string())).collect();
            let request = Request::ProvisionObjects { second: true, objects };
            cost = sum(cost, nobody.send(meter, &request)?);
        }
        Ok(())
    })?;
    nobody.close();
    Ok(cost)
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Takes requests and forgets them.
fn discard(listener: &TcpListener) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (mut head, mut seen) = (Vec::new(), 0);
        let (length, start) = loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            head.extend_from_slice(&buffer[..count]);
            if let Some(end) = head[seen..].windows(4).position(|window| window == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&head[..seen + end]).into_owned();
                let length = text.rsplit(' ').next().and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
                break (length, head.len() - (seen + end + 4));
            }
            seen = head.len().saturating_sub(3);
        };
        let mut rest = length.saturating_sub(start);
        while rest > 0 {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            rest = rest.saturating_sub(count);
        }
        stream.write_all(ANSWER)?;
    }
}

fn wire_object(object: &CsObject, name: &dyn Fn(syncline::model::AttrId) -> String) -> SyncObject {
    let mut properties: Vec<(String, PropertyValue)> = Vec::new();
    for item in object.values.iter().filter(|item| ValueState(item.flags).present(StageMask::WANTED)) {
        let name = name(item.attr);
        match (item.value, properties.last_mut()) {
            (ValueRef::Text(text), Some((last, PropertyValue::TextList(list)))) if *last == name => list.push(text.to_owned()),
            (ValueRef::Text(text), Some((last, value @ PropertyValue::Text(_)))) if *last == name => {
                let PropertyValue::Text(first) = std::mem::replace(value, PropertyValue::Null) else { continue };
                *value = PropertyValue::TextList(vec![first, text.to_owned()]);
            }
            (ValueRef::Text(text), _) => properties.push((name, PropertyValue::Text(text.to_owned()))),
            (ValueRef::Number(number), _) => properties.push((name, PropertyValue::Long(number))),
            (ValueRef::Boolean(boolean), _) => properties.push((name, PropertyValue::Boolean(boolean))),
            (ValueRef::Binary(octets), _) => properties.push((name, PropertyValue::Binary(octets.to_vec()))),
            (ValueRef::LargeText(_) | ValueRef::LargeBinary(_) | ValueRef::Reference(_), _) => {}
        }
    }
    SyncObject { properties, object_type: "User".to_owned(), operation: "Set".to_owned() }
}
