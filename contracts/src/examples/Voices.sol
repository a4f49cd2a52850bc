// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVerifier} from "../interfaces/IVerifier.sol";

/// @title Answers that name their worker
/// @notice A result is `worker (20) ‖ word (32)`. The word is taken as it is; that the worker is the one who is paid lets a
/// contract count workers, and refuse a second answer of the same.
contract Voices is IVerifier {
    /// @inheritdoc IVerifier
    function verify(bytes32, address worker, bytes calldata, bytes calldata result) external pure returns (bool) {
        return result.length == 52 && address(bytes20(result[:20])) == worker;
    }
}
