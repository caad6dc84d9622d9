//! The least thinkable work of password synchronization, each in a process of its own; and one cycle of the agent alone,
//! with nothing but the tenant outside.

use crate::child::{Cost, Outcome};
use crate::floors::{Meter, Nobody, closed, load, sum};
use crate::place::{SOURCE, TARGET};
use crate::replication;
use async_trait::async_trait;
use clap::Subcommand;
use futures_util::StreamExt as _;
use redb::TableDefinition;
use secrecy::ExposeSecret as _;
use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use syncline::config::{Config, ConnectorSettings, EntraFile};
use syncline::connector::entra::{EntraConnector, EntraSettings, SignIn};
use syncline::connector::{
    ConnectorError, PASSWORD_BATCH, PasswordChange, PasswordCheck, PasswordCompletion, PasswordPage, PasswordRequest, PasswordSource,
    PasswordStream,
};
use syncline::context::Context;
use syncline::events::{Event, EventSink};
use syncline::model::{Anchor, ConnectorId, Timestamp};
use syncline::password::agent::{Agent, AgentSettings, AgentTurn, CycleKind, Pair};
use syncline::password::hash::{CredentialData, ITERATIONS, NtHash, SALT_LENGTH};
use syncline::protocol::ldif::Reader;
use syncline::protocol::provisioning::{CredentialChange, Request};
use syncline::service::{Access, Service};

/// What is remembered of passwords.
const PASSWORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("password");

/// What the program does when it starts itself.
#[derive(Debug, Subcommand)]
pub(crate) enum PasswordFloor {
    /// Reads every record of a file and looks at its values.
    Ldif {
        /// The file.
        file: PathBuf,
    },
    /// Derives so many keys, on all processors.
    Derive {
        /// How many.
        count: usize,
    },
    /// Encodes so many credentials in batches and sends them to a server that discards them.
    Send {
        /// How many.
        count: usize,
    },
    /// Loads the records of passwords into a bare file.
    Load,
    /// No floor: one cycle of the agent in which so many passwords changed, read from memory and sent to the tenant.
    Cycle {
        /// How many.
        count: usize,
    },
    /// Reads a domain's hashes: through the product's source, or by the calls alone. The configuration is the lab's state.
    Replicate {
        /// By the calls alone.
        #[arg(long)]
        bare: bool,
    },
}

/// Does the work and says, as JSON, what it cost.
pub(crate) fn main(floor: &PasswordFloor, configuration: &Path) -> Outcome<String> {
    let meter = Meter(Context::system());
    let cost = match floor {
        PasswordFloor::Ldif { file } => meter.process(|| parse(file))?,
        PasswordFloor::Derive { count } => derive(&meter, *count)?,
        PasswordFloor::Send { count } => send(&meter, *count)?,
        PasswordFloor::Load => {
            let service = Service::open(Config::load(configuration)?, None, Access::Existing)?;
            let source = service.connector_id(SOURCE)?;
            load(&meter, &closed(service), PASSWORDS, Some(source))?
        }
        PasswordFloor::Cycle { count } => cycle(&meter, configuration, *count)?,
        PasswordFloor::Replicate { bare } => return replication::main(&meter, configuration, *bare),
    };
    Ok(serde_json::to_string(&cost)?)
}

fn parse(file: &Path) -> Outcome<()> {
    let mut octets = 0;
    for record in Reader::new(BufReader::with_capacity(256 << 10, File::open(file)?)) {
        octets += record?.values().map(|value| value.octets.len()).sum::<usize>();
    }
    black_box(octets);
    Ok(())
}

/// People that nobody has, the same in every run.
pub(crate) fn accounts(count: usize) -> Vec<(NtHash, [u8; SALT_LENGTH])> {
    let salt = |at: usize| std::array::from_fn(|octet| u8::try_from((at * 31 + octet * 7) % 256).unwrap_or(0));
    (0..count).map(|at| (NtHash::of_password(&format!("Pw-{at:06}-Sync!")), salt(at))).collect()
}

fn derive(meter: &Meter, count: usize) -> Outcome<Cost> {
    let accounts = accounts(count);
    meter.process(|| {
        black_box(CredentialData::derive_all(&accounts, ITERATIONS)?);
        Ok(())
    })
}

fn send(meter: &Meter, count: usize) -> Outcome<Cost> {
    // One key for all: deriving them is another floor.
    let data = CredentialData::derive(&NtHash::of_password("x"), &[7; SALT_LENGTH], 1)?;
    let mut nobody = Nobody::connect()?;
    let mut cost = Cost::default();
    for begin in (0..count).step_by(PASSWORD_BATCH) {
        let item = |number: usize| CredentialChange {
            change_date: "2024-01-02T03:04:05.678901Z".to_owned(),
            cloud_anchor: None,
            credential_data: data.to_text().expose_secret().to_owned().into(),
            force_change: false,
            source_anchor: Some(format!("c291cmNlYW5jaG9y{number:08}")),
        };
        let batch = (begin..count.min(begin + PASSWORD_BATCH)).map(item).collect();
        cost = sum(cost, nobody.send(meter, &Request::ProvisionCredentials(batch))?);
    }
    nobody.close();
    Ok(cost)
}

/// A directory in which passwords changed just now. It answers once.
struct Changed {
    domain: String,
    changes: Mutex<Vec<PasswordChange>>,
}

