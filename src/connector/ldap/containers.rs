//! Where the containers of a selection lie now: by their names, and by keys that stay when names change.

use super::client::Client;
use super::raw::RawEntry;
use super::stream::Question;
use crate::connector::directory::{Selection, strip_extended};
use crate::connector::{ConnectorError, ContainerPlace, KeptContainer};
use crate::model::Dn;
use ldap3::Scope;

/// Looks up the containers of a selection. `attribute` is the key; `kept` has the keys of an earlier look, each with the search
/// for whatever has it now.
///
/// # Errors
/// When the server does not answer, and when an included container is not there or cannot be seen.
pub(crate) async fn places(
    client: &mut Client,
    selection: &Selection,
    kept: &[(KeptContainer, Question)],
    attribute: &str,
) -> Result<Vec<ContainerPlace>, ConnectorError> {
    let mut places = Vec::new();
    for (list, included) in [(&selection.include, true), (&selection.exclude, false)] {
        for configured in list {
            let mut place = ContainerPlace { configured: configured.clone(), included, key: None, moved_to: None };
            let there = client.shows(configured).await?;
            if there {
                let found = client.find(configured, Scope::Base, "(objectClass=*)", &[attribute]).await?;
                place.key = found.first().and_then(|entry| entry.values(attribute).first().map(|key| key.to_vec()));
            }
            let known = kept.iter().find(|(known, _)| is_same(&known.name, configured) && Some(&known.key) != place.key.as_ref());
            if let Some((_, by_key)) = known {
                let found = client.find(&by_key.base, by_key.scope, &by_key.filter, &["1.1"]).await?;
                let name = found.first().and_then(RawEntry::dn).and_then(|dn| std::str::from_utf8(dn).ok()).map(strip_extended);
                place.moved_to = name.filter(|name| !is_same(name, configured)).map(str::to_owned);
            }
            if included && !there && place.moved_to.is_none() {
                client.check_base(configured).await?;
            }
            places.push(place);
        }
    }
    Ok(places)
}

fn is_same(left: &str, right: &str) -> bool {
    matches!((Dn::parse(left), Dn::parse(right)), (Ok(left), Ok(right)) if left.same(&right))
}
