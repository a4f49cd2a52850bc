// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchProof} from "../src/BatchProof.sol";
import {PoolWord} from "../src/PoolWord.sol";
import {Base} from "./Base.sol";

contract PoolWordTest is Base {
    PoolWord internal word = new PoolWord();

    function test_verify_acceptsWhateverTheMarketShows() public view {
        assertTrue(word.verify(0, address(0), "", ""), "result");
        assertTrue(word.verifyWithProof(0, address(0), "", "", "x"), "batch");
    }

    /// @dev The vector that the oracle's own tree is tested against.
    function test_batchProof_vector() public pure {
        bytes32 first = BatchProof.leafOf(0, "a");
        bytes32 second = BatchProof.leafOf(1, "b");
        bytes32 third = BatchProof.leafOf(3, "");
        bytes32 pair = first < second ? keccak256(abi.encode(first, second)) : keccak256(abi.encode(second, first));
        bytes32 root = pair < third ? keccak256(abi.encode(pair, third)) : keccak256(abi.encode(third, pair));
        bytes32[] memory path = new bytes32[](1);
        path[0] = pair;
        assertTrue(BatchProof.isIn(root, 3, "", path), "path");
        assertEq(root, ROOT, "root");
    }

    bytes32 private constant ROOT = 0xa7a0133fd26e4afa655060db1f0bf4a1683ff8d4823f0e62a32fb3a3f952661c;
}
