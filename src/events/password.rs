//! The events of password hash synchronization, with Microsoft's numbers, levels and published texts (specification:
//! sync engine 7.7). None of them holds a hash, a salt or a key.

use super::password_text::result;
use super::{Field, Level};
use crate::model::Timestamp;

/// Something that happened to passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PasswordEvent {
    /// 0: changes failed and are tried again.
    ScheduledForRetry {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// The accounts.
        dns: Vec<String>,
    },
    /// 115: the target does not accept our own account.
    AccessDenied {
        /// The target's name.
        connector: String,
        /// What it said.
        message: String,
    },
    /// 601: the agent begins its work.
    Starting,
    /// 602: the agent was told to end.
    Stopping,
    /// 603: something of ours failed.
    Failed {
        /// What.
        message: String,
    },
    /// 605: accounts that are tried again later.
    RetryAdded {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// How many.
        count: u64,
    },
    /// 606: accounts that were tried again and need no more.
    RetryRemoved {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// How many.
        count: u64,
    },
    /// 609: the agent ended.
    Stopped,
    /// 611: a domain could not be read. Told once until that changes.
    DomainFailed {
        /// The directory's name.
        connector: String,
        /// The domain; empty when it is about the directory as a whole.
        domain: String,
        /// The kind of problem.
        error: String,
        /// What happened and what to do.
        message: String,
    },
    /// 612: the target's settings could not be read. Told once until that changes.
    TargetFailed {
        /// The target's name.
        connector: String,
        /// What happened.
        message: String,
    },
    /// 613: nothing is read before the first full synchronization.
    Paused {
        /// The directory's name.
        connector: String,
        /// The connectors that were not read and synchronized in full.
        waiting_for: String,
    },
    /// 616: the domain controller that is named first did not answer; another one did. Told once until it answers.
    PreferredUnreachable {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// The controller that did not answer.
        server: String,
        /// The one that did.
        used: String,
        /// Why it did not.
        message: String,
    },
    /// 617: everything of a directory is read.
    FullStarted {
        /// The directory's name.
        connector: String,
    },
    /// 618: everything of a domain is read.
    FullDomainStarted {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
    },
    /// 619: how far it is.
    FullProgress {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// Objects that the directory gave.
        seen: u64,
        /// Accounts that were sent.
        count: u64,
    },
    /// 621: reading everything of a domain failed.
    FullFailed {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// What happened.
        message: String,
    },
    /// 622: everything of a domain was read, and sent where it had to be.
    FullDomainCompleted {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// Accounts that were sent.
        count: u64,
    },
    /// 623: the same for all domains of a directory.
    FullCompleted {
        /// The directory's name.
        connector: String,
    },
    /// 650: a batch goes out.
    BatchStart {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// Accounts in it.
        count: u64,
    },
    /// 651: a batch was answered.
    BatchEnd {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// Accounts in it.
        count: u64,
        /// Those of them that were taken.
        accepted: u64,
    },
    /// 652: a batch got no answer.
    BatchFailed {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// Accounts in it.
        count: u64,
        /// The target's number: 81 busy, 90 switched off.
        error_code: Option<i64>,
        /// What the target calls the call in its own records.
        tracking_id: Option<String>,
        /// What it said.
        message: String,
    },
    /// 653: a sign of life goes out.
    PingStart {
        /// The target's name.
        connector: String,
    },
    /// 654: it was answered.
    PingEnd {
        /// The target's name.
        connector: String,
    },
    /// 655: it was not.
    PingFailed {
        /// The target's name.
        connector: String,
        /// The target's number.
        error_code: Option<i64>,
        /// What the target calls the call in its own records.
        tracking_id: Option<String>,
        /// What it said.
        message: String,
    },
    /// 656: the password of an account goes out.
    ChangeRequest {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// The source anchor, or the target's own key.
        anchor: String,
        /// The account.
        dn: String,
        /// When the password was changed.
        change_date: Timestamp,
    },
    /// 657: what came of it.
    ChangeResult {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// The source anchor, or the target's own key.
        anchor: String,
        /// The account.
        dn: String,
        /// When the password was changed.
        change_date: Timestamp,
        /// The target took it.
        success: bool,
        /// It has to be changed at the next sign-in.
        force_change: bool,
        /// The target's number, when it refused.
        error_code: Option<i64>,
        /// Its words, when it refused.
        message: Option<String>,
    },
    /// 660: the target takes no password hashes; its settings are read again with each cycle.
    HealingStart {
        /// The target's name.
        connector: String,
        /// What is off, and the command that switches it on.
        message: String,
    },
    /// 661: it takes them again.
    HealingEnd {
        /// The target's name.
        connector: String,
    },
    /// 663: the agent is at work; told every half hour.
    Alive,
    /// 664: one account that somebody asked for could not be sent.
    SingleFailed {
        /// The directory's name.
        connector: String,
        /// The account.
        dn: String,
        /// Why.
        message: String,
    },
    /// 665: what was done could not be noted.
    StateFailed {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// What the store said.
        message: String,
    },
    /// 668: accounts of which only the time of the last change moved.
    OnlyTimeChanged {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// How many.
        count: u64,
    },
    /// 6900: the password of an account could not be read.
    ReadFailed {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
        /// The account; empty when it is not known.
        dn: String,
        /// Why.
        message: String,
    },
    /// 7050: a domain that could not be read is read again.
    DomainResumed {
        /// The directory's name.
        connector: String,
        /// The domain.
        domain: String,
    },
    /// 7051: an account was refused so often that somebody should look.
    RefusedRepeatedly {
        /// The directory's name.
        connector: String,
        /// The account.
        dn: String,
        /// How often.
        attempts: u64,
        /// The target's number.
        error_code: Option<i64>,
        /// Its words.
        message: String,
    },
}

