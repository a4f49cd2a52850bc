// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IProofVerifier} from "./interfaces/IProofVerifier.sol";
import {IVerifier} from "./interfaces/IVerifier.sol";

/// @title The pool's word is enough
/// @notice Accepts whatever an offer's pool settles with: for a pool that its requesters trust, such as a laboratory's own.
/// An offer says so by naming this contract, for everybody to see before they order. Requesters who do not know the pool
/// look for an offer whose verifier is a program, a quorum or the court.
contract PoolWord is IProofVerifier {
    /// @inheritdoc IVerifier
    function verify(bytes32, address, bytes calldata, bytes calldata) external pure returns (bool) {
        return true;
    }

    /// @inheritdoc IProofVerifier
    function verifyWithProof(bytes32, address, bytes calldata, bytes calldata, bytes calldata)
        external
        pure
        returns (bool)
    {
        return true;
    }
}
