//! Several forests under the built-in rules, told by what must come of them (default rules, section 11, cases 3, 4, 16).

use crate::directory::Directories;
use crate::world::{Joined, Outcome, run};
use std::collections::{BTreeMap, BTreeSet};
use syncline::rules::{AnchorAttribute, RuleSet, RuleSettings};

/// A mailbox in the forest of mailboxes, whose person has the account in the other one.
const MAILBOX: &str = "dn: CN=Ann,OU=Mailboxes,DC=contoso,DC=com
objectClass: user
cn: Ann
objectGUID:: AQEBAQEBAQEBAQEBAQEBAQ==
objectSid:: AQUAAAAAAAUVAAAAAQAAAAcAAAAJAAAA6QMAAA==
sAMAccountName: ann
userPrincipalName: ann@contoso.com
userAccountControl: 514
mailNickname: ann
msExchRecipientTypeDetails: 2
msExchMasterAccountSid:: AQUAAAAAAAUVAAAAAgAAAAcAAAAJAAAA6QMAAA==
proxyAddresses: SMTP:ann@contoso.com
displayName: Ann of the mailboxes

";
const ACCOUNT: &str = "dn: CN=ann.other,OU=Accounts,DC=fabrikam,DC=com
objectClass: user
cn: ann.other
objectGUID:: AgICAgICAgICAgICAgICAg==
objectSid:: AQUAAAAAAAUVAAAAAgAAAAcAAAAJAAAA6QMAAA==
sAMAccountName: ann.other
userPrincipalName: ann.other@fabrikam.com
userAccountControl: 512
pwdLastSet: 130543784930000000
displayName: Ann of the accounts

";
/// A group of the forest of mailboxes with the account of the other forest in it.
const GROUP: &str = "dn: CN=S-1-5-21-2-7-9-1001,CN=ForeignSecurityPrincipals,DC=contoso,DC=com
objectClass: foreignSecurityPrincipal
cn: S-1-5-21-2-7-9-1001
objectGUID:: BAQEBAQEBAQEBAQEBAQEBA==
objectSid:: AQUAAAAAAAUVAAAAAgAAAAcAAAAJAAAA6QMAAA==

dn: CN=Team,OU=Groups,DC=contoso,DC=com
objectClass: group
cn: Team
objectGUID:: AwMDAwMDAwMDAwMDAwMDAw==
objectSid:: AQUAAAAAAAUVAAAAAQAAAAcAAAAJAAAA6gMAAA==
sAMAccountName: team
groupType: -2147483640
member: CN=S-1-5-21-2-7-9-1001,CN=ForeignSecurityPrincipals,DC=contoso,DC=com

";
const CLOUD: &str = "contoso.onmicrosoft.com - AAD";

fn outcome(contoso: &[&str], fabrikam: &[&str]) -> Outcome {
    let directories = Directories { contoso: contoso.concat(), fabrikam: fabrikam.concat(), cloud: String::new() };
    let settings = RuleSettings { anchor_attribute: AnchorAttribute::ObjectGuid, ..RuleSettings::default() };
    run(&directories, &RuleSet::default_files(), &settings, tempfile::tempdir().unwrap().path())
}

fn with_link<'o>(outcome: &'o Outcome, part: &str) -> &'o Joined {
    let found: Vec<&Joined> = outcome.people.values().filter(|joined| joined.links.iter().any(|link| link.contains(part))).collect();
    let [one] = found.as_slice() else { panic!("{} have {part}", found.len()) };
    one
}

fn only(joined: &Joined, attribute: &str) -> String {
    joined.values.get(attribute).map(|values| values.iter().cloned().collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

#[test]
fn a_linked_mailbox_without_its_account_stays_at_home() {
    let outcome = outcome(&[MAILBOX], &[]);
    let ann = with_link(&outcome, "CN=Ann,");
    assert_eq!(only(ann, "sourceanchor") + &only(ann, "sourceobjecttype"), "");
    assert!(ann.links.iter().all(|link| !link.starts_with(CLOUD)), "{:?}", ann.links);
}

fn sent<'j>(joined: &'j Joined, object_type: &str) -> &'j BTreeMap<String, BTreeSet<String>> {
    &joined.exports[&(CLOUD.to_owned(), object_type.to_owned())]
}

#[test]
fn a_person_has_the_account_of_one_forest_and_the_mailbox_of_the_other() {
    let outcome = outcome(&[MAILBOX], &[ACCOUNT]);
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    let ann = with_link(&outcome, "CN=Ann,");
    assert!(ann.links.iter().any(|link| link.starts_with("fabrikam.com: CN=ann.other,")), "{:?}", ann.links);
    // The account signs in, the mailbox is what the address book shows.
    for (attribute, value) in [
        ("userprincipalname", "\"ann.other@fabrikam.com\""),
        ("accountenabled", "true"),
        ("sourceanchor", "\"AgICAgICAgICAgICAgICAg==\""),
        ("domainfqdn", "\"fabrikam.com\""),
        ("displayname", "\"Ann of the mailboxes\""),
        ("proxyaddresses", "\"SMTP:ann@contoso.com\""),
        // Of the forest whose address book she is in.
        ("accountname", "\"ann\""),
    ] {
        assert_eq!(only(ann, attribute), value, "{attribute}");
    }
    assert_eq!(sent(ann, "user")["userprincipalname"].iter().collect::<Vec<_>>(), ["\"ann.other@fabrikam.com\""]);
}

#[test]
fn a_group_has_the_person_whom_a_foreign_principal_stands_for() {
    let outcome = outcome(&[GROUP], &[ACCOUNT]);
    assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
    let (team, ann) = (with_link(&outcome, "CN=Team,"), with_link(&outcome, "CN=ann.other,"));
    assert!(ann.links.iter().any(|link| link.contains("CN=ForeignSecurityPrincipals")), "{:?}", ann.links);
    let member = ann.links.iter().find(|link| link.starts_with(CLOUD)).unwrap();
    assert_eq!(sent(team, "group")["member"].iter().collect::<Vec<_>>(), [member]);
}

/// A person has one object in a forest: where the mailbox is there already, the stand-in says so instead of joining.
#[test]
fn a_foreign_principal_beside_a_mailbox_of_the_same_person_is_named() {
    let outcome = outcome(&[MAILBOX, GROUP], &[ACCOUNT]);
    let codes: Vec<&str> = outcome.errors.values().map(String::as_str).collect();
    assert_eq!(codes, ["ambiguous-join"], "{:?}", outcome.errors);
}
