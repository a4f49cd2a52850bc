// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IApprovalReceiver} from "./interfaces/IApprovalReceiver.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Accounts in one token
/// @dev Every function finishes its books before it calls the token. The token is trusted to move exactly the amounts it
/// is told to, as RLC does.
abstract contract Ledger is ILedger {
    using SafeERC20 for IERC20;

    IERC20 internal immutable TOKEN;

    mapping(address account => uint256) private _accounts;

    constructor(address token_) {
        if (token_ == address(0)) revert ZeroAddress();
        TOKEN = IERC20(token_);
    }

    /// @inheritdoc ILedger
    function deposit(uint256 amount) external {
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc ILedger
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        _permit(amount, deadline, v, r, s);
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc ILedger
    function withdraw(uint256 amount) external {
        _withdraw(msg.sender, amount);
    }

    /// @inheritdoc ILedger
    function withdrawTo(address to, uint256 amount) external {
        _withdraw(to, amount);
    }

    /// @inheritdoc IApprovalReceiver
    function receiveApproval(address from, uint256 amount, address, bytes calldata data) external {
        if (msg.sender != address(TOKEN)) revert NotToken(msg.sender);
        if (data.length == 0) _deposit(from, amount);
        else _approved(from, data);
    }

    /// @inheritdoc ILedger
    function accountOf(address account) external view returns (uint256) {
        return _accounts[account];
    }

    /// @inheritdoc ILedger
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @dev What an approval with `data` means, for those that know more than depositing.
    function _approved(address from, bytes calldata data) internal virtual {
        from;
        revert UnknownCall(data);
    }

    function _deposit(address account, uint256 amount) internal {
        _credit(account, amount);
        TOKEN.safeTransferFrom(account, address(this), amount);
        emit Deposited(account, amount);
    }

    function _withdraw(address to, uint256 amount) internal {
        // Tokens that this contract owes to nobody would be stuck in it.
        if (to == address(this)) revert InvalidReceiver(to);
        _debit(msg.sender, amount);
        TOKEN.safeTransfer(to, amount);
        emit Withdrawn(msg.sender, to, amount);
    }

    /// @dev Anybody may submit a signature seen in the mempool; then the allowance is there and the permit fails.
    function _permit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) internal {
        try IERC20Permit(address(TOKEN)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
    }

    function _credit(address account, uint256 amount) internal {
        if (amount > 0) _accounts[account] += amount;
    }

    function _debit(address account, uint256 amount) internal {
        uint256 balance = _accounts[account];
        if (balance < amount) revert AccountTooLow(account, balance, amount);
        _accounts[account] = balance - amount;
    }
}
