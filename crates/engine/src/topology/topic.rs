//! The topic index: a trie over the words of binding keys.

use ahash::{AHashSet, RandomState};
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::binding::{BindingId, BindingList, number};
use super::distinct::empty;

/// All bindings of a topic exchange by their keys.
///
/// A key is split at its dots; `*` stands for one word, `#` for any number of words, none
/// included. An empty key has no words, any other key may have empty ones. Keys that mean the
/// same (`#` and `#.#`) share a node. Adding, removing and
/// finding a binding take time in proportion to the words of its key.
#[derive(Debug)]
pub(super) struct TopicIndex {
    /// The root is number 0; as it is nobody's child, 0 also stands for "no child".
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// Children by ordinary words, found by parent and word.
    children: HashTable<u32>,
    hasher: RandomState,
}

const ROOT: u32 = 0;

#[derive(Debug)]
struct Node {
    parent: u32,
    word: Word,
    /// The child for `*`.
    one: u32,
    /// The child for `#`.
    many: u32,
    /// Number of children by ordinary words.
    literals: u32,
    /// Whether there is another `#` above this one.
    repeated: bool,
    bindings: BindingList,
}

/// A word of a binding key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Word {
    Literal(Box<str>),
    One,
    Many,
}

/// Memory for walking the trie, kept between messages.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Nodes to be looked at, each with the number of words already matched.
    stack: Vec<(u32, u32)>,
    seen: AHashSet<(u32, u32)>,
}

impl Default for TopicIndex {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new(ROOT, Word::Many, false)],
            free: Vec::new(),
            children: HashTable::new(),
            hasher: RandomState::new(),
        }
    }
}

impl Node {
    fn new(parent: u32, word: Word, repeated: bool) -> Self {
        Self {
            parent,
            word,
            one: 0,
            many: 0,
            literals: 0,
            repeated,
            bindings: BindingList::default(),
        }
    }

    fn is_needless(&self) -> bool {
        self.bindings.is_empty() && self.one == 0 && self.many == 0 && self.literals == 0
    }
}

impl TopicIndex {
    /// Adds a binding and returns its place among those of the same key.
    pub(super) fn insert(&mut self, key: &str, id: BindingId) -> u32 {
        let mut node = ROOT;
        let mut below_many = false;
        for word in pattern_words(key) {
            node = match word {
                "*" => self.child(node, Word::One, false),
                "#" => {
                    let child = self.child(node, Word::Many, below_many);
                    below_many = true;
                    child
                }
                word => match self.literal(node, word) {
                    Some(child) => child,
                    None => self.child(node, Word::Literal(word.into()), false),
                },
            };
        }
        self.node_mut(node).bindings.push(id)
    }

    /// Removes a binding by its place and returns the one that stands there now, if any. Nodes
    /// nobody needs any more go.
    pub(super) fn remove(&mut self, key: &str, place: u32) -> Option<BindingId> {
        let mut node = ROOT;
        for word in pattern_words(key) {
            node = match word {
                "*" => self.node(node).one,
                "#" => self.node(node).many,
                word => self.literal(node, word)?,
            };
            if node == ROOT {
                return None;
            }
        }
        let moved = self.node_mut(node).bindings.remove(place);
        while node != ROOT && self.node(node).is_needless() {
            node = self.remove_node(node);
        }
        moved
    }

