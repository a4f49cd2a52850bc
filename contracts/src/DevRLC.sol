// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {RLC} from "./RLC.sol";

/// @title RLC of development chains, with a tap
/// @dev Worthless by construction: never deploy it where a token is to have value.
contract DevRLC is RLC {
    /// @notice What one call to the faucet may ask for at most. Calls are not limited: a development chain's tokens
    /// only have to be plentiful, and typing one zero too many should not flood it.
    uint256 public constant FAUCET_MAX = 1000 * 1e9;

    error FaucetLimit(uint256 amount, uint256 max);

    constructor(address holder) RLC(holder) {}

    /// @notice Mints `amount` to the caller.
    function faucet(uint256 amount) external {
        if (amount > FAUCET_MAX) revert FaucetLimit(amount, FAUCET_MAX);
        _mint(msg.sender, amount);
    }
}
