//! The forms of sign-in names and addresses that the cloud takes, and the name that it makes where it takes none
//! (specification: sync engine 6.4).

use super::{Candidate, DOMAIN_MAX, Domains, USER_MAX};
use crate::model::bare_address;

/// How many characters of a nickname become the front part of a generated name.
const GENERATED_MAX: usize = USER_MAX - 5;

/// What is wrong with the form of a sign-in name, or nothing. Characters that the cloud replaces are not a matter of form.
pub fn malformed_name(name: &str) -> Option<&'static str> {
    let Some((user, domain)) = name.rsplit_once('@') else { return Some("it has no @") };
    if user.is_empty() || domain.is_empty() {
        Some("nothing stands before or behind the @")
    } else if user.contains('@') {
        Some("it has more than one @")
    } else if name.chars().any(|character| character.is_whitespace() || character.is_control()) {
        Some("it holds white space or a control character")
    } else if user.chars().count() > USER_MAX || domain.len() > DOMAIN_MAX {
        Some("it is longer than 64 characters before the @ or 255 behind it")
    } else if dotted_wrong(user) || dotted_wrong(domain) || domain.contains("..") {
        Some("a part begins or ends with a full stop")
    } else {
        None
    }
}

fn dotted_wrong(part: &str) -> bool {
    part.starts_with('.') || part.ends_with('.')
}

/// What is wrong with the form of a mail address, or nothing (RFC 5321, section 4.1.2, without quoted local parts).
pub fn malformed_address(address: &str) -> Option<&'static str> {
    let Some((local, domain)) = address.rsplit_once('@') else { return Some("it has no @") };
    let domain_character = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '.');
    if local.is_empty() || domain.is_empty() {
        Some("nothing stands before or behind the @")
    } else if local.chars().count() > USER_MAX || domain.len() > DOMAIN_MAX {
        Some("it is longer than 64 characters before the @ or 255 behind it")
    } else if dotted_wrong(local) || dotted_wrong(domain) || local.contains("..") || domain.contains("..") {
        Some("a full stop stands at the end of a part, or beside another one")
    } else if !local.chars().all(address_character) {
        Some("it holds characters that mail does not take")
    } else if !domain.chars().all(domain_character) || domain.starts_with('-') || domain.ends_with('-') {
        Some("its domain is none")
    } else {
        None
    }
}

/// Characters of RFC 5321's dot-string.
pub(super) fn address_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(character)
}

/// Characters of nicknames.
pub(super) fn nickname_character(character: char) -> bool {
    address_character(character)
}

/// True when every character before the `@` is one that the cloud takes in sign-in names.
pub fn cloud_characters(user: &str) -> bool {
    user.chars().all(cloud_character)
}

pub(super) fn cloud_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "'.-_!#^~+".contains(character)
}

/// What is left of a name when only characters of sign-in names count; `user` when nothing is.
pub(super) fn cleaned(name: &str) -> String {
    let kept: String = name.chars().filter(|character| cloud_character(*character)).take(GENERATED_MAX).collect();
    let kept = kept.trim_matches('.');
    if kept.is_empty() { "user".to_owned() } else { kept.to_owned() }
}

/// The sign-in name that shows in the cloud at the first synchronization: the written one where its domain is verified and
/// its characters are taken, else `nickname@` the initial domain.
pub fn generated_name(candidate: &Candidate, domains: &Domains) -> String {
    let written = candidate.user_principal_name.as_deref().filter(|name| !name.is_empty());
    if let Some(written) = written
        && let Some((user, domain)) = written.rsplit_once('@')
        && domains.has(domain)
        && cloud_characters(user)
    {
        return written.to_owned();
    }
    let nickname = nickname(candidate);
    let account = candidate.account_name.as_deref().filter(|name| !name.is_empty());
    let base = if written.is_none() { account.or(nickname.as_deref()) } else { nickname.as_deref().or(account) };
    format!("{}@{}", cleaned(base.unwrap_or("user")), domains.initial)
}

/// The nickname at the first synchronization: the first present of nickname, primary address, mail, sign-in name, another
/// address, account name.
fn nickname(candidate: &Candidate) -> Option<String> {
    fn prefix(address: &str) -> Option<&str> {
        address.split('@').next().filter(|before| !before.is_empty())
    }
    let present = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
    let addresses = &candidate.proxy_addresses;
    let of = |text: Option<&str>| text.and_then(prefix).map(str::to_owned);
    present(&candidate.nickname)
        .or_else(|| of(addresses.iter().find_map(|address| address.strip_prefix("SMTP:"))))
        .or_else(|| of(present(&candidate.mail).as_deref()))
        .or_else(|| of(present(&candidate.user_principal_name).as_deref()))
        .or_else(|| of(addresses.iter().find(|address| bare_address(address).len() != address.len()).map(|address| bare_address(address))))
        .or_else(|| present(&candidate.account_name))
        .map(|nickname| nickname.chars().filter(|character| !character.is_whitespace() && *character != '@').take(USER_MAX).collect())
        .filter(|nickname: &String| !nickname.is_empty())
}
