// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IApprovalReceiver} from "./interfaces/IApprovalReceiver.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title RLC, the token that pays for computation
/// @notice 87 million tokens of 10^9 units ("nRLC"), as the token that has been on Ethereum since 2017, plus permit.
contract RLC is ERC20, ERC20Permit {
    uint256 public constant INITIAL_SUPPLY = 87_000_000 * 1e9;

    /// @param holder Receives the whole supply.
    constructor(address holder) ERC20("RLC", "RLC") ERC20Permit("RLC") {
        _mint(holder, INITIAL_SUPPLY);
    }

    /// @notice Approves `spender` and calls it, so that paying and ordering are one transaction.
    /// @dev A revert of `spender` undoes the approval too.
    function approveAndCall(address spender, uint256 amount, bytes calldata data) external returns (bool) {
        approve(spender, amount);
        IApprovalReceiver(spender).receiveApproval(msg.sender, amount, address(this), data);
        return true;
    }

    function decimals() public pure override returns (uint8) {
        return 9;
    }
}
