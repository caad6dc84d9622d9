//! The connector for Active Directory over LDAP: naming contexts, schema, domain parameters, full import. Password
//! hashes come by replication.

pub mod ldapi;
pub mod replication;
mod schema;

use crate::connector::directory::{ImportPlan, KindTable, Scope, Selection, class_filter, roots_below};
use crate::connector::ldap::{Client, LdapSettings, Question, SearchRoot, StreamPlan, find, stream};
use crate::connector::{
    Capabilities, Completion, Connector, ConnectorError, ConnectorErrorKind, ExportBatch, ExportReply, ImportKind, ImportPage,
    ImportRequest, ImportStream, Schema,
};
use crate::context::Context;
use crate::model::{Anchor, Dn, Names};
use async_trait::async_trait;
use ldap3::Scope as SearchScope;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which parts of which forest to import.
#[derive(Clone, Debug)]
pub struct AdSettings {
    /// How to reach a domain controller.
    pub connection: LdapSettings,
    /// Naming contexts to import; none means the domain of the server.
    pub partitions: Vec<String>,
    /// Which objects are wanted.
    pub selection: Selection,
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
        let entry = client.root(&attributes).await?;
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
        Ok(Root { domain: domain?, forest: forest?, configuration: configuration?, schema: schema? })
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

    async fn prepare(&self, request: &ImportRequest) -> Result<(Client, StreamPlan), ConnectorError> {
        let mut client = Client::connect(self.connection.clone()).await?;
        let root = self.root(&mut client).await?;
        let mut scope = self.scope.clone();
        let mut partitions = self.partitions.clone();
        if partitions.is_empty() {
            let domain = Dn::parse(&root.domain).map_err(|error| {
                ConnectorError::new(ConnectorErrorKind::Protocol, format!("{}: defaultNamingContext: {error}", self.connection.url))
            })?;
            exclude_deleted(&mut scope, &domain);
            partitions.push(domain);
        }
        let wanted: Vec<Arc<str>> = request.attributes.iter().map(|attr| self.names.name(*attr)).collect();
        let mut kinds = KindTable::built_in();
        schema::learn(&mut client, &root.schema, Some(&wanted), &mut kinds).await?;
        let types = &self.settings.selection.object_types;
        let filter = class_filter(types);
        let mut roots = Vec::new();
        for base in roots_below(&scope, &partitions)? {
            client.check_base(&base).await?;
            roots.push(SearchRoot { base, filter: filter.clone() });
        }
        let plan = ImportPlan::new(&self.names, &request.attributes, &kinds, &["objectGUID"], types, scope);
        let attributes = plan.requested(self.connection.value_range);
        Ok((client, StreamPlan { roots, attributes, plan, completion: Completion { watermark: None, answered_in_full: false } }))
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
        Capabilities {
            full_import: true,
            delta_import: false,
            export: false,
            batch_objects: 1,
            batch_references: 1,
            batches_in_flight: 1,
            reference_deltas: false,
        }
    }

    async fn schema(&self, cx: &Context) -> Result<Schema, ConnectorError> {
        Client::unless_cancelled(cx, async {
            let mut client = Client::connect(self.connection.clone()).await?;
            let root = self.root(&mut client).await?;
            let mut kinds = KindTable::default();
            let attributes = schema::learn(&mut client, &root.schema, None, &mut kinds).await?;
            client.close().await;
            Ok(Schema { object_types: self.settings.selection.object_types.clone(), attributes })
        })
        .await
    }

    async fn import(&self, cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        if request.kind != ImportKind::Full {
            return Err(ConnectorError::new(
                ConnectorErrorKind::Configuration,
                format!("{}: delta imports are not available for this directory; run a full import", self.connection.url),
            ));
        }
        let (client, plan) = Client::unless_cancelled(cx, self.prepare(&request)).await?;
        Ok(stream(client, cx.clone(), plan))
    }

    async fn find(&self, cx: &Context, request: &ImportRequest, anchors: &[Anchor]) -> Result<Option<Vec<ImportPage>>, ConnectorError> {
        Client::unless_cancelled(cx, async {
            let (client, plan) = self.prepare(request).await?;
            let filter = class_filter(&self.settings.selection.object_types);
            // MS-ADTS 3.1.1.3.1.2.4: the octets of the GUID as they are stored, in hexadecimal digits.
            let question = |anchor: &Anchor| Question {
                base: format!("<GUID={}>", hex::encode(anchor.as_bytes())),
                scope: SearchScope::Base,
                filter: filter.clone(),
            };
            let questions: Vec<Question> = anchors.iter().map(question).collect();
            find(client, &plan, &questions).await.map(Some)
        })
        .await
    }

    async fn export(&self, _cx: &Context, _batch: &ExportBatch) -> Result<ExportReply, ConnectorError> {
        Err(ConnectorError::new(
            ConnectorErrorKind::Configuration,
            format!("{}: exports to this directory are not available", self.connection.url),
        )
        .unsent())
    }
}
