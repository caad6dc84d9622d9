//! A domain in which anything happens, by chance from a seed. `SYNCLINE_SEED` runs one seed, `SYNCLINE_DELTA_CYCLES` and
//! `SYNCLINE_DELTA_CHANGES` say for how long.

use super::world::World;
use super::{change, delete, group, rename, unit, user};
use std::collections::BTreeSet;
use syncline::connector::ad::DeltaMode;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unit,
    User,
    Group,
}

struct Node {
    kind: Kind,
    /// `CN=…` or `OU=…`.
    name: String,
    parent: Option<usize>,
    alive: bool,
    members: BTreeSet<usize>,
    managed: bool,
}

struct Domain {
    dice: u64,
    nodes: Vec<Node>,
    prefix: String,
    count: usize,
    done: BTreeSet<&'static str>,
}

#[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long to run")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

impl Domain {
    fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.dice;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ mixed >> 31) % end.max(1) as u64).unwrap()
    }

    fn dn(&self, node: usize) -> String {
        match self.nodes[node].parent {
            Some(parent) => format!("{},{}", self.nodes[node].name, self.dn(parent)),
            None => format!("{},{}", self.nodes[node].name, super::BASE),
        }
    }

    fn add(&mut self, kind: Kind, name: String, parent: Option<usize>) -> usize {
        self.nodes.push(Node { kind, name, parent, alive: true, members: BTreeSet::new(), managed: false });
        self.nodes.len() - 1
    }

    fn pick(&mut self, fits: impl Fn(&Node) -> bool) -> Option<usize> {
        let found: Vec<usize> = (0..self.nodes.len()).filter(|index| self.nodes[*index].alive && fits(&self.nodes[*index])).collect();
        if found.is_empty() { None } else { Some(found[self.below(found.len())]) }
    }

    fn is_below(&self, node: usize, ancestor: usize) -> bool {
        node == ancestor || self.nodes[node].parent.is_some_and(|parent| self.is_below(parent, ancestor))
    }

    fn fresh(&mut self) -> String {
        self.count += 1;
        // Some names need escaping, some are not of this alphabet.
        match self.below(6) {
            0 => format!("CN={} Ü{}", self.prefix, self.count),
            1 => format!("CN={}\\, {}", self.prefix, self.count),
            _ => format!("CN={}{}", self.prefix, self.count),
        }
    }

    fn is_free(&self, name: &str, parent: Option<usize>) -> bool {
        !self.nodes.iter().any(|node| node.alive && node.parent == parent && node.name.eq_ignore_ascii_case(name))
    }

    /// One change, as LDIF.
    fn change(&mut self) -> Option<String> {
        let leaf = |node: &Node| node.kind != Kind::Unit;
        let person = |node: &Node| node.kind == Kind::User;
        let is_group = |node: &Node| node.kind == Kind::Group;
        let inner = |node: &Node| node.kind == Kind::Unit && node.parent.is_some();
        let is_unit = |node: &Node| node.kind == Kind::Unit;
        let (what, text) = match self.below(20) {
            0 | 1 => {
                let (parent, name) = (self.pick(is_unit)?, self.fresh());
                let node = self.add(Kind::User, name, Some(parent));
                ("user", user(&self.dn(node), &format!("{}u{node}", self.prefix)))
            }
            2 => {
                let (parent, name) = (self.pick(is_unit)?, self.fresh());
                let node = self.add(Kind::Group, name, Some(parent));
                let members: BTreeSet<usize> = (0..4).filter_map(|_| self.pick(leaf)).filter(|member| *member != node).collect();
                let names: Vec<String> = members.iter().map(|member| self.dn(*member)).collect();
                self.nodes[node].members = members;
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                ("group", group(&self.dn(node), &format!("{}g{node}", self.prefix), &names))
            }
            3 => {
                let parent = self.pick(is_unit)?;
                self.count += 1;
                let node = self.add(Kind::Unit, format!("OU={}{}", self.prefix, self.count), Some(parent));
                ("unit", unit(&self.dn(node)))
            }
            4..=6 => {
                let node = self.pick(person)?;
                let number = self.below(1_000);
                let attribute = ["title", "displayName", "mail", "description"][self.below(4)];
                ("value", change(&self.dn(node), "replace", attribute, &[&format!("{attribute}{number}")]))
            }
            7 => {
                let node = self.pick(person)?;
                let attribute = ["title", "mail", "proxyAddresses"][self.below(3)];
                ("clear", change(&self.dn(node), "replace", attribute, &[]))
            }
            8 => {
                let node = self.pick(person)?;
                let values: Vec<String> = (0..=self.below(3)).map(|number| format!("smtp:{number}@x")).collect();
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                ("values", change(&self.dn(node), "replace", "proxyAddresses", &values))
            }
            9 | 10 => {
                let (node, name) = (self.pick(leaf)?, self.fresh());
                let text = rename(&self.dn(node), &name, None);
                self.nodes[node].name = name;
                ("rename", text)
            }
            11 | 12 => {
                let (node, parent) = (self.pick(leaf)?, self.pick(is_unit)?);
                if self.nodes[node].parent == Some(parent) || !self.is_free(&self.nodes[node].name, Some(parent)) {
                    return None;
                }
                let text = rename(&self.dn(node), &self.nodes[node].name.clone(), Some(&self.dn(parent)));
                self.nodes[node].parent = Some(parent);
                ("move", text)
            }
            13 => {
                let node = self.pick(inner)?;
                self.count += 1;
                let name = format!("OU={}{}", self.prefix, self.count);
                let text = rename(&self.dn(node), &name, None);
                self.nodes[node].name = name;
                ("rename unit", text)
            }
            14 => {
                let (node, parent) = (self.pick(inner)?, self.pick(is_unit)?);
                if self.is_below(parent, node) || self.nodes[node].parent == Some(parent) {
                    return None;
                }
                let text = rename(&self.dn(node), &self.nodes[node].name.clone(), Some(&self.dn(parent)));
                self.nodes[node].parent = Some(parent);
                ("move unit", text)
            }
            15 | 16 => {
                let (node, member) = (self.pick(is_group)?, self.pick(leaf)?);
                if node == member {
                    return None;
                }
                let there = self.nodes[node].members.contains(&member);
                let text = change(&self.dn(node), if there { "delete" } else { "add" }, "member", &[&self.dn(member)]);
                if !self.nodes[node].members.remove(&member) {
                    self.nodes[node].members.insert(member);
                }
                (if there { "member less" } else { "member more" }, text)
            }
            17 => {
                let (node, manager) = (self.pick(person)?, self.pick(person)?);
                let managed = self.nodes[node].managed && self.below(2) == 0;
                self.nodes[node].managed = !managed;
                let manager = self.dn(manager);
                let values: &[&str] = if managed { &[] } else { &[&manager] };
                (if managed { "no manager" } else { "manager" }, change(&self.dn(node), "replace", "manager", values))
            }
            18 => {
                let node = self.pick(leaf)?;
                let text = delete(&self.dn(node));
                self.nodes[node].alive = false;
                self.nodes.iter_mut().for_each(|other| other.members.retain(|member| *member != node));
                ("delete", text)
            }
            _ => {
                // Somebody is deleted, and another one made under the name.
                let node = self.pick(person)?;
                let text = delete(&self.dn(node));
                self.nodes[node].alive = false;
                self.nodes.iter_mut().for_each(|other| other.members.retain(|member| *member != node));
                let again = self.add(Kind::User, self.nodes[node].name.clone(), self.nodes[node].parent);
                ("made again", text + &user(&self.dn(again), &format!("{}u{again}", self.prefix)))
            }
        };
        self.done.insert(what);
        Some(text)
    }
}

