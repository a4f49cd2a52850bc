// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "./interfaces/ICourt.sol";
import {IProofVerifier} from "./interfaces/IProofVerifier.sol";
import {IVerifier} from "./interfaces/IVerifier.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title Results signed by so many bonded workers
/// @notice The proof is SIGNATURES signatures of 65 bytes, one behind the other in ascending order of their signers'
/// addresses, under the court's `Statement` of order, params and result. Workers sign with keys, not with contracts.
/// @dev Bare `ecrecover`: that a signature has a twin with another s does no harm where each signer counts once, and the
/// zero address, which stands for a failed recovery, cannot bond. Who is paid is not signed: only the order's pool can settle, and pays those who signed by voucher.
contract Quorum is IProofVerifier {
    ICourt public immutable COURT;
    uint256 public immutable SIGNATURES;
    /// @dev A copy, for the price of reading it. An order's id contains the chain, so it need not be made anew on a fork.
    bytes32 private immutable DOMAIN;

    bytes32 private constant STATEMENT = keccak256("Statement(bytes32 order,bytes32 inputs,bytes32 result)");
    uint256 private constant SIGNATURE_BYTES = 65;

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
        if (proof.length != SIGNATURES * SIGNATURE_BYTES) return false;
        bytes32 statement = keccak256(abi.encode(STATEMENT, order, keccak256(params), keccak256(result)));
        bytes32 hash = MessageHashUtils.toTypedDataHash(DOMAIN, statement);
        address[] memory signers = new address[](SIGNATURES);
        for (uint256 i = 0; i < signers.length; ++i) {
            (bytes32 r, bytes32 s, uint8 v) = _parse(proof, i * SIGNATURE_BYTES);
            signers[i] = ecrecover(hash, v, r, s);
        }
        return COURT.areBonded(signers);
    }

    function _parse(bytes calldata proof, uint256 start) internal pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            let at := add(proof.offset, start)
            r := calldataload(at)
            s := calldataload(add(at, 32))
            v := byte(0, calldataload(add(at, 64)))
        }
    }
}
