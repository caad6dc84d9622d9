//! What a directory is to the engine: something that gives pages of entries and takes batches of changes.
//!
//! A connector knows its protocol and nothing of metaverse, store or rules. It decodes straight from the wire
//! into an [`ImportPage`], so that the engine can hash and compare an entry before any object is built.

use crate::context::Context;
use crate::model::{Anchor, AttrId, CsId, ObjectErrorCode, Timestamp, Value, ValueKind, fold, trimmed_address};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

pub mod ad;
pub mod directory;
pub mod entra;
pub mod ldap;
pub mod ldif;
mod legible;
mod matching;
mod page;
mod password;
mod reach;
mod sign_in;
pub(crate) mod tls;

pub use legible::{Legible, Telling};
pub(crate) use legible::{SINGLE, TELLING};
pub use matching::{Existing, Match, MatchFate, MatchKey, MatchReport, NewObject};
pub(crate) use page::PAGE_ENTRIES;
pub use page::{Departure, DiscoveryError, EntryRef, EntryValues, ImportPage, OddClass, Operation, PageBuilder, PageItem};
pub use password::{
    Credential, CredentialAnswer, CredentialError, CredentialErrorKind, PASSWORD_BATCH, PassedOver, PasswordChange, PasswordCheck,
    PasswordCompletion, PasswordFeatures, PasswordPage, PasswordRequest, PasswordSource, PasswordStream, PasswordTarget, Wanted,
};
pub use reach::{CertificateFacts, ReachTarget, Reached, Stage, Unreached, reach};
pub(crate) use sign_in::{Attempt, Way};
pub use sign_in::{SignIn, SignIns, plain_name};
pub use tls::check_authorities;

/// The bit of `userAccountControl` of accounts that may not be used (MS-ADTS 2.2.16).
pub const ACCOUNT_DISABLED: i64 = 2;

/// A directory, as the engine sees it.
#[async_trait]
pub trait Connector: Send + Sync {
    /// What the connector can do; decides which steps a run profile may contain.
    fn capabilities(&self) -> Capabilities;
    /// The object types and attributes that the directory has.
    async fn schema(&self, cx: &Context) -> Result<Schema, ConnectorError>;
    /// Reads the directory. The last page of a complete stream has [`ImportPage::completion`] set; a stream that
    /// ends without it was cut off.
    async fn import(&self, cx: &Context, request: ImportRequest) -> Result<ImportStream, ConnectorError>;

