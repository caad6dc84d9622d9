//! What lies where in a directory: containers with the numbers of their people and groups, and the names that people would
//! sign in with. Counted live, for whoever has to choose; nothing is kept.

use super::client::{Client, LdapSettings, Query};
use super::raw::RawEntry;
use crate::connector::ConnectorError;
use crate::context::Context;
use crate::model::{Dn, DnKey};
use ldap3::Scope;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to count.
#[derive(Clone, Debug)]
pub struct CensusPlan {
    /// Where to begin.
    pub base: String,
    /// Lets containers through.
    pub containers: &'static str,
    /// Lets what is counted through.
    pub objects: String,
    /// The attribute of the name that people sign in with.
    pub sign_in: &'static str,
}

impl CensusPlan {
    /// For Active Directory.
    pub fn active_directory(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            containers: "(|(objectClass=organizationalUnit)(objectClass=container)(objectClass=builtinDomain))",
            objects: "(|(&(objectCategory=person)(objectClass=user))(objectClass=contact)(objectClass=group))".to_owned(),
            sign_in: "userPrincipalName",
        }
    }

    /// For other directories, of the classes that are imported.
    pub fn ldap(base: &str, object_types: &[&str]) -> Self {
        let classes: Vec<String> = object_types.iter().map(|class| format!("(objectClass={class})")).collect();
        Self {
            base: base.to_owned(),
            containers: "(|(objectClass=organizationalUnit)(objectClass=container)(objectClass=organization))",
            objects: format!("(|{})", classes.concat()),
            sign_in: "mail",
        }
    }
}

/// Numbers of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// People.
    pub users: u64,
    /// Groups.
    pub groups: u64,
    /// Contacts.
    pub contacts: u64,
}

impl Heads {
    /// All of them.
    pub fn all(self) -> u64 {
        self.users + self.groups + self.contacts
    }

    fn count(&mut self, entry: &RawEntry) {
        let classes = entry.values("objectClass");
        let is = |names: &[&str]| classes.iter().any(|class| names.iter().any(|name| class.eq_ignore_ascii_case(name.as_bytes())));
        if is(&["group", "groupOfNames", "groupOfUniqueNames", "posixGroup"]) {
            self.groups += 1;
        } else if is(&["contact"]) {
            self.contacts += 1;
        } else {
            self.users += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.users += other.users;
        self.groups += other.groups;
        self.contacts += other.contacts;
    }
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerHeads {
    /// Its name.
    pub dn: String,
    /// How many containers it lies in; the base has 0.
    pub depth: usize,
    /// What lies in it, containers below included.
    pub below: Heads,
    /// What lies in it directly.
    pub own: Heads,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// The base and every container below it, each before those that it holds.
    pub containers: Vec<ContainerHeads>,
    /// People by what stands behind the `@` of their sign-in names, in small letters.
    pub suffixes: BTreeMap<String, u64>,
    /// People without such a name.
    pub nameless: u64,
}

impl Census {
    /// Everything together.
    pub fn total(&self) -> Heads {
        self.containers.first().map(|base| base.below).unwrap_or_default()
    }
}

/// More containers than these are not told apart: what lies below counts for those above.
const CONTAINERS_MAX: usize = 20_000;
/// Suffixes that are told apart.
const SUFFIXES_MAX: usize = 1_000;

/// Counts what lies in a directory.
///
/// # Errors
/// When the server does not answer, or the account may not read.
pub async fn census(cx: &Context, settings: Arc<LdapSettings>, plan: &CensusPlan) -> Result<Census, ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        client.root(&[]).await?;
        client.check_base(&plan.base).await?;
        let found = containers(&mut client, plan).await?;
        let mut tally = Tally::new(&plan.base, found);
        let query = Query { base: &plan.base, scope: Scope::Subtree, filter: &plan.objects, attributes: &["objectClass", plan.sign_in] };
        let mut cookie = Vec::new();
        loop {
            let found = client.page(query.base, query.scope, query.filter, query.attributes, &cookie).await?;
            found.entries.iter().for_each(|entry| tally.count(entry, plan.sign_in));
            cookie = found.cookie;
            if cookie.is_empty() {
                break;
            }
        }
        client.close().await;
        Ok(tally.finish())
    })
    .await
}

