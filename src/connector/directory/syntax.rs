//! What is known of directory attributes without asking a server: kinds after MS-ADA1 to MS-ADA3, and which object
//! class is derived from which. Used for LDIF, and where a server's schema is silent.

use crate::connector::AttributeSchema;
use crate::model::ValueKind;
use std::collections::HashMap;

const NUMBERS: &[&str] = &[
    "accountExpires",
    "adminCount",
    "badPasswordTime",
    "badPwdCount",
    "codePage",
    "countryCode",
    "deliverContLength",
    "delivContLength",
    "domainFunctionality",
    "groupType",
    "instanceType",
    "internetEncoding",
    "lastLogoff",
    "lastLogon",
    "lastLogonTimestamp",
    "lockoutTime",
    "logonCount",
    "maxStorage",
    "mDBOverHardQuotaLimit",
    "mDBOverQuotaLimit",
    "mDBStorageQuota",
    "msDS-HABSeniorityIndex",
    "msDS-SupportedEncryptionTypes",
    "msDS-User-Account-Control-Computed",
    "msDS-UserPasswordExpiryTimeComputed",
    "msExchArchiveStatus",
    "msExchAuditAdmin",
    "msExchAuditDelegate",
    "msExchAuditDelegateAdmin",
    "msExchAuditOwner",
    "msExchCalendarRepairDisabled",
    "msExchELCMailboxFlags",
    "msExchGroupDepartRestriction",
    "msExchGroupJoinRestriction",
    "msExchMailboxAuditLogAgeLimit",
    "msExchMobileMailboxFlags",
    "msExchModerationFlags",
    "msExchPoliciesExcluded-Flags",
    "msExchRecipientDisplayType",
    "msExchRecipientTypeDetails",
    "msExchRemoteRecipientType",
    "msExchResourceCapacity",
    "msExchTransportRecipientSettingsFlags",
    "msExchUMEnabledFlags",
    "msExchVersion",
    "msRTCSIP-ApplicationOptions",
    "msRTCSIP-OptionFlags",
    "msNPAllowDialin-Mask",
    "primaryGroupID",
    "pwdLastSet",
    "sAMAccountType",
    "systemFlags",
    "userAccountControl",
    "uSNChanged",
    "uSNCreated",
    "uidNumber",
    "gidNumber",
    "msDS-DeviceObjectVersion",
    "msDS-ApproximateLastLogonTimeStamp",
];

const BOOLEANS: &[&str] = &[
    "autoReply",
    "deliverAndRedirect",
    "hideDLMembership",
    "isCriticalSystemObject",
    "isDeleted",
    "isRecycled",
    "mDBUseDefaults",
    "msDS-IsCompliant",
    "msDS-IsEnabled",
    "msDS-IsManaged",
    "msExchBypassAudit",
    "msExchEnableModeration",
    "msExchHideFromAddressLists",
    "msExchMailboxAuditEnable",
    "msExchRequireAuthToSendTo",
    "msNPAllowDialin",
    "msOrg-IsOrganizational",
    "msRTCSIP-UserEnabled",
    "oOFReplyToOriginator",
    "reportToOriginator",
    "reportToOwner",
    "showInAdvancedViewOnly",
];

const BINARY: &[&str] = &[
    "attributeSecurityGUID",
    "dBCSPwd",
    "logonHours",
    "mS-DS-ConsistencyGuid",
    "mS-DS-CreatorSID",
    "msDS-AllowedToActOnBehalfOfOtherIdentity",
    "msDS-DeviceID",
    "msDS-GroupMSAMembership",
    "msDS-GenerationId",
    "msExchArchiveGUID",
    "msExchBlockedSendersHash",
    "msExchDisabledArchiveGUID",
    "msExchMailboxGuid",
    "msExchMailboxSecurityDescriptor",
    "msExchMasterAccountSid",
    "msExchSafeRecipientsHash",
    "msExchSafeSendersHash",
    "msRTCSIP-OriginatorSid",
    "nTSecurityDescriptor",
    "objectGUID",
    "objectSid",
    "parentGUID",
    "replPropertyMetaData",
    "schemaIDGUID",
    "supplementalCredentials",
    "terminalServer",
    "thumbnailLogo",
    "thumbnailPhoto",
    "unicodePwd",
    "userPassword",
];