impl PasswordEvent {
    /// The stable number, and how much it matters.
    pub(super) fn facts(&self) -> (u32, Level) {
        use Level::{Error, Information, Warning};
        match self {
            Self::ScheduledForRetry { .. } => (0, Warning),
            Self::AccessDenied { .. } => (115, Error),
            Self::Starting => (601, Information),
            Self::Stopping => (602, Information),
            Self::Failed { .. } => (603, Error),
            Self::RetryAdded { .. } => (605, Information),
            Self::RetryRemoved { .. } => (606, Information),
            Self::Stopped => (609, Information),
            Self::DomainFailed { .. } => (611, Error),
            Self::TargetFailed { .. } => (612, Error),
            Self::Paused { .. } => (613, Information),
            Self::PreferredUnreachable { .. } => (616, Warning),
            Self::FullStarted { .. } => (617, Information),
            Self::FullDomainStarted { .. } => (618, Information),
            Self::FullProgress { .. } => (619, Information),
            Self::FullFailed { .. } => (621, Error),
            Self::FullDomainCompleted { .. } => (622, Information),
            Self::FullCompleted { .. } => (623, Information),
            Self::BatchStart { .. } => (650, Information),
            Self::BatchEnd { .. } => (651, Information),
            Self::BatchFailed { .. } => (652, Error),
            Self::PingStart { .. } => (653, Information),
            Self::PingEnd { .. } => (654, Information),
            Self::PingFailed { .. } => (655, Error),
            Self::ChangeRequest { .. } => (656, Information),
            Self::ChangeResult { .. } => (657, Information),
            Self::HealingStart { .. } => (660, Warning),
            Self::HealingEnd { .. } => (661, Information),
            Self::Alive => (663, Information),
            Self::SingleFailed { .. } => (664, Error),
            Self::StateFailed { .. } => (665, Error),
            Self::OnlyTimeChanged { .. } => (668, Information),
            Self::ReadFailed { .. } => (6900, Error),
            Self::DomainResumed { .. } => (7050, Information),
            Self::RefusedRepeatedly { .. } => (7051, Warning),
        }
    }

