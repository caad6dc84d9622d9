//! The connector for OpenLDAP and other servers that publish their schema as RFC 4512 says.

use super::client::{Client, LdapSettings};
use super::containers::places;
use super::raw::RawEntry;
use super::stream::{Question, SearchRoot, StreamPlan, find, stream_noting};
use super::survey::{DirectorySurvey, look};
use super::sync::{self, Ability, Content, Delta, Watermark, ability, position};
use crate::connector::directory::{ImportPlan, KindTable, Scope, Selection, class_filter, roots_below};
use crate::connector::{
    AttributeSchema, Capabilities, ChangeStream, Completion, Connector, ConnectorError, ConnectorErrorKind, ContainerPlace, ExportBatch,
    ExportReply, ImportKind, ImportPage, ImportRequest, ImportStream, KeptContainer, Schema,
};
use crate::context::Context;
use crate::model::{Anchor, AttrId, Dn, Names, ValueKind};
use crate::protocol::ldap::{AttributeType, parse_attribute_type};
use async_trait::async_trait;
use ldap3::Scope as SearchScope;
use std::collections::HashMap;
use std::sync::Arc;

/// Which part of which LDAP directory to import.
#[derive(Clone, Debug)]
pub struct LdapConnectorSettings {
    /// How to reach it.
    pub connection: LdapSettings,
    /// Where searches begin.
    pub base: String,
    /// The attribute that identifies an entry for good: `entryUUID` (RFC 4530) where the server has it.
    pub anchor: String,
    /// Which objects are wanted.
    pub selection: Selection,
}

/// An LDAP directory.
#[derive(Debug)]
pub struct LdapConnector {
    names: Arc<Names>,
    settings: LdapConnectorSettings,
    connection: Arc<LdapSettings>,
    base: Dn,
    scope: Scope,
}

/// Attributes that the server derives from others; importing them would double what they come from.
const DERIVED: &[&str] = &["memberOf"];

impl LdapConnector {
    /// A connector for the directory that `settings` name. Nothing is connected yet.
    ///
    /// # Errors
    /// A base or a container that is no name.
    pub fn new(settings: LdapConnectorSettings, names: Arc<Names>) -> Result<Self, ConnectorError> {
        let scope = Scope::new(&settings.selection)?;
        let base = Dn::parse(&settings.base).map_err(|error| {
            ConnectorError::new(ConnectorErrorKind::Configuration, format!("base '{}': {error}", settings.base)).unsent()
        })?;
        let connection = Arc::new(settings.connection.clone());
        Ok(Self { names, settings, connection, base, scope })
    }

    /// Looks at what the account shows: whether entries have what imports go by, and whether the server tells what changes.
    ///
    /// # Errors
    /// When the server does not answer, does not let the account in, or shows nothing of the base.
    pub async fn survey(&self, cx: &Context) -> Result<DirectorySurvey, ConnectorError> {
        Client::unless_cancelled(cx, async {
            let (mut client, root) = self.connect().await?;
            let roots = self.roots(&mut client).await?;
            let mut survey = look(&mut client, &roots, &self.settings.anchor, self.is_told()).await?;
            if self.is_told()
                && let Ability::Unable(why) = self.ability(&mut client, &root, &roots).await?
            {
                survey.no_changes = Some(why);
            }
            client.close().await;
            Ok(survey)
        })
        .await
    }

    async fn kinds(client: &mut Client, root: &RawEntry) -> Result<(KindTable, Vec<AttributeSchema>), ConnectorError> {
        let mut table = KindTable::built_in();
        let Some(place) = root.text("subschemaSubentry") else { return Ok((table, Vec::new())) };
        let Some(subschema) = client.read(place, &["attributeTypes"]).await? else { return Ok((table, Vec::new())) };
        let attributes = learn(&mut table, &subschema);
        Ok((table, attributes))
    }

    /// A bound connection, and what the server says of itself.
    async fn connect(&self) -> Result<(Client, RawEntry), ConnectorError> {
        let mut client = Client::connect(self.connection.clone()).await?;
        let root = client.root(&["subschemaSubentry", "namingContexts"]).await?;
        Ok((client, root))
    }

    async fn roots(&self, client: &mut Client) -> Result<Vec<SearchRoot>, ConnectorError> {
        let mut roots = Vec::new();
        let filter = class_filter(&self.settings.selection.object_types);
        for base in roots_below(&self.scope, std::slice::from_ref(&self.base))? {
            client.check_base(&base).await?;
            roots.push(SearchRoot { base, filter: filter.clone() });
        }
        Ok(roots)
    }

