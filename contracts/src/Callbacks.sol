// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ITaskCallback} from "./interfaces/ITaskCallback.sol";

/// @title Calling back contracts that nobody trusts
library Callbacks {
    /// @notice The settler pays for this gas: a callback stores a few words, and whoever needs more reads the event.
    uint256 internal constant MAX_GAS = 500_000;
    uint256 internal constant MAX_REASON_BYTES = 256;
    /// @dev What is spent between the gas check and the callback's first instruction: a cold account and what it
    /// delegates to (EIP-7702), 2,600 each, and stack work.
    uint256 private constant OVERHEAD = 8000;

    /// @notice The settler must send more gas: what remains would starve the callback.
    error CallbackStarved(uint256 callbackGas);

    /// @notice Calls `receiveResult(id, result)` with exactly `callbackGas`, and survives whatever it does.
    /// @dev Solidity's own `try` would copy all of the return data at the settler's expense, and would not notice
    /// that the callback got less gas than promised: under the 63/64 rule a settler could starve it and be paid.
    /// @return success Whether it came to its end.
    /// @return reason What it reverted with, cut after MAX_REASON_BYTES.
    function deliver(bytes32 id, address callback, uint256 callbackGas, bytes memory result)
        internal
        returns (bool success, bytes memory reason)
    {
        bytes memory message = abi.encodeCall(ITaskCallback.receiveResult, (id, result));
        if (gasleft() < callbackGas + callbackGas / 63 + OVERHEAD) revert CallbackStarved(callbackGas);
        uint256 length;
        assembly ("memory-safe") {
            success := call(callbackGas, callback, 0, add(message, 0x20), mload(message), 0, 0)
            length := returndatasize()
        }
        if (success) return (true, "");

        reason = new bytes(length < MAX_REASON_BYTES ? length : MAX_REASON_BYTES);
        assembly ("memory-safe") {
            returndatacopy(add(reason, 0x20), 0, mload(reason))
        }
    }
}