/// The first naming context that a server names.
///
/// # Errors
/// When the server does not let the account in.
pub async fn first_suffix(cx: &Context, settings: Arc<LdapSettings>) -> Result<Option<String>, ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        let root = client.root(&["namingContexts"]).await?;
        let first = root.text("namingContexts").map(str::to_owned);
        client.close().await;
        Ok(first)
    })
    .await
}

/// Looks for a container. `None` when something of this name is there; otherwise the names of the containers that are, for
/// whoever misspelt one.
///
/// # Errors
/// When the server does not answer, or does not hold this part of the directory.
pub async fn missing_container(
    cx: &Context,
    settings: Arc<LdapSettings>,
    plan: &CensusPlan,
    dn: &str,
) -> Result<Option<Vec<Dn>>, ConnectorError> {
    Client::unless_cancelled(cx, async {
        let mut client = Client::connect(settings).await?;
        client.root(&[]).await?;
        let missing = if client.exists(dn).await? {
            None
        } else if client.exists(&plan.base).await? {
            Some(containers(&mut client, plan).await?)
        } else {
            Some(Vec::new())
        };
        client.close().await;
        Ok(missing)
    })
    .await
}

async fn containers(client: &mut Client, plan: &CensusPlan) -> Result<Vec<Dn>, ConnectorError> {
    let mut found = Vec::new();
    let mut cookie = Vec::new();
    loop {
        let page = client.page(&plan.base, Scope::Subtree, plan.containers, &["1.1"], &cookie).await?;
        let names = page.entries.iter().filter_map(|entry| std::str::from_utf8(entry.dn()?).ok().and_then(|name| Dn::parse(name).ok()));
        found.extend(names.take(CONTAINERS_MAX.saturating_sub(found.len())));
        cookie = page.cookie;
        if cookie.is_empty() || found.len() >= CONTAINERS_MAX {
            return Ok(found);
        }
    }
}

/// Counts per container.
struct Tally {
    base: DnKey,
    nodes: BTreeMap<DnKey, (Dn, Heads)>,
    suffixes: BTreeMap<String, u64>,
    nameless: u64,
}

impl Tally {
    fn new(base: &str, found: Vec<Dn>) -> Self {
        let mut nodes = BTreeMap::new();
        let mut root = None;
        for dn in Dn::parse(base).ok().into_iter().chain(found) {
            let key = dn.key();
            root.get_or_insert_with(|| key.clone());
            nodes.entry(key).or_insert((dn, Heads::default()));
        }
        let base = root.unwrap_or_else(|| DnKey::from_bytes(Vec::new()));
        Self { base, nodes, suffixes: BTreeMap::new(), nameless: 0 }
    }

    fn count(&mut self, entry: &RawEntry, sign_in: &str) {
        let Some(dn) = entry.dn().and_then(|name| std::str::from_utf8(name).ok()).and_then(|name| Dn::parse(name).ok()) else { return };
        let mut heads = Heads::default();
        heads.count(entry);
        // Some lie below others that are no containers; they count for the nearest.
        let mut above = dn.parent();
        while let Some(parent) = above {
            if let Some((_, own)) = self.nodes.get_mut(&parent.key()) {
                own.add(heads);
                break;
            }
            above = parent.parent();
        }
        if heads.users == 0 {
            return;
        }
        match entry.text(sign_in).and_then(|name| name.rsplit_once('@')) {
            Some((_, suffix)) if !suffix.is_empty() => {
                let suffix = suffix.to_lowercase();
                if self.suffixes.len() < SUFFIXES_MAX || self.suffixes.contains_key(&suffix) {
                    *self.suffixes.entry(suffix).or_default() += 1;
                }
            }
            _ => self.nameless += 1,
        }
    }

