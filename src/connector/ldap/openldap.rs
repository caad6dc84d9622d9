//! The connector for OpenLDAP and other servers that publish their schema as RFC 4512 says.

use super::client::{Client, LdapSettings};
use super::raw::RawEntry;
use super::stream::{Question, SearchRoot, StreamPlan, find, stream};
use crate::connector::directory::{ImportPlan, KindTable, Scope, Selection, class_filter, roots_below};
use crate::connector::{
    AttributeSchema, Capabilities, Completion, Connector, ConnectorError, ConnectorErrorKind, ExportBatch, ExportReply, ImportKind,
    ImportPage, ImportRequest, ImportStream, Schema,
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

    async fn kinds(client: &mut Client) -> Result<(KindTable, Vec<AttributeSchema>), ConnectorError> {
        let root = client.root(&["subschemaSubentry"]).await?;
        let mut table = KindTable::built_in();
        let Some(place) = root.text("subschemaSubentry") else { return Ok((table, Vec::new())) };
        let Some(subschema) = client.read(place, &["attributeTypes"]).await? else { return Ok((table, Vec::new())) };
        let attributes = learn(&mut table, &subschema);
        Ok((table, attributes))
    }

    async fn prepare(&self, request: &ImportRequest) -> Result<(Client, StreamPlan), ConnectorError> {
        let mut client = Client::connect(self.connection.clone()).await?;
        let (kinds, _) = Self::kinds(&mut client).await?;
        let mut roots = Vec::new();
        let filter = class_filter(&self.settings.selection.object_types);
        for base in roots_below(&self.scope, std::slice::from_ref(&self.base))? {
            client.check_base(&base).await?;
            roots.push(SearchRoot { base, filter: filter.clone() });
        }
        let attributes: Vec<AttrId> = request
            .attributes
            .iter()
            .copied()
            .filter(|attr| !DERIVED.iter().any(|derived| derived.eq_ignore_ascii_case(&self.names.name(*attr))))
            .collect();
        let anchors = [self.settings.anchor.as_str()];
        let types = &self.settings.selection.object_types;
        let plan = ImportPlan::new(&self.names, &attributes, &kinds, &anchors, types, self.scope.clone());
        let completion = Completion { watermark: None, answered_in_full: false };
        // OpenLDAP knows no value ranges; asking for them would be asking for another attribute.
        Ok((client, StreamPlan { roots, attributes: plan.requested(None), plan, completion }))
    }
}

/// A filter (RFC 4515) for the entries with one of these anchors.
fn anchor_filter(attribute: &str, anchors: &[Anchor]) -> String {
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
        attributes.push(AttributeSchema { name: first.clone(), kind, multi_valued: !described.single_valued, readable: true });
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
            let (_, attributes) = Self::kinds(&mut client).await?;
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
            let filter = anchor_filter(&self.settings.anchor, anchors);
            let question = |root: &SearchRoot| Question {
                base: root.base.clone(),
                scope: SearchScope::Subtree,
                filter: format!("(&{}{filter})", root.filter),
            };
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
