// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Spender that acts in the transaction that approves it
interface IApprovalReceiver {
    /// @notice Called by the token after `from` has approved this contract for `amount`.
    /// @dev Believe the arguments only when the token itself is the caller.
    function receiveApproval(address from, uint256 amount, address token, bytes calldata data) external;
}
