// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// @title What the root of a batch says
/// @notice A Merkle tree over the results of a batch, in order. A leaf is `keccak256(keccak256(abi.encode(index,
/// keccak256(result))))`, with the task's index in the bag; a node is the hash of its two children, the smaller first; an
/// odd one at the end of a row moves up as it is.
library BatchProof {
    function leafOf(uint256 index, bytes memory result) internal pure returns (bytes32) {
        // Twice, so that no inner node can pass for a leaf.
        return keccak256(abi.encode(keccak256(abi.encode(index, keccak256(result)))));
    }

    /// @notice Whether `result` is what the batch's root has for the task `index`.
    function isIn(bytes32 root, uint256 index, bytes memory result, bytes32[] memory path)
        internal
        pure
        returns (bool)
    {
        return MerkleProof.verify(path, root, leafOf(index, result));
    }
}
