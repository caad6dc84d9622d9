//! What each number means and what to do about it, for people who meet it in a log (specification: sync engine 7.7,
//! admin surface 3; numbers below 7000 are Microsoft's).

use super::Level::{self, Error, Information, Warning};

/// One kind of event, explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stable number.
    pub number: u32,
    /// How much it matters as a rule.
    pub level: Level,
    /// What happened, in a few words.
    pub title: &'static str,
    /// What it means, and what to do when something is to be done; of what is never told, why.
    pub text: &'static str,
    /// This program tells it. Numbers that only Microsoft's agent tells are explained for those who look for them.
    pub told: bool,
}

/// Every kind that this program tells, and those that only Microsoft's password agent tells, by number.
pub fn catalogue() -> &'static [Explanation] {
    CATALOGUE
}

/// The part of the program that an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Runs: imports, synchronization, exports.
    Synchronization,
    /// Cycles, and when they run.
    Scheduler,
    /// The password agent.
    Password,
    /// The service as such: its beginning and end, its configuration, its store.
    Service,
    /// Telling people.
    Alerts,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 5] = [Self::Synchronization, Self::Scheduler, Self::Password, Self::Service, Self::Alerts];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synchronization => "sync",
            Self::Scheduler => "scheduler",
            Self::Password => "password",
            Self::Service => "service",
            Self::Alerts => "alerts",
        }
    }

    /// The source of events with a number; `None` for numbers of no kind.
    pub fn of(number: u32) -> Option<Self> {
        Some(match number {
            116 | 7010..=7049 => Self::Synchronization,
            7001..=7009 | 7064 => Self::Scheduler,
            0 | 115 | 601..=668 | 6900 | 7050..=7059 => Self::Password,
            7060..=7069 => Self::Service,
            7070..=7079 => Self::Alerts,
            _ => return None,
        })
    }
}

/// One kind by number.
pub fn explanation(number: u32) -> Option<&'static Explanation> {
    CATALOGUE.iter().find(|known| known.number == number)
}

const fn kind(number: u32, level: Level, title: &'static str, text: &'static str) -> Explanation {
    Explanation { number, level, title, text, told: true }
}

/// A kind of Microsoft's that has no meaning here, and why.
const fn never(number: u32, level: Level, title: &'static str, text: &'static str) -> Explanation {
    Explanation { number, level, title, text, told: false }
}

