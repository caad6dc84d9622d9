//! Which objects of a directory are wanted: by type, and by container (specification: sync engine, section 5.7).

use crate::connector::{ConnectorError, ConnectorErrorKind};
use crate::model::{Dn, DnKey};

/// What an administrator selects. Names compare without regard to case and spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Object types to import, by their most derived class.
    pub object_types: Vec<String>,
    /// Containers to import; none means all.
    pub include: Vec<String>,
    /// Containers to leave out; the most specific container of both lists decides.
    pub exclude: Vec<String>,
}

impl Default for Selection {
    fn default() -> Self {
        let object_types = ["user", "inetOrgPerson", "group", "contact", "foreignSecurityPrincipal"];
        Self { object_types: object_types.map(str::to_owned).to_vec(), include: Vec::new(), exclude: Vec::new() }
    }
}

impl Selection {
    /// True when no container is named: everything is read.
    pub(crate) fn names_nothing(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }
}

/// The container lists, ready for comparing.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    marks: Vec<(DnKey, bool)>,
    outside: bool,
    includes: Vec<Dn>,
}

impl Scope {
    /// Reads the container lists of a selection.
    ///
    /// # Errors
    /// A container that is no distinguished name, or that both lists hold.
    pub fn new(selection: &Selection) -> Result<Self, ConnectorError> {
        if selection.object_types.is_empty() {
            return Err(configuration("no object type is selected; nothing could be imported".to_owned()));
        }
        let mut scope = Self { marks: Vec::new(), outside: selection.include.is_empty(), includes: Vec::new() };
        for (list, wanted) in [(&selection.include, true), (&selection.exclude, false)] {
            for text in list {
                let dn = Dn::parse(text).map_err(|error| configuration(format!("container '{text}': {error}")))?;
                scope.mark(&dn, wanted)?;
                if wanted {
                    scope.includes.push(dn);
                }
            }
        }
        Ok(scope)
    }

    /// Adds a container that is never wanted.
    pub fn exclude(&mut self, dn: &Dn) {
        let key = dn.key();
        if !self.marks.iter().any(|(mark, _)| *mark == key) {
            self.marks.push((key, false));
        }
    }

    /// True when every name is wanted, so that none needs to be taken apart.
    pub fn is_everything(&self) -> bool {
        self.outside && self.marks.is_empty()
    }

    /// True when an object of this name is wanted: the most specific container decides.
    pub fn wants(&self, key: &DnKey) -> bool {
        self.marks
            .iter()
            .filter(|(mark, _)| key.is_within(mark))
            .max_by_key(|(mark, _)| mark.as_bytes().len())
            .map_or(self.outside, |(_, wanted)| *wanted)
    }

    /// The included containers that lie in no other included container: where searches begin.
    pub fn roots(&self) -> Vec<&Dn> {
        let keys: Vec<DnKey> = self.includes.iter().map(Dn::key).collect();
        let mut roots = Vec::new();
        for (index, dn) in self.includes.iter().enumerate() {
            let inside = keys
                .iter()
                .enumerate()
                .any(|(other, key)| other != index && keys[index].is_within(key) && (*key != keys[index] || other < index));
            if !inside {
                roots.push(dn);
            }
        }
        roots
    }

    fn mark(&mut self, dn: &Dn, wanted: bool) -> Result<(), ConnectorError> {
        let key = dn.key();
        if self.marks.iter().any(|(mark, other)| *mark == key && *other != wanted) {
            return Err(configuration(format!("container '{dn}' is both included and excluded; take it off one of the lists")));
        }
        self.marks.push((key, wanted));
        Ok(())
    }
}

/// Where searches must begin to see everything in scope: the included containers, or the bases when none is included.
///
/// # Errors
/// An included container that lies below no base: it could never be found.
pub fn roots_below(scope: &Scope, bases: &[Dn]) -> Result<Vec<String>, ConnectorError> {
    let roots = scope.roots();
    if roots.is_empty() {
        return Ok(bases.iter().map(|base| base.as_str().to_owned()).collect());
    }
    let keys: Vec<DnKey> = bases.iter().map(Dn::key).collect();
    let mut names = Vec::with_capacity(roots.len());
    for root in roots {
        let key = root.key();
        if keys.iter().any(|base| key.is_within(base)) {
            names.push(root.as_str().to_owned());
        } else {
            let known: Vec<&str> = bases.iter().map(Dn::as_str).collect();
            return Err(configuration(format!("included container '{root}' does not lie below {}", known.join(" or "))));
        }
    }
    Ok(names)
}

/// A filter (RFC 4515) that lets the wanted object types through, and objects derived from them.
pub fn class_filter(object_types: &[String]) -> String {
    let mut filter = "(|".to_owned();
    for name in object_types {
        // Class names are letters, digits and hyphens; anything else would be part of the filter's own syntax.
        let plain: String = name.chars().filter(|character| character.is_ascii_alphanumeric() || *character == '-').collect();
        filter.push_str("(objectClass=");
        filter.push_str(&plain);
        filter.push(')');
    }
    filter.push(')');
    filter
}

fn configuration(message: String) -> ConnectorError {
    ConnectorError::new(ConnectorErrorKind::Configuration, message).unsent()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(include: &[&str], exclude: &[&str]) -> Scope {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Scope::new(&Selection { include: own(include), exclude: own(exclude), ..Selection::default() }).unwrap()
    }

    fn key(text: &str) -> DnKey {
        Dn::parse(text).unwrap().key()
    }

    #[test]
    fn the_most_specific_container_decides() {
        let scope = scope(&["OU=a,DC=x", "OU=c,OU=b,OU=a,DC=x"], &["ou=B, ou=a, dc=x"]);
        assert!(scope.wants(&key("CN=1,OU=a,DC=x")));
        assert!(!scope.wants(&key("CN=1,OU=b,OU=a,DC=x")));
        assert!(scope.wants(&key("CN=1,OU=c,OU=b,OU=a,DC=x")));
        assert!(!scope.wants(&key("CN=1,OU=z,DC=x")));
        assert_eq!(scope.roots().iter().map(|dn| dn.as_str()).collect::<Vec<_>>(), ["OU=a,DC=x"]);
    }

    #[test]
    fn without_includes_everything_but_the_excluded_is_wanted() {
        let scope = scope(&[], &["OU=b,DC=x"]);
        assert!(scope.wants(&key("CN=1,DC=x")) && !scope.wants(&key("CN=1,OU=b,DC=x")));
        assert!(
            Scope::new(&Selection { include: vec!["OU=b,DC=x".into()], exclude: vec!["ou=b,dc=x".into()], ..Selection::default() })
                .is_err()
        );
        assert!(Scope::new(&Selection { include: vec!["nonsense".into()], ..Selection::default() }).is_err());
    }
}