    async fn prepare(&self, request: &ImportRequest) -> Result<(Client, RawEntry, StreamPlan), ConnectorError> {
        let (mut client, root) = self.connect().await?;
        let (kinds, _) = Self::kinds(&mut client, &root).await?;
        let roots = self.roots(&mut client).await?;
        let attributes: Vec<AttrId> = request
            .attributes
            .iter()
            .copied()
            .filter(|attr| !DERIVED.iter().any(|derived| derived.eq_ignore_ascii_case(&self.names.name(*attr))))
            .collect();
        let anchors = [self.settings.anchor.as_str()];
        let types = &self.settings.selection.object_types;
        let mut plan = ImportPlan::new(&self.names, &attributes, &kinds, &anchors, types, self.scope.clone());
        if self.is_told() {
            plan = plan.folding_anchors();
        }
        let completion = Completion { watermark: None, answered_in_full: false };
        // OpenLDAP knows no value ranges; asking for them would be asking for another attribute.
        Ok((client, root, StreamPlan { roots, attributes: plan.requested(None), plan, completion }))
    }

    /// Deletes are told by `entryUUID` and nothing else. With another anchor nobody would know whose they are, and a table
    /// of both, kept beside the space, would be a second truth about who is who.
    fn is_told(&self) -> bool {
        self.settings.anchor.eq_ignore_ascii_case("entryUUID")
    }

    async fn ability(&self, client: &mut Client, root: &RawEntry, roots: &[SearchRoot]) -> Result<Ability, ConnectorError> {
        ability(client, root, &self.base, roots, &class_filter(&self.settings.selection.object_types)).await
    }

    async fn full(&self, cx: &Context, request: &ImportRequest) -> Result<ImportStream, ConnectorError> {
        let (client, plan, notes) = Client::unless_cancelled(cx, async {
            let (mut client, root, mut plan) = self.prepare(request).await?;
            let mut notes = Vec::new();
            if self.is_told() {
                let place = match self.ability(&mut client, &root, &plan.roots).await? {
                    Ability::Able(content) => position(&mut client, &content).await?,
                    Ability::Unable(why) => Err(why),
                };
                match place {
                    Ok(watermark) => plan.completion.watermark = Some(watermark.write()),
                    Err(why) => notes.push(format!("{}: {why}", self.connection.url)),
                }
            }
            Ok((client, plan, notes))
        })
        .await?;
        Ok(stream_noting(client, cx.clone(), plan, notes))
    }

    async fn delta(&self, cx: &Context, request: &ImportRequest, since: &[u8]) -> Result<ImportStream, ConnectorError> {
        let lost = |why: &str| {
            let message = format!("{}: {why}; everything is read anew", self.connection.url);
            ConnectorError::new(ConnectorErrorKind::WatermarkLost, message).unsent()
        };
        let since = Watermark::read(since).ok_or_else(|| lost("the place where the last import ended cannot be read"))?;
        let (client, content, plan) = Client::unless_cancelled(cx, async {
            let (mut client, root, plan) = self.prepare(request).await?;
            match self.ability(&mut client, &root, &plan.roots).await? {
                Ability::Able(content) if content.owns(&since) => Ok((client, content, plan)),
                Ability::Able(_) => Err(lost("the last import read another directory, or asked it for something else")),
                Ability::Unable(why) => Err(lost(&why)),
            }
        })
        .await?;
        let StreamPlan { attributes, plan, .. } = plan;
        let class_filter = class_filter(&self.settings.selection.object_types);
        Ok(sync::delta(client, cx.clone(), plan, Delta { content, since, class_filter, attributes }))
    }
}

/// A filter (RFC 4515) for the entries with one of these anchors.
pub(super) fn anchor_filter(attribute: &str, anchors: &[Anchor]) -> String {
    let mut filter = "(|".to_owned();
    for anchor in anchors {
        filter.push('(');
        filter.push_str(attribute);
        filter.push('=');
        for octet in anchor.as_bytes() {
            if octet.is_ascii_alphanumeric() || *octet == b'-' {
                filter.push(char::from(*octet));
            } else {
                filter.push('\\');
                filter.push_str(&hex::encode([*octet]));
            }
        }
        filter.push(')');
    }
    filter.push(')');
    filter
}

/// Fills the table from a subschema entry, and gives the attributes by their first names.
fn learn(table: &mut KindTable, subschema: &RawEntry) -> Vec<AttributeSchema> {
    let types: Vec<AttributeType> = subschema.texts("attributeTypes").into_iter().filter_map(parse_attribute_type).collect();
    let by_name: HashMap<String, &AttributeType> =
        types.iter().flat_map(|described| described.names.iter().map(move |name| (name.to_ascii_lowercase(), described))).collect();
    let mut attributes = Vec::with_capacity(types.len());
    for described in &types {
        let kind = kind_of(described, &by_name);
        let Some(first) = described.names.first() else { continue };
        for name in &described.names {
            table.set(name, kind, !described.single_valued);
        }
        for alias in &described.names[1..] {
            table.set_alias(alias, first);
        }
        attributes.push(AttributeSchema { name: first.clone(), kind, multi_valued: !described.single_valued });
    }
    attributes
}

