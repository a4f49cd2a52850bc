// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVerifier} from "./interfaces/IVerifier.sol";

/// @title The smallest useful verifier
/// @notice Params are a SHA-256 digest, a result is anything that has it. For developers to start from: a verifier decides
/// from bytes alone, in one `view` call, and answers false to what it does not understand.
/// @dev A preimage is as good from anybody as from its finder, so nothing here ties it to `worker`. That is safe at the
/// market, where only the order's pool settles and nobody else gains by copying; it would not be where anybody may.
contract PreimageVerifier is IVerifier {
    /// @inheritdoc IVerifier
    function verify(bytes32, address, bytes calldata params, bytes calldata result) external pure returns (bool) {
        return params.length == 32 && sha256(result) == bytes32(params[:32]);
    }
}
