// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {VanityProof} from "./VanityProof.sol";

/// @title Proof of an Ethereum vanity address
/// @notice The protocol is told in `VanityProof`; the wanted ranges are of the address itself. Capital letters are a
/// checksum's: who wants those gives the ranges of the letters and checks the spelling off chain.
contract EthereumVanityVerifier is VanityProof {
    function _hashOf(uint256 image, uint256 x, uint256 y) internal pure override returns (uint256) {
        uint256 imageY = (y & 1) == (image & 1) ? y : P - y;
        return uint160(uint256(keccak256(abi.encodePacked(x, imageY))));
    }
}
