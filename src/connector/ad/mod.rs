//! The connector for Active Directory over LDAP: naming contexts, schema, domain parameters, full and delta import,
//! change notification. Password hashes come by replication.

mod collect;
mod consistency_guid;
mod delta;
mod dirsync;
mod disabled;
mod hidden;
pub mod ldapi;
mod locate;
mod notification;
mod own_password;
pub mod replication;
mod reread;
pub mod rights;
mod schema;
mod survey;
mod usn;
mod watermark;

use crate::connector::directory::{ImportPlan, KindTable, Scope, Selection, class_filter, roots_below};
use crate::connector::ldap::{Client, LdapSettings, Question, SearchRoot, StreamPlan, find, places, stream};
use crate::connector::{
    Capabilities, ChangeStream, ClassAttribute, Completion, Connector, ConnectorError, ConnectorErrorKind, ContainerPlace, DisabledStream,
    ExportBatch, ExportReply, ImportKind, ImportPage, ImportRequest, ImportStream, KeptContainer, Schema,
};
use crate::context::Context;
use crate::model::{Anchor, Dn, Names};
use async_trait::async_trait;
use delta::Source;
use futures_util::StreamExt as _;
use ldap3::Scope as SearchScope;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use consistency_guid::{AnchorParts, set_consistency_guid};
pub use locate::{LocatedController, locate};
pub use own_password::{PasswordChangeError, change_own_password};
pub use survey::{AccountSurvey, DomainSurvey, survey};

/// Which parts of which forest to import.
#[derive(Clone, Debug)]
pub struct AdSettings {
    /// How to reach a domain controller.
    pub connection: LdapSettings,
    /// Naming contexts to import; none means the domain of the server.
    pub partitions: Vec<String>,
    /// Which objects are wanted.
    pub selection: Selection,
    /// How changes are asked for.
    pub delta: DeltaMode,
}

/// How a domain controller is asked for changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeltaMode {
    /// By the best way that the server and the account's rights allow.
    #[default]
    Auto,
    /// By the DirSync control with the right to replicate (MS-ADTS 3.1.1.3.4.1.3).
    DirSync,
    /// By the DirSync control, of what the account may see.
    DirSyncVisible,
    /// By the numbers that the domain controller gives to changes.
    Usn,
    /// Not at all: every import reads everything.
    Off,
}

/// A domain of Active Directory, or several of one forest.
#[derive(Debug)]
pub struct AdConnector {
    names: Arc<Names>,
    settings: AdSettings,
    connection: Arc<LdapSettings>,
    partitions: Vec<Dn>,
    scope: Scope,
}

/// What the root entry of a domain controller says (MS-ADTS 3.1.1.3.2).
struct Root {
    domain: String,
    forest: String,
    configuration: String,
    schema: String,
    /// Its DNS name.
    host: Option<String>,
    /// The object that stands for the server as a replica.
    service: Option<String>,
    /// It names a vendor, which Microsoft's does not.
    vendor: bool,
    /// The highest number that it gave to a change.
    usn: Option<u64>,
    /// The controls that it knows.
    controls: BTreeSet<String>,
}

/// Everything an import needs.
struct Prepared {
    client: Client,
    root: Root,
    roots: Vec<SearchRoot>,
    contexts: Vec<String>,
    plan: ImportPlan,
    attributes: Vec<String>,
    /// Numbers of the wanted attributes that link objects.
    links: Vec<u32>,
}

/// What a directory tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryFacts {
    /// What rules know as parameters, without percent signs: `Domain.FQDN`, `Domain.Netbios`, `Domain.LDAP`, and the
    /// same for `Forest` (specification: expression functions, "Parameters").
    pub parameters: BTreeMap<String, String>,
    /// What the forest's schema was extended by.
    pub extensions: ForestExtensions,
}

/// What a forest's schema was extended by (specification: default rules, section 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForestExtensions {
    /// Exchange.
    pub exchange: bool,
    /// Lync or Skype for Business.
    pub lync: bool,
    /// Registered devices.
    pub devices: bool,
}

impl AdConnector {
    /// A connector for the domains that `settings` name. Nothing is connected yet.
    ///
    /// # Errors
    /// A naming context or a container that is no name.
    pub fn new(settings: AdSettings, names: Arc<Names>) -> Result<Self, ConnectorError> {
        let mut scope = Scope::new(&settings.selection)?;
        let mut partitions = Vec::with_capacity(settings.partitions.len());
        for text in &settings.partitions {
            partitions.push(Dn::parse(text).map_err(|error| {
                ConnectorError::new(ConnectorErrorKind::Configuration, format!("naming context '{text}': {error}")).unsent()
            })?);
        }
        for partition in &partitions {
            exclude_deleted(&mut scope, partition);
        }
        let connection = Arc::new(settings.connection.clone());
        Ok(Self { names, settings, connection, partitions, scope })
    }

