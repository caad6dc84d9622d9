//! What a configuration may say to a stranger: its tables without comments, addresses without what stands behind the host, and
//! nothing that looks like a key. Without names, accounts and receivers of mail are left out, too.

use crate::config::{known_words, mask_addresses};
use crate::rules::is_key as is_rule_key;
use toml::Value;

/// What stands for a text that is left out.
const LEFT_OUT: &str = "(left out)";
/// Keys whose texts name a person or an account.
const PERSONAL: [&str; 5] = ["bind_name", "account", "user", "from", "to"];
/// The setting whose address is a secret behind its host: whoever has it can write to people.
pub(super) const SECRET_ADDRESS: &str = "alerts.webhook.url";
/// Words within a key that announce a secret. References to secrets are tables, and name them under `credential`.
const SECRET: [&str; 5] = ["password", "passwd", "secret", "token", "private_key"];
/// A word of letters of both sizes and digits that is as long as this is a key or may be one,
const MIXED_MIN: usize = 28;
/// and so is one of hexadecimal digits.
const HEXADECIMAL_MIN: usize = 32;
/// The cloud's names of attributes that applications added begin so, and have the application's number in them.
const EXTENSION: &str = "extension_";

/// A file of rules as it may be given away. What rules call `from` and `to` are attributes.
pub(super) fn rules(text: &str) -> String {
    masked(text, true, is_rule_key)
}

/// A configuration file as it may be given away. Comments go: nobody can tell what is in them.
pub(super) fn configuration(text: &str, with_names: bool) -> String {
    masked(text, with_names, |key| known_words().contains(key))
}

fn masked(text: &str, with_names: bool, is_known: fn(&str) -> bool) -> String {
    let Ok(mut table) = text.parse::<toml::Table>() else { return "(left out: it is no TOML)".to_owned() };
    for (key, value) in &mut table {
        mask(key, value, with_names, is_known);
    }
    toml::to_string_pretty(&table).unwrap_or_else(|_| "(left out: it cannot be written)".to_owned())
}

