//! Any sequence of change sets leaves what a few ordered maps would hold, also after reopening and lost power.

use crate::common::{Disk, cs};
use proptest::prelude::*;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use syncline::model::{
    Anchor, AttrId, Blob, ConnectorId, CsId, CsObject, CsReference, DeltaKind, Dn, ErrorSide, FlatBuilder, Lineage, Link, MvId, MvObject,
    MvReference, ObjectError, ObjectErrorCode, ObjectType, RuleId, RunId, Stage, StageDelta, StageMask, Timestamp, ValueRef, ValueState,
    fold,
};
use syncline::store::{
    AttributeDelta, ChangeSet, CounterName, DirtyReason, PasswordRecord, PasswordSent, PasswordStamp, PasswordStatus, RunRecord, RunResult,
    StepKind, StepObject, StepRecord, Store,
};

const CONNECTORS: [u16; 3] = [1, 2, u16::MAX];
const ATTRIBUTES: u16 = 6;
const SEQUENCES: u64 = 6;

#[derive(Clone, Debug, PartialEq)]
struct Model {
    cs: BTreeMap<CsId, CsObject>,
    hash: BTreeMap<CsId, u128>,
    reference: BTreeMap<(CsId, AttrId, CsId), ValueState>,
    mv: BTreeMap<MvId, MvObject>,
    mv_reference: BTreeMap<(MvId, AttrId, MvId), u8>,
    dirty: BTreeMap<CsId, DirtyReason>,
    errors: BTreeMap<(CsId, ErrorSide), ObjectError>,
    states: BTreeMap<(ConnectorId, String), Vec<u8>>,
    runs: BTreeMap<RunId, RunRecord>,
    step_objects: BTreeMap<(RunId, u32, CounterName, CsId), StepObject>,
    passwords: BTreeMap<CsId, PasswordRecord>,
    next: BTreeMap<ConnectorId, u64>,
    mv_next: u64,
    run_next: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            cs: BTreeMap::new(),
            hash: BTreeMap::new(),
            reference: BTreeMap::new(),
            mv: BTreeMap::new(),
            mv_reference: BTreeMap::new(),
            dirty: BTreeMap::new(),
            errors: BTreeMap::new(),
            states: BTreeMap::new(),
            runs: BTreeMap::new(),
            step_objects: BTreeMap::new(),
            passwords: BTreeMap::new(),
            next: BTreeMap::new(),
            mv_next: 1,
            run_next: 1,
        }
    }
}

/// A connector whose only state tells which set was the last to be committed.
const COMMITS: ConnectorId = ConnectorId(9);

#[derive(Clone, Debug)]
enum Action {
    Put { id: CsId, shape: u64 },
    Delete { id: CsId },
    Hash { id: CsId, hash: Option<u128> },
    Reference { owner: CsId, attr: u16, target: CsId, state: u8 },
    PutMv { id: u64, shape: u64 },
    DeleteMv { id: u64 },
    MvReference { owner: u64, attr: u16, target: u64, contributor: Option<u8> },
    Dirty { id: CsId, reason: Option<u8> },
    Error { id: CsId, side: u8, detail: Option<u8> },
    State { connector: usize, name: u8, value: Option<Vec<u8>> },
    Run { id: u64, shape: u8 },
    StepObject { run: u64, step: u32, id: CsId, shape: u8 },
    DeleteRun { id: u64 },
    Password { id: CsId, shape: Option<u64> },
}

fn any_id() -> impl Strategy<Value = CsId> {
    (0..CONNECTORS.len(), 1..=SEQUENCES).prop_map(|(connector, sequence)| cs(CONNECTORS[connector], sequence))
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (any_id(), any::<u64>()).prop_map(|(id, shape)| Action::Put { id, shape }),
        2 => any_id().prop_map(|id| Action::Delete { id }),
        2 => (any_id(), any::<Option<u128>>()).prop_map(|(id, hash)| Action::Hash { id, hash }),
        6 => (any_id(), 1..ATTRIBUTES, any_id(), prop_oneof![Just(0u8), 0..162u8])
            .prop_map(|(owner, attr, target, state)| Action::Reference { owner, attr, target, state }),
        4 => (1..8u64, any::<u64>()).prop_map(|(id, shape)| Action::PutMv { id, shape }),
        1 => (1..8u64).prop_map(|id| Action::DeleteMv { id }),
        4 => (1..8u64, 1..ATTRIBUTES, 1..8u64, any::<Option<u8>>())
            .prop_map(|(owner, attr, target, contributor)| Action::MvReference { owner, attr, target, contributor }),
        1 => (any_id(), proptest::option::of(0..4u8)).prop_map(|(id, reason)| Action::Dirty { id, reason }),
        1 => (any_id(), 0..3u8, any::<Option<u8>>()).prop_map(|(id, side, detail)| Action::Error { id, side, detail }),
        1 => (0..CONNECTORS.len(), 0..3u8, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)))
            .prop_map(|(connector, name, value)| Action::State { connector, name, value }),
        1 => (1..5u64, any::<u8>()).prop_map(|(id, shape)| Action::Run { id, shape }),
        1 => (1..5u64, 1..3u32, any_id(), any::<u8>()).prop_map(|(run, step, id, shape)| Action::StepObject { run, step, id, shape }),
        1 => (1..5u64).prop_map(|id| Action::DeleteRun { id }),
        3 => (any_id(), proptest::option::weighted(0.8, any::<u64>())).prop_map(|(id, shape)| Action::Password { id, shape }),
    ]
}

