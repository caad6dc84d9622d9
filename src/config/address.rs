//! Addresses without what may be a secret of them.

/// True when an address names somebody who signs in: `https://user:password@host`.
pub(crate) fn holds_account(address: &str) -> bool {
    let behind = address.split_once("://").map_or(address, |(_, behind)| behind);
    behind.split(['/', '?', '#', '\\']).next().is_some_and(|authority| authority.contains('@'))
}

/// A text whose addresses keep their host alone: whoever signs in stands before it, and keys stand behind it. What stands between
/// addresses becomes what `between` makes of it.
pub(crate) fn mask_addresses(text: &str, between: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let scheme = rest[..at].rfind(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))).map_or(0, |last| {
            // What stands before a scheme may have more than one octet.
            last + rest[last..].chars().next().map_or(0, char::len_utf8)
        });
        out.push_str(&between(&rest[..scheme]));
        out.push_str(&rest[scheme..at + 3]);
        let behind = &rest[at + 3..];
        let end = behind.find(|c: char| c.is_whitespace() || "\"'<>(){},;".contains(c)).unwrap_or(behind.len());
        let host_end = behind[..end].find(['/', '?', '#', '\\']).unwrap_or(end);
        let authority = &behind[..host_end];
        out.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        if behind[host_end..end].len() > 1 {
            out.push_str("/…");
        } else {
            out.push_str(&behind[host_end..end]);
        }
        rest = &behind[end..];
    }
    out.push_str(&between(rest));
    out
}