fn life(seed: u64, cycles: u64, changes: u64, mode: DeltaMode) {
    let prefix = format!("r{seed}{}", if mode == DeltaMode::Usn { "n" } else { "d" });
    let mut domain = Domain { dice: seed, nodes: Vec::new(), prefix: prefix.clone(), count: 0, done: BTreeSet::new() };
    let inside = domain.add(Kind::Unit, format!("OU={prefix} Inside"), None);
    let outside = domain.add(Kind::Unit, format!("OU={prefix} Outside"), None);
    let inside = domain.dn(inside);
    let world = World::new(super::domain(), &[&inside], mode);
    let mut text = unit(&inside) + &unit(&domain.dn(outside));
    for _ in 0..40 {
        text.extend(domain.change());
    }
    world.modify(&text);
    world.begin();
    for cycle in 0..cycles {
        let mut text = String::new();
        let wanted = 1 + u64::try_from(domain.below(usize::try_from(2 * changes - 1).unwrap())).unwrap();
        let mut made = 0;
        while made < wanted {
            if let Some(one) = domain.change() {
                text += &one;
                made += 1;
            }
        }
        world.modify(&text);
        world.follow(&format!("seed {seed}, cycle {cycle}:\n{text}"));
    }
    if cycles * changes >= 200 {
        assert!(domain.done.len() >= 14, "{:?}", domain.done);
    }
}

#[test]
fn whatever_happens_deltas_come_to_what_a_full_import_says() {
    let seed = setting("SYNCLINE_SEED", 1);
    life(seed, setting("SYNCLINE_DELTA_CYCLES", 12), setting("SYNCLINE_DELTA_CHANGES", 10), DeltaMode::Auto);
}

#[test]
fn whatever_happens_numbers_come_to_what_a_full_import_says() {
    let seed = setting("SYNCLINE_SEED", 2);
    life(seed, setting("SYNCLINE_DELTA_CYCLES", 12) / 2, setting("SYNCLINE_DELTA_CHANGES", 10), DeltaMode::Usn);
}
