//! What servers mean: names of result codes, the hidden reason of a refused bind, value ranges.

/// Name of a result code (RFC 4511 section 4.1.9), for messages.
pub fn code_name(code: u32) -> &'static str {
    match code {
        0 => "success",
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        12 => "unavailableCriticalExtension",
        13 => "confidentialityRequired",
        16 => "noSuchAttribute",
        18 => "inappropriateMatching",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        80 => "other",
        _ => "unknown result",
    }
}

/// Why Active Directory refused a bind: the hexadecimal number behind `data` in the diagnostic message
/// (`…, data 52e, v4563`) is a Windows error code (MS-ERREF 2.2).
pub fn bind_detail(diagnostic: &str) -> Option<&'static str> {
    let behind = diagnostic.split("data ").nth(1)?;
    let code: String = behind.chars().take_while(char::is_ascii_hexdigit).collect();
    Some(match code.to_ascii_lowercase().as_str() {
        "525" => "there is no such account",
        "52e" => "the password or the name is wrong",
        "52f" => "the account is restricted",
        "530" => "the account may not log on at this time",
        "531" => "the account may not log on from this machine",
        "532" => "the password has expired",
        "533" => "the account is disabled",
        "568" => "the account is in too many groups",
        "701" => "the account has expired",
        "773" => "the password must be changed first",
        "775" => "the account is locked out",
        _ => return None,
    })
}

/// Takes `member;range=0-1499` apart: name, first, and last value of the part, `None` for the end (MS-ADTS 3.1.1.3.1.3.3).
pub fn range_of(description: &str) -> Option<(&str, u64, Option<u64>)> {
    let (name, options) = description.split_once(';')?;
    let range = options.split(';').find_map(|option| {
        let (start, rest) = option.split_at_checked(6)?;
        start.eq_ignore_ascii_case("range=").then_some(rest)
    })?;
    let (first, last) = range.split_once('-')?;
    let first = first.parse().ok()?;
    if last == "*" {
        return Some((name, first, None));
    }
    let last = last.parse().ok()?;
    (last >= first).then_some((name, first, Some(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_refused_bind_is_found() {
        let text = "80090308: LdapErr: DSID-0C09050F, comment: AcceptSecurityContext error, data 52e, v4563";
        assert_eq!(bind_detail(text), Some("the password or the name is wrong"));
        assert_eq!(bind_detail("data 775"), Some("the account is locked out"));
        assert_eq!(bind_detail("no reason"), None);
    }

    #[test]
    fn ranges_are_taken_apart() {
        assert_eq!(range_of("member;range=0-1499"), Some(("member", 0, Some(1_499))));
        assert_eq!(range_of("member;Range=1500-*"), Some(("member", 1_500, None)));
        for other in ["member", "member;binary", "member;range=5-4", "member;range=x-*", "member;range=1"] {
            assert_eq!(range_of(other), None, "{other}");
        }
    }
}