    /// Looks, before everything is read, whether everything can still be read. `since` is what the last import that was
    /// complete gave as its watermark. A server has all it has at any time; whoever takes things once can have lost some.
    /// Gives what people should be told, where that is meant. `meant`: a person said that what is missing is really gone.
    ///
    /// # Errors
    /// What was taken and is not there any more, and how to say that this is meant; [`ConnectorErrorKind::FileLost`] where
    /// `meant` says it.
    async fn look_back(&self, _cx: &Context, _since: &[u8], _meant: bool) -> Result<Option<String>, ConnectorError> {
        Ok(None)
    }
    /// Looks for objects by their anchors, for an import that has read everything and did not meet them: an object that
    /// moves while a directory is read, from a part not yet read to one that was, is met nowhere, and neither is one by whose
    /// class the account may no longer search. Gives whole entries of those that the directory has and that are in scope, as
    /// pages without completion, and a problem for each of which not enough shows; the others are gone. `None` when the
    /// directory cannot be asked, and what it did not report counts as gone.
    ///
    /// # Errors
    /// When the directory does not answer. Nothing may be taken for gone then.
    async fn find(&self, _cx: &Context, _request: &ImportRequest, _anchors: &[Anchor]) -> Result<Option<Vec<ImportPage>>, ConnectorError> {
        Ok(None)
    }
    /// Where the containers lie that the configuration names. `kept` are the keys that they had at an earlier look: names
    /// change, and whoever reads by the old ones reads too much or too little without a word. Nothing where no container is
    /// named, or the directory has no keys of containers.
    ///
    /// # Errors
    /// As for an import; also when a container that is to be read is not there.
    async fn containers(&self, _cx: &Context, _kept: &[KeptContainer]) -> Result<Vec<ContainerPlace>, ConnectorError> {
        Ok(Vec::new())
    }
    /// Attributes of which no two objects of the directory may have a value in common. Who gives one up goes before whoever takes it.
    fn unique_attributes(&self) -> &'static [UniqueAttribute] {
        &[]
    }
    /// Values that the directory accepted and keeps aside, because another object has them, and who that is. `None` when it does no
    /// such thing.
    ///
    /// # Errors
    /// When the directory does not answer, or not to this account.
    async fn kept_aside(&self, _cx: &Context) -> Result<Option<Vec<KeptAside>>, ConnectorError> {
        Ok(None)
    }
    /// True when references keep a name that nobody has any more, or change without being told: when an object is renamed
    /// or goes, a delta import asks once more for those that refer to it, where the directory can be asked, and until then whoever
    /// takes the name of one that went is meant. Active Directory's follow by themselves.
    fn references_stay(&self) -> bool {
        false
    }
    /// True when a delta import tells every rename as one: an entry with the key of an object that is still there under another name is
    /// a slip then.
    fn renames_are_told(&self) -> bool {
        false
    }
    /// True when every reference comes with the anchor of the object that it means: names of objects may change hands then, and
    /// references follow nobody by a name.
    fn references_have_anchors(&self) -> bool {
        false
    }
    /// Which of these attributes each object of the class has here, also one that nobody knows yet: one without was not read whole.
    fn always_there(&self, _asked: Vec<ClassAttribute>) -> Vec<ClassAttribute> {
        Vec::new()
    }
    /// Tells when something may have changed, as far as the directory can tell: each item is the advice to run a delta
    /// import now, and says nothing of what changed, so that there is one way by which changes come in. Items may be
    /// too many and never stand for more than advice; the schedule goes on beside them. The stream ends with an error
    /// when the connection is lost; whoever listens opens another one. `None` when the directory cannot tell.
    ///
    /// # Errors
    /// As for an import.
    async fn watch(&self, _cx: &Context) -> Result<Option<ChangeStream>, ConnectorError> {
        Ok(None)
    }
    /// Tells of accounts that may not be used any more, whether the directory tells of changes or not: each item holds the keys of
    /// accounts that were changed since the item before and are disabled now, and comes within two minutes. Asking costs one search,
    /// however many accounts there are. The stream ends with an error when the connection is lost. `None` when accounts of this
    /// directory have no such state.
    ///
    /// # Errors
    /// As for an import.
    async fn watch_disabled(&self, _cx: &Context) -> Result<Option<DisabledStream>, ConnectorError> {
        Ok(None)
    }
    /// Which of these new objects the target would take for objects of its own, for whoever looks before an export. `None` when
    /// the target makes what it is told to make.
    ///
    /// # Errors
    /// When the target cannot be asked; whoever shows a preview says so.
    async fn matches(&self, _cx: &Context, _adds: &[NewObject]) -> Result<Option<MatchReport>, ConnectorError> {
        Ok(None)
    }
    /// What the target itself allows to delete at once, set there for all who synchronize with it.
    ///
    /// # Errors
    /// When the target refuses, or has no such setting.
    async fn set_delete_limit(&self, _cx: &Context, _limit: DeleteLimit) -> Result<(), ConnectorError> {
        Err(ConnectorError::new(ConnectorErrorKind::Configuration, "this target has no limit of deletes of its own").unsent())
    }
    /// Sends one batch. An `Err` means that nothing is known of the whole batch (every outcome is unknown) unless
    /// [`ConnectorError::nothing_sent`] says otherwise.
    async fn export(&self, cx: &Context, batch: &ExportBatch) -> Result<ExportReply, ConnectorError>;
    /// Called before the first batch of an export step; learns what the target allows, and who wrote to it last. Asking does not
    /// count as writing.
    async fn begin_export(&self, _cx: &Context) -> Result<ExportTerms, ConnectorError> {
        Ok(ExportTerms::default())
    }
    /// What the target's clock showed when it answered last, where it tells that: when something was written there does not depend on our
    /// own clock then.
    fn told(&self) -> Option<Timestamp> {
        None
    }
    /// Called once after the last batch of an export step.
    async fn finish_export(&self, _cx: &Context, _totals: ExportTotals) -> Result<(), ConnectorError> {
        Ok(())
    }
}