    /// The fields by name, those without a value left out.
    pub(super) fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        let mut fields = Fields(Vec::new());
        match self {
            Self::Starting | Self::Stopping | Self::Stopped | Self::Alive => {}
            Self::Failed { message } => fields.text("message", message),
            Self::ScheduledForRetry { connector, domain, dns } => {
                fields.place(connector, domain);
                fields.0.push(("dn", Field::Texts(dns)));
            }
            Self::AccessDenied { connector, message }
            | Self::TargetFailed { connector, message }
            | Self::HealingStart { connector, message } => {
                fields.text("connector", connector);
                fields.text("message", message);
            }
            Self::RetryAdded { connector, domain, count }
            | Self::RetryRemoved { connector, domain, count }
            | Self::FullDomainCompleted { connector, domain, count }
            | Self::BatchStart { connector, domain, count }
            | Self::OnlyTimeChanged { connector, domain, count } => {
                fields.place(connector, domain);
                fields.count("count", *count);
            }
            Self::DomainFailed { connector, domain, error, message } => {
                fields.place(connector, domain);
                fields.text("error", error);
                fields.text("message", message);
            }
            Self::PreferredUnreachable { connector, domain, server, used, message } => {
                fields.place(connector, domain);
                fields.text("server", server);
                fields.text("used", used);
                fields.text("message", message);
            }
            Self::Paused { connector, waiting_for } => {
                fields.text("connector", connector);
                fields.text("waiting_for", waiting_for);
            }
            Self::FullStarted { connector }
            | Self::FullCompleted { connector }
            | Self::PingStart { connector }
            | Self::PingEnd { connector }
            | Self::HealingEnd { connector } => fields.text("connector", connector),
            Self::FullDomainStarted { connector, domain } | Self::DomainResumed { connector, domain } => fields.place(connector, domain),
            Self::FullProgress { connector, domain, seen, count } => {
                fields.place(connector, domain);
                fields.count("seen", *seen);
                fields.count("count", *count);
            }
            Self::FullFailed { connector, domain, message } | Self::StateFailed { connector, domain, message } => {
                fields.place(connector, domain);
                fields.text("message", message);
            }
            Self::BatchEnd { connector, domain, count, accepted } => {
                fields.place(connector, domain);
                fields.count("count", *count);
                fields.count("accepted", *accepted);
            }
            Self::BatchFailed { connector, domain, count, error_code, tracking_id, message } => {
                fields.place(connector, domain);
                fields.count("count", *count);
                fields.failure(*error_code, tracking_id.as_deref(), message);
            }
            Self::PingFailed { connector, error_code, tracking_id, message } => {
                fields.text("connector", connector);
                fields.failure(*error_code, tracking_id.as_deref(), message);
            }
            Self::ChangeRequest { connector, domain, anchor, dn, change_date } => {
                fields.place(connector, domain);
                fields.account(anchor, dn, *change_date);
            }
            Self::ChangeResult { connector, domain, anchor, dn, change_date, success, force_change, error_code, message } => {
                fields.place(connector, domain);
                fields.account(anchor, dn, *change_date);
                fields.text("result", result(*success));
                fields.0.push(("pwd_change_on_logon", Field::Flag(*force_change)));
                fields.0.extend(error_code.map(|code| ("error_code", Field::Code(code))));
                fields.0.extend(message.as_deref().map(|message| ("message", Field::Text(message))));
            }
            Self::SingleFailed { connector, dn, message } => {
                fields.text("connector", connector);
                fields.text("dn", dn);
                fields.text("message", message);
            }
            Self::ReadFailed { connector, domain, dn, message } => {
                fields.place(connector, domain);
                fields.text("dn", dn);
                fields.text("message", message);
            }
            Self::RefusedRepeatedly { connector, dn, attempts, error_code, message } => {
                fields.text("connector", connector);
                fields.text("dn", dn);
                fields.count("attempts", *attempts);
                fields.failure(*error_code, None, message);
            }
        }
        fields.0
    }
}

struct Fields<'a>(Vec<(&'static str, Field<'a>)>);

impl<'a> Fields<'a> {
    fn text(&mut self, name: &'static str, text: &'a str) {
        self.0.push((name, Field::Text(text)));
    }

    fn count(&mut self, name: &'static str, count: u64) {
        self.0.push((name, Field::Count(count)));
    }

    fn place(&mut self, connector: &'a str, domain: &'a str) {
        self.text("connector", connector);
        self.text("domain", domain);
    }

    fn account(&mut self, anchor: &'a str, dn: &'a str, change_date: Timestamp) {
        self.text("anchor", anchor);
        self.text("dn", dn);
        self.0.push(("change_date", Field::Time(change_date)));
    }

    fn failure(&mut self, error_code: Option<i64>, tracking_id: Option<&'a str>, message: &'a str) {
        self.0.extend(error_code.map(|code| ("error_code", Field::Code(code))));
        self.0.extend(tracking_id.map(|id| ("tracking_id", Field::Text(id))));
        self.text("message", message);
    }
}