/// Bits of a number, taken as wanted.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const TEXTS: [&str; 7] = ["", "Anna", "anna", "ANNA", "Łódź", "łódź", "42"];

fn content(number: u64) -> Vec<u8> {
    crate::common::octets(number, 1500 + usize::try_from(number).unwrap())
}

fn fill(dice: &mut Dice, values: &mut FlatBuilder, blobs: &mut Vec<Vec<u8>>, flags: u64) {
    for _ in 0..dice.roll(6) {
        let attr = AttrId(1 + u16::try_from(dice.roll(u64::from(ATTRIBUTES) - 1)).unwrap());
        let flags = u8::try_from(dice.roll(flags)).unwrap();
        let text = TEXTS[usize::try_from(dice.roll(7)).unwrap()];
        match dice.roll(5) {
            0 => values.push(attr, ValueRef::Number(i64::try_from(dice.roll(3)).unwrap() + 41), flags),
            1 => values.push(attr, ValueRef::Boolean(dice.roll(2) == 0), flags),
            2 => values.push(attr, ValueRef::Binary(text.as_bytes()), flags),
            3 => {
                let content = content(dice.roll(3));
                values.push(attr, ValueRef::LargeBinary(Blob::of(&content)), flags);
                blobs.push(content);
            }
            _ => values.push(attr, ValueRef::Text(text), flags),
        }
    }
}

fn object(id: CsId, shape: u64, blobs: &mut Vec<Vec<u8>>) -> CsObject {
    let mut dice = Dice(shape);
    let variant = dice.roll(3);
    let parents = ["", "OU=a,", "OU=b,OU=a,"][usize::try_from(dice.roll(3)).unwrap()];
    let dn = format!("CN=o{}v{variant},{parents}DC=x", id.sequence());
    let mut object = CsObject::new(id, ObjectType(u16::try_from(dice.roll(3)).unwrap()), dn);
    object.anchor = (dice.roll(4) > 0).then(|| Anchor::new(format!("{id}/{}", dice.roll(2)).into_bytes()));
    object.transient = dice.roll(8) == 0;
    object.in_base = dice.roll(2) == 0;
    object.previous_type = (dice.roll(8) == 0).then_some(ObjectType(5));
    for stage in &mut object.stages {
        let kind = [DeltaKind::None, DeltaKind::None, DeltaKind::Add, DeltaKind::Update, DeltaKind::Delete, DeltaKind::DeleteAdd]
            [usize::try_from(dice.roll(6)).unwrap()];
        let rename = (kind == DeltaKind::Update && dice.roll(2) == 0).then(|| format!("CN=new{}", dice.roll(9)).into());
        *stage = StageDelta { kind, rename };
    }
    let mut values = FlatBuilder::new();
    fill(&mut dice, &mut values, blobs, 162);
    object.values = values.finish();
    // One metaverse object for one sequence number keeps "one link per connector" without looking at the model.
    let mv = MvId(id.sequence());
    object.link = match dice.roll(6) {
        0 => Link::Placeholder,
        1 => Link::DisconnectedByFilter,
        2 => Link::ExplicitlyDisconnected,
        3 => Link::Connected { mv, by: RuleId(u32::try_from(dice.roll(5)).unwrap()) },
        4 => Link::ExplicitlyConnected { mv },
        _ => Link::Disconnected,
    };
    object
}

fn mv_object(id: u64, shape: u64, blobs: &mut Vec<Vec<u8>>) -> MvObject {
    let mut dice = Dice(shape);
    let mut values = FlatBuilder::new();
    fill(&mut dice, &mut values, blobs, 3);
    let lineage = (0..dice.roll(4)).map(|attr| Lineage {
        attr: AttrId(u16::try_from(attr).unwrap()),
        rule: RuleId(u32::try_from(dice.roll(2)).unwrap()),
        source: cs(1, dice.roll(3)),
        since: Timestamp(i64::try_from(dice.roll(3)).unwrap()),
    });
    let lineage = lineage.collect();
    MvObject { id: MvId(id), object_type: ObjectType(1), values: values.finish(), lineage }
}

