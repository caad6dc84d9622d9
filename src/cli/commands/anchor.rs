//! `anchor`: one source anchor in all its forms, that of an object, and another one for an object. What takes an administrator's
//! password asks for it here, at the terminal.

use super::account::administrator;
use crate::cli::App;
use crate::cli::args::{AnchorCommand, AnchorWriting};
use crate::cli::calls::call;
use crate::cli::commands::{facts, only_object};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::clean;
use crate::config::Config;
use crate::service::{Access, AdAccounts, AnchorView, convert_anchor};

pub(in crate::cli) fn run(app: &App, command: &AnchorCommand) -> Result<Exit, CommandError> {
    match command {
        AnchorCommand::Convert { anchor } => convert(app, anchor),
        AnchorCommand::Get { object } => get(app, object),
        AnchorCommand::Set { object, anchor, how } => set(app, object, Some(anchor), how),
        AnchorCommand::Clear { object, how } => set(app, object, None, how),
    }
}

fn convert(app: &App, anchor: &str) -> Result<Exit, CommandError> {
    let forms = convert_anchor(anchor).map_err(|error| {
        CommandError::usage(error.to_string()).hint(
            "write it as it is anywhere: `syncline anchor convert 897485c7-81a7-42eb-97c6-37ed73077b1f`, base64 or hexadecimal digits",
        )
    })?;
    app.output.result(&forms, |forms| {
        facts(
            &app.output,
            &format!("given as {}", forms.given_as),
            &[
                ("source anchor (base64)", forms.base64.clone()),
                ("hex", forms.hex.clone()),
                ("GUID (Active Directory)", forms.guid.clone().unwrap_or_default()),
                ("GUID (network order)", forms.network_order_guid.clone().unwrap_or_default()),
                ("LDAP filter", forms.ldap_filter.clone()),
                ("cloud name", forms.cloud_dn.clone()),
            ],
        );
    });
    Ok(Exit::Ok)
}

/// An anchor as people compare it: in base64, and as a GUID.
fn shown(anchor: Option<&AnchorView>) -> String {
    let text = |anchor: &AnchorView| match &anchor.guid {
        Some(guid) => format!("{} ({guid})", anchor.base64),
        None => format!("{} ({})", anchor.base64, anchor.text),
    };
    anchor.map_or_else(|| "none".to_owned(), text)
}

fn get(app: &App, text: &str) -> Result<Exit, CommandError> {
    let service = app.service(Access::Existing)?;
    let browser = service.browse()?;
    let id = only_object(&browser, browser.find_origin(text)?, text)?;
    let found = service.object_anchor(id)?;
    app.output.result(&found, |found| {
        facts(
            &app.output,
            &format!("{} ({} of {})", found.dn, found.id, found.connector),
            &[
                ("key in its directory", shown(found.anchor.as_ref())),
                ("mS-DS-ConsistencyGuid", shown(found.consistency_guid.as_ref())),
                ("source anchor", found.source_anchor.clone().unwrap_or_else(|| "none: it is not sent to targets".to_owned())),
            ],
        );
    });
    Ok(Exit::Ok)
}

fn set(app: &App, object: &str, anchor: Option<&String>, how: &AnchorWriting) -> Result<Exit, CommandError> {
    let accounts = AdAccounts::new(Config::load(&app.config)?)?;
    let admin = if how.what_if { None } else { Some(administrator(&how.admin)?) };
    let change = accounts.set_anchor(&app.cx, object, anchor.map(String::as_str), admin)?;
    app.output.result(&change, |change| {
        facts(
            &app.output,
            &format!("{} of {}: {}", change.dn, change.connector, change.done),
            &[("before", shown(change.before.as_ref())), ("after", shown(change.after.as_ref()))],
        );
        if let Some((was, is)) = &change.source_anchor {
            let back = call(&["anchor", "set", object, was]);
            app.output.note(clean(format!(
                "Its source anchor is {is} instead of {was}. Where it is in a tenant as {was}, nothing of it is exported any more until it \
                 has that again, or the tenant's object has let go of it. To put it back: {back}"
            )));
        }
    });
    Ok(if change.source_anchor.is_some() { Exit::Warnings } else { Exit::Ok })
}
