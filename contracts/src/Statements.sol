// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "./interfaces/ICourt.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title Signatures of bonded workers, one behind the other
library Statements {
    bytes32 internal constant STATEMENT = keccak256("Statement(bytes32 order,bytes32 inputs,bytes32 result)");
    uint256 internal constant SIGNATURE_BYTES = 65;

    /// @notice Whether `proof` is `count` signatures of workers with a seat at the court, in ascending order of address,
    /// under the statement that `inputs` of `order` gave `result`.
    /// @param domain The court's.
    /// @dev Bare `ecrecover`: that a signature has a twin with another s does no harm where each signer counts once, and
    /// the zero address, which stands for a failed recovery, cannot bond.
    function areSigned(
        ICourt court,
        bytes32 domain,
        bytes32 order,
        bytes32 inputs,
        bytes32 result,
        uint256 count,
        bytes calldata proof
    ) internal view returns (bool) {
        if (proof.length != count * SIGNATURE_BYTES) return false;
        bytes32 statement = keccak256(abi.encode(STATEMENT, order, inputs, result));
        bytes32 hash = MessageHashUtils.toTypedDataHash(domain, statement);
        address[] memory signers = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            (bytes32 r, bytes32 s, uint8 v) = _parse(proof, i * SIGNATURE_BYTES);
            signers[i] = ecrecover(hash, v, r, s);
        }
        return court.areBonded(signers);
    }

    function _parse(bytes calldata proof, uint256 start) private pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            let place := add(proof.offset, start)
            r := calldataload(place)
            s := calldataload(add(place, 32))
            v := byte(0, calldataload(add(place, 64)))
        }
    }
}