#[async_trait]
impl PasswordSource for Changed {
    async fn domains(&self, _cx: &Context) -> Result<Vec<String>, ConnectorError> {
        Ok(vec![self.domain.clone()])
    }

    async fn changes(&self, _cx: &Context, request: PasswordRequest) -> Result<PasswordStream, ConnectorError> {
        let mut changes = std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        let seen = u64::try_from(changes.len()).unwrap_or(u64::MAX);
        changes.retain(|change| (request.wanted)(&change.anchor));
        // The cookie stays as it is: for the file nothing was read.
        let (cookie, answered_in_full) = request.since.map_or_else(|| (Vec::new(), true), |cookie| (cookie, false));
        let completion = PasswordCompletion { cookie, answered_in_full, server: "memory".to_owned(), passed_over: None };
        let page = PasswordPage { changes, rejects: Vec::new(), seen, completion: Some(completion) };
        Ok(futures_util::stream::iter([Ok(page)]).boxed())
    }

    async fn read(&self, _cx: &Context, _domain: &str, _anchors: &[Anchor]) -> Result<PasswordPage, ConnectorError> {
        Ok(PasswordPage::default())
    }

    async fn diagnose(&self, _cx: &Context) -> Vec<PasswordCheck> {
        Vec::new()
    }
}

/// Hears everything and keeps nothing: the journal is the service's.
struct Deaf;

impl EventSink for Deaf {
    fn event(&self, _at: Timestamp, event: &Event) {
        black_box(event.number());
    }
}

fn cycle(meter: &Meter, configuration: &Path, count: usize) -> Outcome<Cost> {
    let config = Config::load(configuration)?;
    let service = Service::open(config.clone(), None, Access::Existing)?;
    let (source, target) = (service.connector_id(SOURCE)?, service.connector_id(TARGET)?);
    let store = service.store().clone();
    let Some(ConnectorSettings::Ldif(file)) = config.connector(SOURCE).map(|connector| &connector.settings) else {
        return Err("the directory of this measurement is a file".into());
    };
    let domain = file.path.display().to_string();
    let cx = Context::system();
    let changes = changed(&service, source, count, cx.now())?;
    if changes.len() < count {
        return Err(format!("only {} accounts have a password that could change, {count} are wanted", changes.len()).into());
    }
    let Some(ConnectorSettings::Entra(file)) = config.connector(TARGET).map(|connector| &connector.settings) else {
        return Err("the target of this measurement is a tenant".into());
    };
    let pair = Pair {
        source,
        source_name: SOURCE.to_owned(),
        reader: Arc::new(Changed { domain, changes: Mutex::new(changes) }),
        target,
        target_name: TARGET.to_owned(),
        sender: Arc::new(connector(&config, file, &store)?),
    };
    let agent = Agent::new(AgentSettings {
        turn: AgentTurn::default(),
        rules: service.shared_rules()?,
        parameters: service.kept_parameters(cx.now())?,
        store,
        pairs: vec![pair],
        staging: false,
        installation: None,
        events: Arc::new(Deaf),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut accepted = 0;
    let cost = meter.process(|| {
        let report = runtime.block_on(agent.cycle(&cx, CycleKind::Changes))?;
        let domains = report.pairs.iter().flat_map(|pair| &pair.domains);
        accepted = domains.map(|domain| domain.accepted).sum();
        Ok(())
    })?;
    let wanted = u64::try_from(count)?;
    if accepted == wanted {
        Ok(cost)
    } else {
        Err(format!("{accepted} of {count} passwords were taken; nothing is worth measuring").into())
    }
}

/// New passwords for the first accounts whose passwords the tenant has.
fn changed(service: &Service, source: ConnectorId, count: usize, now: Timestamp) -> Outcome<Vec<PasswordChange>> {
    let snapshot = service.store().snapshot()?;
    let (mut found, mut after) = (Vec::new(), None);
    while found.len() < count {
        let page = snapshot.passwords(source, after, 1_000)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (account, _) in page.into_iter().filter(|(_, record)| record.sent.is_some()).take(count - found.len()) {
            let Some(object) = snapshot.cs_object(account)? else { continue };
            let Some(anchor) = object.anchor else { continue };
            found.push(PasswordChange {
                anchor,
                dn: object.dn.to_string(),
                hash: Some(Some(NtHash::of_password(&format!("Changed-{account}")))),
                changed: Some(now),
                version: None,
                must_change: Some(false),
                disabled: None,
                deleted: false,
            });
        }
    }
    Ok(found)
}

fn connector(config: &Config, file: &EntraFile, store: &syncline::store::Store) -> Outcome<EntraConnector> {
    let (Some(client), Some(secret), Some(login), Some(service)) =
        (&file.client_id, &file.client_secret, &file.login_url, &file.provisioning_url)
    else {
        return Err("the tenant of this measurement signs in by an application's secret".into());
    };
    let secret = config.secrets.resolve(secret).map_err(|problem| problem.message)?;
    let sign_in = SignIn::Secret { client_id: client.clone(), secret };
    let settings =
        EntraSettings { login_url: login.clone(), provisioning_url: service.clone(), ..EntraSettings::new(file.tenant.clone(), sign_in) };
    Ok(EntraConnector::new(settings, Arc::clone(store.names()))?)
}
