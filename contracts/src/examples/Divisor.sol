// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {TaskBase} from "../TaskBase.sol";
import {IMarket} from "../interfaces/IMarket.sol";
import {IVerifier} from "../interfaces/IVerifier.sol";

/// @title Divisors of numbers, found by whoever likes to look for them
contract Divisor is TaskBase {
    uint32 private constant CALLBACK_GAS = 60_000;

    mapping(uint64 number => uint64 divisor) public divisorOf;
    mapping(bytes32 order => uint64 number) private _numberOf;

    event Found(uint64 indexed number, uint64 divisor);

    constructor(IMarket market, bytes32 offer) TaskBase(market, offer) {}

    /// @notice Asks for a divisor, at the caller's expense: an approval for the offer's unit price.
    function ask(uint64 number) external returns (bytes32 order) {
        order = _ask(msg.sender, msg.sender, 1, CALLBACK_GAS, abi.encode(number));
        _numberOf[order] = number;
    }

    /// @dev The verifier has looked at it, or the market would not have paid.
    function _answer(bytes32 order, address, bytes calldata result) internal override returns (bytes31) {
        uint64 number = _numberOf[order];
        uint64 divisor = abi.decode(result, (uint64));
        divisorOf[number] = divisor;
        emit Found(number, divisor);
        return 0;
    }
}

/// @title Judge of divisors
/// @notice Hard to find, easy to check: nobody has to be believed.
contract DivisorVerifier is IVerifier {
    /// @inheritdoc IVerifier
    function verify(bytes32, address, bytes calldata params, bytes calldata result) external pure returns (bool) {
        if (params.length != 32 || result.length != 32) return false;
        uint256 number = abi.decode(params, (uint256));
        uint256 divisor = abi.decode(result, (uint256));
        return divisor > 1 && divisor < number && number % divisor == 0;
    }
}