/// An attribute of objects of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassAttribute {
    /// The most derived class.
    pub class: &'static str,
    /// The attribute's name.
    pub attribute: &'static str,
}

/// What is kept of a container that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptContainer {
    /// The name in the configuration.
    pub name: String,
    /// What identifies it for good: `objectGUID`, `entryUUID`.
    pub key: Vec<u8>,
}

/// A container that the configuration names, as its directory has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPlace {
    /// The name in the configuration.
    pub configured: String,
    /// It is read; otherwise it is left out.
    pub included: bool,
    /// The key of what has this name now; `None` when there is nothing, or the account does not see it.
    pub key: Option<Vec<u8>>,
    /// The name that the container has now of which the key was kept, when that is another one.
    pub moved_to: Option<String>,
}

/// A stream of pages.
pub type ImportStream = BoxStream<'static, Result<ImportPage, ConnectorError>>;

/// A stream of advice: something may have changed.
pub type ChangeStream = BoxStream<'static, Result<(), ConnectorError>>;

/// A stream of keys of disabled accounts.
pub type DisabledStream = BoxStream<'static, Result<Vec<Anchor>, ConnectorError>>;

/// An attribute whose values only one object may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqueAttribute {
    /// Its name.
    pub name: &'static str,
    /// With which others it shares its values.
    pub kind: UniqueKind,
}

/// Attributes of the same kind share their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UniqueKind {
    /// `somebody@domain`; an object that can have it has one.
    SignInName,
    /// A mail address, with or without `smtp:`.
    Address,
}

impl UniqueKind {
    /// A value of this kind in the form in which such values are compared.
    pub fn compared(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::SignInName => fold(text.trim()),
            Self::Address => fold(trimmed_address(text)),
        }
    }
}

/// A value that a directory does not give to an object, although it accepted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAside {
    /// The object's key.
    pub anchor: Anchor,
    /// The attribute.
    pub attribute: String,
    /// The value.
    pub value: String,
    /// The other objects that have it now; `None` when that could not be looked up.
    pub holders: Option<Vec<ValueHolder>>,
}

/// An object of a directory that has a value which another one was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueHolder {
    /// Its key.
    pub anchor: Anchor,
    /// By what people know it there, with its id.
    pub called: String,
    /// It was deleted and can be restored; until it is removed for good it keeps its values.
    pub in_recycle_bin: bool,
    /// Attributes and values by which it has the value, as they really are.
    pub values: Vec<(String, String)>,
    /// What a person does so that it has the value no more.
    pub removal: String,
}

/// What a connector can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Can read everything.
    pub full_import: bool,
    /// Can read what changed since a watermark.
    pub delta_import: bool,
    /// Can write.
    pub export: bool,
    /// How many objects a batch should hold.
    pub batch_objects: usize,
    /// How many references a batch may hold in sum.
    pub batch_references: usize,
    /// How many batches may be under way at once.
    pub batches_in_flight: usize,
    /// The target takes single reference changes; without it a changed reference attribute is sent whole.
    pub reference_deltas: bool,
}

impl Capabilities {
    /// Reads everything and writes nothing.
    pub const SOURCE: Self = Self {
        full_import: true,
        delta_import: false,
        export: false,
        batch_objects: 1,
        batch_references: 1,
        batches_in_flight: 1,
        reference_deltas: false,
    };
}

/// What an import should read.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// All of it, or what changed.
    pub kind: ImportKind,
    /// The attributes to read. Others are neither read nor hashed nor stored.
    pub attributes: Vec<AttrId>,
}

/// All, or what changed since a watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// Every object in scope.
    Full,
    /// Changes since the watermark of an earlier import.
    Delta {
        /// As an earlier [`Completion`] gave it.
        since: Vec<u8>,
    },
}

/// A stream was complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where the next delta import begins; committed with the last page.
    pub watermark: Option<Vec<u8>>,
    /// The directory answered a delta request with everything: what it did not name is gone.
    pub answered_in_full: bool,
}

/// The types and attributes of a directory.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// Names of object types.
    pub object_types: Vec<String>,
    /// Attributes by name.
    pub attributes: Vec<AttributeSchema>,
}

/// One attribute of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeSchema {
    /// The name as the directory spells it.
    pub name: String,
    /// The type of its values.
    pub kind: ValueKind,
    /// May have several values.
    pub multi_valued: bool,
}