    /// What the directory tells about itself: parameters of rules, and what its schema was extended by.
    ///
    /// # Errors
    /// As for an import, and when the partitions of the forest cannot be read.
    pub async fn facts(&self, cx: &Context) -> Result<DirectoryFacts, ConnectorError> {
        Client::unless_cancelled(cx, async {
            let mut client = Client::connect(self.connection.clone()).await?;
            let root = self.root(&mut client).await?;
            let parameters = self.read_parameters(&mut client, &root).await?;
            let extensions = read_extensions(&mut client, &root.schema).await?;
            client.close().await;
            Ok(DirectoryFacts { parameters, extensions })
        })
        .await
    }

    /// The naming contexts of the server, for choosing partitions.
    ///
    /// # Errors
    /// As for an import.
    pub async fn naming_contexts(&self, cx: &Context) -> Result<Vec<String>, ConnectorError> {
        Client::unless_cancelled(cx, async {
            let mut client = Client::connect(self.connection.clone()).await?;
            let root = client.root(&["namingContexts"]).await?;
            let contexts = root.texts("namingContexts").into_iter().map(str::to_owned).collect();
            client.close().await;
            Ok(contexts)
        })
        .await
    }

    async fn root(&self, client: &mut Client) -> Result<Root, ConnectorError> {
        let attributes = ["defaultNamingContext", "rootDomainNamingContext", "configurationNamingContext", "schemaNamingContext"];
        let facts = ["dnsHostName", "dsServiceName", "vendorName", "highestCommittedUSN"];
        let entry = client.root(&[&attributes[..], &facts].concat()).await?;
        let value = |name: &str| {
            entry.text(name).map(str::to_owned).ok_or_else(|| {
                ConnectorError::new(
                    ConnectorErrorKind::Search,
                    format!(
                        "{}: the root entry has no {name}: this is no domain controller; use the ldap connector for other directories",
                        self.connection.url
                    ),
                )
            })
        };
        let [domain, forest, configuration, schema] = attributes.map(value);
        Ok(Root {
            domain: domain?,
            forest: forest?,
            configuration: configuration?,
            schema: schema?,
            host: entry.text("dnsHostName").map(str::to_owned),
            service: entry.text("dsServiceName").map(str::to_owned),
            vendor: entry.text("vendorName").is_some(),
            usn: entry.text("highestCommittedUSN").and_then(|number| number.parse().ok()),
            controls: entry.texts("supportedControl").into_iter().map(str::to_owned).collect(),
        })
    }

    async fn read_parameters(&self, client: &mut Client, root: &Root) -> Result<BTreeMap<String, String>, ConnectorError> {
        let partitions = format!("CN=Partitions,{}", root.configuration);
        let filter = "(&(objectClass=crossRef)(nETBIOSName=*))";
        let references = client.search(&partitions, SearchScope::OneLevel, filter, &["nCName", "dnsRoot", "nETBIOSName"]).await?;
        let domain = self.partitions.first().map_or(root.domain.as_str(), Dn::as_str);
        let mut parameters = BTreeMap::new();
        for (prefix, name) in [("Domain", domain), ("Forest", root.forest.as_str())] {
            parameters.insert(format!("{prefix}.LDAP"), name.to_owned());
            let same = |other: &str| matches!((Dn::parse(name), Dn::parse(other)), (Ok(left), Ok(right)) if left.same(&right));
            let Some(reference) = references.iter().find(|entry| entry.text("nCName").is_some_and(same)) else {
                return Err(ConnectorError::new(
                    ConnectorErrorKind::Search,
                    format!("{}: '{partitions}' has no entry for '{name}'; may the account read it?", self.connection.url),
                ));
            };
            for (suffix, attribute) in [("FQDN", "dnsRoot"), ("Netbios", "nETBIOSName")] {
                if let Some(value) = reference.text(attribute) {
                    parameters.insert(format!("{prefix}.{suffix}"), value.to_owned());
                }
            }
        }
        Ok(parameters)
    }

