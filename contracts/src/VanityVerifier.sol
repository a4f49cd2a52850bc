// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {VanityProof} from "./VanityProof.sol";

/// @title Proof of a Bitcoin vanity address of a compressed key
/// @notice P2PKH ("1…") and P2WPKH ("bc1q…") addresses are two spellings of one hash160: the wanted ranges say which is
/// meant, and either costs the same. The protocol is told in `VanityProof`.
contract VanityVerifier is VanityProof {
    function _hashOf(uint256 image, uint256 x, uint256) internal pure override returns (uint256) {
        // forge-lint: disable-next-line(unsafe-typecast)
        bytes1 prefix = bytes1(uint8(2 + (image & 1)));
        return uint160(ripemd160(abi.encodePacked(sha256(abi.encodePacked(prefix, x)))));
    }
}
