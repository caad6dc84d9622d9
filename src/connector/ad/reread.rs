//! What a delta alone does not tell: the names below a renamed container, and objects that have to be read whole.

use super::collect::{Collector, Wanted};
use super::delta::Source;
use super::hidden;
use super::watermark::Way;
use crate::connector::ConnectorError;
use crate::connector::ldap::{Client, Query, RawEntry, complete, extended_names};
use ldap3::Scope;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Attributes that are parts of a name, or made of it; servers do not count them as changed when the name changes.
const OF_NAMES: [&str; 5] = ["cn", "ou", "name", "distinguishedName", "canonicalName"];
/// Objects asked for in one search: a filter must not grow without bound.
pub(super) const AT_ONCE: usize = 50;

/// Reads the names of objects that were renamed or moved, and of all that lies below them. Who is in scope gets its new
/// name, who is not has left; those who refer to the latter are to be read whole.
pub(super) async fn names(client: &mut Client, source: &Source, way: Way, collector: &mut Collector<'_>) -> Result<(), ConnectorError> {
    let mut asked = vec!["objectGUID", "objectClass", "isDeleted"];
    asked.extend(OF_NAMES.iter().filter(|name| source.plan.known(name).is_some_and(|known| source.plan.attribute(known).is_some())));
    asked.extend(source.links.iter().map(String::as_str));
    let renamed = std::mem::take(&mut collector.renamed);
    let mut unseen = BTreeSet::new();
    for guid in renamed {
        let base = format!("<GUID={}>", hex::encode(&guid));
        let query = Query { base: &base, scope: Scope::Subtree, filter: "(objectClass=*)", attributes: &asked };
        let (mut cookie, mut shown) = (Vec::new(), false);
        loop {
            let (found, result) = client.page_with(&query, &cookie, vec![extended_names()]).await?;
            match result.rc {
                0 => {}
                // Deleted since, or where the account may not look, or another server's now.
                32 | 10 => break,
                _ => return Err(client.search_error(&base, &result)),
            }
            for mut entry in found.entries {
                // Below a container that does not show there may be some who do.
                shown |= entry.values("objectGUID").first().is_some_and(|own| **own == *guid);
                if !collector.named(&entry, &source.links).await? && has_more(&entry) {
                    complete(client, &mut entry).await?;
                    collector.referrers(&entry, &source.links);
                }
            }
            if found.cookie.is_empty() {
                break;
            }
            cookie = found.cookie;
        }
        if !shown {
            unseen.insert(guid);
        }
    }
    hidden::tell(client, source, way, unseen, collector).await
}

/// True when a part of the values of an attribute came.
fn has_more(entry: &RawEntry) -> bool {
    entry.attributes().into_iter().flatten().any(|(description, _)| description.contains(';'))
}

/// Reads whole the objects that were noted for it.
pub(super) async fn whole(client: &mut Client, source: &Source, collector: &mut Collector<'_>) -> Result<(), ConnectorError> {
    client.ask_for_extended_names();
    let mut reading = Reading::new(source, std::mem::take(&mut collector.whole), &[]);
    while let Some(entries) = reading.next(client).await? {
        for entry in &entries {
            collector.entry(entry).await?;
        }
    }
    Ok(())
}

/// Objects that are read by GUID or name, whatever container they lie in, as long as they are of a wanted type.
pub(super) struct Reading<'s> {
    asked: Vec<&'s str>,
    /// Searches to come, the next one last: naming context and filter.
    searches: Vec<(&'s str, String)>,
    cookie: Vec<u8>,
}

impl<'s> Reading<'s> {
    /// Objects with all that is imported of them, and `more`.
    pub(super) fn new(source: &'s Source, wanted: BTreeSet<Wanted>, more: &[&'s str]) -> Self {
        let wanted: Vec<Wanted> = wanted.into_iter().collect();
        let filters = wanted.chunks(AT_ONCE).map(|chunk| filter(&source.filter, chunk));
        let searches = filters.flat_map(|filter| source.contexts.iter().map(move |context| (context.as_str(), filter.clone())));
        let asked = source.attributes.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Self { asked, searches: searches.collect(), cookie: Vec::new() }
    }

    /// Some of them, with all their values; `None` behind the last.
    pub(super) async fn next(&mut self, client: &mut Client) -> Result<Option<Vec<RawEntry>>, ConnectorError> {
        let Some((context, filter)) = self.searches.last() else { return Ok(None) };
        let query = Query { base: context, scope: Scope::Subtree, filter, attributes: &self.asked };
        let (mut found, result) = client.page_with(&query, &self.cookie, Vec::new()).await?;
        if result.rc != 0 {
            return Err(client.search_error(context, &result));
        }
        for entry in &mut found.entries {
            complete(client, entry).await?;
        }
        if found.cookie.is_empty() {
            self.searches.pop();
        }
        self.cookie = found.cookie;
        Ok(Some(found.entries))
    }
}

pub(super) fn filter(types: &str, wanted: &[Wanted]) -> String {
    let mut filter = format!("(&{types}(|");
    for wanted in wanted {
        match wanted {
            Wanted::Guid(guid) => {
                filter.push_str("(objectGUID=");
                for octet in guid {
                    let _ = write!(filter, "\\{octet:02x}");
                }
                filter.push(')');
            }
            Wanted::Name(name) => {
                let _ = write!(filter, "(distinguishedName={})", ldap3::ldap_escape(name.as_str()));
            }
        }
    }
    filter.push_str("))");
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_name_objects_by_octets_and_escaped_names() {
        let wanted = [Wanted::Guid(vec![0, 0x2a]), Wanted::Name("CN=a (b)*,DC=x".into())];
        assert_eq!(
            filter("(objectClass=user)", &wanted),
            "(&(objectClass=user)(|(objectGUID=\\00\\2a)(distinguishedName=CN=a \\28b\\29\\2a,DC=x)))"
        );
    }
}
