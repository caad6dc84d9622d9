//! `anchor convert`: one source anchor in all its forms.

use crate::cli::App;
use crate::cli::args::AnchorCommand;
use crate::cli::commands::facts;
use crate::cli::error::{CommandError, Exit};
use crate::service::convert_anchor;

pub(in crate::cli) fn run(app: &App, command: &AnchorCommand) -> Result<Exit, CommandError> {
    let AnchorCommand::Convert { anchor } = command;
    let forms = convert_anchor(anchor).map_err(|error| CommandError::usage(error.to_string()))?;
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
