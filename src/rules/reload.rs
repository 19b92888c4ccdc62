//! From one rule set to the next while packets flow: which rules are unchanged, so that what they
//! have seen so far lives on.
//!
//! Everything that takes time (compiling, comparing, taking memory) is done here before the swap;
//! the swap itself moves the instances of each unchanged rule in one piece and renumbers deadlines.

use super::placement::Placement;
use super::property::{Node, OperatorNode, Property};
use super::{Engine, RuleSet};
use crate::expr::{self, Expr};
use std::collections::HashMap;
use std::sync::Arc;

/// What becomes of each rule when one rule set follows another.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Of each old rule, in load order.
    fates: Vec<Fate>,
    /// Rules whose id the old set has not.
    pub added: usize,
}

/// What becomes of one rule. A place is that in the load order of the new rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unchanged(u32),
    Changed(u32),
    Removed,
}

/// Instances of the old rules that live on, and that do not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    /// Of unchanged rules.
    pub kept: u64,
    /// Of rules that were changed or removed.
    pub dropped: u64,
}

impl Changes {
    /// From `old` to `new`.
    pub fn between(old: &RuleSet, new: &RuleSet) -> Self {
        let ids = |rules: &RuleSet| -> HashMap<u32, u32> {
            let ids = rules.programs.iter().map(|program| program.property.id);
            ids.zip(0..).collect()
        };
        let (before, places) = (ids(old), ids(new));
        let is_new = |id: &&u32| !before.contains_key(id);
        let fate = |property: &Property| {
            let Some(place) = places.get(&property.id).copied() else {
                return Fate::Removed;
            };
            let other = usize::try_from(place).ok();
            let other = other.and_then(|place| new.programs.get(place));
            match other.is_some_and(|other| is_same(property, &other.property)) {
                true if old.mode == new.mode => Fate::Unchanged(place),
                _ => Fate::Changed(place),
            }
        };
        let programs = old.programs.iter();
        Self {
            fates: programs.map(|program| fate(&program.property)).collect(),
            added: places.keys().filter(is_new).count(),
        }
    }

    /// Old and new place of each unchanged rule.
    pub fn unchanged(&self) -> impl Iterator<Item = (u32, u32)> {
        let place = |fate: &Fate| match fate {
            Fate::Unchanged(place) => Some(*place),
            Fate::Changed(_) | Fate::Removed => None,
        };
        (0..)
            .zip(&self.fates)
            .filter_map(move |(old, fate)| Some((old, place(fate)?)))
    }

    /// Old and new place of each rule that is still there, changed or not.
    pub fn same_id(&self) -> impl Iterator<Item = (u32, u32)> {
        let place = |fate: &Fate| match fate {
            Fate::Unchanged(place) | Fate::Changed(place) => Some(*place),
            Fate::Removed => None,
        };
        (0..)
            .zip(&self.fates)
            .filter_map(move |(old, fate)| Some((old, place(fate)?)))
    }

    /// New place of the unchanged rule that had this one.
    pub fn place_of(&self, old: u32) -> Option<u32> {
        match self.fates.get(usize::try_from(old).ok()?)? {
            Fate::Unchanged(place) => Some(*place),
            Fate::Changed(_) | Fate::Removed => None,
        }
    }

    /// Number of rules with the same id and another meaning.
    pub fn changed(&self) -> usize {
        let is_it = |fate: &&Fate| matches!(fate, Fate::Changed(_));
        self.fates.iter().filter(is_it).count()
    }

    /// Number of rules that are gone.
    pub fn removed(&self) -> usize {
        let is_it = |fate: &&Fate| matches!(fate, Fate::Removed);
        self.fates.iter().filter(is_it).count()
    }
}

impl RuleSet {
    /// Let functions that remember their calls go on with what they remember in the unchanged
    /// rules of `old`.
    pub fn share_memory(&mut self, old: &Self, changes: &Changes) {
        for (from, to) in changes.unchanged() {
            let from = usize::try_from(from)
                .ok()
                .and_then(|from| old.programs.get(from));
            let to = usize::try_from(to)
                .ok()
                .and_then(|to| self.programs.get_mut(to));
            if let (Some(from), Some(to)) = (from, to) {
                to.share_memory(from);
            }
        }
    }
}

impl Engine {
    /// Take over from the engine of the old rules, between two packets. Both engines must have been
    /// made with the same limits and seed.
    /// `placement` is that of the new rules, where some run elsewhere.
    pub fn adopt(
        &mut self,
        old: &mut Self,
        placement: Option<Arc<Placement>>,
        changes: &Changes,
    ) -> Adopted {
        self.take_outbox(old, placement, changes);
        for (from, to) in changes.same_id() {
            let from = old.steps.get(super::at(from));
            if let (Some(from), Some(to)) = (from, self.steps.get_mut(super::at(to))) {
                *to = *from;
            }
        }
        self.joins.adopt(&mut old.joins, changes)
    }
}

/// Do both mean the same? Texts for people, and where it stands, may differ.
fn is_same(one: &Property, other: &Property) -> bool {
    let expressions = || one.events.iter().zip(&other.events);
    one.id == other.id
        && one.kind == other.kind
        && one.events.len() == other.events.len()
        && is_same_tree(&one.root, &other.root)
        && expressions().all(|(one, other)| is_same_expression(&one.expression, &other.expression))
}

