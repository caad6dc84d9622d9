//! A target that answers as a scene wants it, and a space filled by hand with wishes.

use async_trait::async_trait;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use syncline::connector::{
    Capabilities, Completion, Connector, ConnectorError, ConnectorErrorKind, ExportBatch, ExportKind, ExportOperation, ExportOutcome,
    ExportRejection, ExportReply, ExportTerms, ExportTotals, ImportRequest, ImportStream, LastWriter, Operation, PageBuilder, Schema,
    UniqueAttribute, UniqueKind,
};
use syncline::context::Context;
use syncline::engine::active::take_over;
use syncline::engine::bridge::Bridge;
use syncline::engine::export::{ExportOptions, ExportOutcome as Numbers, export};
use syncline::engine::import::{ImportOptions, import};
use syncline::engine::{EngineError, Silent, StepRecorder};
use syncline::events::Event;
use syncline::model::{
    Anchor, Blob, ConnectorId, CsId, CsObject, CsReference, DeltaKind, ErrorSide, FlatBuilder, INLINE_VALUE_MAX, Link, MvId, ObjectError,
    ObjectErrorCode, RuleId, RunId, Stage, StageMask, Value, ValueRef, ValueState,
};
use syncline::store::{ChangeSet, Snapshot, Store};

const TARGET: ConnectorId = ConnectorId(3);

/// What a call comes to.
pub(crate) type Answer = Result<ExportReply, ConnectorError>;
type Answering = Box<dyn Fn(&ExportBatch) -> Answer + Send + Sync>;

/// One operation as the target got it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) kind: ExportKind,
    pub(crate) dn: String,
    pub(crate) rename: Option<String>,
    /// All values that the attributes shall have.
    pub(crate) values: BTreeMap<String, Vec<String>>,
    changes: BTreeMap<String, (Vec<String>, Vec<String>)>,
    pub(crate) added: Vec<(String, String)>,
    pub(crate) removed: Vec<(String, String)>,
    pub(crate) replace: bool,
}

impl Sent {
    fn of(operation: &ExportOperation) -> Self {
        let texts = |values: &[Value]| values.iter().map(text).collect::<Vec<_>>();
        let attributes = || operation.attributes.iter();
        // Of a new object all values are new.
        let new = |change: &syncline::connector::AttributeChange| {
            texts(if operation.kind == ExportKind::Add { &change.wanted } else { &change.added })
        };
        let references = |of: fn(&syncline::connector::ReferenceChange) -> &Vec<String>| -> Vec<(String, String)> {
            let pairs = operation.references.iter().flat_map(|change| of(change).iter().map(|name| (change.name.clone(), name.clone())));
            pairs.collect()
        };
        Self {
            kind: operation.kind,
            dn: operation.dn.clone(),
            rename: operation.rename.clone(),
            values: attributes().map(|change| (change.name.clone(), texts(&change.wanted))).collect(),
            changes: attributes().map(|change| (change.name.clone(), (texts(&change.removed), new(change)))).collect(),
            added: references(|change| &change.added),
            removed: references(|change| &change.removed),
            replace: operation.references.iter().any(|change| change.replace),
        }
    }

    /// In the form in which previews are compared with it.
    pub(crate) fn told(&self) -> String {
        let mut changes = self.changes.clone();
        for (name, target) in &self.removed {
            changes.entry(name.clone()).or_default().0.push(target.clone());
        }
        for (name, target) in &self.added {
            changes.entry(name.clone()).or_default().1.push(target.clone());
        }
        format!("{:?} {} {:?} {changes:?}", self.kind, self.dn, self.rename)
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}

/// The target's part of a scene: what it answers, and what it got.
pub(crate) struct Script {
    terms: Mutex<ExportTerms>,
    answers: Mutex<VecDeque<Answering>>,
    otherwise: Mutex<Answering>,
    sent: Mutex<Vec<Sent>>,
    /// How often an end of an export was told since the last look.
    finished: AtomicU64,
}

impl Script {
    fn new() -> Self {
        Self {
            terms: Mutex::default(),
            answers: Mutex::default(),
            otherwise: Mutex::new(Box::new(|batch| Ok(accept_all(batch, |_| None)))),
            sent: Mutex::default(),
            finished: AtomicU64::new(0),
        }
    }

    /// How the next call without an answer yet is answered.
    pub(crate) fn answer(&self, answer: impl Fn(&ExportBatch) -> Answer + Send + Sync + 'static) {
        self.answers.lock().unwrap().push_back(Box::new(answer));
    }

