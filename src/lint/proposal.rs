//! Values to write in the place of those that the cloud would refuse or alter: as near to them as possible.

use super::names::{address_character, cleaned, malformed_address};
use super::{Domains, cloud_characters, malformed_name};

/// A sign-in name that the cloud takes: only its characters, the domain kept where it is verified.
pub fn mended_name(name: &str, domains: &Domains) -> String {
    let (user, domain) = name.rsplit_once('@').unwrap_or((name, ""));
    let plain: String = user.chars().map(plain).collect();
    let user = cleaned(&plain);
    let domain = if domains.has(domain) { domain } else { domains.preferred.as_str() };
    let mended = format!("{user}@{domain}");
    debug_assert!(malformed_name(&mended).is_none() && cloud_characters(&user));
    mended
}

/// Letters with marks lose them where that is common; everything else stays.
fn plain(character: char) -> char {
    match character {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ł' => 'l',
        'ř' => 'r',
        'ś' | 'š' => 's',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'À'..='Å' | 'Ą' => 'A',
        'Ç' | 'Ć' | 'Č' => 'C',
        'È'..='Ë' | 'Ę' => 'E',
        'Ì'..='Ï' => 'I',
        'Ñ' => 'N',
        'Ò'..='Ö' | 'Ø' => 'O',
        'Ł' => 'L',
        'Ś' | 'Š' => 'S',
        'Ù'..='Ü' => 'U',
        'Ý' => 'Y',
        'Ź' | 'Ż' | 'Ž' => 'Z',
        other => other,
    }
}

/// An address of the right form, with its scheme; `None` where nothing near enough has it.
pub fn mended_address(address: &str) -> Option<String> {
    let (scheme, mail) = match address.trim().split_once(':') {
        Some((scheme, mail)) => (Some(scheme), mail),
        None => (None, address.trim()),
    };
    let (local, domain) = mail.rsplit_once('@')?;
    let local: String = local.chars().map(plain).filter(|character| address_character(*character)).collect();
    let domain: String = domain.chars().filter(|character| !character.is_whitespace() && !character.is_control()).collect();
    let squeezed = |text: &str| text.split('.').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
    let mended = format!("{}@{}", squeezed(&local), squeezed(&domain));
    if malformed_address(&mended).is_some() {
        return None;
    }
    Some(scheme.map_or_else(|| mended.clone(), |scheme| format!("{scheme}:{mended}")))
}

/// A sign-in name for the second of two that have the same: a number behind the front part.
pub fn free_name(name: &str, number: u64, domains: &Domains) -> String {
    let mended = mended_name(name, domains);
    match mended.split_once('@') {
        Some((user, domain)) => format!("{user}{number}@{domain}"),
        None => mended,
    }
}
