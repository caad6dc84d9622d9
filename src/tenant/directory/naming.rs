//! How the cloud makes sign-in names and nicknames (specification: sync engine 6.4).

use super::policy::Policy;
use super::record::ObjectRecord;
use crate::model::smtp_address;

/// The longest part of a sign-in name before its `@`, in characters.
const MAX_USER: usize = 64;
/// The longest part behind it, in octets.
const MAX_DOMAIN: usize = 255;

/// The part of an address before `@`, cut to what a nickname may hold.
fn prefix(address: &str) -> Option<&str> {
    let before = address.split('@').next().unwrap_or(address);
    (!before.is_empty()).then_some(before)
}

/// The nickname that the directory itself gives: `mailNickname`, which the connector schema calls `alias`.
pub(super) fn written_nickname(record: &ObjectRecord) -> Option<&str> {
    record.wanted_text("mailNickname").or_else(|| record.wanted_text("alias"))
}

/// The nickname at the first synchronization: the first present of mailNickname, primary SMTP, mail, sign-in name,
/// a secondary address; for an object with none of these its account name.
pub(super) fn first_nickname(record: &ObjectRecord) -> Option<String> {
    let addresses = record.wanted_texts("proxyAddresses");
    written_nickname(record)
        .or_else(|| addresses.iter().find_map(|address| address.strip_prefix("SMTP:")).and_then(prefix))
        .or_else(|| record.wanted_text("mail").and_then(prefix))
        .or_else(|| record.wanted_text("userPrincipalName").and_then(prefix))
        .or_else(|| addresses.iter().find_map(|address| smtp_address(address)).and_then(prefix))
        .or_else(|| record.wanted_text("onPremisesSamAccountName"))
        .map(|nickname| nickname.chars().filter(|character| !character.is_whitespace() && *character != '@').take(MAX_USER).collect())
        .filter(|nickname: &String| !nickname.is_empty())
}

/// What is wrong with the form of a sign-in name, or nothing.
///
/// A name of the right form whose characters the cloud does not take is no error: it is replaced.
pub(super) fn malformed(name: &str) -> Option<&'static str> {
    let Some((user, domain)) = name.rsplit_once('@') else { return Some("it has no @") };
    if user.is_empty() || domain.is_empty() {
        Some("nothing stands before or behind the @")
    } else if user.contains('@') {
        Some("it has more than one @")
    } else if name.chars().any(|character| character.is_whitespace() || character.is_control()) {
        Some("it holds white space or a control character")
    } else if user.chars().count() > MAX_USER || domain.len() > MAX_DOMAIN {
        Some("it is longer than 64 characters before the @ or 255 behind it")
    } else if user.starts_with('.') || user.ends_with('.') || domain.starts_with('.') || domain.ends_with('.') || domain.contains("..") {
        Some("a part begins or ends with a full stop")
    } else {
        None
    }
}

/// True when every character before the `@` is one that the cloud takes in sign-in names.
pub(super) fn cloud_characters(user: &str) -> bool {
    user.chars().all(|character| character.is_ascii_alphanumeric() || "'.-_!#^~+".contains(character))
}

/// The sign-in name the cloud gives: the written one when its domain is verified and its characters are valid,
/// otherwise `<nickname>@<initial domain>`.
pub(super) fn cloud_name(record: &ObjectRecord, nickname: Option<&str>, policy: &Policy) -> String {
    if let Some(written) = record.wanted_text("userPrincipalName")
        && let Some((user, domain)) = written.rsplit_once('@')
        && policy.domain(domain).is_some()
        && cloud_characters(user)
    {
        return written.to_owned();
    }
    let account = record.wanted_text("onPremisesSamAccountName");
    let base = if record.wanted_text("userPrincipalName").is_none() { account.or(nickname) } else { nickname.or(account) };
    format!("{}@{}", cleaned(base.unwrap_or("user")), policy.initial_domain)
}

/// What is left of a name when only characters of sign-in names count; `user` when nothing is.
pub(super) fn cleaned(name: &str) -> String {
    let kept: String = name.chars().filter(|character| cloud_characters(character.encode_utf8(&mut [0; 4]))).take(MAX_USER - 5).collect();
    let kept = kept.trim_matches('.');
    if kept.is_empty() { "user".to_owned() } else { kept.to_owned() }
}

/// Placeholders for a sign-in name that is taken: `<prefix><4 digits>@<initial domain>`, or with `+` before the
/// digits. Deterministic for an object, with further candidates when one is taken, too.
pub(super) fn placeholders<'a>(name: &'a str, seed: &'a [u8], policy: &'a Policy) -> impl Iterator<Item = String> + 'a {
    let user = cleaned(name.split('@').next().unwrap_or(name));
    let plus = if policy.placeholder_with_plus { "+" } else { "" };
    (0..9000u64).map(move |attempt| {
        let digits = 1000 + (xxhash_rust::xxh3::xxh3_64(seed) % 9000 + attempt) % 9000;
        format!("{user}{plus}{digits}@{}", policy.initial_domain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_from_characters() {
        for bad in
            ["", "user", "@b.example", "a@", "a@@b", "a b@c.example", "a\u{7}@c.example", ".a@b.example", "a.@b.example", "a@b..example"]
        {
            assert!(malformed(bad).is_some(), "{bad}");
        }
        assert!(malformed(&format!("{}@b.example", "a".repeat(65))).is_some());
        for good in ["a@b.example", "müller@b.example", "o'neil@b.example"] {
            assert_eq!(malformed(good), None, "{good}");
        }
        assert!(cloud_characters("o'neil-x_1") && !cloud_characters("müller") && !cloud_characters("a,b"));
        assert_eq!(cleaned("日本"), "user");
    }
}