fn mask(key: &str, value: &mut Value, with_names: bool, is_known: fn(&str) -> bool) {
    // A key that nobody knows may be the misspelt one of a secret.
    if !is_known(key) {
        *value = Value::String(LEFT_OUT.to_owned());
    }
    match value {
        Value::String(text) => {
            let personal = !with_names && PERSONAL.contains(&key);
            let secret = key != "credential" && SECRET.iter().any(|word| key.contains(word));
            *text = if personal || secret { LEFT_OUT.to_owned() } else { self::text(text) };
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(key, item, with_names, is_known)),
        Value::Table(table) => {
            for (key, value) in table {
                mask(key, value, with_names, is_known);
            }
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// A text without what is secret of addresses, and without keys.
pub(super) fn text(text: &str) -> String {
    mask_addresses(text, without_keys)
}

/// The words of a command as they may be kept: addresses without what is secret of them, and nothing of what a setting was given whose
/// name announces a secret, or that there is not. It takes the name of a credential, and somebody types the secret itself one day.
pub(super) fn typed(words: &[String]) -> Vec<String> {
    let strange = strange_values(words);
    let mut setting = "";
    let mut kept = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        // `--set password=…` is two words, or one with another sign of equality.
        let assigned = word.split_once('=').filter(|(option, _)| option.starts_with("--")).map_or(word.as_str(), |(_, value)| value);
        let is_setting = setting == "--set" || word.starts_with("--set=");
        let own = assigned.split_once('=').filter(|(name, _)| is_secret(name) || (is_setting && is_strange(name)));
        kept.push(match own {
            Some((name, _)) => format!("{}{name}={LEFT_OUT}", &word[..word.len() - assigned.len()]),
            None if strange.contains(&index) => LEFT_OUT.to_owned(),
            None if !word.starts_with("--") && (is_secret(setting) || (is_address(setting) && !word.contains("://"))) => {
                LEFT_OUT.to_owned()
            }
            None => mask_addresses(word, str::to_owned),
        });
        setting = word;
    }
    kept
}

/// Where values stand of `config set KEY VALUE` and `connector set NAME KEY VALUE` whose key there is not.
fn strange_values(words: &[String]) -> Vec<usize> {
    let Some(at) = words.windows(2).position(|pair| matches!(pair[0].as_str(), "config" | "connector") && pair[1] == "set") else {
        return Vec::new();
    };
    let mut places = (at + 2..words.len()).filter(|index| !words[*index].starts_with("--")).skip(usize::from(words[at] == "connector"));
    let known = places.next().is_none_or(|key| !is_strange(&words[key]));
    if known { Vec::new() } else { places.collect() }
}

/// A word like the name of a setting that is none.
fn is_strange(setting: &str) -> bool {
    let like_one = !setting.is_empty() && setting.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._-".contains(&octet));
    like_one && !setting.split('.').all(|word| known_words().contains(word))
}

/// A setting that is named after a secret. `secret` alone is a command, and options name files.
fn is_secret(setting: &str) -> bool {
    let name = setting.rsplit('.').next().unwrap_or_default();
    let setting = setting.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"._".contains(&octet)) && setting != "secret";
    setting && SECRET.iter().any(|word| name.contains(word))
}

/// The setting whose address is a secret behind its host.
fn is_address(setting: &str) -> bool {
    setting == SECRET_ADDRESS
}

fn without_keys(text: &str) -> String {
    let of_key = |c: char| c.is_ascii_alphanumeric() || "-_+/=~".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !of_key(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        out.push_str(if is_key(word) { LEFT_OUT } else { word });
        let next = behind.find(of_key).unwrap_or(behind.len());
        out.push_str(&behind[..next]);
        rest = &behind[next..];
    }
    out
}

/// A word that is a key, or may be one. A path is told by its pieces, and a number of an object (RFC 9562) is none.
fn is_key(word: &str) -> bool {
    let has = |word: &str, kind: fn(&u8) -> bool| word.bytes().any(|octet| kind(&octet));
    let mixed = |word: &str| {
        word.len() >= MIXED_MIN && has(word, u8::is_ascii_uppercase) && has(word, u8::is_ascii_lowercase) && has(word, u8::is_ascii_digit)
    };
    let hexadecimal = |word: &str| word.len() >= HEXADECIMAL_MIN && word.bytes().all(|octet| octet.is_ascii_hexdigit());
    if word.starts_with(EXTENSION) || (word.contains('-') && uuid::Uuid::try_parse(word).is_ok()) {
        return false;
    }
    // An equals sign fills up a key at its end; elsewhere it stands between a name and its value.
    let whole = !word.starts_with('/') && !word.trim_end_matches('=').contains('=') && mixed(word);
    whole || word.split(['/', '=']).any(|piece| mixed(piece) || hexadecimal(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: &str = "https://hooks.slack.example/services/T0AB12CD3/B0EF45GH6/a1B2c3D4e5F6g7H8i9J0k1L2";

    #[test]
    fn addresses_keep_their_host_alone() {
        for (given, shown) in [
            (SLACK, "https://hooks.slack.example/…"),
            ("https://u:p@hooks.example:8443/x?sig=1", "https://hooks.example:8443/…"),
            ("ldaps://dc1.corp.example", "ldaps://dc1.corp.example"),
            ("ldaps://[fd00::1]:636/", "ldaps://[fd00::1]:636/"),
            ("see https://a.example/b?c, or (http://d.example#e) – ü://x", "see https://a.example/…, or (http://d.example/…) – ü://x"),
            ("://", "://"),
        ] {
            assert_eq!(text(given), shown);
        }
    }

    #[test]
    fn what_somebody_typed_is_kept_without_its_secrets() {
        for (line, kept) in [
            (format!("config set alerts.webhook.url {SLACK}"), "config set alerts.webhook.url https://hooks.slack.example/…"),
            ("config set alerts.webhook.url hooks.example/T0AB".to_owned(), "config set alerts.webhook.url (left out)"),
            ("config set alerts.mail.password hunter2".to_owned(), "config set alerts.mail.password (left out)"),
            ("connector set corp client_secret hunter2".to_owned(), "connector set corp client_secret (left out)"),
            (
                "connector add ad corp password=hunter2 url=ldaps://u:p@dc1".to_owned(),
                "connector add ad corp password=(left out) url=ldaps://dc1",
            ),
            ("connector add ad corp --set=password=hunter2".to_owned(), "connector add ad corp --set=password=(left out)"),
            ("config set alerts.mail.kennwort HidePlain14".to_owned(), "config set alerts.mail.kennwort (left out)"),
            (
                "--config /etc/x connector set --what-if corp bindpw HidePlain14".to_owned(),
                "--config /etc/x connector set --what-if corp bindpw (left out)",
            ),
            ("connector include corp OU=Sales,DC=corp".to_owned(), "connector include corp OU=Sales,DC=corp"),
            ("connector set corp base DC=corp,DC=example".to_owned(), "connector set corp base DC=corp,DC=example"),
            ("connector add ad corp --set psw=HidePlain14 base=DC=x".to_owned(), "connector add ad corp --set psw=(left out) base=DC=x"),
            ("secret set ad-password --secret-file /run/typed".to_owned(), "secret set ad-password --secret-file /run/typed"),
            ("export corp --plan=0123456789abcdef0123456789abcdef".to_owned(), "export corp --plan=0123456789abcdef0123456789abcdef"),
        ] {
            let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let once = typed(&words(&line));
            assert_eq!(once.join(" "), kept);
            assert_eq!(typed(&once), once);
        }
    }

    #[test]
    fn keys_are_left_out_and_names_of_things_stay() {
        for key in [
            "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5",
            "0123456789abcdef0123456789abcdef",
            "ab/Cd1ef+Gh2ijKl3mnOp4qr/St5uvWx6yz==",
            "x8Q~4aBcDeFgHiJkLmNoPqRsTuVwXyZ012",
        ] {
            assert_eq!(text(&format!("use {key}!")), format!("use {LEFT_OUT}!"));
        }
        for name in [
            "extensionAttribute15",
            "msDS-ExternalDirectoryObjectId",
            "OU=Sales,DC=corp,DC=example",
            "/etc/syncline/certificates/corp-2024.pem",
            "OU=Standort12Hamburg-Altona",
            "[extension_9d98ed114c4840d298fad781915f27e4_employeeNumber]",
            "6bf85cfa-ac8a-4be5-b5de-425a0d0dc016",
            "IIF(IsPresent([mail]), [mail], IgnoreThisFlow)",
        ] {
            assert_eq!(text(name), name);
        }
    }

    #[test]
    fn a_configuration_tells_no_secrets_and_names_on_wish() {
        let written = format!(
            "version = 1 # the key is hunter2\n# old: {SLACK}\n[alerts.webhook]\nurl = \"{SLACK}\"\nsecret = {{ credential = \"hook\" }}\n\
             [alerts.mail]\nserver = \"mail.corp.example\"\nto = [\"ann@corp.example\"]\nuser = \"ann\"\nsmtp_password = \"hunter3\"\n"
        );
        let bare = configuration(&written, false);
        for kept in ["https://hooks.slack.example/…", "credential = \"hook\"", "mail.corp.example", "version = 1"] {
            assert!(bare.contains(kept), "{kept}: {bare}");
        }
        for gone in ["T0AB12CD3", "a1B2c3", "hunter", "ann"] {
            assert!(!bare.contains(gone), "{gone}: {bare}");
        }
        let named = configuration(&written, true);
        assert!(named.contains("ann@corp.example") && !named.contains("hunter") && !named.contains("T0AB12CD3"), "{named}");
        let rule = rules("[[rule]]\nflows = [{ to = \"title\", from = \"x\" }] # hunter2\n");
        assert!(rule.contains("title") && !rule.contains("hunter2"), "{rule}");
        assert!(!configuration("key = \"hunter2", false).contains("hunter2"));
        for key in ["pasword", "bindpw", "bind_pw", "psw", "kennwort", "client_secrte"] {
            let connector = configuration(
                &format!("kind = \"ad\"\n{key} = \"HidePlain14\"\n[x]\n{key} = 4711\n[password_hash_sync]\n{key} = [\"HidePlain14\"]"),
                true,
            );
            assert!(connector.contains("kind = \"ad\"") && connector.contains(key), "{connector}");
            assert!(!connector.contains("HidePlain14") && !connector.contains("4711"), "{connector}");
            assert!(!rules(&format!("{key} = \"HidePlain14\"\n[[rule]]\nname = \"x\"\n{key} = \"HidePlain14\"")).contains("HidePlain14"));
        }
    }
}
