//! Whether entries show what imports go by: their key, and what a server looks for when it tells changes.

use super::client::Client;
use super::openldap::anchor_filter;
use super::raw::RawEntry;
use super::stream::SearchRoot;
use crate::connector::ConnectorError;
use crate::model::Anchor;
use ldap3::Scope;

/// Keys in one search: fewer than the smallest limit that servers have by default.
const AT_ONCE: usize = 200;

/// Entries of each place that is read that are enough to be looked at, and a page more at most.
const LOOKED_MAX: usize = 1_000;

/// What an account shows of a directory. Of a large one some entries are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectorySurvey {
    /// Entries that were looked at.
    pub looked: usize,
    /// Those that show no key: an import cannot use them.
    pub keyless: Shortfall,
    /// Those that show a key by which, or by whose change number, the account may not search: no change of them is told.
    pub untold: Shortfall,
    /// Why the server tells no changes at all.
    pub no_changes: Option<String>,
}

/// Entries that lack something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortfall {
    /// How many.
    pub count: usize,
    /// The name of the first.
    pub first: String,
}

impl Shortfall {
    fn add(&mut self, entry: &RawEntry) {
        if self.count == 0 {
            self.first = entry.dn().map(|dn| String::from_utf8_lossy(dn).into_owned()).unwrap_or_default();
        }
        self.count += 1;
    }
}

/// Looks at some entries below each root. With `told` also at what a server needs to tell changes of them.
///
/// # Errors
/// When the server does not answer.
pub(super) async fn look(client: &mut Client, roots: &[SearchRoot], anchor: &str, told: bool) -> Result<DirectorySurvey, ConnectorError> {
    let mut survey = DirectorySurvey::default();
    for root in roots {
        let (mut entries, mut cookie) = (Vec::new(), Vec::new());
        loop {
            let page = client.page(&root.base, Scope::Subtree, &root.filter, &[anchor], &cookie).await?;
            entries.extend(page.entries);
            cookie = page.cookie;
            if cookie.is_empty() || entries.len() >= LOOKED_MAX {
                break;
            }
        }
        survey.looked += entries.len();
        let (keyed, keyless): (Vec<&RawEntry>, Vec<&RawEntry>) = entries.iter().partition(|entry| key(entry, anchor).is_some());
        for entry in keyless {
            survey.keyless.add(entry);
        }
        for chunk in keyed.chunks(AT_ONCE).filter(|_| told) {
            let anchors: Vec<Anchor> = chunk.iter().filter_map(|entry| key(entry, anchor)).collect();
            let filter = format!("(&{}(entryCSN=*))", anchor_filter(anchor, &anchors));
            let found = client.search(&root.base, Scope::Subtree, &filter, &[anchor]).await?;
            let found: Vec<Anchor> = found.iter().filter_map(|entry| key(entry, anchor)).collect();
            for entry in chunk.iter().filter(|entry| key(entry, anchor).is_some_and(|key| !found.contains(&key))) {
                survey.untold.add(entry);
            }
        }
    }
    Ok(survey)
}

fn key(entry: &RawEntry, anchor: &str) -> Option<Anchor> {
    entry.values(anchor).first().map(|octets| Anchor::new(*octets))
}
