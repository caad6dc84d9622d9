//! New objects of the queue, by what a target could know them by.

use super::super::text_of;
use super::queue::each;
use crate::connector::NewObject;
use crate::model::{ConnectorId, CsObject, DeltaKind, Names, Stage, StageMask, ValueRef, ValueState};
use crate::store::{Snapshot, StoreError};

/// Everything that would be created in a target; keys only, so that a whole directory fits.
///
/// # Errors
/// When the store cannot be read.
pub fn new_objects(snapshot: &Snapshot, names: &Names, connector: ConnectorId) -> Result<Vec<NewObject>, StoreError> {
    let mut found = Vec::new();
    each(snapshot, connector, &mut |object| {
        if object.stage(Stage::PendingExport).kind == DeltaKind::Add {
            found.push(NewObject {
                id: object.id,
                object_type: names.object_type_name(object.object_type).to_string(),
                dn: object.dn.to_string(),
                user_principal_name: text_of(names, &object.values, "userPrincipalName"),
                primary_address: primary_address(names, object),
            });
        }
        Ok(())
    })?;
    Ok(found)
}

/// The address after `SMTP:`, otherwise the mail address (specification: sync engine, section 6.3).
fn primary_address(names: &Names, object: &CsObject) -> Option<String> {
    let proxies = names.find("proxyAddresses").into_iter().flat_map(|attr| object.values.attribute(attr));
    let mut wanted = proxies.filter(|item| ValueState(item.flags).present(StageMask::WANTED));
    let primary = wanted.find_map(|item| match item.value {
        ValueRef::Text(text) => text.strip_prefix("SMTP:").map(str::to_owned),
        _ => None,
    });
    primary.or_else(|| text_of(names, &object.values, "mail"))
}
