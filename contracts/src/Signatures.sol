// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Who signed
library Signatures {
    /// @notice Whether `signature` is `signer`'s under `hash`: by its key (65 bytes, low s), or by its contract (EIP-1271).
    /// @dev The key first: to ask whether a signer has code costs nearly as much as the recovery. Whoever holds the key of
    /// an account that delegates to code (EIP-7702) commands that code, too.
    function isBy(address signer, bytes32 hash, bytes calldata signature) internal view returns (bool) {
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(hash, signature);
        if (failure == ECDSA.RecoverError.NoError && recovered == signer) return true;
        return signer.code.length > 0 && SignatureChecker.isValidERC1271SignatureNowCalldata(signer, hash, signature);
    }
}