    fn finish(self) -> Census {
        let Self { base, nodes, suffixes, nameless } = self;
        let mut below: BTreeMap<DnKey, Heads> = BTreeMap::new();
        let mut children: BTreeMap<DnKey, Vec<DnKey>> = BTreeMap::new();
        for (key, (dn, own)) in &nodes {
            let mut at = Some(dn.clone());
            while let Some(ancestor) = at {
                let ancestor_key = ancestor.key();
                if nodes.contains_key(&ancestor_key) {
                    below.entry(ancestor_key).or_default().add(*own);
                }
                at = ancestor.parent();
            }
            if *key == base {
                continue;
            }
            let mut at = dn.parent();
            while let Some(ancestor) = at {
                let ancestor_key = ancestor.key();
                if nodes.contains_key(&ancestor_key) {
                    children.entry(ancestor_key).or_default().push(key.clone());
                    break;
                }
                at = ancestor.parent();
            }
        }
        let mut containers = Vec::with_capacity(nodes.len());
        let mut open = vec![(base, 0)];
        while let Some((key, depth)) = open.pop() {
            let Some((dn, own)) = nodes.get(&key) else { continue };
            containers.push(ContainerHeads {
                dn: dn.as_str().to_owned(),
                depth,
                below: below.get(&key).copied().unwrap_or_default(),
                own: *own,
            });
            let mut inside = children.remove(&key).unwrap_or_default();
            inside.sort_by(|left, right| right.cmp(left));
            open.extend(inside.into_iter().map(|child| (child, depth + 1)));
        }
        Census { containers, suffixes, nameless }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ldap3::asn1::{PL, StructureTag, TagClass};

    fn tag(payload: PL) -> StructureTag {
        StructureTag { class: TagClass::Universal, id: 4, payload }
    }

    fn entry(dn: &str, class: &str, name: Option<&str>) -> RawEntry {
        let attribute = |name: &str, value: &str| {
            let values = tag(PL::C(vec![tag(PL::P(value.into()))]));
            tag(PL::C(vec![tag(PL::P(name.into())), values]))
        };
        let mut attributes = vec![attribute("objectClass", class)];
        attributes.extend(name.map(|name| attribute("userPrincipalName", name)));
        RawEntry::new(tag(PL::C(vec![tag(PL::P(dn.into())), tag(PL::C(attributes))])))
    }

    #[test]
    fn everybody_counts_once_and_for_every_container_above() {
        let names = ["OU=People,DC=x", "OU=Staff,OU=People,DC=x", "CN=Users,DC=x"];
        let mut tally = Tally::new("DC=x", names.iter().map(|name| Dn::parse(name).unwrap()).collect());
        for (dn, class, name) in [
            ("CN=a,OU=Staff,OU=People,DC=x", "user", Some("a@Corp.example")),
            ("CN=b,OU=staff,OU=people,DC=X", "user", Some("b@corp.example")),
            ("CN=c,CN=b,OU=Staff,OU=People,DC=x", "user", Some("c@")),
            ("CN=g,OU=People,DC=x", "group", None),
            ("CN=d,CN=Users,DC=x", "user", None),
            ("CN=e,DC=x", "contact", None),
        ] {
            tally.count(&entry(dn, class, name), "userPrincipalName");
        }
        let census = tally.finish();
        let shown: Vec<(&str, usize, u64, u64)> =
            census.containers.iter().map(|node| (node.dn.as_str(), node.depth, node.below.all(), node.own.all())).collect();
        let wanted = [("DC=x", 0, 6, 1), ("CN=Users,DC=x", 1, 1, 1), ("OU=People,DC=x", 1, 4, 1), ("OU=Staff,OU=People,DC=x", 2, 3, 3)];
        assert_eq!(shown, wanted);
        assert_eq!(census.total(), Heads { users: 4, groups: 1, contacts: 1 });
        assert_eq!((census.suffixes, census.nameless), (BTreeMap::from([("corp.example".to_owned(), 2)]), 2));
    }
}