    /// How all calls are answered that have no answer of their own.
    pub(crate) fn always(&self, answer: impl Fn(&ExportBatch) -> Answer + Send + Sync + 'static) {
        *self.otherwise.lock().unwrap() = Box::new(answer);
    }

    /// What the target allows.
    pub(crate) fn terms(&self, terms: ExportTerms) {
        *self.terms.lock().unwrap() = terms;
    }
}

/// The target as an export sees it.
struct Target {
    script: Arc<Script>,
    capabilities: Capabilities,
}

#[async_trait]
impl Connector for Target {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn schema(&self, _cx: &Context) -> Result<Schema, ConnectorError> {
        Ok(Schema::default())
    }

    async fn import(&self, _cx: &Context, _request: ImportRequest) -> Result<ImportStream, ConnectorError> {
        unreachable!("scenes import by hand")
    }

    fn unique_attributes(&self) -> &'static [UniqueAttribute] {
        const { &[UniqueAttribute { name: "userPrincipalName", kind: UniqueKind::SignInName }] }
    }

    async fn export(&self, cx: &Context, batch: &ExportBatch) -> Answer {
        if cx.cancelled() {
            return Err(ConnectorError::new(ConnectorErrorKind::Cancelled, "told to stop").unsent());
        }
        self.script.sent.lock().unwrap().extend(batch.operations.iter().map(Sent::of));
        let answer = self.script.answers.lock().unwrap().pop_front();
        match answer {
            Some(answer) => answer(batch),
            None => (self.script.otherwise.lock().unwrap())(batch),
        }
    }

    async fn begin_export(&self, _cx: &Context) -> Result<ExportTerms, ConnectorError> {
        Ok(self.script.terms.lock().unwrap().clone())
    }

