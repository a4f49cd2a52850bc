// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Outcome} from "../Outcome.sol";
import {TaskBase} from "../TaskBase.sol";
import {IMarket} from "../interfaces/IMarket.sol";

/// @title A number that is computed again and again
/// @notice Anybody may pay for the next update once the last is PERIOD old. The app answers
/// `abi.encode(time, value)`; an answer that is older than what is known, or from the future, is not taken.
contract PriceFeed is TaskBase {
    uint32 private constant CALLBACK_GAS = 60_000;

    uint256 public immutable PERIOD;
    /// @notice What is computed: the app's input.
    bytes32 public immutable TOPIC;

    uint128 public value;
    uint64 public updatedAt;
    uint64 public askedAt;

    event UpdateAsked(bytes32 indexed order, address indexed payer);
    event Updated(uint256 value, uint256 time);

    error TooEarly(uint256 until);
    error AnswerOutOfOrder(uint256 time);

    constructor(IMarket market, bytes32 offer, uint256 period, bytes32 topic) TaskBase(market, offer) {
        (PERIOD, TOPIC) = (period, topic);
    }

    /// @notice Asks for an update, at the caller's expense: an approval for the offer's unit price.
    function update() external returns (bytes32 order) {
        uint256 until = askedAt + PERIOD;
        if (block.timestamp < until) revert TooEarly(until);
        askedAt = uint64(block.timestamp);
        order = _ask(msg.sender, msg.sender, 1, CALLBACK_GAS, abi.encode(TOPIC, block.timestamp));
        emit UpdateAsked(order, msg.sender);
    }

    function _answer(bytes32, address, bytes calldata result) internal override returns (bytes31) {
        (,, bytes calldata answer) = Outcome.parse(result);
        (uint64 time, uint128 found) = abi.decode(answer, (uint64, uint128));
        if (time <= updatedAt || time > block.timestamp) revert AnswerOutOfOrder(time);
        (value, updatedAt) = (found, time);
        emit Updated(found, time);
        return bytes31(uint248(found));
    }
}
