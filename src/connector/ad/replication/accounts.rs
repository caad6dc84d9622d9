//! From a page of replication to what changed of the accounts that are wanted. The values of all others stay
//! encrypted and go with the page.

use crate::connector::{ACCOUNT_DISABLED, PasswordChange, PasswordPage, Wanted};
use crate::model::{Anchor, Timestamp};
use crate::password::hash::{NtHash, wipe_stack};
use crate::protocol::dcerpc::Guid;
use crate::protocol::drsuapi::{
    Attribute, AttributeView, Cursor, ObjectView, Position, Reply, ReplyError, SessionKey, open_payload, remove_rid_layer,
};

/// Seconds from 1601-01-01 to 1970-01-01 UTC.
const EPOCH: i64 = 11_644_473_600;

/// What a page says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) agent: Guid,
    pub(super) invocation: Guid,
    /// The GUID of the naming context, if it has a name.
    pub(super) context: Option<Guid>,
    pub(super) to: Position,
    pub(super) known: Option<Vec<Cursor>>,
    pub(super) more: bool,
    pub(super) extended: u32,
    /// The first number that is not 0: the return value, or the replication error.
    pub(super) status: u32,
}

/// A decoded page.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) facts: Facts,
    /// Empty when the page is a refusal.
    pub(super) page: PasswordPage,
}

/// Decodes a page. Only accounts that are `wanted` are decrypted, with the key of the session.
pub(super) fn decode(stub: &[u8], key: &SessionKey, wanted: &Wanted) -> Result<Decoded, ReplyError> {
    let reply = Reply::read(stub)?;
    let status = if reply.status == 0 { reply.replication_error } else { reply.status };
    let facts = Facts {
        agent: reply.agent,
        invocation: reply.invocation,
        context: reply.context.map(|name| name.guid),
        to: reply.to,
        known: reply.known.clone(),
        more: reply.more,
        extended: reply.extended,
        status,
    };
    let mut page = PasswordPage::default();
    if status == 0 {
        let numbers = Numbers::new(&reply);
        page.seen = reply.len() as u64;
        for object in reply.objects() {
            let anchor = Anchor::new(object.name.guid.0);
            if wanted(&anchor) {
                match change(&object, &numbers, key, &anchor) {
                    Ok(Some(change)) => page.changes.push(change),
                    Ok(None) => {}
                    Err(reason) => page.rejects.push((anchor, reason)),
                }
            }
        }
        // What the ciphers put aside on this thread's stack is as good as a hash, and the thread lives on.
        wipe_stack();
    }
    Ok(Decoded { facts, page })
}

/// The numbers of our attributes in one reply.
struct Numbers {
    password: Option<u32>,
    last_set: Option<u32>,
    control: Option<u32>,
    deleted: Option<u32>,
}

impl Numbers {
    fn new(reply: &Reply<'_>) -> Self {
        let id = |attribute| reply.prefixes.id(attribute);
        Self {
            password: id(Attribute::UnicodePwd),
            last_set: id(Attribute::PwdLastSet),
            control: id(Attribute::UserAccountControl),
            deleted: id(Attribute::IsDeleted),
        }
    }
}

/// What changed of one account; none when it is nothing of interest here, as its name.
fn change(object: &ObjectView<'_, '_>, numbers: &Numbers, key: &SessionKey, anchor: &Anchor) -> Result<Option<PasswordChange>, String> {
    let attribute = |number: Option<u32>| number.and_then(|number| object.attribute(number));
    let password = attribute(numbers.password);
    let dn = object.name.dn();
    let hash = match password {
        Some(view) => Some(hash_of(&view, object, key).map_err(|reason| format!("the password hash of '{dn}' cannot be read: {reason}"))?),
        None => None,
    };
    let must_change = match attribute(numbers.last_set) {
        Some(AttributeView { values: [value], .. }) => {
            let octets = <[u8; 8]>::try_from(*value).map_err(|_| format!("'{dn}': pwdLastSet has an unexpected length"))?;
            Some(i64::from_le_bytes(octets) == 0)
        }
        _ => None,
    };
    let disabled = match attribute(numbers.control) {
        Some(AttributeView { values: [value], .. }) => {
            let octets = <[u8; 4]>::try_from(*value).map_err(|_| format!("'{dn}': userAccountControl has an unexpected length"))?;
            Some(i64::from(u32::from_le_bytes(octets)) & ACCOUNT_DISABLED != 0)
        }
        _ => None,
    };
    let deleted = attribute(numbers.deleted).is_some_and(|view| view.values.iter().any(|value| value.iter().any(|octet| *octet != 0)));
    if hash.is_none() && must_change.is_none() && disabled.is_none() && !deleted {
        return Ok(None);
    }
    let metadata = password.and_then(|view| view.metadata);
    let changed = metadata.and_then(|metadata| metadata.changed.checked_sub(EPOCH)).map(Timestamp::from_seconds);
    let version = metadata.map(|metadata| metadata.version);
    Ok(Some(PasswordChange { anchor: anchor.clone(), dn, hash, changed, version, must_change, disabled, deleted }))
}