fn side(code: u8) -> ErrorSide {
    [ErrorSide::Import, ErrorSide::Sync, ErrorSide::Export][usize::from(code)]
}

fn run(id: u64, shape: u8) -> RunRecord {
    let step = StepRecord {
        number: 1,
        kind: [StepKind::FullImport, StepKind::DeltaImport, StepKind::FullSync, StepKind::DeltaSync, StepKind::Export]
            [usize::from(shape % 5)],
        started: Timestamp(5),
        ended: shape.is_multiple_of(2).then_some(Timestamp(9)),
        result: RunResult::SUCCESS,
        counters: BTreeMap::from([(CounterName(Cow::Borrowed("stage-add")), u64::from(shape))]),
        message: shape.is_multiple_of(3).then(|| "what happened".to_owned()),
    };
    RunRecord {
        id: RunId(id),
        cycle: shape.is_multiple_of(4).then_some(RunId(1)),
        connector: ConnectorId(1),
        connector_name: "ad".to_owned(),
        profile: "Full Import".to_owned(),
        started: Timestamp(i64::from(shape)),
        ended: None,
        result: RunResult::IN_PROGRESS,
        steps: vec![step; usize::from(shape % 3)],
    }
}

/// Times of which records of passwords are due: few, so that several are due at once, and some long ago.
const DUE: [i64; 4] = [i64::MIN, -7, 0, 7];

fn password(shape: u64) -> PasswordRecord {
    let mut dice = Dice(shape);
    let number = |dice: &mut Dice, sides| u32::try_from(dice.roll(sides)).unwrap();
    let text = |dice: &mut Dice| TEXTS[usize::try_from(dice.roll(7)).unwrap()].to_owned();
    let stamp = |dice: &mut Dice| PasswordStamp {
        changed: (dice.roll(3) > 0).then(|| Timestamp(i64::from(number(dice, 5)) - 2)),
        version: (dice.roll(3) > 0).then(|| number(dice, 4)),
    };
    PasswordRecord {
        status: PasswordStatus::ALL[usize::try_from(dice.roll(10)).unwrap()],
        routed: dice.roll(2) == 0,
        must_change: dice.roll(2) == 0,
        disabled: dice.roll(2) == 0,
        seen: (dice.roll(3) > 0).then(|| stamp(&mut dice)),
        sent: (dice.roll(2) == 0).then(|| PasswordSent {
            stamp: stamp(&mut dice),
            force_change: dice.roll(2) == 0,
            at: Timestamp(i64::from(number(&mut dice, 9))),
            target: cs(3, dice.roll(4)),
            cloud_anchor: text(&mut dice),
            suffix: text(&mut dice),
        }),
        attempted: (dice.roll(2) == 0).then(|| Timestamp(i64::from(number(&mut dice, 9)))),
        attempts: number(&mut dice, 3),
        next: (dice.roll(3) > 0).then(|| Timestamp(DUE[usize::try_from(dice.roll(4)).unwrap()])),
        code: (dice.roll(2) == 0).then(|| i64::from(number(&mut dice, 5)) - 2),
        detail: text(&mut dice),
    }
}