/// Changes to send, in the order in which they should be applied.
#[derive(Clone, Debug, Default)]
pub struct ExportBatch {
    /// One operation per object.
    pub operations: Vec<ExportOperation>,
}

/// What to do to one object of the target.
#[derive(Clone, Debug)]
pub struct ExportOperation {
    /// Our number for the object; outcomes name it.
    pub id: CsId,
    /// What to do.
    pub kind: ExportKind,
    /// The type in the target.
    pub object_type: String,
    /// The name in the target.
    pub dn: String,
    /// The new name when the operation renames or moves.
    pub rename: Option<String>,
    /// The key in the target, once it exists there.
    pub anchor: Option<Anchor>,
    /// Attributes to set or clear; no reference attributes.
    pub attributes: Vec<AttributeChange>,
    /// Reference attributes to change.
    pub references: Vec<ReferenceChange>,
}

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportKind {
    /// Create the object.
    Add,
    /// Change the object.
    Update,
    /// Remove the object.
    Delete,
}

/// A change of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeChange {
    /// The attribute's name in the target.
    pub name: String,
    /// All values the attribute shall have; empty clears it.
    pub wanted: Vec<Value>,
    /// The values that are new; not filled for a new object, whose values all are.
    pub added: Vec<Value>,
    /// The values that go.
    pub removed: Vec<Value>,
}

/// A change of one reference attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceChange {
    /// The attribute's name in the target.
    pub name: String,
    /// True when `added` is all the attribute shall have (an add, or a target without reference deltas).
    pub replace: bool,
    /// Names of objects to refer to.
    pub added: Vec<String>,
    /// Names of objects to refer to no longer.
    pub removed: Vec<String>,
}

/// Exactly one outcome per object of a batch.
#[derive(Debug)]
pub struct ExportReply {
    outcomes: Vec<(CsId, ExportOutcome)>,
    error: Option<ConnectorError>,
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportOutcome {
    /// The target has it. `anchor` is the key it gave, when it gave one.
    Accepted {
        /// The object's key in the target.
        anchor: Option<Anchor>,
    },
    /// The target refused; the change stays pending and is tried again by every export.
    Rejected(ExportRejection),
    /// Nobody knows; the next import decides.
    Unknown,
    /// The target surely never heard of it; the change stays pending.
    Unsent,
}

/// Why a target refused one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRejection {
    /// The stable name.
    pub code: ObjectErrorCode,
    /// A sentence for people, naming attribute and the other object where the target told.
    pub detail: String,
    /// The other object of a conflict, as the target names it.
    pub conflicting_object: Option<String>,
    /// The attribute of the conflict.
    pub attribute: Option<String>,
}

impl ExportReply {
    /// A reply for `batch`: gaps are filled with [`ExportOutcome::Unknown`], strangers and second outcomes dropped.
    pub fn new(batch: &ExportBatch, outcomes: impl IntoIterator<Item = (CsId, ExportOutcome)>) -> Self {
        let mut given: std::collections::HashMap<CsId, ExportOutcome> = std::collections::HashMap::new();
        for (id, outcome) in outcomes {
            given.entry(id).or_insert(outcome);
        }
        let outcomes = batch
            .operations
            .iter()
            .map(|operation| (operation.id, given.remove(&operation.id).unwrap_or(ExportOutcome::Unknown)))
            .collect();
        Self { outcomes, error: None }
    }

    /// The same reply of a connector that cannot go on behind it: the export ends with `error` once the outcomes are
    /// noted.
    #[must_use]
    pub fn ended_by(mut self, error: ConnectorError) -> Self {
        self.error = Some(error);
        self
    }

    /// The outcomes in the order of the batch.
    pub fn outcomes(&self) -> &[(CsId, ExportOutcome)] {
        &self.outcomes
    }

    /// What ended the batch early, if anything did.
    pub fn error(&self) -> Option<&ConnectorError> {
        self.error.as_ref()
    }

    /// The outcomes in the order of the batch, and what ended it early.
    pub fn into_parts(self) -> (Vec<(CsId, ExportOutcome)>, Option<ConnectorError>) {
        (self.outcomes, self.error)
    }
}

