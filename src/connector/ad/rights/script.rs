//! Writes a plan down for an administrator who grants rights with the tools of the directory.

use super::{Feature, Grant, GrantPlan, Meant};
use crate::protocol::security::right;
use std::fmt::Write as _;

/// Whose tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptKind {
    /// `dsacls` on Windows.
    Windows,
    /// `samba-tool` on a domain controller of Samba.
    Samba,
}

/// The commands that grant what a plan has.
pub fn script(plan: &GrantPlan, kind: ScriptKind) -> String {
    let (mark, shell) = match kind {
        ScriptKind::Windows => ("rem", "@echo off\r\n"),
        ScriptKind::Samba => ("#", "#!/bin/sh\nset -e\n"),
    };
    let end = if kind == ScriptKind::Windows { "\r\n" } else { "\n" };
    let mut text = shell.to_owned();
    let who = account(plan);
    let _ = write!(text, "{mark} Rights of {who} ({}) for synchronization. Run it as an administrator of the domain.{end}", plan.sid);
    let mut last: Option<Feature> = None;
    for grant in &plan.grants {
        if last != Some(grant.feature) {
            let _ = write!(text, "{end}{mark} {}{end}", grant.feature.as_str());
            last = Some(grant.feature);
        }
        match kind {
            ScriptKind::Windows => windows(&mut text, grant, &who),
            ScriptKind::Samba if grant.deleted => samba_deleted(&mut text, grant),
            ScriptKind::Samba => {
                let _ = writeln!(
                    text,
                    "samba-tool dsacl set --action=allow --objectdn={} --sddl={}",
                    quoted(&grant.dn),
                    quoted(&grant.ace.to_string())
                );
            }
        }
    }
    text
}

/// `CORP\svc-sync`, as administrators know it.
fn account(plan: &GrantPlan) -> String {
    match &plan.survey.short_name {
        Some(domain) => format!("{domain}\\{}", plan.account),
        None => plan.account.clone(),
    }
}

/// In single quotation marks, for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// For the command processor of Windows: a percent sign begins a variable there, and a quotation mark ends the word.
fn word(text: &str) -> String {
    format!("\"{}\"", text.replace('%', "%%").replace('"', "\\\""))
}

fn windows(text: &mut String, grant: &Grant, who: &str) {
    let rights = [
        (right::CREATE_CHILD, "CC"),
        (right::DELETE_CHILD, "DC"),
        (right::LIST_CONTENTS, "LC"),
        (right::READ_PROPERTY, "RP"),
        (right::WRITE_PROPERTY, "WP"),
        (right::CONTROL_ACCESS, "CA"),
    ];
    let rights: String = rights.iter().filter(|(bit, _)| grant.ace.rights & bit != 0).map(|(_, name)| *name).collect();
    let meant = match grant.need.meant {
        Meant::Everything => "",
        Meant::Extended(_, name) | Meant::Attribute(name) | Meant::Class(name) => name,
    };
    let (reach, class) = match grant.need.class {
        Some(class) => ("/I:S ", class),
        None if grant.ace.flags != 0 => ("/I:T ", ""),
        None => ("", ""),
    };
    let given = format!("{who}:{rights};{meant};{class}");
    let given = given.trim_end_matches(';');
    let dn = word(&grant.dn);
    if grant.deleted {
        // Its owner is the system; only an owner may let others in.
        let _ = write!(text, "dsacls {dn} /takeownership\r\n");
        let _ = write!(text, "dsacls {dn} /G {}\r\n", word(given));
    } else {
        let _ = write!(text, "dsacls {dn} {reach}/G {}\r\n", word(given));
    }
}

/// `samba-tool dsacl` does not see what was deleted; the library behind it does.
fn samba_deleted(text: &mut String, grant: &Grant) {
    let _ = write!(
        text,
        "python3 - {} {} <<'END'\n\
         import sys\n\
         from samba.auth import system_session\n\
         from samba.dcerpc import security\n\
         from samba.param import LoadParm\n\
         from samba.samdb import SamDB\n\
         from samba.sd_utils import SDUtils\n\
         container, entry = sys.argv[1:]\n\
         settings = LoadParm()\n\
         settings.load_default()\n\
         database = SamDB(session_info=system_session(settings), lp=settings)\n\
         rights, show = SDUtils(database), [\"show_deleted:1\"]\n\
         descriptor = rights.read_sd_on_dn(container, show)\n\
         wanted = security.descriptor.from_sddl(\"D:\" + entry, security.dom_sid(database.get_domain_sid()))\n\
         descriptor.dacl_add(wanted.dacl.aces[0])\n\
         rights.modify_sd_on_dn(container, descriptor, show)\n\
         END\n",
        quoted(&grant.dn),
        quoted(&grant.ace.to_string())
    );
}