    /// Calls `found` for the bindings of every key that matches, key by key.
    ///
    /// Every pair of a node and a number of matched words is looked at once. Up to the first `#`
    /// on a path there is only one way to each pair anyway; from the second one on the ways
    /// multiply, and pairs reached before are remembered. So the work is at most the number of
    /// nodes times the number of words, whatever the keys.
    pub(super) fn for_each_match(
        &self,
        key: &str,
        scratch: &mut Scratch,
        mut found: impl FnMut(&[BindingId]),
    ) {
        let words: SmallVec<[&str; 32]> = words(key).collect();
        let Scratch { stack, seen } = scratch;
        stack.clear();
        empty(seen);
        stack.push((ROOT, 0));
        while let Some((id, matched)) = stack.pop() {
            let node = self.node(id);
            if node.repeated && !seen.insert((id, matched)) {
                continue;
            }
            if node.many != 0 {
                stack.push((node.many, matched));
            }
            let Some(word) = words.get(matched as usize) else {
                if !node.bindings.is_empty() {
                    found(node.bindings.as_slice());
                }
                continue;
            };
            if id != ROOT && node.word == Word::Many {
                stack.push((id, matched + 1));
            }
            if node.one != 0 {
                stack.push((node.one, matched + 1));
            }
            if node.literals != 0
                && let Some(child) = self.literal(id, word)
            {
                stack.push((child, matched + 1));
            }
        }
    }

    /// The number of nodes, the root included.
    #[cfg(test)]
    pub(super) fn node_count(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    fn literal(&self, parent: u32, word: &str) -> Option<u32> {
        let hash = self.hash(parent, word);
        let is_it = |&child: &u32| {
            let child = self.node(child);
            child.parent == parent && matches!(&child.word, Word::Literal(it) if **it == *word)
        };
        self.children.find(hash, is_it).copied()
    }

    /// The child for a wildcard, made if need be, or a new child for a word that has none.
    fn child(&mut self, parent: u32, word: Word, repeated: bool) -> u32 {
        let existing = match word {
            Word::One => self.node(parent).one,
            Word::Many => self.node(parent).many,
            Word::Literal(_) => 0,
        };
        if existing != 0 {
            return existing;
        }
        let node = Node::new(parent, word.clone(), repeated);
        let id = match self.free.pop() {
            Some(id) => {
                *self.node_mut(id) = node;
                id
            }
            None => {
                self.nodes.push(node);
                number(self.nodes.len() - 1)
            }
        };
        match word {
            Word::One => self.node_mut(parent).one = id,
            Word::Many => self.node_mut(parent).many = id,
            Word::Literal(word) => {
                self.node_mut(parent).literals += 1;
                let hash = self.hash(parent, &word);
                let Self { children, nodes, hasher, .. } = self;
                children.insert_unique(hash, id, |&id| hash_of(hasher, nodes, id));
            }
        }
        id
    }

    /// Removes a node without bindings and children, and returns its parent.
    fn remove_node(&mut self, id: u32) -> u32 {
        let Node { parent, word, .. } = self.node(id);
        let (parent, word) = (*parent, word.clone());
        match &word {
            Word::One => self.node_mut(parent).one = 0,
            Word::Many => self.node_mut(parent).many = 0,
            Word::Literal(word) => {
                self.node_mut(parent).literals -= 1;
                let hash = self.hash(parent, word);
                if let Ok(entry) = self.children.find_entry(hash, |&child| child == id) {
                    entry.remove();
                }
            }
        }
        *self.node_mut(id) = Node::new(ROOT, Word::Many, false);
        self.free.push(id);
        parent
    }

    fn hash(&self, parent: u32, word: &str) -> u64 {
        self.hasher.hash_one((parent, word))
    }

    #[expect(clippy::indexing_slicing, reason = "ids are indexes and nodes never shrinks")]
    fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "ids are indexes and nodes never shrinks")]
    fn node_mut(&mut self, id: u32) -> &mut Node {
        &mut self.nodes[id as usize]
    }
}

fn hash_of(hasher: &RandomState, nodes: &[Node], id: u32) -> u64 {
    match nodes.get(id as usize) {
        Some(Node { parent, word: Word::Literal(word), .. }) => hasher.hash_one((*parent, &**word)),
        _ => 0,
    }
}

/// The words of a binding key. A `#` right after another one adds nothing and is left out.
fn pattern_words(key: &str) -> impl Iterator<Item = &str> {
    let mut after_many = false;
    words(key).filter(move |&word| {
        let repeats = after_many && word == "#";
        after_many = word == "#";
        !repeats
    })
}

fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').filter(move |_| !key.is_empty())
}

#[cfg(test)]
pub(super) mod tests;
