//! The Merkle tree over a batch of results, as `BatchProof.sol` reads it.
//!
//! A leaf is `keccak256(keccak256(abi.encode(index, keccak256(result))))`; a node is the hash of its two children, the
//! smaller first; an odd one at the end of a row moves up as it is. Failed tasks have no leaf.

use alloy::primitives::{B256, U256, keccak256};

/// What the tree says of a task's result.
#[must_use]
pub fn leaf(index: u64, result: &[u8]) -> B256 {
    let words = [B256::from(U256::from(index)), keccak256(result)].concat();
    // Twice, so that no inner node can pass for a leaf.
    keccak256(keccak256(words))
}

/// Zero for a batch without results.
#[must_use]
pub fn root(leaves: &[B256]) -> B256 {
    let mut row = leaves.to_vec();
    while row.len() > 1 {
        row = above(&row);
    }
    row.first().copied().unwrap_or_default()
}

/// What shows that the leaf at `position` is in the tree: its neighbours on the way up.
#[must_use]
pub fn path(leaves: &[B256], position: usize) -> Vec<B256> {
    let (mut row, mut position, mut path) = (leaves.to_vec(), position, Vec::new());
    while row.len() > 1 {
        path.extend(row.get(position ^ 1));
        row = above(&row);
        position /= 2;
    }
    path
}

#[must_use]
pub fn is_in(root: B256, leaf: B256, path: &[B256]) -> bool {
    path.iter().fold(leaf, |node, neighbour| parent(node, *neighbour)) == root
}

fn above(row: &[B256]) -> Vec<B256> {
    let node = |pair: &[B256]| match pair {
        [left, right] => parent(*left, *right),
        odd => odd[0],
    };
    row.chunks(2).map(node).collect()
}

fn parent(one: B256, other: B256) -> B256 {
    let (first, second) = if one < other { (one, other) } else { (other, one) };
    keccak256([first, second].concat())
}

#[cfg(test)]
mod tests {
    use alloy::primitives::b256;

    use super::*;

    /// The same vector is in `contracts/test/PoolWord.t.sol`.
    #[test]
    fn the_tree_is_that_of_the_contract() {
        let leaves = [leaf(0, b"a"), leaf(1, b"b"), leaf(3, b"")];
        assert_eq!(root(&leaves), b256!("a7a0133fd26e4afa655060db1f0bf4a1683ff8d4823f0e62a32fb3a3f952661c"));
    }

    #[test]
    fn every_leaf_has_a_path_and_no_other_result_has_one() {
        for size in 1..=33_u64 {
            let leaves: Vec<B256> = (0..size).map(|index| leaf(index, &index.to_be_bytes())).collect();
            let root = root(&leaves);
            for index in 0..size {
                let path = path(&leaves, index as usize);
                assert!(is_in(root, leaf(index, &index.to_be_bytes()), &path), "{index} of {size}");
                assert!(!is_in(root, leaf(index, b"another"), &path), "{index} of {size}");
                assert!(!is_in(root, leaf(index + 1, &index.to_be_bytes()), &path), "{index} of {size}");
            }
        }
        assert_eq!(root(&[]), B256::ZERO);
    }
}
