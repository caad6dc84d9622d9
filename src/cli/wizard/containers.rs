//! Choosing containers from a tree: what is ticked is synchronized with everything below it, but for what is not.

use crate::cli::output::{clean, thousands};
use crate::connector::ldap::{Census, ContainerHeads};

/// Containers that a list shows at most; those that hold the most are shown.
const SHOWN: usize = 200;

/// The containers to choose from: those with somebody in them, the base first.
pub(super) fn shown(census: &Census) -> Vec<&ContainerHeads> {
    let mut filled: Vec<&ContainerHeads> = census.containers.iter().filter(|node| node.depth == 0 || node.below.all() > 0).collect();
    if filled.len() > SHOWN {
        let mut sizes: Vec<u64> = filled.iter().map(|node| node.below.all()).collect();
        sizes.sort_unstable_by(|left, right| right.cmp(left));
        let least = sizes.get(SHOWN).copied().unwrap_or_default();
        filled.retain(|node| node.depth == 0 || node.below.all() > least);
    }
    filled
}

/// A line for a container: indented by depth, with what it holds.
pub(super) fn line(node: &ContainerHeads) -> String {
    let name = if node.depth == 0 { node.dn.as_str() } else { first_part(&node.dn) };
    let below = node.below;
    let parts = [(below.users, "people"), (below.groups, "groups"), (below.contacts, "contacts")];
    let told: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", thousands(*count))).collect();
    let told = if told.is_empty() { "nobody".to_owned() } else { told.join(", ") };
    clean(format!("{}{name}  ({told})", "  ".repeat(node.depth)))
}

/// The name of a container without those that it lies in.
fn first_part(dn: &str) -> &str {
    let mut escaped = false;
    for (at, character) in dn.char_indices() {
        match character {
            '\\' if !escaped => escaped = true,
            ',' if !escaped => return &dn[..at],
            _ => escaped = false,
        }
    }
    dn
}

/// What to include and to leave out, from what is ticked. The most specific container decides, so only those count that
/// differ from the one they lie in.
pub(super) fn selection(nodes: &[&ContainerHeads], ticked: &[bool]) -> (Vec<String>, Vec<String>) {
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    // The way down to the present container, with what was ticked.
    let mut above: Vec<(usize, bool)> = Vec::new();
    for (node, ticked) in nodes.iter().zip(ticked) {
        while above.last().is_some_and(|(depth, _)| *depth >= node.depth) {
            above.pop();
        }
        let inherited = above.last().is_some_and(|(_, ticked)| *ticked);
        match (inherited, *ticked) {
            (false, true) => include.push(node.dn.clone()),
            (true, false) => exclude.push(node.dn.clone()),
            _ => {}
        }
        above.push((node.depth, *ticked));
    }
    // Everything needs no word.
    if include.len() == 1 && nodes.first().is_some_and(|base| include.first() == Some(&base.dn)) {
        include.clear();
    }
    (include, exclude)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::ldap::Heads;

    fn node(dn: &str, depth: usize, users: u64) -> ContainerHeads {
        let heads = Heads { users, ..Heads::default() };
        ContainerHeads { dn: dn.to_owned(), depth, below: heads, own: heads }
    }

    #[test]
    fn only_what_differs_is_written_down() {
        let nodes = [
            node("DC=x", 0, 9),
            node("OU=A,DC=x", 1, 6),
            node("OU=B,OU=A,DC=x", 2, 3),
            node("OU=C,DC=x", 1, 3),
            node("OU=D,OU=C,DC=x", 2, 1),
        ];
        let nodes: Vec<&ContainerHeads> = nodes.iter().collect();
        let chosen = |ticked: [bool; 5]| selection(&nodes, &ticked);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(chosen([true; 5]), (Vec::new(), Vec::new()));
        assert_eq!(chosen([false; 5]), (Vec::new(), Vec::new()));
        assert_eq!(chosen([true, true, false, true, true]), (Vec::new(), names(&["OU=B,OU=A,DC=x"])));
        assert_eq!(chosen([false, true, true, false, false]), (names(&["OU=A,DC=x"]), Vec::new()));
        assert_eq!(chosen([false, true, false, false, true]), (names(&["OU=A,DC=x", "OU=D,OU=C,DC=x"]), names(&["OU=B,OU=A,DC=x"])));
        assert_eq!(chosen([true, false, true, true, true]), (names(&["DC=x", "OU=B,OU=A,DC=x"]), names(&["OU=A,DC=x"])));
    }

    #[test]
    fn a_line_tells_what_is_inside() {
        assert_eq!(line(&node("OU=Über\\, uns,DC=x", 1, 1_200)), "  OU=Über\\, uns  (1,200 people)");
        assert_eq!(line(&node("DC=x", 0, 0)), "DC=x  (nobody)");
    }
}