/// The hash of a value through both layers; none when the value was removed.
fn hash_of(view: &AttributeView<'_, '_>, object: &ObjectView<'_, '_>, key: &SessionKey) -> Result<Option<NtHash>, String> {
    let value = match view.values {
        [] => return Ok(None),
        [value] => value,
        _ => return Err("it has several values".to_owned()),
    };
    // The SID stands in the name; as an attribute it comes only when it changed.
    let rid = object.name.rid().ok_or("the object has no SID")?;
    let wrapped = open_payload(key, value).map_err(|error| error.to_string())?;
    let hash = remove_rid_layer(&wrapped, rid).map_err(|error| error.to_string())?;
    Ok(NtHash::from_octets(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::hash::CredentialData;
    use crate::protocol::drsuapi::recorded;
    use std::sync::Arc;
    use zeroize::Zeroizing;

    fn key(session: &str) -> SessionKey {
        SessionKey::new(Zeroizing::new(recorded::octets(&format!("{session}/session-key"))))
    }

    fn everybody() -> Wanted {
        Arc::new(|_| true)
    }

    fn is_of(hash: Option<&Option<NtHash>>, password: &str) -> bool {
        let hash = hash.unwrap().as_ref().unwrap();
        CredentialData::derive(hash, &[1], 1).unwrap().verify_password(password)
    }

    fn find<'p>(page: &'p PasswordPage, name: &str) -> &'p PasswordChange {
        page.changes.iter().find(|change| change.dn.starts_with(&format!("CN={name}"))).unwrap_or_else(|| panic!("{name}"))
    }

    #[test]
    fn the_recorded_delta_tells_every_kind_of_change() {
        let stub = recorded::octets("ntlm-delta/20-getncchanges-nc-00-resp-stub");
        let Decoded { facts, page } = decode(&stub, &key("ntlm-delta"), &everybody()).unwrap();
        assert_eq!((facts.status, facts.more, facts.to, page.seen), (0, false, [4_111, 0, 4_111], 6));
        // A new sign-in name is nothing of ours.
        assert_eq!((page.changes.len(), page.rejects.len()), (5, 0));
        let disabled: Vec<_> = page.changes.iter().filter(|change| change.disabled == Some(true) && !change.deleted).collect();
        assert_eq!(disabled.len(), 1, "{:?}", page.changes);
        assert!(disabled[0].hash.is_none() && disabled[0].must_change.is_none());
        let changed = find(&page, "user00003");
        assert!(is_of(changed.hash.as_ref(), "Changed-Pw-1!") && !is_of(changed.hash.as_ref(), "Fixture-Pw-00003!"));
        assert_eq!((changed.version, changed.must_change, changed.deleted), (Some(3), Some(false), false));
        assert_eq!(changed.changed, Some(Timestamp::from_seconds(13_439_690_990 - EPOCH)));
        assert_eq!(changed.anchor.as_bytes(), hex::decode("ecd8c68a11d4ec43b87506d70e3dd46c").unwrap());
        assert!(is_of(find(&page, "newbie").hash.as_ref(), "New-Bie-77!x"));
        let temporary = find(&page, "user00011");
        assert!(is_of(temporary.hash.as_ref(), "Temp-Pw-11!"));
        assert_eq!(temporary.must_change, Some(true));
        let gone = find(&page, "user00006");
        assert!(gone.deleted && gone.hash.as_ref().is_some_and(Option::is_none) && gone.must_change.is_none());
    }

    #[test]
    fn the_recorded_domain_gives_every_known_password() {
        let mut users = 0;
        for number in ["00", "01"] {
            let stub = recorded::octets(&format!("ntlm-nc/20-getncchanges-nc-{number}-resp-stub"));
            let Decoded { facts, page } = decode(&stub, &key("ntlm-nc"), &everybody()).unwrap();
            assert_eq!((facts.more, facts.known.is_some()), (number == "00", number == "01"));
            assert_eq!(page.rejects.len(), 0);
            for change in page.changes.iter().filter(|change| change.hash.is_some()) {
                let name = change.dn.trim_start_matches("CN=").split(',').next().unwrap();
                let password = match name {
                    "user00003" => "Changed-Pw-1!".to_owned(),
                    "user00011" => "Temp-Pw-11!".to_owned(),
                    "newbie" => "New-Bie-77!x".to_owned(),
                    "grün.user" => "Grünwald-ß-2026".to_owned(),
                    "svc-sync" => "Svc-Read-7f3a!x".to_owned(),
                    "renamed10" => "Fixture-Pw-00010!".to_owned(),
                    name if name.starts_with("user") && !name.contains("DEL") => format!("Fixture-Pw-{}!", &name[4..]),
                    _ => continue,
                };
                assert!(is_of(change.hash.as_ref(), &password), "{name}");
                users += 1;
            }
        }
        // Thirty less the deleted one, and three more.
        assert_eq!(users, 32);
    }

    #[test]
    fn nobody_but_those_wanted_is_decrypted() {
        let stub = recorded::octets("ntlm-delta/20-getncchanges-nc-00-resp-stub");
        let wanted = hex::decode("ecd8c68a11d4ec43b87506d70e3dd46c").unwrap();
        let one: Wanted = Arc::new(move |anchor| anchor.as_bytes() == wanted);
        // With a wrong key whatever is decrypted is rejected: so the rejects tell what was decrypted.
        let Decoded { page, .. } = decode(&stub, &key("ntlm-one"), &one).unwrap();
        assert_eq!((page.seen, page.changes.len(), page.rejects.len()), (6, 0, 1));
        let (anchor, reason) = &page.rejects[0];
        assert_eq!(hex::encode(anchor.as_bytes()), "ecd8c68a11d4ec43b87506d70e3dd46c");
        assert!(reason.contains("CN=user00003") && reason.contains("checksum"), "{reason}");
        let nobody: Wanted = Arc::new(|_| false);
        let Decoded { page, .. } = decode(&stub, &key("ntlm-one"), &nobody).unwrap();
        assert_eq!((page.seen, page.changes.len(), page.rejects.len()), (6, 0, 0));
    }

    #[test]
    fn a_damaged_value_rejects_its_account_and_no_other() {
        let mut stub = recorded::octets("ntlm-delta/20-getncchanges-nc-00-resp-stub");
        let value = {
            let reply = Reply::read(&stub).unwrap();
            let id = reply.prefixes.id(Attribute::UnicodePwd).unwrap();
            let object = reply.objects().next().unwrap();
            object.attribute(id).unwrap().values[0].to_vec()
        };
        let at = stub.windows(value.len()).position(|window| window == value).unwrap();
        stub[at + 20] ^= 1;
        let Decoded { page, .. } = decode(&stub, &key("ntlm-delta"), &everybody()).unwrap();
        assert_eq!((page.changes.len(), page.rejects.len()), (4, 1));
        assert!(!page.rejects[0].1.contains(&hex::encode(&value)));
    }

    #[test]
    fn refusals_give_their_number_and_nobody() {
        let stub = recorded::octets("errors/access-denied-resp-stub");
        let Decoded { facts, page } = decode(&stub, &key("ntlm-one"), &everybody()).unwrap();
        assert_eq!((facts.status, page.seen, page.changes.len()), (0x2105, 0, 0));
    }
}