const CATALOGUE: &[Explanation] = &[
    kind(
        0,
        Warning,
        "Password changes failed and are tried again",
        "The named accounts could not be sent; they stay due and are tried again by themselves. `syncline phs status --object ACCOUNT` says \
         why and when.",
    ),
    kind(
        115,
        Error,
        "Access to the tenant was denied",
        "The tenant does not accept the account or application that Syncline signs in with, or it lacks the synchronization role. Check the \
         connector's credential and that nobody removed its role; nothing is sent until then.",
    ),
    kind(
        116,
        Warning,
        "More deletes than allowed are waiting",
        "The export sent nothing, since more objects would be deleted than [guard] allows. Look at `syncline export --what-if`; if they are \
         right, `syncline export --allow-deletes SET` sends exactly that set once.",
    ),
    kind(601, Information, "The password agent starts", "Nothing to do."),
    kind(602, Information, "The password agent is told to stop", "Nothing to do: it ends at the next border between batches."),
    kind(
        603,
        Error,
        "The password agent met an error of its own",
        "A part of the agent failed and is tried again with the next cycle. Please report it with its text when it comes back.",
    ),
    never(
        604,
        Error,
        "A task of the password agent failed",
        "Never told: the agent has no tasks of its own beside its cycle; whatever fails in it is event 603.",
    ),
    kind(605, Information, "Accounts were put into the retry queue", "They are tried again by themselves."),
    kind(606, Information, "Accounts left the retry queue", "They were sent, or need no password any more."),
    never(
        607,
        Error,
        "The password agent cannot start",
        "Never told: what keeps the agent from starting ends the command with a message and an exit code, before there is a journal to tell \
         it to.",
    ),
    kind(609, Information, "The password agent has stopped", "Nothing to do."),
    never(
        610,
        Error,
        "The password agent cannot stop",
        "Never told: there is no thread that could refuse. A killed agent loses nothing; the next one goes on from the store.",
    ),
    kind(
        611,
        Error,
        "Password synchronization failed for a domain",
        "Nothing of the domain could be read; other domains are not affected, and it is tried again with each cycle. `syncline phs doctor` \
         tells what is missing: usually a right (both Replicating Directory Changes and Replicating Directory Changes All), the password of \
         the account, or the way to the domain controller. Told once until it changes.",
    ),
    kind(
        612,
        Error,
        "The tenant's settings could not be read",
        "Whether the tenant takes passwords is not known, so nothing is sent. Check the connection to the tenant. Told once until it changes.",
    ),
    kind(
        613,
        Information,
        "Password synchronization waits for the first full synchronization",
        "Run `syncline cycle start --initial` once; the passwords follow by themselves.",
    ),
    never(
        614,
        Warning,
        "The password agent was started twice",
        "Never told: the store belongs to one process at a time, so a second agent waits for the first one, or ends with a message.",
    ),
    never(
        615,
        Error,
        "A worker thread of the password agent failed",
        "Never told: an error of its own is event 603, and a fault in the program ends the process, so that its supervisor starts it anew.",
    ),
    kind(
        616,
        Warning,
        "The preferred domain controller is not reachable",
        "The controller that is named first in [password_hash_sync] servers did not answer, and the one that the event names took its place: \
         passwords are read, but a change may arrive later by the time that replication between the two takes. Told once until the first \
         one answers again.",
    ),
    kind(617, Information, "A full password synchronization of a directory starts", "Every account in scope is sent once."),
    kind(618, Information, "A full password synchronization of a domain starts", "Every account in scope is sent once."),
    kind(619, Information, "A full password synchronization is under way", "Nothing to do."),
    never(
        620,
        Warning,
        "Accounts that are not tried again",
        "Never told: an account in scope is never given up, it is tried every half hour at least. Event 7051 names accounts that are refused \
         again and again; `syncline phs coverage --list` names all that lack a password, also those with nothing to send.",
    ),
    kind(621, Error, "A full password synchronization failed", "It stays requested and starts again with the next cycle; see event 611."),
    kind(622, Information, "A full password synchronization of a domain is complete", "Nothing to do."),
    kind(623, Information, "A full password synchronization of a directory is complete", "Nothing to do."),
    kind(650, Information, "A batch of password hashes is sent", "Nothing to do."),
    kind(651, Information, "A batch of password hashes was answered", "Each account's result is in its event 657."),
    kind(
        652,
        Error,
        "A batch of password hashes failed",
        "Code 81: the tenant is busy. Code 90: password hash synchronization is off in the tenant. The accounts stay due and are tried \
         again; the tracking id helps Microsoft's support.",
    ),
    kind(653, Information, "A sign of life is sent", "With nothing to send for 30 minutes, the tenant is told that the agent is well."),
    kind(654, Information, "The sign of life was answered", "The tenant shows password synchronization as alive."),
    kind(655, Error, "The sign of life failed", "It is tried again; after two hours without one the tenant raises an alert of its own."),
    kind(656, Information, "Password change request", "The password of the named account goes to the tenant; event 657 has the result."),
    kind(657, Information, "Password change result", "Success, or why the tenant refused the named account."),
    never(
        658,
        Information,
        "Credentials for a managed domain (Domain Services) are synchronized",
        "Never told: Syncline does not send the Kerberos and NTLM keys that Microsoft Entra Domain Services needs, and does not read them.",
    ),
    never(
        659,
        Information,
        "The password policy of a managed domain is synchronized",
        "Never told: as event 658. The password policies of the tenant itself are shown by `syncline phs status --policy`.",
    ),
    kind(
        660,
        Warning,
        "The tenant takes no password hashes",
        "Password hash synchronization is off in the tenant. It is looked at again with each cycle; `syncline phs enable` switches it on.",
    ),
    kind(661, Information, "The tenant takes password hashes again", "What waited is sent."),
    never(
        662,
        Error,
        "A health task failed during the sign of life",
        "Never told: the sign of life is the only task there is; when it fails, that is event 655.",
    ),
    kind(
        663,
        Information,
        "The password agent is at work",
        "Told every half hour while `syncline phs run` runs, also when the tenant does not answer: without it the agent itself has stopped.",
    ),
    kind(664, Error, "One account could not be sent", "Somebody asked for it with `syncline phs push`; the text says why."),
    kind(
        665,
        Error,
        "The state of a domain could not be noted",
        "The store refused to write, so accounts may be sent again. Check the disk; `syncline store check` looks at the file.",
    ),
    never(666, Error, "A deadlock in the database", "Never told: the store has one writer at a time, and readers do not wait for it."),
    never(
        667,
        Error,
        "The key for decryption could not be made (FIPS)",
        "Never told: MD5, which replication needs for it, is Syncline's own, so a machine in FIPS mode does not refuse it.",
    ),
    kind(
        668,
        Information,
        "Accounts whose password itself did not change",
        "Only the time of the change moved; nothing was sent for them.",
    ),
    kind(
        6900,
        Error,
        "The password of an account could not be read",
        "What the domain controller sent for it cannot be decrypted. Others are not affected; it is read again with the next cycle.",
    ),
    kind(7001, Information, "A cycle begins", "Nothing to do."),
    kind(7002, Information, "A cycle is over", "`syncline run list` shows its runs."),
    kind(7010, Information, "A run is over", "`syncline run show NUMBER` shows its steps and counters."),
    kind(
        7011,
        Warning,
        "A run was interrupted",
        "Its process ended in the middle. What was committed is kept, and the next run goes on from there.",
    ),
    kind(
        7020,
        Error,
        "A full import misses too much to be believed",
        "Nothing of it counts. If the objects or values are really gone, `syncline run start NAME full-import --allow-shrink` believes it once.",
    ),
    kind(
        7021,
        Warning,
        "Somebody else changed values that Syncline manages",
        "Find out who changed them. `syncline export NAME --what-if` shows what an export would put back: nothing where source and target agree.",
    ),
    kind(
        7022,
        Warning,
        "The target does not show what it accepted",
        "The changes are sent again. When it stays, the target alters or refuses them.",
    ),
    kind(7030, Information, "A full step instead of a delta", "The text says why; it takes longer and does the same."),
    kind(7040, Information, "Nothing was exported in staging mode", "[guard] staging is true in syncline.toml."),
    kind(
        7041,
        Error,
        "Another installation writes to the same tenant",
        "Two active installations would undo each other's work, so this one sends neither objects nor passwords any more. `syncline mode \
         show` names both. `syncline promote --takeover` makes this one the active one, and the other one stops by itself; `syncline mode \
         staging` settles it the other way round.",
    ),
    kind(
        7042,
        Warning,
        "The delete threshold is off",
        "Somebody switched it off by `syncline guard disable`; `syncline audit list` says who. Every cycle tells it until `syncline guard set \
         --max-deletes NUMBER` switches it on again.",
    ),
    kind(
        7043,
        Error,
        "People go by stand-in names in the target",
        "They swap sign-in names or take them over, and the export ended between giving the old ones up and getting the new ones: until then \
         the named people cannot sign in. The next export sends them before everything else, also when a guard of deletes stops it; in \
         staging mode nothing may be sent, so promote this installation by `syncline promote`, or set the names right in the target.",
    ),
    kind(7050, Information, "A domain is read again", "What had stopped it (event 611) is over."),
    kind(
        7051,
        Warning,
        "The tenant refuses the password of an account again and again",
        "It goes on trying every half hour. `syncline phs status --object ACCOUNT` shows the tenant's answer.",
    ),
    kind(7060, Information, "The service begins its work", "Nothing to do."),
    kind(7061, Information, "The service ends its work", "Nothing to do: it goes on where it was when it is started again."),
    kind(7062, Information, "A changed configuration counts", "It counts from the next step on."),
    kind(
        7063,
        Error,
        "A changed configuration cannot be used",
        "The service goes on with the one before, until it is restarted. Mend what the text names; the service looks again by itself.",
    ),
    kind(
        7064,
        Error,
        "A cycle could not begin",
        "It is tried again when the next one is due. The text says what is missing. When nobody can read what the scheduler remembers, it \
         counts as suspended: `syncline scheduler resume` lets it go on.",
    ),
    kind(
        7065,
        Error,
        "The store cannot be used",
        "Its disk refused to read or write, as a rule because it is full. Nothing is synchronized until it is opened again, which the service \
         tries by itself, more and more rarely while it does not help. What was committed is not lost.",
    ),
    kind(
        7066,
        Information,
        "The store was opened again",
        "Everything goes on from what was committed before; steps that were interrupted are done again.",
    ),
    kind(
        7070,
        Information,
        "People were told",
        "By mail or webhook, as [alerts] says: of conditions that need them, that they last, or are over.",
    ),
    kind(
        7071,
        Warning,
        "People could not be told",
        "The mail server or the web address did not take what was to be told; it is tried again more and more rarely. `syncline alerts test` \
         tries it now. Told once until it works again.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_explained_once_in_order() {
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(CATALOGUE.iter().all(|known| !known.title.ends_with('.') && known.text.ends_with('.')));
        assert_eq!(explanation(656).map(|known| known.title), Some("Password change request"));
        assert_eq!(explanation(1), None);
        for known in CATALOGUE {
            assert!(Source::of(known.number).is_some(), "{} comes from nowhere", known.number);
            assert_eq!(known.text.starts_with("Never told: "), !known.told, "{}", known.number);
        }
    }
}
