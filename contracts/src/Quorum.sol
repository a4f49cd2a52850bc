// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Statements} from "./Statements.sol";
import {ICourt} from "./interfaces/ICourt.sol";
import {IProofVerifier} from "./interfaces/IProofVerifier.sol";
import {IVerifier} from "./interfaces/IVerifier.sol";

/// @title Results signed by so many bonded workers
/// @notice The proof is SIGNATURES signatures of 65 bytes, one behind the other in ascending order of their signers'
/// addresses, under the court's `Statement` of order, params and result. Workers sign with keys, not with contracts.
/// @dev Who is paid is not signed: only the order's pool can settle, and pays those who signed by voucher.
contract Quorum is IProofVerifier {
    ICourt public immutable COURT;
    uint256 public immutable SIGNATURES;
    /// @dev A copy, for the price of reading it. An order's id contains the chain, so it need not be made anew on a fork.
    bytes32 private immutable DOMAIN;

    error NoSignatures();

    constructor(ICourt court, uint256 signatures) {
        if (signatures == 0) revert NoSignatures();
        COURT = court;
        SIGNATURES = signatures;
        DOMAIN = court.domainSeparator();
    }

    /// @inheritdoc IVerifier
    /// @dev Nothing is accepted without signatures.
    function verify(bytes32, address, bytes calldata, bytes calldata) external pure returns (bool) {
        return false;
    }

    /// @inheritdoc IProofVerifier
    function verifyWithProof(bytes32 order, address, bytes calldata params, bytes calldata result, bytes calldata proof)
        external
        view
        returns (bool)
    {
        return Statements.areSigned(COURT, DOMAIN, order, keccak256(params), keccak256(result), SIGNATURES, proof);
    }
}
