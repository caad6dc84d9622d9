//! Which built-in rules are there: the conditions that stand under `when`, by name.

use super::input::{CloudService, ConnectorProfile, RuleProfile, RuleSettings};

/// Every condition, for messages.
pub(super) fn names() -> impl Iterator<Item = String> {
    let fixed =
        ["exchange-schema", "lync-schema", "device-schema", "exchange-hybrid", "pilot-groups", "profile-full", "profile-password-only"];
    fixed.into_iter().map(str::to_owned).chain(CloudService::ALL.iter().map(|service| format!("{SERVICE}{}", service.as_str())))
}

const SERVICE: &str = "service-";

/// Whether a condition holds for a connector: `None` when there is no such condition, else why it does not hold.
#[expect(clippy::option_option, reason = "unknown, holds, does not hold and why")]
pub(super) fn hindrance(name: &str, connector: &ConnectorProfile, settings: &RuleSettings) -> Option<Option<String>> {
    let unless = |holds: bool, reason: &str| if holds { None } else { Some(reason.to_owned()) };
    Some(match name {
        "exchange-schema" => unless(connector.schema.exchange, "the directory has no Exchange schema"),
        "lync-schema" => unless(connector.schema.lync, "the directory has no Lync or Skype for Business schema"),
        "device-schema" => unless(connector.schema.devices, "the directory's schema has no registered devices"),
        "exchange-hybrid" => unless(settings.exchange_hybrid, "[rules] exchange_hybrid is off"),
        "pilot-groups" => unless(!connector.pilot_groups.is_empty(), "the connector has no [selection] groups"),
        "profile-full" => unless(settings.profile == RuleProfile::Full, "[rules] profile is \"password-only\""),
        "profile-password-only" => unless(settings.profile == RuleProfile::PasswordOnly, "[rules] profile is \"full\""),
        _ => {
            let service = name.strip_prefix(SERVICE).and_then(CloudService::from_name)?;
            unless(settings.wants(service), &format!("[rules] services leaves {} out", service.as_str()))
        }
    })
}
