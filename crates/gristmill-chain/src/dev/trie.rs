//! A persistent radix trie over 32-byte keys, which is a Merkle Patricia trie as soon as its values have an encoding.
//!
//! Cloning costs one reference count, so a chain keeps a whole version of its state for every recent block, readers work
//! on a version of their own, and a rejected batch is forgotten by dropping the new version. Hashes are remembered in
//! the nodes: a block re-hashes only the paths it touched.

use std::sync::{Arc, OnceLock};

use alloy::primitives::{B256, keccak256};
use alloy_rlp::{BufMut, Encodable, Header};

/// Root of a trie without entries: `keccak(rlp(""))`.
pub(crate) use alloy::consensus::constants::EMPTY_ROOT_HASH;

const NIBBLES: usize = 64;

/// What a value contributes to the root hash.
pub(crate) trait Commit {
    /// Appends the bytes that the Ethereum trie stores for this value.
    fn encode(&self, out: &mut Vec<u8>);
}

/// The trie. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Trie<V> {
    root: Option<Arc<Node<V>>>,
    len: usize,
}

#[derive(Debug)]
enum Node<V> {
    Leaf { key: B256, value: V, reference: OnceLock<(usize, Reference)> },
    Branch(Branch<V>),
}

/// Children that agree on the nibbles before `at` and differ there. What the Ethereum trie calls an extension is a
/// branch met at a smaller depth than its `at`.
#[derive(Debug)]
struct Branch<V> {
    at: usize,
    /// Any key below this branch: it spells the nibbles that the children share.
    key: B256,
    children: [Option<Arc<Node<V>>>; 16],
    reference: OnceLock<Reference>,
}

/// How a parent names a child: its RLP if shorter than 32 bytes, else the RLP of its hash.
#[derive(Clone, Copy, Debug)]
struct Reference {
    len: u8,
    bytes: [u8; 33],
}

impl<V> Clone for Trie<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<V: Clone> Trie<V> {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &B256) -> Option<&V> {
        let mut node = self.root.as_ref()?;
        loop {
            match node.as_ref() {
                Node::Leaf { key: found, value, .. } => return (found == key).then_some(value),
                // A key that differs before `at` ends at a leaf with another key, which the arm above refuses.
                Node::Branch(branch) => node = branch.children[nibble(key, branch.at)].as_ref()?,
            }
        }
    }

    pub(crate) fn insert(&mut self, key: B256, value: V) {
        let (root, added) = match self.root.take() {
            None => (leaf(key, value), true),
            Some(root) => insert(root, key, value),
        };
        self.root = Some(root);
        self.len += usize::from(added);
    }

    pub(crate) fn remove(&mut self, key: &B256) {
        if self.get(key).is_some() {
            let root = self.root.take().expect("a key was found below it");
            self.root = remove(&root, key);
            self.len -= 1;
        }
    }

    /// All entries in the order of their keys.
    pub(crate) fn iter(&self) -> Iter<'_, V> {
        Iter { waiting: self.root.iter().map(AsRef::as_ref).collect() }
    }
}

impl<V: Commit + Clone> Trie<V> {
    pub(crate) fn root_hash(&self) -> B256 {
        let Some(root) = &self.root else { return EMPTY_ROOT_HASH };
        let mut rlp = Vec::with_capacity(544);
        encode_node(root, 0, &mut rlp);
        keccak256(&rlp)
    }
}

/// Entries in the order of their keys.
pub(crate) struct Iter<'a, V> {
    waiting: Vec<&'a Node<V>>,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (&'a B256, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.waiting.pop()? {
                Node::Leaf { key, value, .. } => return Some((key, value)),
                Node::Branch(branch) => self.waiting.extend(branch.children.iter().rev().flatten().map(AsRef::as_ref)),
            }
        }
    }
}

fn leaf<V>(key: B256, value: V) -> Arc<Node<V>> {
    Arc::new(Node::Leaf { key, value, reference: OnceLock::new() })
}

fn branch<V>(at: usize, key: B256, children: [Option<Arc<Node<V>>>; 16]) -> Arc<Node<V>> {
    Arc::new(Node::Branch(Branch { at, key, children, reference: OnceLock::new() }))
}

fn nibble(key: &B256, at: usize) -> usize {
    let byte = key[at / 2];
    usize::from(if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 })
}

