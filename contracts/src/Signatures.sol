// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Who signed
library Signatures {
    /// @notice Whether `signature` is `signer`'s under `hash`: by its key (65 bytes, or 64 after EIP-2098; low s), or by its
    /// contract (EIP-1271).
    /// @dev The key first: to ask whether a signer has code costs nearly as much as the recovery. Whoever holds the key of
    /// an account that delegates to code (EIP-7702) commands that code, too.
    function isBy(address signer, bytes32 hash, bytes calldata signature) internal view returns (bool) {
        if (signer == address(0)) return false;
        if (_recovered(hash, signature) == signer) return true;
        return signer.code.length > 0 && SignatureChecker.isValidERC1271SignatureNowCalldata(signer, hash, signature);
    }

    /// @return signer Zero if there is none.
    function _recovered(bytes32 hash, bytes calldata signature) private pure returns (address signer) {
        if (signature.length == 64) {
            (signer,,) = ECDSA.tryRecover(hash, bytes32(signature[:32]), bytes32(signature[32:]));
        } else {
            (signer,,) = ECDSA.tryRecoverCalldata(hash, signature);
        }
    }
}
