// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IApprovalReceiver} from "./IApprovalReceiver.sol";

/// @title Accounts in one token
/// @notice What is in an account is its owner's: only the owner moves it, in one transaction and without asking anybody.
interface ILedger is IApprovalReceiver {
    event Deposited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, address indexed to, uint256 amount);

    error ZeroAddress();
    error InvalidReceiver(address to);
    error NotToken(address caller);
    error UnknownCall(bytes data);
    error AccountTooLow(address account, uint256 balance, uint256 needed);

    /// @notice Pulls `amount` from the caller's wallet into its account. In one transaction with the approval:
    /// `RLC.approveAndCall(ledger, amount, "")`.
    function deposit(uint256 amount) external;

    /// @notice Same, with the approval as a signature. A permit that somebody else has already used does no harm.
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Moves `amount` from the caller's account to its wallet.
    function withdraw(uint256 amount) external;

    /// @notice Moves `amount` from the caller's account to the wallet of `to`, which must not be this contract's.
    function withdrawTo(address to, uint256 amount) external;

    /// @notice Balance that the account can spend or withdraw.
    function accountOf(address account) external view returns (uint256);

    function token() external view returns (address);
}