const BINARY_MULTI: &[&str] = &[
    "audio",
    "cACertificate",
    "jpegPhoto",
    "lmPwdHistory",
    "msDS-DeviceCertificates",
    "ntPwdHistory",
    "photo",
    "sIDHistory",
    "tokenGroups",
    "userCert",
    "userCertificate",
    "userPKCS12",
    "userSMIMECertificate",
    "x500uniqueIdentifier",
];

const REFERENCES: &[&str] = &[
    "altRecipient",
    "assistant",
    "homeMDB",
    "homeMTA",
    "lastKnownParent",
    "managedBy",
    "manager",
    "msDS-ResultantPSO",
    "msExchHomeServerLink",
    "msExchMailboxTemplateLink",
    "msExchTeamMailboxSharePointLinkedBy",
    "objectCategory",
];

const REFERENCES_MULTI: &[&str] = &[
    "altRecipientBL",
    "authOrig",
    "authOrigBL",
    "bridgeheadServerListBL",
    "directReports",
    "dLMemRejectPerms",
    "dLMemRejectPermsBL",
    "dLMemSubmitPerms",
    "dLMemSubmitPermsBL",
    "managedObjects",
    "member",
    "memberOf",
    "msDS-MembersForAzRole",
    "msExchBypassModerationBL",
    "msExchBypassModerationFromDLMembersBL",
    "msExchBypassModerationFromDLMembersLink",
    "msExchBypassModerationLink",
    "msExchCoManagedByLink",
    "msExchCoManagedObjectsBL",
    "msExchDelegateListBL",
    "msExchDelegateListLink",
    "msExchModeratedByLink",
    "msExchModeratedObjectsBL",
    "msExchTeamMailboxOwners",
    "owner",
    "ownerBL",
    "publicDelegates",
    "publicDelegatesBL",
    "roleOccupant",
    "secretary",
    "seeAlso",
    "showInAddressBook",
    "unauthOrig",
    "unauthOrigBL",
    "uniqueMember",
];

const TEXT: &[&str] = &[
    "adminDescription",
    "c",
    "cn",
    "co",
    "comment",
    "company",
    "department",
    "description",
    "displayName",
    "displayNamePrintable",
    "distinguishedName",
    "division",
    "employeeID",
    "employeeNumber",
    "employeeType",
    "extensionAttribute1",
    "extensionAttribute10",
    "extensionAttribute11",
    "extensionAttribute12",
    "extensionAttribute13",
    "extensionAttribute14",
    "extensionAttribute15",
    "extensionAttribute2",
    "extensionAttribute3",
    "extensionAttribute4",
    "extensionAttribute5",
    "extensionAttribute6",
    "extensionAttribute7",
    "extensionAttribute8",
    "extensionAttribute9",
    "facsimileTelephoneNumber",
    "generationQualifier",
    "givenName",
    "homeDirectory",
    "homePhone",
    "info",
    "initials",
    "ipPhone",
    "l",
    "legacyExchangeDN",
    "mail",
    "mailNickname",
    "middleName",
    "mobile",
    "msDS-PhoneticDisplayName",
    "msDS-cloudExtensionAttribute1",
    "msExchAssistantName",
    "msExchRetentionComment",
    "msExchRetentionURL",
    "name",
    "o",
    "pager",
    "personalTitle",
    "physicalDeliveryOfficeName",
    "postalCode",
    "preferredLanguage",
    "sAMAccountName",
    "sn",
    "st",
    "street",
    "streetAddress",
    "targetAddress",
    "telephoneAssistant",
    "telephoneNumber",
    "textEncodedORAddress",
    "title",
    "uid",
    "userPrincipalName",
    "wWWHomePage",
    "whenChanged",
    "whenCreated",
    "entryUUID",
];

