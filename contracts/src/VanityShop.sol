// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {TaskBase} from "./TaskBase.sol";
import {VanityParams} from "./VanityParams.sol";
import {IApprovalReceiver} from "./interfaces/IApprovalReceiver.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Shop for Bitcoin vanity addresses
/// @notice Buys the expected work of a search at a pool's standing offer, at a price that follows from the ranges
/// alone, and remembers the answer. Layout of params and result: `VanityParams`, `VanityVerifier`.
contract VanityShop is TaskBase, IApprovalReceiver {
    using VanityParams for bytes;

    /// @dev Less than half is used today; the rest is for gas prices of opcodes to come.
    uint32 public constant CALLBACK_GAS = 40_000;

    /// @notice Candidate addresses in one unit of work.
    uint64 public immutable UNIT_CANDIDATES;
    uint64 public immutable MIN_UNITS;

    event Ordered(bytes32 indexed order, address indexed requester, uint64 units, uint256 price, bytes params);
    event Found(bytes32 indexed order, address indexed requester, address indexed worker, uint64 index, uint8 image);

    error ZeroUnits();
    error PriceAboveMax(uint256 price, uint256 priceMax);
    error ParamsLength(uint256 length);
    error KeyPrefix(uint256 prefix);
    /// @notice No point of the curve has this x coordinate, or it is not below the group's order.
    error KeyNotOnCurve(uint256 x);
    error RangeReversed(uint256 index);
    /// @notice The range does not lie behind the one before it.
    error RangeNotSorted(uint256 index);
    error TooDifficult(uint256 difficulty);

    /// @param offer The pool's offer, judged by a VanityVerifier.
    constructor(IMarket market, bytes32 offer, uint64 unitCandidates, uint64 minUnits) TaskBase(market, offer) {
        if (unitCandidates == 0 || minUnits == 0) revert ZeroUnits();
        UNIT_CANDIDATES = unitCandidates;
        MIN_UNITS = minUnits;
    }

    /// @notice Orders a search, paid by the caller's approval of this contract. Only the exact price is taken.
    function order(bytes calldata params, uint256 priceMax) external returns (bytes32) {
        return _order(msg.sender, params, priceMax);
    }

    /// @notice Approves, pays and orders in one: `RLC.approveAndCall(shop, priceMax, abi.encode(params))`.
    /// @inheritdoc IApprovalReceiver
    function receiveApproval(address from, uint256 amount, address, bytes calldata data) external {
        if (msg.sender != address(TOKEN)) revert NotToken(msg.sender);
        _order(from, _soleBytes(data), amount);
    }

    /// @notice What a search costs: its expected number of candidates in units, rounded up.
    function quote(bytes calldata params) external view returns (uint64 units, uint256 price) {
        return _quote(params);
    }

    /// @notice The found answer: the requester's key is made from it as told in `VanityVerifier`.
    /// The orders of one requester are the `Ordered` events with its address.
    function answerOf(bytes32 order_) external view returns (bool found, address worker, uint64 index, uint8 image) {
        (Stage stage, bytes31 kept) = _taskOf(order_);
        if (stage != Stage.Answered) return (false, address(0), 0, 0);
        uint256 word = uint248(kept);
        // forge-lint: disable-next-line(unsafe-typecast)
        return (true, address(bytes20(kept)), uint64(word >> 24), uint8(word >> 16));
    }

    function _order(address payer, bytes calldata params, uint256 priceMax) internal returns (bytes32 id) {
        (uint64 units, uint256 price) = _quote(params);
        if (price > priceMax) revert PriceAboveMax(price, priceMax);
        id = _ask(payer, payer, units, CALLBACK_GAS, params);
        emit Ordered(id, payer, units, price, params);
    }

    function _answer(bytes32 order_, address requester, bytes calldata result)
        internal
        override
        returns (bytes31 kept)
    {
        // worker ‖ index ‖ image, as in the result; the verifier has checked its length.
        kept = bytes31(bytes29(result[:29]));
        uint256 word = uint248(kept);
        // forge-lint: disable-next-line(unsafe-typecast)
        emit Found(order_, requester, address(bytes20(kept)), uint64(word >> 24), uint8(word >> 16));
    }

    function _quote(bytes calldata params) internal view returns (uint64 units, uint256 price) {
        uint256 difficulty = (1 << 160) / _width(params);
        uint256 needed = Math.ceilDiv(difficulty, UNIT_CANDIDATES);
        if (needed > type(uint64).max) revert TooDifficult(difficulty);
        // forge-lint: disable-next-line(unsafe-typecast)
        units = uint64(Math.max(needed, MIN_UNITS));
        price = units * UNIT_PRICE;
    }

    /// @dev Checks all of params, so that no money is locked for a search that nobody could end.
    function _width(bytes calldata params) internal pure returns (uint256 width) {
        uint256 count = params.rangeCount();
        if (count == 0) revert ParamsLength(params.length);
        _checkKey(params.keyPrefix(), params.keyX());

        uint256 floor = 0;
        for (uint256 i = 0; i < count; ++i) {
            (uint256 lo, uint256 hi) = params.range(i);
            if (lo > hi) revert RangeReversed(i);
            if (lo < floor) revert RangeNotSorted(i);
            floor = hi + 1;
            width += floor - lo;
        }
    }

    /// @dev With z = 0 and r = s, recovery gives the address of the point with x coordinate r: nothing if none has it.
    function _checkKey(uint256 prefix, uint256 x) internal pure {
        if (prefix != 2 && prefix != 3) revert KeyPrefix(prefix);
        if (ecrecover(0, 27, bytes32(x), bytes32(x)) == address(0)) revert KeyNotOnCurve(x);
    }

    /// @dev `abi.decode(data, (bytes))` without the copy to memory; takes the canonical encoding only.
    function _soleBytes(bytes calldata data) internal pure returns (bytes calldata) {
        if (data.length < 64 || uint256(bytes32(data[:32])) != 32) revert ParamsLength(data.length);
        uint256 length = uint256(bytes32(data[32:64]));
        if (length > data.length - 64) revert ParamsLength(length);
        return data[64:64 + length];
    }
}