    async fn finish_export(&self, _cx: &Context, _totals: ExportTotals) -> Result<(), ConnectorError> {
        self.script.finished.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Everything is taken, with the keys that `key` gives to names.
pub(crate) fn accept_all(batch: &ExportBatch, key: impl Fn(&str) -> Option<String>) -> ExportReply {
    let outcome = |operation: &ExportOperation| {
        let anchor = key(&operation.dn).filter(|_| operation.dn != "CN=team").map(|key| Anchor::new(key.into_bytes()));
        (operation.id, ExportOutcome::Accepted { anchor })
    };
    ExportReply::new(batch, batch.operations.iter().map(outcome))
}

/// Everything is taken but what `which` names.
pub(crate) fn reject_all(batch: &ExportBatch, code: ObjectErrorCode, which: impl Fn(&str) -> bool) -> ExportReply {
    let outcome = |operation: &ExportOperation| {
        let outcome =
            if which(&operation.dn) { ExportOutcome::Rejected(rejection(code.clone())) } else { ExportOutcome::Accepted { anchor: None } };
        (operation.id, outcome)
    };
    ExportReply::new(batch, batch.operations.iter().map(outcome))
}

/// A refusal.
pub(crate) fn rejection(code: ObjectErrorCode) -> ExportRejection {
    ExportRejection {
        code,
        detail: "the scripted target does not like it".to_owned(),
        conflicting_object: Some("CN=other".to_owned()),
        attribute: Some("mail".to_owned()),
    }
}

/// Counters as they are compared.
pub(crate) fn keyed(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// What is wanted of one object.
pub(crate) struct Wish {
    dn: String,
    kind: DeltaKind,
    rename: Option<String>,
    exists: bool,
    link: Link,
    values: Vec<(String, String, ValueState)>,
    references: Vec<(String, u64, ValueState)>,
}

impl Wish {
    fn new(dn: &str, kind: DeltaKind, exists: bool) -> Self {
        let link = Link::Disconnected;
        Self { dn: dn.to_owned(), kind, rename: None, exists, link, values: Vec::new(), references: Vec::new() }
    }

    pub(crate) fn add(dn: &str) -> Self {
        Self::new(dn, DeltaKind::Add, false)
    }

    pub(crate) fn change(dn: &str) -> Self {
        Self::new(dn, DeltaKind::Update, true)
    }

    pub(crate) fn delete(dn: &str) -> Self {
        Self::new(dn, DeltaKind::Delete, true)
    }

    /// It is there, and nothing is wanted of it.
    pub(crate) fn there(dn: &str) -> Self {
        Self::new(dn, DeltaKind::None, true)
    }

    fn with(mut self, attribute: &str, value: &str, state: ValueState) -> Self {
        self.values.push((attribute.to_owned(), value.to_owned(), state));
        self
    }

    fn with_reference(mut self, attribute: &str, target: u64, state: ValueState) -> Self {
        self.references.push((attribute.to_owned(), target, state));
        self
    }

    /// A value is wanted.
    pub(crate) fn value(self, attribute: &str, value: &str) -> Self {
        self.with(attribute, value, ValueState::ABSENT.with_added(Stage::PendingExport))
    }

    /// The directory shows a value.
    pub(crate) fn shows(self, attribute: &str, value: &str) -> Self {
        let state = ValueState::BASE;
        if self.values.iter().any(|(name, ..)| name == attribute) { self } else { self.with(attribute, value, state) }
    }

    /// A value that is shown should go.
    pub(crate) fn clear(mut self, attribute: &str, value: &str) -> Self {
        self.values.retain(|(name, known, _)| name != attribute || known != value);
        self.with(attribute, value, ValueState::BASE.with_removed(Stage::PendingExport))
    }

    /// Another value is wanted than the one that is shown.
    pub(crate) fn replace(self, attribute: &str, old: &str, new: &str) -> Self {
        self.clear(attribute, old).value(attribute, new)
    }

    /// A reference is wanted.
    pub(crate) fn reference(self, attribute: &str, target: u64) -> Self {
        self.with_reference(attribute, target, ValueState::ABSENT.with_added(Stage::PendingExport))
    }

    /// The directory shows a reference.
    pub(crate) fn refers(self, attribute: &str, target: u64) -> Self {
        self.with_reference(attribute, target, ValueState::BASE)
    }

    /// A reference that is shown should go.
    pub(crate) fn unreference(self, attribute: &str, target: u64) -> Self {
        self.with_reference(attribute, target, ValueState::BASE.with_removed(Stage::PendingExport))
    }

    /// Another name is wanted.
    pub(crate) fn rename(mut self, name: &str) -> Self {
        self.rename = Some(name.to_owned());
        self
    }

    /// It belongs to a metaverse object.
    pub(crate) fn linked(mut self, mv: u64) -> Self {
        self.link = Link::Connected { mv: MvId(mv), by: RuleId(1) };
        self
    }
}

/// What an export counted and told, and what came of it.
#[derive(Default)]
struct Told {
    counters: BTreeMap<String, u64>,
    events: Vec<Event>,
    notes: Vec<String>,
}

/// A store, a target, and the way between them.
pub(crate) struct Scene {
    pub(crate) store: Store,
    pub(crate) script: Arc<Script>,
    pub(crate) capabilities: Capabilities,
    pub(crate) options: ExportOptions,
    pub(crate) cx: Context,
    runtime: tokio::runtime::Runtime,
    told: Mutex<Told>,
}

/// One object that an import shows: name, key, values.
pub(crate) type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// The number of an object.
pub(crate) fn id(number: u64) -> CsId {
    CsId::new(TARGET, number)
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self {
            store: Store::in_memory().unwrap(),
            script: Arc::new(Script::new()),
            capabilities: Capabilities {
                full_import: true,
                delta_import: false,
                export: true,
                batch_objects: 100,
                batch_references: 1_000,
                batches_in_flight: 4,
                reference_deltas: true,
            },
            options: ExportOptions::new(TARGET, "T", (RunId(1), 1)),
            cx: Context::system(),
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            told: Mutex::default(),
        }
    }

    /// Puts an object into the space.
    pub(crate) fn put(&self, number: u64, wish: Wish) {
        let names = self.store.names();
        let mut object = CsObject::new(id(number), names.object_type("user"), wish.dn);
        let mut changes = ChangeSet::new();
        object.in_base = wish.exists;
        object.anchor = wish.exists.then(|| Anchor::new(format!("key {number}").into_bytes()));
        object.link = wish.link;
        let delta = object.stage_mut(Stage::PendingExport);
        (delta.kind, delta.rename) = (wish.kind, wish.rename.map(Into::into));
        let mut values = FlatBuilder::new();
        for (attribute, value, state) in &wish.values {
            if value.len() > INLINE_VALUE_MAX {
                values.push(names.intern(attribute), ValueRef::LargeText(Blob::of(value.as_bytes())), state.0);
                changes.blobs.push(value.clone().into_bytes());
            } else {
                values.push(names.intern(attribute), ValueRef::Text(value), state.0);
            }
        }
        object.values = values.finish();
        let rows = wish.references.iter().map(|(attribute, target, state)| CsReference {
            owner: object.id,
            attr: names.intern(attribute),
            target: id(*target),
            state: *state,
        });
        changes.cs_reference.extend(rows);
        changes.cs_put.push(object);
        self.store.apply(changes).unwrap();
    }

    /// Changes an object by hand.
    pub(crate) fn edit(&self, number: u64, edit: impl FnOnce(&mut CsObject)) {
        let mut object = self.object(number);
        edit(&mut object);
        let mut changes = ChangeSet::new();
        changes.cs_put.push(object);
        self.store.apply(changes).unwrap();
    }

    fn target(&self) -> Arc<dyn Connector> {
        Arc::new(Target { script: Arc::clone(&self.script), capabilities: self.capabilities })
    }

    /// Takes over from whoever wrote last.
    pub(crate) fn take_over(&self, last: &LastWriter) {
        let target = self.target();
        self.runtime.block_on(take_over(&self.store, TARGET, &target, Some(last), &self.cx)).unwrap();
    }

    /// How often an end of an export was told since the last look.
    pub(crate) fn finished(&self) -> u64 {
        self.script.finished.swap(0, Ordering::SeqCst)
    }

    /// Sends what is wanted.
    pub(crate) fn export(&self) -> Result<(&'static str, Numbers), EngineError> {
        let target = self.target();
        let bridge = Bridge::new(self.runtime.handle().clone());
        let mut silent = Silent;
        let mut recorder = StepRecorder::new(&mut silent);
        let result = export(&self.store, &target, &bridge, &self.options, &self.cx, &mut recorder);
        let counters = recorder.counters().iter().map(|(name, count)| (name.0.to_string(), *count)).collect();
        *self.told.lock().unwrap() = Told { counters, events: recorder.take_events(), notes: recorder.notes };
        result
    }

    /// A full import that shows these objects: name, key, values.
    pub(crate) fn import(&self, rows: &[Row<'_>]) {
        let names = self.store.names();
        let mut page = PageBuilder::new();
        for (dn, key, values) in rows {
            page.begin_entry(dn);
            page.anchor(key.as_bytes());
            page.object_type(names.object_type("user"));
            for (attribute, value) in *values {
                page.attribute(names.intern(attribute), Operation::Replace);
                page.value(ValueRef::Text(value));
            }
            page.finish();
        }
        let mut options = ImportOptions::full(TARGET, "T", Vec::new(), (RunId(2), 1));
        options.allow_shrink = true;
        let mut silent = Silent;
        let mut recorder = StepRecorder::new(&mut silent);
        import(&self.store, [Ok(page.build(Some(Completion::default())))].into_iter(), &options, &self.cx, &mut recorder).unwrap();
    }

    /// What the target got since the last look.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.script.sent.lock().unwrap())
    }

    /// What the last export counted.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        self.told.lock().unwrap().counters.clone()
    }

    /// What the last export told.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.told.lock().unwrap().events.clone()
    }