const TEXT_MULTI: &[&str] = &[
    "altSecurityIdentities",
    "msDS-KeyCredentialLink",
    "msExchArchiveName",
    "msExchExtensionCustomAttribute1",
    "msExchExtensionCustomAttribute2",
    "msExchExtensionCustomAttribute3",
    "msExchExtensionCustomAttribute4",
    "msExchExtensionCustomAttribute5",
    "msExchLabeledURI",
    "msExchResourceMetaData",
    "msExchResourceSearchProperties",
    "msExchSenderHintTranslations",
    "msExchUCVoiceMailSettings",
    "msExchUserHoldPolicies",
    "objectClass",
    "otherFacsimileTelephoneNumber",
    "otherHomePhone",
    "otherIpPhone",
    "otherMailbox",
    "otherMobile",
    "otherPager",
    "otherTelephone",
    "ou",
    "postalAddress",
    "postOfficeBox",
    "proxyAddresses",
    "servicePrincipalName",
    "url",
];

/// Attributes and their kinds, whatever the spelling of the name.
#[derive(Clone, Debug, Default)]
pub struct KindTable {
    kinds: HashMap<Box<str>, (ValueKind, bool)>,
    /// First name by every other name, all folded: `streetaddress` is `street` in OpenLDAP's schema.
    aliases: HashMap<Box<str>, Box<str>>,
}

impl KindTable {
    /// The built-in table of Active Directory's attributes.
    pub fn built_in() -> Self {
        let mut table = Self::default();
        for attribute in known_attributes() {
            table.set(&attribute.name, attribute.kind, attribute.multi_valued);
        }
        table
    }

    /// Tells the kind of an attribute, replacing what was known.
    pub fn set(&mut self, name: &str, kind: ValueKind, multi_valued: bool) {
        self.kinds.insert(name.to_ascii_lowercase().into(), (kind, multi_valued));
    }

    /// Tells that `alias` is another name of `first`.
    pub fn set_alias(&mut self, alias: &str, first: &str) {
        self.aliases.insert(alias.to_ascii_lowercase().into(), first.to_ascii_lowercase().into());
    }

    /// The kind of an attribute; text when nothing is known of it.
    pub fn kind(&self, name: &str) -> ValueKind {
        self.kinds.get(name.to_ascii_lowercase().as_str()).map_or(ValueKind::Text, |(kind, _)| *kind)
    }

    /// The folded first name of an attribute, which may be the name itself.
    pub fn first_name(&self, name: &str) -> String {
        let folded = name.to_ascii_lowercase();
        self.aliases.get(folded.as_str()).map_or(folded, ToString::to_string)
    }

    /// All aliases with their first names, folded.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.aliases.iter().map(|(alias, first)| (alias.as_ref(), first.as_ref()))
    }

    /// How many attributes are known.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// True when nothing is known.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }
}

/// The attributes that Syncline knows without a server.
pub fn known_attributes() -> Vec<AttributeSchema> {
    let lists = [
        (TEXT, ValueKind::Text, false),
        (TEXT_MULTI, ValueKind::Text, true),
        (NUMBERS, ValueKind::Number, false),
        (BOOLEANS, ValueKind::Boolean, false),
        (BINARY, ValueKind::Binary, false),
        (BINARY_MULTI, ValueKind::Binary, true),
        (REFERENCES, ValueKind::Reference, false),
        (REFERENCES_MULTI, ValueKind::Reference, true),
    ];
    let mut attributes: Vec<AttributeSchema> = lists
        .into_iter()
        .flat_map(|(names, kind, multi_valued)| {
            names.iter().map(move |name| AttributeSchema { name: (*name).to_owned(), kind, multi_valued })
        })
        .collect();
    attributes.sort_by_key(|attribute| attribute.name.to_ascii_lowercase());
    attributes
}