/// An installation of this program, as targets know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Tells it from every other one, also on the same machine.
    pub id: String,
    /// The machine, for people.
    pub name: String,
}

/// Who wrote to a target last, as far as the target tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWriter {
    /// The id of its installation.
    pub id: Option<String>,
    /// Its machine.
    pub name: Option<String>,
    /// When, by the target's clock.
    pub at: Option<Timestamp>,
    /// What the target's clock showed when it told this: how long ago `at` was does not depend on our own clock then.
    pub told: Option<Timestamp>,
}

/// A target's own limit of deletes in one export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteLimit {
    /// So many.
    Count(u32),
    /// So large a share of its objects, in percent.
    Percent(u32),
    /// None.
    Off,
}

/// What the target allows in an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportTerms {
    /// The target's own limit of deletes per run.
    pub deletes_max: Option<u64>,
    /// The target's own limit of deletes, as a share of its objects in percent.
    pub delete_percent_max: Option<u32>,
    /// The shortest time from one cycle to the next that the target wants, in whole seconds.
    pub interval: Option<Duration>,
    /// Who wrote to it last; `None` when it does not tell. Not kept between exports.
    pub last_writer: Option<LastWriter>,
}

/// The numbers of an export step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportTotals {
    /// Objects sent.
    pub sent: u64,
    /// Objects accepted.
    pub accepted: u64,
}

/// A problem of a whole run: connection, authentication, throttling. Object problems are outcomes or rejects.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConnectorError {
    /// What kind of problem; decides the step's result.
    pub kind: ConnectorErrorKind,
    /// For people: what happened, where, and what to do. Without secrets.
    pub message: String,
    /// True when the call surely changed nothing in the target.
    pub nothing_sent: bool,
    /// True when the account was refused with its secret, which every other way to sign in would be told, too. Each further try brings it
    /// nearer to its lockout.
    pub refuses_secret: bool,
}

/// Kinds of run problems, with Microsoft's result strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectorErrorKind {
    /// `failed-connection`: unreachable, refused, unknown certificate.
    Connection,
    /// `dropped-connection`: lost on the way.
    Dropped,
    /// `failed-authentication`: wrong name, password, secret.
    Authentication,
    /// `failed-permission`: the account lacks a right.
    Permission,
    /// `failed-search`: the base does not exist, the server refused the search.
    Search,
    /// The target is busy and the retries are used up.
    Busy,
    /// Directory synchronization is switched off in the tenant.
    Disabled,
    /// The file cannot be read, or is damaged.
    File,
    /// A file that was there is missing or empty, and whoever is in it would count as gone.
    FileLost,
    /// The watermark is unknown to the directory: a full import is needed.
    WatermarkLost,
    /// What the watermark is about was replaced as a whole, as may be there: a full import is needed, and nothing is odd about it.
    ReadAnew,
    /// The other side broke the protocol.
    Protocol,
    /// The configuration cannot work.
    Configuration,
    /// Another tenant answers than the one that is meant, or nobody knows which one that is.
    AnotherTenant,
    /// The run was told to stop.
    Cancelled,
}

impl ConnectorErrorKind {
    /// The connection result string of the specification (sync engine, section 2.4).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "failed-connection",
            Self::Dropped => "dropped-connection",
            Self::Authentication => "failed-authentication",
            Self::Permission => "failed-permission",
            Self::Search => "failed-search",
            Self::Busy => "busy",
            Self::Disabled => "synchronization-disabled",
            Self::File | Self::FileLost => "failed-file",
            Self::WatermarkLost | Self::ReadAnew => "warning-no-watermark",
            Self::Protocol => "protocol-error",
            Self::Configuration => "configuration-error",
            Self::AnotherTenant => "another-tenant",
            Self::Cancelled => "cancelled",
        }
    }
}

impl ConnectorError {
    /// A problem of a kind.
    pub fn new(kind: ConnectorErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), nothing_sent: false, refuses_secret: false }
    }

    /// The same problem, known to have changed nothing in the target.
    #[must_use]
    pub fn unsent(mut self) -> Self {
        self.nothing_sent = true;
        self
    }

    /// The same problem, which every other try with the same account and secret would meet.
    #[must_use]
    pub(crate) fn refusing_secret(mut self) -> Self {
        self.refuses_secret = true;
        self
    }
}
