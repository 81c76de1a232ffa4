//! The topic index: a trie over the words of binding keys.

use ahash::{AHashSet, RandomState};
use hashbrown::HashTable;

use super::binding::{BindingId, BindingList, number};
use super::distinct::{KEPT, empty};
use super::steps::{Steps, TooManySteps};
use crate::give_back::is_roomy;

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
    /// Whether there is another `#` above this one, so that there may be many ways to it.
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
    /// Nodes that the words so far lead to, other than those of `#`.
    reached: Vec<u32>,
    /// Those with the next word.
    next: Vec<u32>,
    /// Nodes of `#` that were reached, as far as something is below them.
    many: Vec<u32>,
    /// Of these, those that there is more than one way to.
    repeated: AHashSet<u32>,
}

impl Scratch {
    /// Forgets the message before. One that led to very many nodes gives their memory back.
    fn clear(&mut self) {
        for nodes in [&mut self.reached, &mut self.next, &mut self.many] {
            nodes.clear();
            nodes.shrink_to(KEPT);
        }
        empty(&mut self.repeated);
    }
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

    /// Whether a word may lead from it to another.
    const fn leads_on(&self) -> bool {
        self.one != 0 || self.literals != 0
    }

    fn is_needless(&self) -> bool {
        self.bindings.is_empty() && !self.leads_on() && self.many == 0
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
        self.give_back();
        moved
    }

    /// Calls `found` for the bindings of every key that matches, key by key.
    ///
    /// Goes through the words with all nodes that those so far lead to. A `#` that was reached stays for
    /// the rest of the key. Any other node is reached from its parent alone, so that each is there once,
    /// however many ways lead to it. A step is a look at one of them with one word.
    ///
    /// # Errors
    /// [`TooManySteps`] when the bound of `steps` is met. Some bindings may have been found by then.
    pub(super) fn for_each_match(
        &self,
        key: &str,
        scratch: &mut Scratch,
        steps: &mut Steps,
        mut found: impl FnMut(&[BindingId]),
    ) -> Result<(), TooManySteps> {
        scratch.clear();
        let Scratch { reached, next, many, repeated } = scratch;
        reached.push(ROOT);
        for word in words(key) {
            next.clear();
            steps.look(reached.len(), word)?;
            for &id in reached.iter() {
                let node = self.node(id);
                self.enter_many(node, many, repeated, &mut found);
                self.follow(id, node, word, next);
            }
            steps.look(many.len(), word)?;
            for &id in many.iter() {
                self.follow(id, self.node(id), word, next);
            }
            std::mem::swap(reached, next);
            if reached.is_empty() && many.is_empty() {
                break;
            }
        }
        for &id in reached.iter() {
            let node = self.node(id);
            self.enter_many(node, many, repeated, &mut found);
            found(node.bindings.as_slice());
        }
        Ok(())
    }

    /// Goes from a node to its `#`, which takes all words to come, whatever they are.
    fn enter_many(
        &self,
        node: &Node,
        many: &mut Vec<u32>,
        repeated: &mut AHashSet<u32>,
        found: &mut impl FnMut(&[BindingId]),
    ) {
        let id = node.many;
        if id == 0 {
            return;
        }
        let node = self.node(id);
        if node.repeated && !repeated.insert(id) {
            return;
        }
        found(node.bindings.as_slice());
        if node.leads_on() {
            many.push(id);
        }
    }

    /// Goes from a node to those that the next word leads to.
    fn follow(&self, id: u32, node: &Node, word: &str, next: &mut Vec<u32>) {
        if node.one != 0 {
            next.push(node.one);
        }
        if node.literals != 0 {
            next.extend(self.literal(id, word));
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

    /// Gives back the room of nodes that went, if few are left: these get other numbers then.
    fn give_back(&mut self) {
        if !is_roomy(self.nodes.len() - self.free.len(), self.nodes.capacity()) {
            return;
        }
        let mut free = std::mem::take(&mut self.free);
        free.sort_unstable();
        let mut free = free.into_iter().peekable();
        // The root comes first, so that 0 still stands for "no child".
        let mut nodes = Vec::new();
        let mut numbers = Vec::with_capacity(self.nodes.len());
        for (id, node) in (0..).zip(std::mem::take(&mut self.nodes)) {
            numbers.push(number(nodes.len()));
            if free.next_if_eq(&id).is_none() {
                nodes.push(node);
            }
        }
        let new = |id: u32| numbers.get(id as usize).copied().unwrap_or(ROOT);
        for Node { parent, one, many, .. } in &mut nodes {
            [*parent, *one, *many] = [new(*parent), new(*one), new(*many)];
        }
        let hasher = &self.hasher;
        self.children = HashTable::with_capacity(nodes.len());
        for (id, node) in (0..).zip(&nodes) {
            if let Word::Literal(word) = &node.word {
                let hash = hasher.hash_one((node.parent, &**word));
                self.children.insert_unique(hash, id, |&id| hash_of(hasher, &nodes, id));
            }
        }
        self.nodes = nodes;
    }

    fn hash(&self, parent: u32, word: &str) -> u64 {
        self.hasher.hash_one((parent, word))
    }

    #[expect(clippy::indexing_slicing, reason = "ids are indexes of nodes that are there")]
    fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "ids are indexes of nodes that are there")]
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