fn note<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// Puts actions into one change set and into the model.
fn change_set(actions: &[Action], model: &mut Model) -> ChangeSet {
    let mut set = ChangeSet::new();
    let before = model.cs.clone();
    let deleted: BTreeSet<CsId> =
        actions.iter().filter_map(|action| if let Action::Delete { id } = action { Some(*id) } else { None }).collect();
    let mv_deleted: BTreeSet<u64> =
        actions.iter().filter_map(|action| if let Action::DeleteMv { id } = action { Some(*id) } else { None }).collect();
    let runs_deleted: BTreeSet<u64> =
        actions.iter().filter_map(|action| if let Action::DeleteRun { id } = action { Some(*id) } else { None }).collect();
    let mv_written: BTreeSet<(u64, u16, u64)> = actions
        .iter()
        .filter_map(|action| match action {
            Action::MvReference { owner, attr, target, contributor: Some(_) } => Some((*owner, *attr, *target)),
            _ => None,
        })
        .collect();
    for action in actions.iter().cloned() {
        match action {
            Action::Put { id, shape } => {
                let object = object(id, shape, &mut set.blobs);
                if !deleted.contains(&id) {
                    let next = model.next.entry(id.connector()).or_insert(1);
                    *next = (*next).max(id.sequence() + 1);
                    model.cs.insert(id, object.clone());
                }
                set.cs_put.push(object);
            }
            Action::Delete { id } => set.cs_delete.push(id),
            Action::Hash { id, hash } => {
                set.cs_hash.push((id, hash));
                note(&mut model.hash, id, hash);
            }
            Action::Reference { owner, attr, target, state } => {
                let (attr, state) = (AttrId(attr), ValueState(state));
                set.cs_reference.push(CsReference { owner, attr, target, state });
                if state.is_absent() {
                    model.reference.remove(&(owner, attr, target));
                } else {
                    model.reference.insert((owner, attr, target), state);
                }
            }
            Action::PutMv { id, shape } => {
                let object = mv_object(id, shape, &mut set.blobs);
                if !mv_deleted.contains(&id) {
                    model.mv_next = model.mv_next.max(id + 1);
                    model.mv.insert(MvId(id), object.clone());
                }
                set.mv_put.push(object);
            }
            Action::DeleteMv { id } => set.mv_delete.push(MvId(id)),
            Action::MvReference { owner, attr, target, contributor } => {
                let key = (MvId(owner), AttrId(attr), MvId(target));
                if let Some(contributor) = contributor {
                    set.mv_reference.push(MvReference { owner: key.0, attr: key.1, target: key.2, contributor });
                    model.mv_reference.insert(key, contributor);
                } else {
                    set.mv_reference_delete.push(key);
                    if !mv_written.contains(&(owner, attr, target)) {
                        model.mv_reference.remove(&key);
                    }
                }
            }
            Action::Dirty { id, reason } => {
                use DirtyReason::{Consequence, ReferenceResolved, RetryProvisioning, SyncError};
                let reason = reason.map(|code| [SyncError, RetryProvisioning, ReferenceResolved, Consequence][usize::from(code)]);
                set.dirty.push((id, reason));
                note(&mut model.dirty, id, reason);
            }
            Action::Error { id, side: code, detail } => {
                let error =
                    detail.map(|detail| ObjectError::new(ObjectErrorCode::AMBIGUOUS_JOIN, format!("detail {detail}"), Timestamp(7)));
                set.errors.push((id, side(code), error.clone()));
                let key = (id, side(code));
                note(&mut model.errors, key, error);
            }
            Action::State { connector, name, value } => {
                let key = (ConnectorId(CONNECTORS[connector]), format!("state {name}"));
                set.states.push((key.0, key.1.clone(), value.clone()));
                note(&mut model.states, key, value);
            }
            Action::Run { id, shape } => {
                model.run_next = model.run_next.max(id + 1);
                model.runs.insert(RunId(id), run(id, shape));
                set.runs.push(run(id, shape));
            }
            Action::StepObject { run, step, id, shape } => {
                let changes = vec![AttributeDelta { attribute: "mail".to_owned(), removed: vec![], added: vec![format!("{shape}")] }];
                let counter = CounterName(Cow::Borrowed(if shape % 2 == 0 { "stage-add" } else { "stage-update" }));
                let object = StepObject { counter: counter.clone(), id, dn: format!("CN={shape}"), changes };
                model.step_objects.insert((RunId(run), step, counter, id), object.clone());
                set.step_objects.push((RunId(run), step, object));
            }
            Action::DeleteRun { id } => set.runs_delete.push(RunId(id)),
            Action::Password { id, shape } => {
                set.passwords.push((id, shape.map(password)));
                note(&mut model.passwords, id, shape.map(password));
            }
        }
    }
    // A removal wins over everything else in its set.
    model.cs.retain(|id, _| !deleted.contains(id));
    model.hash.retain(|id, _| !deleted.contains(id));
    model.dirty.retain(|id, _| !deleted.contains(id));
    model.passwords.retain(|id, _| !deleted.contains(id));
    model.errors.retain(|(id, _), _| !deleted.contains(id));
    model.reference.retain(|(owner, _, _), _| !deleted.contains(owner));
    // What others refer to stays as a placeholder.
    let targets: BTreeSet<CsId> = model.reference.keys().map(|(_, _, target)| *target).collect();
    for old in deleted.iter().filter(|id| targets.contains(id)).filter_map(|id| before.get(id)) {
        let mut placeholder = CsObject::new(old.id, old.object_type, old.dn.clone());
        placeholder.link = Link::Placeholder;
        placeholder.transient = old.transient;
        // References go on meaning it by its key, and nobody takes it for the object.
        placeholder.anchor = old
            .anchor
            .as_ref()
            .map(Anchor::as_bytes)
            .map(|anchor| if Anchor::is_of_placeholder(anchor) { Anchor::new(anchor) } else { Anchor::of_placeholder(anchor) });
        model.cs.insert(old.id, placeholder);
    }
    model.mv.retain(|id, _| !mv_deleted.contains(&id.0));
    model.mv_reference.retain(|(owner, _, target), _| !mv_deleted.contains(&owner.0) && !mv_deleted.contains(&target.0));
    model.runs.retain(|id, _| !runs_deleted.contains(&id.0));
    model.step_objects.retain(|(run, ..), _| !runs_deleted.contains(&run.0));
    set
}

