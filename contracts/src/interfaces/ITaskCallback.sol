// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Receiver of results (ERC-1154 oracle consumer)
interface ITaskCallback {
    /// @notice Hands over the result of an order that named this contract as its callback.
    /// @dev Anybody can place an order that names any contract: check the caller (the market) and that `id` is an
    /// order of yours. Runs with the order's `callbackGas`; a revert is recorded and changes nothing else.
    function receiveResult(bytes32 id, bytes calldata result) external;
}