    async fn prepare(&self, request: &ImportRequest) -> Result<Prepared, ConnectorError> {
        let mut client = Client::connect(self.connection.clone()).await?;
        let root = self.root(&mut client).await?;
        let (scope, partitions) = self.extent(&root)?;
        let wanted: Vec<Arc<str>> = request.attributes.iter().map(|attr| self.names.name(*attr)).collect();
        let mut kinds = KindTable::built_in();
        let links = schema::learn(&mut client, &root.schema, Some(&wanted), &mut kinds).await?.links;
        let types = &self.settings.selection.object_types;
        let filter = class_filter(types);
        let mut roots = Vec::new();
        for base in roots_below(&scope, &partitions)? {
            client.check_base(&base).await?;
            roots.push(SearchRoot { base, filter: filter.clone() });
        }
        let contexts = partitions.iter().map(|partition| partition.as_str().to_owned()).collect();
        let plan = ImportPlan::new(&self.names, &request.attributes, &kinds, &["objectGUID"], types, scope).with_extended_names();
        let attributes = plan.requested(self.connection.value_range);
        Ok(Prepared { client, root, roots, contexts, plan, attributes, links })
    }

    /// The containers and naming contexts to import from a server.
    fn extent(&self, root: &Root) -> Result<(Scope, Vec<Dn>), ConnectorError> {
        let mut scope = self.scope.clone();
        let mut partitions = self.partitions.clone();
        if partitions.is_empty() {
            let domain = Dn::parse(&root.domain).map_err(|error| {
                ConnectorError::new(ConnectorErrorKind::Protocol, format!("{}: defaultNamingContext: {error}", self.connection.url))
            })?;
            exclude_deleted(&mut scope, &domain);
            partitions.push(domain);
        }
        Ok((scope, partitions))
    }

    /// The connection and what to read for a delta.
    async fn source(&self, request: &ImportRequest) -> Result<(Client, Root, Source), ConnectorError> {
        let Prepared { mut client, root, contexts, plan, attributes, links, .. } = self.prepare(request).await?;
        let links = schema::back_links(&mut client, &root.schema, &links).await?;
        let filter = class_filter(&self.settings.selection.object_types);
        Ok((client, root, Source { plan, attributes, filter, contexts, links }))
    }

    /// A connection for listening, and the naming contexts to listen to.
    async fn listener(&self) -> Result<(Client, Root, Vec<String>), ConnectorError> {
        let mut client = Client::connect(self.connection.clone()).await?;
        let root = self.root(&mut client).await?;
        let (_, partitions) = self.extent(&root)?;
        let contexts = partitions.iter().map(|partition| partition.as_str().to_owned()).collect();
        Ok((client, root, contexts))
    }

    async fn full(&self, cx: &Context, request: &ImportRequest) -> Result<ImportStream, ConnectorError> {
        let work = async {
            let mut prepared = self.prepare(request).await?;
            let beginning = {
                let Prepared { client, root, contexts, .. } = &mut prepared;
                delta::begin(client, root, contexts, &self.settings.selection.exclude, self.settings.delta).await?
            };
            Ok((prepared, beginning))
        };
        let (Prepared { mut client, roots, plan, attributes, .. }, beginning) = Client::unless_cancelled(cx, work).await?;
        client.ask_for_extended_names();
        let completion = Completion { watermark: beginning.watermark, answered_in_full: false };
        let pages = stream(client, cx.clone(), StreamPlan { roots, attributes, plan, completion });
        if beginning.warnings.is_empty() {
            return Ok(pages);
        }
        let first = ImportPage::warning(beginning.warnings);
        Ok(futures_util::stream::once(async { Ok(first) }).chain(pages).boxed())
    }

    async fn changes(&self, cx: &Context, request: &ImportRequest, since: &[u8]) -> Result<ImportStream, ConnectorError> {
        let work = async {
            let (mut client, root, source) = self.source(request).await?;
            let (from, to) = {
                let mode = (self.settings.delta, since);
                delta::resume(&mut client, &root, &source.contexts, &self.settings.selection.exclude, mode).await?
            };
            Ok((client, source, from, to))
        };
        let (client, source, from, to) = Client::unless_cancelled(cx, work).await?;
        Ok(delta::stream(client, cx.clone(), source, from, to))
    }
}

/// Looks in the schema for one definition of each extension.
async fn read_extensions(client: &mut Client, schema: &str) -> Result<ForestExtensions, ConnectorError> {
    let (exchange, lync, devices) = ("msExchMailboxGuid", "msRTCSIP-PrimaryUserAddress", "msDS-Device");
    let filter = format!("(|(lDAPDisplayName={exchange})(lDAPDisplayName={lync})(lDAPDisplayName={devices}))");
    let found = client.search(schema, SearchScope::OneLevel, &filter, &["lDAPDisplayName"]).await?;
    let has = |name: &str| found.iter().any(|entry| entry.text("lDAPDisplayName").is_some_and(|known| known.eq_ignore_ascii_case(name)));
    Ok(ForestExtensions { exchange: has(exchange), lync: has(lync), devices: has(devices) })
}