fn folded(value: ValueRef<'_>) -> Vec<u8> {
    match value {
        ValueRef::Text(text) => fold(text).as_bytes().to_vec(),
        ValueRef::Number(number) => number.to_string().into_bytes(),
        ValueRef::Boolean(boolean) => boolean.to_string().into_bytes(),
        ValueRef::Binary(bytes) => bytes.to_vec(),
        ValueRef::LargeText(blob) | ValueRef::LargeBinary(blob) => blob.hash.to_le_bytes().to_vec(),
        ValueRef::Reference(id) => id.to_le_bytes().to_vec(),
    }
}

/// Indexed: attribute 1 everywhere, attribute 2 in the metaverse and in the first connector's space.
fn index(store: &Store) {
    let spaces =
        [(ConnectorId(CONNECTORS[0]), AttrId(1)), (ConnectorId(CONNECTORS[0]), AttrId(2)), (ConnectorId(CONNECTORS[1]), AttrId(1))];
    store.index_attributes(&[AttrId(1), AttrId(2)], &spaces).unwrap();
}

/// Holds every answer of a view against the model.
fn compare(store: &Store, model: &Model, indexed: bool) {
    let view = store.snapshot().unwrap();
    for connector in CONNECTORS.map(ConnectorId) {
        let objects: Vec<_> = model.cs.values().filter(|object| object.id.connector() == connector).cloned().collect();
        assert_eq!(view.cs_count(connector).unwrap(), objects.len() as u64);
        assert_eq!(view.cs_next_sequence(connector).unwrap(), model.next.get(&connector).copied().unwrap_or(1));
        assert_eq!(view.cs_scan(connector, None, 100).unwrap(), objects);
        if let Some(first) = objects.first() {
            assert_eq!(view.cs_scan(connector, Some(first.id), 2).unwrap(), objects.iter().skip(1).take(2).cloned().collect::<Vec<_>>());
        }
        let mut seen = Vec::new();
        view.cs_anchors(connector, &mut |anchor, id| seen.push((anchor.to_vec(), id))).unwrap();
        let mut wanted: Vec<_> =
            objects.iter().filter_map(|object| object.anchor.as_ref().map(|anchor| (anchor.as_bytes().to_vec(), object.id))).collect();
        wanted.sort();
        assert_eq!(seen, wanted);
        let own = wanted.iter().filter(|(anchor, _)| !Anchor::is_of_placeholder(anchor)).count();
        assert_eq!(view.cs_anchored(connector).unwrap(), own as u64);
        let mut seen = Vec::new();
        view.cs_names(connector, &mut |name, id| seen.push((name.to_vec(), id))).unwrap();
        let key = |object: &CsObject| Dn::parse(&object.dn).unwrap().key();
        let mut wanted: Vec<_> =
            objects.iter().filter(|object| !object.transient).map(|object| (key(object).as_bytes().to_vec(), object.id)).collect();
        wanted.sort();
        assert_eq!(seen, wanted);
        for base in ["DC=x", "ou=A,dc=X", "OU=b,OU=a,DC=x", "DC=y"] {
            let base = Dn::parse(base).unwrap().key();
            let below: Vec<_> = wanted.iter().filter(|(name, _)| name.starts_with(base.as_bytes())).map(|(_, id)| *id).collect();
            assert_eq!(view.cs_subtree(connector, &base).unwrap(), below);
        }
        for stage in Stage::ALL {
            let waiting: Vec<_> = objects.iter().filter(|object| object.stage(stage).is_some()).map(|object| object.id).collect();
            assert_eq!(view.queue(stage, connector, None, 100).unwrap(), waiting);
            if let Some(first) = waiting.first() {
                assert_eq!(view.queue(stage, connector, Some(*first), 100).unwrap(), waiting[1..]);
            }
        }
        let mut hashes = Vec::new();
        view.cs_hashes(connector, &mut |id, hash| hashes.push((id, hash))).unwrap();
        assert_eq!(
            hashes,
            model.hash.iter().filter(|(id, _)| id.connector() == connector).map(|(id, hash)| (*id, *hash)).collect::<Vec<_>>()
        );
        let dirty: Vec<_> = model.dirty.iter().filter(|(id, _)| id.connector() == connector).map(|(id, reason)| (*id, *reason)).collect();
        assert_eq!(view.dirty(connector, None, 100).unwrap(), dirty);
        let errors: Vec<_> = model
            .errors
            .iter()
            .filter(|((id, _), _)| id.connector() == connector)
            .map(|((id, side), error)| (*id, *side, error.clone()))
            .collect();
        assert_eq!(view.errors(connector, None, 100).unwrap(), errors);
        if let Some((id, side, _)) = errors.first() {
            assert_eq!(view.errors(connector, Some((*id, *side)), 100).unwrap(), errors[1..]);
        }
        let known: Vec<_> = model.passwords.iter().filter(|(id, _)| id.connector() == connector).collect();
        let page =
            |from: usize, limit| known.iter().skip(from).take(limit).map(|(id, record)| (**id, (*record).clone())).collect::<Vec<_>>();
        assert_eq!(view.passwords(connector, None, 100).unwrap(), page(0, 100));
        if let Some((first, _)) = known.first() {
            assert_eq!(view.passwords(connector, Some(**first), 2).unwrap(), page(1, 2));
        }
        // What is due follows from the records alone, the longest due first.
        for now in DUE.into_iter().flat_map(|due| [due.saturating_sub(1), due]) {
            let mut due: Vec<_> = known.iter().filter_map(|(id, record)| Some((record.next?, **id))).collect();
            due.retain(|(next, _)| next.0 <= now);
            due.sort_unstable();
            assert_eq!(view.passwords_due(connector, Timestamp(now), None, 100).unwrap(), due, "{now}");
            if let Some(first) = due.first() {
                assert_eq!(view.passwords_due(connector, Timestamp(now), Some(*first), 100).unwrap(), due[1..]);
            }
        }
        for name in 0..3 {
            let name = format!("state {name}");
            assert_eq!(view.state(connector, &name).unwrap(), model.states.get(&(connector, name)).cloned());
        }
        for attr in 1..ATTRIBUTES {
            let kept = indexed && (attr == 1 && connector.0 != CONNECTORS[2] || attr == 2 && connector.0 == CONNECTORS[0]);
            for text in TEXTS {
                let probe = ValueRef::Text(text);
                let hits = |object: &&CsObject| object.values.attribute(AttrId(attr)).any(|item| folded(item.value) == folded(probe));
                let wanted: Vec<_> = objects.iter().filter(hits).map(|object| object.id).filter(|_| kept).collect();
                assert_eq!(view.cs_join_candidates(connector, AttrId(attr), probe).unwrap(), wanted, "{attr} {text}");
            }
        }
    }
    for connector in CONNECTORS {
        for sequence in 0..=SEQUENCES + 1 {
            let id = cs(connector, sequence);
            assert_eq!(view.cs_object(id).unwrap(), model.cs.get(&id).cloned());
            assert_eq!(view.cs_link(id).unwrap(), model.cs.get(&id).map(|object| object.link));
            assert_eq!(view.cs_hash(id).unwrap(), model.hash.get(&id).copied());
            assert_eq!(view.password(id).unwrap(), model.passwords.get(&id).cloned());
            let references: Vec<_> = model
                .reference
                .iter()
                .filter(|((owner, ..), _)| *owner == id)
                .map(|((owner, attr, target), state)| CsReference { owner: *owner, attr: *attr, target: *target, state: *state })
                .collect();
            assert_eq!(view.cs_references(id).unwrap(), references);
            let touched = |row: &CsReference| Stage::ALL.into_iter().any(|stage| row.state.touched(stage));
            assert_eq!(view.cs_touched_references(id).unwrap(), references.iter().copied().filter(touched).collect::<Vec<_>>());
            for attr in (1..ATTRIBUTES).map(AttrId) {
                for target in CONNECTORS.map(|connector| cs(connector, 1)) {
                    let state = model.reference.get(&(id, attr, target)).copied().unwrap_or(ValueState::ABSENT);
                    assert_eq!(view.cs_reference(id, attr, target).unwrap(), state);
                }
                let of_attribute: Vec<_> = references.iter().copied().filter(|row| row.attr == attr).collect();
                assert_eq!(view.cs_references_of(id, attr).unwrap(), of_attribute);
                let count = of_attribute.iter().filter(|row| row.state.present(StageMask::WANTED)).count();
                assert_eq!(view.cs_reference_count(id, attr).unwrap(), count as u64);
            }
            let mut referrers: Vec<_> =
                model.reference.keys().filter(|(_, _, target)| *target == id).map(|(owner, attr, _)| (*attr, *owner)).collect();
            referrers.sort();
            assert_eq!(view.cs_referrers(id).unwrap(), referrers);
            for attr in (1..ATTRIBUTES).map(AttrId) {
                let of_attribute: Vec<_> = referrers.iter().filter(|(by, _)| *by == attr).map(|(_, owner)| *owner).collect();
                assert_eq!(view.cs_referrers_by(id, attr).unwrap(), of_attribute);
            }
            for code in 0..3 {
                assert_eq!(view.error(id, side(code)).unwrap(), model.errors.get(&(id, side(code))).cloned());
            }
            if let Some(object) = model.cs.get(&id) {
                if let Some(anchor) = &object.anchor {
                    assert_eq!(view.cs_by_anchor(id.connector(), anchor.as_bytes()).unwrap(), Some(id));
                }
                let found = view.cs_by_dn(id.connector(), &Dn::parse(&object.dn.to_uppercase()).unwrap().key()).unwrap();
                assert_eq!(found, (!object.transient).then_some(id));
            }
        }
    }
    assert_eq!(view.mv_count().unwrap(), model.mv.len() as u64);
    assert_eq!(view.mv_next().unwrap(), MvId(model.mv_next));
    assert_eq!(view.mv_scan(None, 100).unwrap(), model.mv.values().cloned().collect::<Vec<_>>());
    for id in (0..9).map(MvId) {
        assert_eq!(view.mv_object(id).unwrap(), model.mv.get(&id).cloned());
        let linked: Vec<_> = model.cs.values().filter(|object| object.link.mv() == Some(id)).map(|object| object.id).collect();
        assert_eq!(view.mv_links(id).unwrap(), linked);
        for connector in CONNECTORS.map(ConnectorId) {
            assert_eq!(view.mv_link(id, connector).unwrap(), linked.iter().find(|id| id.connector() == connector).copied());
        }
        let references: Vec<_> = model
            .mv_reference
            .iter()
            .filter(|((owner, ..), _)| *owner == id)
            .map(|((owner, attr, target), contributor)| MvReference {
                owner: *owner,
                attr: *attr,
                target: *target,
                contributor: *contributor,
            })
            .collect();
        assert_eq!(view.mv_references(id).unwrap(), references);
        for attr in (1..ATTRIBUTES).map(AttrId) {
            let count = references.iter().filter(|row| row.attr == attr).count();
            assert_eq!(view.mv_reference_count(id, attr).unwrap(), count as u64);
            for target in (0..9).map(MvId) {
                let contributor = model.mv_reference.get(&(id, attr, target)).copied();
                assert_eq!(view.mv_reference(id, attr, target).unwrap(), contributor);
            }
        }
        let mut referrers: Vec<_> =
            model.mv_reference.keys().filter(|(_, _, target)| *target == id).map(|(owner, attr, _)| (*attr, *owner)).collect();
        referrers.sort();
        assert_eq!(view.mv_referrers(id).unwrap(), referrers);
    }
    for attr in 1..ATTRIBUTES {
        for text in TEXTS {
            let probe = ValueRef::Text(text);
            let hits = |object: &&MvObject| object.values.attribute(AttrId(attr)).any(|item| folded(item.value) == folded(probe));
            let wanted: Vec<_> = model.mv.values().filter(hits).map(|object| object.id).filter(|_| indexed && attr <= 2).collect();
            assert_eq!(view.mv_join_candidates(AttrId(attr), probe).unwrap(), wanted);
        }
    }
    let used: BTreeSet<Blob> = (model.cs.values().flat_map(|object| object.values.iter()))
        .chain(model.mv.values().flat_map(|object| object.values.iter()))
        .filter_map(|item| if let ValueRef::LargeBinary(blob) = item.value { Some(blob) } else { None })
        .collect();
    for content in (0..3).map(content) {
        let blob = Blob::of(&content);
        assert_eq!(view.blob(blob).unwrap(), used.contains(&blob).then_some(content), "unused contents go, used ones stay");
    }
    assert_eq!(view.runs(None, 100).unwrap(), model.runs.values().rev().cloned().collect::<Vec<_>>());
    assert_eq!(
        view.runs(Some(RunId(3)), 1).unwrap(),
        model.runs.range(..RunId(3)).rev().take(1).map(|(_, run)| run.clone()).collect::<Vec<_>>()
    );
    assert_eq!(view.next_run().unwrap(), RunId(model.run_next));
    for run in (0..6).map(RunId) {
        assert_eq!(view.run(run).unwrap(), model.runs.get(&run).cloned());
        for step in 0..4 {
            for name in ["stage-add", "stage-update"] {
                let counter = CounterName(Cow::Borrowed(name));
                let listed: Vec<_> = model
                    .step_objects
                    .iter()
                    .filter(|((r, s, c, _), _)| *r == run && *s == step && *c == counter)
                    .map(|(_, object)| object.clone())
                    .collect();
                assert_eq!(view.step_objects(run, step, counter.clone(), None, 100).unwrap(), listed);
                if let Some(first) = listed.first() {
                    assert_eq!(view.step_objects(run, step, counter, Some(first.id), 100).unwrap(), listed[1..]);
                }
            }
        }
    }
}

