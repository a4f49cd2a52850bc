// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IPocoHub} from "./IPocoHub.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Stakes: what an account can spend, and what is locked in its deals
/// @dev One word an account. Every token of the hub is in somebody's stake or somebody's locked.
abstract contract PocoAccounts is IPocoHub {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    struct StoredAccount {
        uint128 stake;
        uint128 locked;
    }

    IERC20 internal immutable TOKEN;

    mapping(address account => StoredAccount) private _accounts;
    mapping(address account => mapping(address spender => uint256)) private _allowances;

    constructor(address token_) {
        if (token_ == address(0)) revert ZeroAddress();
        TOKEN = IERC20(token_);
    }

    /// @inheritdoc IPocoHub
    function deposit(uint256 amount) external returns (bool) {
        return _deposit(msg.sender, msg.sender, amount);
    }

    /// @inheritdoc IPocoHub
    function depositFor(uint256 amount, address target) external returns (bool) {
        return _deposit(msg.sender, target, amount);
    }

    /// @inheritdoc IPocoHub
    function withdraw(uint256 amount) external returns (bool) {
        return _withdraw(msg.sender, amount);
    }

    /// @inheritdoc IPocoHub
    function withdrawTo(uint256 amount, address target) external returns (bool) {
        return _withdraw(target, amount);
    }

    /// @inheritdoc IPocoHub
    function transfer(address to, uint256 amount) external returns (bool) {
        return _transfer(msg.sender, to, amount);
    }

    /// @inheritdoc IPocoHub
    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        uint256 left = _allowances[from][msg.sender];
        if (left < amount) revert AllowanceTooLow(from, msg.sender, left, amount);
        _approve(from, msg.sender, left - amount);
        return _transfer(from, to, amount);
    }

    /// @inheritdoc IPocoHub
    function approve(address spender, uint256 amount) external returns (bool) {
        _approve(msg.sender, spender, amount);
        return true;
    }

    /// @inheritdoc IPocoHub
    function viewAccount(address account) external view returns (Account memory) {
        return Account(_accounts[account].stake, _accounts[account].locked);
    }

    /// @inheritdoc IPocoHub
    function balanceOf(address account) external view returns (uint256) {
        return _accounts[account].stake;
    }

    /// @inheritdoc IPocoHub
    function allowance(address account, address spender) external view returns (uint256) {
        return _allowances[account][spender];
    }

    /// @inheritdoc IPocoHub
    function token() external view returns (address) {
        return address(TOKEN);
    }

    function _deposit(address from, address target, uint256 amount) internal returns (bool) {
        if (target == address(0)) revert ZeroAddress();
        _credit(target, amount);
        emit Transfer(address(0), target, amount);
        TOKEN.safeTransferFrom(from, address(this), amount);
        return true;
    }

    function _withdraw(address target, uint256 amount) internal returns (bool) {
        if (target == address(this)) revert InvalidReceiver(target);
        _debit(msg.sender, amount);
        emit Transfer(msg.sender, address(0), amount);
        TOKEN.safeTransfer(target, amount);
        return true;
    }

    function _transfer(address from, address to, uint256 amount) internal returns (bool) {
        if (to == address(0)) revert ZeroAddress();
        _debit(from, amount);
        _credit(to, amount);
        emit Transfer(from, to, amount);
        return true;
    }

    function _approve(address account, address spender, uint256 amount) internal {
        _allowances[account][spender] = amount;
        emit Approval(account, spender, amount);
    }

    function _lock(address account, uint256 amount) internal {
        StoredAccount memory stored = _accounts[account];
        if (stored.stake < amount) revert StakeTooLow(account, stored.stake, amount);
        uint128 part = amount.toUint128();
        _accounts[account] = StoredAccount(stored.stake - part, stored.locked + part);
        emit Lock(account, amount);
    }

    function _unlock(address account, uint256 amount) internal {
        StoredAccount memory stored = _accounts[account];
        uint128 part = amount.toUint128();
        _accounts[account] = StoredAccount(stored.stake + part, stored.locked - part);
        emit Unlock(account, amount);
    }

    function _seize(address account, uint256 amount, bytes32 ref) internal {
        _accounts[account].locked -= amount.toUint128();
        emit Seize(account, amount, ref);
    }

    function _reward(address account, uint256 amount, bytes32 ref) internal {
        if (amount == 0) return;
        _credit(account, amount);
        emit Reward(account, amount, ref);
    }

    function _credit(address account, uint256 amount) internal {
        _accounts[account].stake += amount.toUint128();
    }

    function _debit(address account, uint256 amount) internal {
        uint256 stake = _accounts[account].stake;
        if (stake < amount) revert StakeTooLow(account, stake, amount);
        _accounts[account].stake = (stake - amount).toUint128();
    }
}