/// The first nibble in which the keys differ, `NIBBLES` if they are equal.
fn first_difference(a: &B256, b: &B256) -> usize {
    match a.iter().zip(b.iter()).position(|(a, b)| a != b) {
        None => NIBBLES,
        Some(byte) => byte * 2 + usize::from((a[byte] ^ b[byte]) & 0xf0 == 0),
    }
}

fn insert<V: Clone>(mut node: Arc<Node<V>>, key: B256, value: V) -> (Arc<Node<V>>, bool) {
    // Nobody else has this version: no need for a copy.
    if let Some(Node::Branch(branch)) = Arc::get_mut(&mut node)
        && first_difference(&branch.key, &key) >= branch.at
    {
        branch.reference.take();
        let slot = &mut branch.children[nibble(&key, branch.at)];
        let (child, added) = match slot.take() {
            None => (leaf(key, value), true),
            Some(child) => insert(child, key, value),
        };
        *slot = Some(child);
        return (node, added);
    }
    match node.as_ref() {
        Node::Leaf { key: other, .. } => match first_difference(other, &key) {
            NIBBLES => (leaf(key, value), false),
            at => (split(at, *other, node, key, value), true),
        },
        Node::Branch(old) => {
            let differs_at = first_difference(&old.key, &key);
            if differs_at < old.at {
                return (split(differs_at, old.key, node, key, value), true);
            }
            let mut children = old.children.clone();
            let slot = &mut children[nibble(&key, old.at)];
            let (child, added) = match slot.take() {
                None => (leaf(key, value), true),
                Some(child) => insert(child, key, value),
            };
            *slot = Some(child);
            (branch(old.at, old.key, children), added)
        }
    }
}

fn split<V: Clone>(at: usize, old_key: B256, old: Arc<Node<V>>, key: B256, value: V) -> Arc<Node<V>> {
    let mut children: [Option<Arc<Node<V>>>; 16] = Default::default();
    children[nibble(&old_key, at)] = Some(old);
    children[nibble(&key, at)] = Some(leaf(key, value));
    branch(at, key, children)
}

/// The node without `key`, which must be there.
fn remove<V: Clone>(node: &Arc<Node<V>>, key: &B256) -> Option<Arc<Node<V>>> {
    let Node::Branch(old) = node.as_ref() else { return None };
    let mut children = old.children.clone();
    let slot = &mut children[nibble(key, old.at)];
    *slot = remove(slot.as_ref().expect("the key is below"), key);
    let mut left = children.iter().flatten();
    let first = left.next().expect("a branch has two children or more").clone();
    if left.next().is_none() {
        return Some(first);
    }
    let sample = *sample_key(&first);
    Some(branch(old.at, sample, children))
}

fn sample_key<V>(node: &Node<V>) -> &B256 {
    match node {
        Node::Leaf { key, .. } => key,
        Node::Branch(branch) => &branch.key,
    }
}

/// RLP of a node met at nibble `depth`.
fn encode_node<V: Commit>(node: &Node<V>, depth: usize, out: &mut Vec<u8>) {
    match node {
        Node::Leaf { key, value, .. } => {
            let mut bytes = Vec::with_capacity(128);
            value.encode(&mut bytes);
            encode_short(&compact_path(key, depth, NIBBLES, true), &bytes, out);
        }
        Node::Branch(branch) if branch.at > depth => {
            let path = compact_path(&branch.key, depth, branch.at, false);
            let child = branch_reference(branch);
            let mut payload = Vec::with_capacity(70);
            path.as_slice().encode(&mut payload);
            payload.extend_from_slice(child.as_slice());
            Header { list: true, payload_length: payload.len() }.encode(out);
            out.extend_from_slice(&payload);
        }
        Node::Branch(branch) => encode_branch(branch, out),
    }
}

fn encode_branch<V: Commit>(branch: &Branch<V>, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(532);
    for child in &branch.children {
        match child {
            None => payload.put_u8(alloy_rlp::EMPTY_STRING_CODE),
            Some(child) => payload.extend_from_slice(node_reference(child, branch.at + 1).as_slice()),
        }
    }
    // Keys have one length, so no value ever ends at a branch.
    payload.put_u8(alloy_rlp::EMPTY_STRING_CODE);
    Header { list: true, payload_length: payload.len() }.encode(out);
    out.extend_from_slice(&payload);
}