/// A store on a new disk, with names and indexes.
fn ready() -> (Disk, Store) {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    intern(&store);
    index(&store);
    (disk, store)
}

/// What actions come to, with their number.
fn numbered(number: u8, actions: &[Action], model: &mut Model) -> ChangeSet {
    let mut set = change_set(actions, model);
    set.states.push((COMMITS, "number".to_owned(), Some(vec![number])));
    set
}

/// The number of the last that is there.
fn last_number(store: &Store) -> Option<u8> {
    store.snapshot().unwrap().state(COMMITS, "number").unwrap().map(|octets| octets[0])
}

fn intern(store: &Store) {
    for number in 1..ATTRIBUTES {
        assert_eq!(store.names().intern(&format!("attribute{number}")), AttrId(number));
    }
}

proptest! {
    // Three in eight of what PROPTEST_CASES asks for: a case is a whole history.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 3 / 8, ..ProptestConfig::default() })]

    #[test]
    fn a_store_holds_what_maps_would_hold(sets in proptest::collection::vec(proptest::collection::vec(action(), 0..30), 1..6), index_at in 0..6usize) {
        let disk = Disk::default();
        let mut store = disk.open().unwrap();
        intern(&store);
        let mut model = Model::default();
        for (number, actions) in sets.iter().enumerate() {
            if number == index_at {
                index(&store);
            }
            let set = change_set(actions, &mut model);
            let again = change_set(actions, &mut model.clone());
            store.apply(set).unwrap();
            compare(&store, &model, number >= index_at);
            // The same once more changes nothing and commits nothing.
            let before = store.io_counts();
            store.apply(again).unwrap();
            let after = store.io_counts();
            prop_assert_eq!((before.rows_written, before.commits), (after.rows_written, after.commits));
        }
        drop(store);
        store = disk.open().unwrap();
        prop_assert_eq!(&*store.names().name(AttrId(3)), "attribute3");
        compare(&store, &model, sets.len() > index_at);
    }

    #[test]
    fn lost_power_loses_at_most_what_was_not_acknowledged(
        sets in proptest::collection::vec(proptest::collection::vec(action(), 1..20), 2..5),
        operations in 0..160u64,
        survivors in any::<u64>(),
    ) {
        let (disk, store) = ready();
        let mut model = Model::default();
        disk.fail_after(operations);
        let mut interrupted = None;
        for (number, actions) in (1u8..).zip(&sets) {
            let mut after = model.clone();
            let set = numbered(number, actions, &mut after);
            if store.apply(set).is_err() {
                interrupted = Some((number, after));
                prop_assert!(store.snapshot().is_err(), "a failed disk ends the use of the store");
                prop_assert!(store.apply(ChangeSet::new()).is_err());
                break;
            }
            model = after;
        }
        prop_assert_eq!(interrupted.is_some(), disk.is_dead());
        drop(store);
        let store = disk.after_power_loss(survivors).open().unwrap();
        let model = match interrupted {
            Some((number, after)) if last_number(&store) == Some(number) => after,
            _ => model,
        };
        compare(&store, &model, true);
    }

    #[test]
    fn lost_power_takes_parts_back_in_their_order(
        sets in proptest::collection::vec((any::<bool>(), proptest::collection::vec(action(), 1..20)), 2..7),
        operations in 0..120u64,
        survivors in any::<u64>(),
    ) {
        let (disk, store) = ready();
        let mut moments = vec![Model::default()];
        let mut durable = 0;
        disk.fail_after(operations);
        for (number, (part, actions)) in (1u8..).zip(&sets) {
            let mut after = moments.last().unwrap().clone();
            let set = numbered(number, actions, &mut after);
            moments.push(after);
            let applied = if *part { store.apply_part(set) } else { store.apply(set) };
            if applied.is_err() {
                break;
            }
            if !part {
                durable = number;
            }
            if !disk.is_dead() {
                compare(&store, moments.last().unwrap(), true);
            }
        }
        drop(store);
        let store = disk.after_power_loss(survivors).open().unwrap();
        let committed = last_number(&store).unwrap_or(0);
        prop_assert!(committed >= durable, "{committed} of {durable}");
        compare(&store, &moments[usize::from(committed)], true);
    }

    #[test]
    fn a_commit_makes_the_parts_before_it_durable_even_if_it_writes_nothing(
        sets in proptest::collection::vec(proptest::collection::vec(action(), 1..20), 1..5),
        survivors in any::<u64>(),
    ) {
        let (disk, store) = ready();
        let mut model = Model::default();
        for actions in &sets {
            store.apply_part(change_set(actions, &mut model)).unwrap();
        }
        store.apply(ChangeSet::new()).unwrap();
        disk.fail_after(0);
        drop(store);
        compare(&disk.after_power_loss(survivors).open().unwrap(), &model, true);
    }
}
