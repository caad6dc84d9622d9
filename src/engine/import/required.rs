//! Attributes that no object of a class is without: an entry that lacks one was not read whole, since a right to read is missing or the
//! file is damaged. Rules would take what is not there for a fact, and enable, empty or delete.

use super::Import;
use super::image::Image;
use super::refused::problem_of;
use crate::connector::{ClassAttribute, Connector, DiscoveryError, EntryRef};
use crate::model::{AttrId, CsObject, CsReference, Names, ObjectErrorCode, StageMask, ValueState};
use std::collections::BTreeSet;

/// Classes of accounts in Active Directory.
const ACCOUNTS: &[&str] = &["user", "inetOrgPerson", "computer"];
/// Whoever has a security identifier there.
const PRINCIPALS: &[&str] = &["user", "inetOrgPerson", "computer", "group"];

/// What objects of some classes always have.
#[derive(Debug)]
pub(super) struct Required {
    name: &'static str,
    classes: &'static [&'static str],
    /// Whoever nobody knows yet has it, too, where the directory is known for that.
    new: bool,
    /// What would follow if it were believed.
    follows: &'static str,
}

/// `userAccountControl`, `sAMAccountName` and `objectSid` are set by the directory (MS-ADTS 2.2.16, 3.1.1.6), the mark of critical system
/// objects is never taken away, and a group of OpenLDAP has a member (RFC 4519, 3.5 and 3.6).
static REQUIRED: [Required; 6] = [
    Required { name: "userAccountControl", classes: ACCOUNTS, new: true, follows: "nobody can say whether the account is disabled" },
    Required { name: "sAMAccountName", classes: PRINCIPALS, new: true, follows: "it would leave the cloud" },
    Required { name: "objectSid", classes: PRINCIPALS, new: true, follows: "it would not be known as an account" },
    Required {
        name: "isCriticalSystemObject",
        classes: PRINCIPALS,
        new: false,
        follows: "an account of the system would get into the cloud",
    },
    Required { name: "member", classes: &["groupOfNames"], new: false, follows: "the group would leave the cloud" },
    Required { name: "uniqueMember", classes: &["groupOfUniqueNames"], new: false, follows: "the group would lose everybody" },
];

/// What is required of objects that nobody knows yet, where a directory has it on every one of them.
pub fn always_there(connector: &dyn Connector) -> Vec<ClassAttribute> {
    let each = |required: &Required| {
        let attribute = required.name;
        required.classes.iter().map(move |class| ClassAttribute { class, attribute })
    };
    connector.always_there(REQUIRED.iter().filter(|required| required.new).flat_map(each).collect())
}

/// What is required of what is read. What rules write is not: whoever takes it away may be we.
pub(super) fn of(names: &Names, read: &[AttrId], managed: &BTreeSet<AttrId>) -> Vec<(AttrId, &'static Required)> {
    let known = REQUIRED.iter().filter_map(|required| Some((names.find(required.name)?, required)));
    known.filter(|(attr, _)| read.contains(attr) && !managed.contains(attr)).collect()
}

/// True when an object of one class is an account as much as one of the other.
pub(super) fn are_accounts(one: &str, other: &str) -> bool {
    ACCOUNTS.contains(&one) && ACCOUNTS.contains(&other)
}

impl Import<'_> {
    /// What is wrong with an entry that lacks what it had before, or what every one of its directory has. `known` is what was imported
    /// before; all references are among its rows for a whole entry.
    pub(super) fn lacks_required(
        &self,
        entry: &EntryRef<'_>,
        whole: bool,
        known: Option<&(CsObject, Vec<CsReference>)>,
        told: &Image,
    ) -> Option<DiscoveryError> {
        let known = known.filter(|(object, _)| object.imported());
        let is = entry.object_type().or_else(|| known.map(|(object, _)| object.object_type))?;
        if self.options.allow_incomplete {
            return None;
        }
        let class = self.store.names().object_type_name(is);
        let was = known.map_or_else(|| class.clone(), |(object, _)| self.store.names().object_type_name(object.object_type));
        let imported = |state: u8| ValueState(state).present(StageMask::IMPORTED);
        let lacking = |(attr, required): &&(AttrId, &'static Required)| {
            let is_told = !told.values.attribute_range(*attr).is_empty()
                || told.references.iter().any(|(told, _, targets)| told == attr && !targets.is_empty());
            if is_told || ![&class, &was].into_iter().all(|class| required.classes.contains(&&**class)) {
                return false;
            }
            let Some((object, rows)) = known else {
                let is_it = |always: &ClassAttribute| always.class == &*class && always.attribute == required.name;
                return required.new && self.options.always_there.iter().any(is_it);
            };
            object.values.attribute(*attr).any(|item| imported(item.flags))
                || whole && rows.iter().any(|row| row.attr == *attr && imported(row.state.0))
        };
        let (_, Required { name, follows, .. }) = self.required.iter().find(lacking)?;
        let (more, stays) = if known.is_some() { (" any more", "stays as it was") } else { ("", "is not taken") };
        let detail = format!(
            "it has no {name}{more}, which nobody of its kind is without: if that were believed, {follows}. It {stays}. Let the account that reads \
             the directory read it (`syncline doctor`), or put it back into the file. If it is meant, and what follows from it, allow it once with \
             `syncline run start '{}' full-import --allow-incomplete`",
            self.options.name
        );
        Some(problem_of(entry, self.store.names(), ObjectErrorCode::MISSING_REQUIRED_ATTRIBUTE, &detail))
    }
}