fn encode_short(path: &[u8], value: &[u8], out: &mut Vec<u8>) {
    Header { list: true, payload_length: path.length() + value.length() }.encode(out);
    path.encode(out);
    value.encode(out);
}

fn node_reference<V: Commit>(node: &Node<V>, depth: usize) -> Reference {
    match node {
        Node::Leaf { reference, .. } => {
            // The same leaf is met deeper after a sibling arrived; then what it remembered is of no use any more.
            let (known_at, known) = reference.get_or_init(|| (depth, Reference::of(node, depth)));
            if *known_at == depth { *known } else { Reference::of(node, depth) }
        }
        Node::Branch(branch) if branch.at == depth => branch_reference(branch),
        Node::Branch(_) => Reference::of(node, depth),
    }
}

fn branch_reference<V: Commit>(branch: &Branch<V>) -> Reference {
    *branch.reference.get_or_init(|| {
        let mut rlp = Vec::with_capacity(544);
        encode_branch(branch, &mut rlp);
        Reference::of_rlp(&rlp)
    })
}

impl Reference {
    fn of<V: Commit>(node: &Node<V>, depth: usize) -> Self {
        let mut rlp = Vec::with_capacity(160);
        encode_node(node, depth, &mut rlp);
        Self::of_rlp(&rlp)
    }

    fn of_rlp(rlp: &[u8]) -> Self {
        let mut bytes = [0; 33];
        if rlp.len() < 32 {
            bytes[..rlp.len()].copy_from_slice(rlp);
            return Self { len: rlp.len() as u8, bytes };
        }
        bytes[0] = alloy_rlp::EMPTY_STRING_CODE + 32;
        bytes[1..].copy_from_slice(keccak256(rlp).as_slice());
        Self { len: 33, bytes }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Nibbles `from..to` of a key in the trie's hex-prefix encoding.
fn compact_path(key: &B256, from: usize, to: usize, is_leaf: bool) -> Vec<u8> {
    let odd = !(to - from).is_multiple_of(2);
    let flag = (u8::from(is_leaf) << 5) | (u8::from(odd) << 4);
    let mut path = Vec::with_capacity(33);
    let mut next = from;
    if odd {
        path.push(flag | nibble(key, from) as u8);
        next += 1;
    } else {
        path.push(flag);
    }
    while next < to {
        path.push((nibble(key, next) << 4 | nibble(key, next + 1)) as u8);
        next += 2;
    }
    path
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy::primitives::U256;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Number(U256);

    impl Commit for Number {
        fn encode(&self, out: &mut Vec<u8>) {
            Encodable::encode(&self.0, out);
        }
    }

    fn reference_root(entries: &BTreeMap<B256, Number>) -> B256 {
        alloy_trie::root::storage_root(entries.iter().map(|(key, value)| (*key, value.0)))
    }

    /// Keys that share long prefixes, so that every kind of split and collapse happens.
    fn key() -> impl Strategy<Value = B256> {
        (0usize..32, any::<u8>(), any::<u8>()).prop_map(|(at, byte, last)| {
            let mut key = [0; 32];
            key[at] = byte;
            key[31] = last & 3;
            B256::from(key)
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference_trie(steps in prop::collection::vec((key(), 0u64..4, any::<bool>()), 1..120)) {
            let mut trie = Trie::default();
            let mut map = BTreeMap::new();
            let mut versions = Vec::new();
            for (key, value, keep) in steps {
                if value == 0 {
                    trie.remove(&key);
                    map.remove(&key);
                } else {
                    // Long values too: short ones are stored inside their parents.
                    let value = Number(if value == 1 { U256::MAX } else { U256::from(value) });
                    trie.insert(key, value);
                    map.insert(key, value);
                }
                prop_assert_eq!(trie.root_hash(), reference_root(&map));
                prop_assert_eq!(trie.len(), map.len());
                // A version that nobody keeps is changed in place.
                if keep {
                    versions.push((trie.clone(), map.clone()));
                }
            }
            for (trie, map) in versions {
                prop_assert_eq!(trie.root_hash(), reference_root(&map));
                prop_assert!(trie.iter().eq(map.iter()));
                for (key, value) in &map {
                    prop_assert_eq!(trie.get(key), Some(value));
                }
            }
        }
    }
}