    /// What the last export noted.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.told.lock().unwrap().notes.clone()
    }

    /// Has the target keep a state.
    pub(crate) fn keep(&self, name: &str, state: &serde_json::Value) {
        let mut changes = ChangeSet::new();
        changes.states.push((TARGET, name.to_owned(), Some(serde_json::to_vec(state).unwrap())));
        self.store.apply(changes).unwrap();
    }

    /// The committed state.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.store.snapshot().unwrap()
    }

    /// An object of the space.
    pub(crate) fn object(&self, number: u64) -> CsObject {
        self.snapshot().cs_object(id(number)).unwrap().unwrap()
    }

    /// The numbers of the objects of which a stage holds something.
    pub(crate) fn queue(&self, stage: Stage) -> Vec<u64> {
        self.snapshot().queue(stage, TARGET, None, 1_000).unwrap().into_iter().map(CsId::sequence).collect()
    }

    /// A noted problem.
    pub(crate) fn error(&self, number: u64, side: ErrorSide) -> Option<ObjectError> {
        self.snapshot().error(id(number), side).unwrap()
    }

    /// The values of an attribute that are wanted in the end.
    pub(crate) fn values(&self, number: u64, attribute: &str) -> Vec<String> {
        let object = self.object(number);
        let items = object.values.attribute(self.store.names().intern(attribute));
        let wanted = items.filter(|item| ValueState(item.flags).present(StageMask::WANTED));
        wanted.map(|item| text(&item.value.to_value())).collect()
    }

    /// The references that are wanted in the end.
    pub(crate) fn targets(&self, number: u64, attribute: &str) -> Vec<u64> {
        let attr = self.store.names().intern(attribute);
        let rows = self.snapshot().cs_references(id(number)).unwrap();
        let wanted = rows.into_iter().filter(|row| row.attr == attr && row.state.present(StageMask::WANTED));
        wanted.map(|row| row.target.sequence()).collect()
    }

    /// The states of all references.
    pub(crate) fn reference_stages(&self, number: u64) -> Vec<ValueState> {
        self.snapshot().cs_references(id(number)).unwrap().into_iter().map(|row| row.state).collect()
    }
}