/// What is deleted lies in a container of its own, which some accounts can read.
fn exclude_deleted(scope: &mut Scope, partition: &Dn) {
    if let Ok(deleted) = Dn::parse(&format!("CN=Deleted Objects,{partition}")) {
        scope.exclude(&deleted);
    }
}

#[async_trait]
impl Connector for AdConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities { delta_import: self.settings.delta != DeltaMode::Off, ..Capabilities::SOURCE }
    }

    async fn schema(&self, cx: &Context) -> Result<Schema, ConnectorError> {
        Client::unless_cancelled(cx, async {
            let mut client = Client::connect(self.connection.clone()).await?;
            let root = self.root(&mut client).await?;
            let mut kinds = KindTable::default();
            let attributes = schema::learn(&mut client, &root.schema, None, &mut kinds).await?.attributes;
            client.close().await;
            Ok(Schema { object_types: self.settings.selection.object_types.clone(), attributes })
        })
        .await
    }

    async fn import(&self, cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        match &request.kind {
            ImportKind::Full => self.full(cx, &request).await,
            ImportKind::Delta { since } if self.settings.delta != DeltaMode::Off => self.changes(cx, &request, since).await,
            ImportKind::Delta { .. } => Err(ConnectorError::new(
                ConnectorErrorKind::Configuration,
                format!("{}: delta imports are switched off for this directory ([delta] mode); run a full import", self.connection.url),
            )),
        }
    }

    async fn find(&self, cx: &Context, request: &ImportRequest, anchors: &[Anchor]) -> Result<Option<Vec<ImportPage>>, ConnectorError> {
        if let ImportKind::Delta { since } = &request.kind {
            let work = async {
                let (client, root, source) = self.source(request).await?;
                delta::find(client, &source, root.host.as_deref(), since, anchors).await.map(Some)
            };
            return Client::unless_cancelled(cx, work).await;
        }
        Client::unless_cancelled(cx, async {
            let Prepared { mut client, roots, plan, attributes, .. } = self.prepare(request).await?;
            client.ask_for_extended_names();
            let plan = StreamPlan { roots, attributes, plan, completion: Completion::default() };
            // MS-ADTS 3.1.1.3.1.2.4: the octets of the GUID as they are stored, in hexadecimal digits.
            let question = |anchor: &Anchor| Question {
                base: format!("<GUID={}>", hex::encode(anchor.as_bytes())),
                scope: SearchScope::Base,
                // Not by class: whose class the account may not read is there all the same.
                filter: "(|(objectClass=*)(objectGUID=*))".to_owned(),
            };
            let questions: Vec<Question> = anchors.iter().map(question).collect();
            find(client, &plan, &questions).await.map(Some)
        })
        .await
    }

    fn references_have_anchors(&self) -> bool {
        true
    }

    /// What is asked for is set by the directory.
    fn always_there(&self, asked: Vec<ClassAttribute>) -> Vec<ClassAttribute> {
        asked
    }

    async fn containers(&self, cx: &Context, kept: &[KeptContainer]) -> Result<Vec<ContainerPlace>, ConnectorError> {
        if self.settings.selection.names_nothing() {
            return Ok(Vec::new());
        }
        let by_key = |kept: &KeptContainer| Question {
            base: format!("<GUID={}>", hex::encode(&kept.key)),
            scope: SearchScope::Base,
            filter: "(objectClass=*)".to_owned(),
        };
        let kept: Vec<_> = kept.iter().map(|kept| (kept.clone(), by_key(kept))).collect();
        Client::unless_cancelled(cx, async {
            let mut client = Client::connect(self.connection.clone()).await?;
            let places = places(&mut client, &self.settings.selection, &kept, "objectGUID").await?;
            client.close().await;
            Ok(places)
        })
        .await
    }

    async fn watch(&self, cx: &Context) -> Result<Option<ChangeStream>, ConnectorError> {
        let (client, root, contexts) = Client::unless_cancelled(cx, self.listener()).await?;
        notification::watch(client, cx.clone(), &root.controls, contexts).await
    }

    async fn watch_disabled(&self, cx: &Context) -> Result<Option<DisabledStream>, ConnectorError> {
        let (client, root, contexts) = Client::unless_cancelled(cx, self.listener()).await?;
        // Without the number there is no place to begin: a controller always has one.
        Ok(root.usn.map(|seen| disabled::watch(client, cx.clone(), contexts, seen)))
    }

    async fn export(&self, _cx: &Context, _batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
        Err(ConnectorError::new(
            ConnectorErrorKind::Configuration,
            format!("{}: exports to this directory are not available", self.connection.url),
        )
        .unsent())
    }
}