/// Depth in the class tree of Active Directory (MS-ADSC) and of RFC 4519 and RFC 2798; auxiliary classes are 0.
const RANKS: &[(&str, u8)] = &[
    ("top", 0),
    ("securityprincipal", 0),
    ("mailrecipient", 0),
    ("posixaccount", 0),
    ("posixgroup", 0),
    ("shadowaccount", 0),
    ("simplesecurityobject", 0),
    ("extensibleobject", 0),
    ("dcobject", 0),
    ("uidobject", 0),
    ("person", 1),
    ("organizationalunit", 1),
    ("container", 1),
    ("domain", 1),
    ("organization", 1),
    ("group", 1),
    ("groupofnames", 1),
    ("groupofuniquenames", 1),
    ("foreignsecurityprincipal", 1),
    ("builtindomain", 1),
    ("device", 1),
    ("organizationalperson", 2),
    ("domaindns", 2),
    ("msds-device", 2),
    ("user", 3),
    ("contact", 3),
    ("inetorgperson", 4),
    ("computer", 4),
    ("msds-managedserviceaccount", 5),
    ("msds-groupmanagedserviceaccount", 5),
];

/// True for the classes of the directories that we know.
pub(super) fn is_known_class(class: &str) -> bool {
    RANKS.iter().any(|(name, _)| name.eq_ignore_ascii_case(class))
}

/// The most derived of an entry's classes: the last one, as Active Directory orders them, unless an auxiliary class
/// stands there or a class known to be derived from it stands elsewhere in the list.
pub fn most_derived<'a>(classes: &[&'a [u8]]) -> Option<&'a str> {
    let mut best: Option<(&'a str, u8)> = None;
    for class in classes.iter().rev() {
        let class = std::str::from_utf8(class).ok()?.trim();
        let rank = RANKS.iter().find(|(name, _)| name.eq_ignore_ascii_case(class)).map(|(_, rank)| *rank);
        match (rank, best) {
            // A class that is not in the table: the order of the directory is all there is.
            (None, None) => return Some(class),
            (Some(rank), None) => best = Some((class, rank)),
            (Some(rank), Some((_, known))) if rank > known => best = Some((class, rank)),
            // Behind an auxiliary class, an unknown one counts as more than `top`.
            (None, Some((_, 0))) => best = Some((class, 1)),
            _ => {}
        }
    }
    best.map(|(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(classes: &[&'static str]) -> Option<&'static str> {
        let octets: Vec<&'static [u8]> = classes.iter().map(|class| class.as_bytes()).collect();
        most_derived(&octets)
    }

    #[test]
    fn the_most_derived_class_is_found_in_any_order() {
        assert_eq!(derived(&["top", "person", "organizationalPerson", "user"]), Some("user"));
        assert_eq!(derived(&["top", "person", "organizationalPerson", "user", "computer"]), Some("computer"));
        assert_eq!(derived(&["user", "top", "person"]), Some("user"));
        assert_eq!(derived(&["inetOrgPerson", "posixAccount", "top"]), Some("inetOrgPerson"));
        assert_eq!(derived(&["top", "acmeEmployee"]), Some("acmeEmployee"));
        assert_eq!(derived(&[]), None);
    }

    #[test]
    fn no_attribute_is_listed_twice() {
        let names: Vec<String> = known_attributes().iter().map(|attribute| attribute.name.to_ascii_lowercase()).collect();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
        let table = KindTable::built_in();
        assert_eq!(table.kind("OBJECTguid"), ValueKind::Binary);
        assert_eq!(table.kind("member"), ValueKind::Reference);
        assert_eq!(table.kind("never heard of"), ValueKind::Text);
    }
}