/// The kind by the syntax (RFC 4517 section 3.3), which may be that of a type further up.
fn kind_of(described: &AttributeType, by_name: &HashMap<String, &AttributeType>) -> ValueKind {
    let mut current = described;
    // A chain of types is short; a loop in a broken schema ends here.
    for _ in 0..16 {
        if let Some(syntax) = &current.syntax {
            let Some(number) = syntax.strip_prefix("1.3.6.1.4.1.1466.115.121.1.") else { return ValueKind::Text };
            return match number {
                "12" => ValueKind::Reference,
                "27" => ValueKind::Number,
                "7" => ValueKind::Boolean,
                "4" | "5" | "8" | "9" | "10" | "23" | "28" | "40" => ValueKind::Binary,
                _ => ValueKind::Text,
            };
        }
        match current.superior.as_ref().and_then(|name| by_name.get(&name.to_ascii_lowercase())) {
            Some(superior) => current = superior,
            None => break,
        }
    }
    ValueKind::Text
}

#[async_trait]
impl Connector for LdapConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities { delta_import: self.is_told(), ..Capabilities::SOURCE }
    }

    async fn schema(&self, cx: &Context) -> Result<Schema, ConnectorError> {
        Client::unless_cancelled(cx, async {
            let (mut client, root) = self.connect().await?;
            let (_, attributes) = Self::kinds(&mut client, &root).await?;
            client.close().await;
            Ok(Schema { object_types: self.settings.selection.object_types.clone(), attributes })
        })
        .await
    }

    async fn import(&self, cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        match &request.kind {
            ImportKind::Full => self.full(cx, &request).await,
            ImportKind::Delta { since } if self.is_told() => self.delta(cx, &request, since).await,
            ImportKind::Delta { .. } => Err(ConnectorError::new(
                ConnectorErrorKind::Configuration,
                format!(
                    "{}: delta imports need the anchor entryUUID, by which the server names what is gone; run a full import",
                    self.connection.url
                ),
            )),
        }
    }

    async fn containers(&self, cx: &Context, kept: &[KeptContainer]) -> Result<Vec<ContainerPlace>, ConnectorError> {
        if self.settings.selection.names_nothing() {
            return Ok(Vec::new());
        }
        // RFC 4530, whatever identifies the entries that are imported.
        let by_key = |kept: &KeptContainer| Question {
            base: self.base.as_str().to_owned(),
            scope: SearchScope::Subtree,
            filter: anchor_filter("entryUUID", &[Anchor::new(kept.key.as_slice())]),
        };
        let kept: Vec<_> = kept.iter().map(|kept| (kept.clone(), by_key(kept))).collect();
        Client::unless_cancelled(cx, async {
            let (mut client, _) = self.connect().await?;
            let places = places(&mut client, &self.settings.selection, &kept, "entryUUID").await?;
            client.close().await;
            Ok(places)
        })
        .await
    }

    fn references_stay(&self) -> bool {
        true
    }

    async fn watch(&self, cx: &Context) -> Result<Option<ChangeStream>, ConnectorError> {
        if !self.is_told() {
            return Ok(None);
        }
        let ready: Option<(Client, Content)> = Client::unless_cancelled(cx, async {
            let (mut client, root) = self.connect().await?;
            let roots = self.roots(&mut client).await?;
            match self.ability(&mut client, &root, &roots).await? {
                Ability::Able(content) => Ok(Some((client, content))),
                Ability::Unable(_) => {
                    client.close().await;
                    Ok(None)
                }
            }
        })
        .await?;
        match ready {
            Some((client, content)) => Client::unless_cancelled(cx, sync::watch(client, cx.clone(), content)).await,
            None => Ok(None),
        }
    }

    async fn find(&self, cx: &Context, request: &ImportRequest, anchors: &[Anchor]) -> Result<Option<Vec<ImportPage>>, ConnectorError> {
        Client::unless_cancelled(cx, async {
            let (client, _, plan) = self.prepare(request).await?;
            // Not by class: whose class the account may not search by is there all the same.
            let filter = anchor_filter(&self.settings.anchor, anchors);
            let question = |root: &SearchRoot| Question { base: root.base.clone(), scope: SearchScope::Subtree, filter: filter.clone() };
            let questions: Vec<Question> = plan.roots.iter().map(question).collect();
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
