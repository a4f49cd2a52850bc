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
        return court.areBonded(_signers(hash, count, proof));
    }

    /// @dev Five of these are to cost little more than one: in Solidity each would be 400 gas dearer.
    function _signers(bytes32 hash, uint256 count, bytes calldata proof)
        private
        view
        returns (address[] memory signers)
    {
        signers = new address[](count);
        assembly ("memory-safe") {
            // Behind the array, where nothing is yet: hash, v, r, s.
            let input := mload(0x40)
            mstore(input, hash)
            let signature := proof.offset
            let output := add(signers, 0x20)
            for { let end := add(signature, proof.length) } lt(signature, end) {} {
                mstore(add(input, 0x20), byte(0, calldataload(add(signature, 0x40))))
                calldatacopy(add(input, 0x40), signature, 0x40)
                // Answers nothing for what is no signature: the zero of the new array stays.
                pop(staticcall(gas(), 1, input, 0x80, output, 0x20))
                signature := add(signature, SIGNATURE_BYTES)
                output := add(output, 0x20)
            }
        }
    }
}