fn is_same_tree(one: &Node, other: &Node) -> bool {
    match (one, other) {
        (Node::Event(one), Node::Event(other)) => one == other,
        (Node::Operator(one), Node::Operator(other)) => is_same_operator(one, other),
        _ => false,
    }
}

fn is_same_operator(one: &OperatorNode, other: &OperatorNode) -> bool {
    one.operator == other.operator
        && one.window == other.window
        && is_same_tree(&one.left, &other.left)
        && is_same_tree(&one.right, &other.right)
}

/// Equal but for blanks; lists by their entries, which may have changed in the same file.
fn is_same_expression(one: &Expr, other: &Expr) -> bool {
    use expr::Node::{Call, Chain, List};
    let all = |some: &[Expr], others: &[Expr]| {
        let mut pairs = some.iter().zip(others);
        some.len() == others.len() && pairs.all(|(one, other)| is_same_expression(one, other))
    };
    match (&one.node, &other.node) {
        (List(one), List(other)) => one.has_entries_of(other),
        // Functions of one name may differ by the kind of their arguments.
        (Call(one, some), Call(other, others)) => std::ptr::eq(*one, *other) && all(some, others),
        (Chain(one, some), Chain(other, others)) => one == other && all(some, others),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Mode;
    use crate::rules::load::Loader;
    use std::path::Path;

    /// The rules of `folder` as they are now, those in `trees` being one file each.
    fn rules(folder: &Path, trees: &[String], mode: Mode) -> RuleSet {
        for (number, tree) in trees.iter().enumerate() {
            let text = format!("<beginning>{tree}</beginning>");
            std::fs::write(folder.join(format!("{number}.xml")), text).unwrap();
        }
        let mut read = Loader::new(mode, &[]).read(&[folder.display().to_string()]);
        assert_eq!(read.errors(), 0, "{:?}", read.diagnostics);
        read.properties.truncate(trees.len());
        RuleSet::new(read.properties, mode).0
    }

    fn rule(id: u32, delay: u32, description: &str, second: &str) -> String {
        format!(
            r#"<property value="THEN" delay_units="s" delay_min="0+" delay_max="{delay}"
             property_id="{id}" type_property="ATTACK" description="{description}">
             <event event_id="1" description="a" boolean_expression="(tcp.flags == 2)"/>
             <event event_id="2" description="b" boolean_expression="{second}"/></property>"#
        )
    }

    /// Old and new place of what lives on, then numbers: changed, removed, added.
    fn found(changes: &Changes) -> (Vec<(u32, u32)>, [usize; 3]) {
        let numbers = [changes.changed(), changes.removed(), changes.added];
        (changes.unchanged().collect(), numbers)
    }

    #[test]
    fn what_a_rule_means_decides_and_not_its_words_or_place() {
        let folder = tempfile::tempdir().unwrap();
        let of = |trees: &[String]| rules(folder.path(), trees, Mode::Standard);
        let reply = "((tcp.flags == 18) &amp;&amp; (ip.src == ip.dst.1))";
        let old = of(&[
            rule(1, 5, "one", reply),
            rule(2, 5, "two", reply),
            rule(3, 5, "three", reply),
            rule(4, 5, "four", reply),
        ]);
        let blanks = reply.replace(' ', "  ");
        let new = of(&[
            rule(5, 5, "five", reply),
            rule(2, 5, "other words", &blanks),
            rule(1, 6, "one", reply),
            rule(3, 5, "three", "(tcp.flags == 18)"),
        ]);
        let changes = Changes::between(&old, &new);
        assert_eq!(found(&changes), (vec![(1, 1)], [2, 1, 1]));
        let same_id: Vec<_> = changes.same_id().collect();
        assert_eq!(same_id, [(0, 2), (1, 1), (2, 3)]);
        assert_eq!(
            [0, 1, 9].map(|old| changes.place_of(old)),
            [None, Some(1), None]
        );
        let all = vec![(0, 0), (1, 1), (2, 2), (3, 3)];
        assert_eq!(found(&Changes::between(&new, &new)), (all, [0; 3]));
    }

    #[test]
    fn a_list_is_a_part_of_its_rules() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lists")).unwrap();
        let list = |text: &str| std::fs::write(folder.path().join("lists/bad.txt"), text).unwrap();
        let trees = [
            rule(1, 5, "listed", "(#in_list(ip.src, 'bad') == true)"),
            rule(2, 5, "not listed", "(tcp.flags == 18)"),
        ];
        let of = || rules(folder.path(), &trees, Mode::Standard);
        list("192.0.2.1\n");
        let first = of();
        list("# in other words\n192.0.2.1/32\n");
        let (places, _) = found(&Changes::between(&first, &of()));
        assert_eq!(places, [(0, 0), (1, 1)]);
        list("192.0.2.2\n");
        let (places, numbers) = found(&Changes::between(&first, &of()));
        assert_eq!((places, numbers), (vec![(1, 1)], [1, 0, 0]));
    }

    #[test]
    fn nothing_lives_on_in_another_mode() {
        let folder = tempfile::tempdir().unwrap();
        let trees = [rule(1, 5, "one", "(tcp.flags == 18)")];
        let [old, new] =
            [Mode::Standard, Mode::Compat].map(|mode| rules(folder.path(), &trees, mode));
        assert_eq!(found(&Changes::between(&old, &new)), (vec![], [1, 0, 0]));
    }
}
