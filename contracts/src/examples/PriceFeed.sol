// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {TaskBase} from "../TaskBase.sol";
import {IMarket} from "../interfaces/IMarket.sol";

/// @title Where a price comes from that is on chain already
interface IPriceSource {
    function price() external view returns (uint128);
}

/// @title A price that is computed again and again, by several workers each time
/// @notice The fair price of a call option: the app plays the market's next months through many thousand times, which no
/// contract could pay for. Every VOICE of a round plays another game, so their answers differ; the median of QUORUM
/// workers is taken, so that fewer than half of them cannot move it where they like. Anybody may pay for the next
/// round once the last is PERIOD old.
/// @dev The offer's verifier must be `Voices`: an answer then names its worker, and nobody has two in one round. It is the
/// pool that says who its workers are: this protects an honest pool's customers from its workers, not from the pool.
contract PriceFeed is TaskBase {
    struct Terms {
        uint128 strike;
        uint64 expiry;
        uint64 period;
        uint32 volatilityBps;
        uint8 voices;
        uint8 quorum;
    }

    /// @notice Each costs an order and a callback.
    uint8 public constant MAX_VOICES = 16;
    uint32 private constant CALLBACK_GAS = 250_000;

    IPriceSource public immutable SOURCE;
    uint128 public immutable STRIKE;
    uint64 public immutable EXPIRY;
    uint64 public immutable PERIOD;
    uint32 public immutable VOLATILITY_BPS;
    uint8 public immutable VOICES;
    uint8 public immutable QUORUM;

    uint128 private _value;
    uint64 private _updatedAt;
    uint64 public askedAt;
    uint64 public round;
    /// @notice What the underlying cost when the round was asked for.
    uint128 public spot;
    mapping(bytes32 order => uint64 round) private _roundOf;
    mapping(uint64 round => mapping(address worker => bool)) private _hasSpoken;
    mapping(uint64 round => uint128[]) private _answers;

    event RoundAsked(uint64 indexed round, address indexed payer, uint128 spot);
    event Answered(uint64 indexed round, address indexed worker, uint128 value);
    event Updated(uint64 indexed round, uint128 value);

    error BadTerms();
    error Expired();
    error TooEarly(uint256 until);
    error Late(uint64 round);
    error SpokenAlready(address worker);
    error Implausible(uint256 value);
    error Stale(uint256 updatedAt);

    constructor(IMarket market, bytes32 offer, IPriceSource source, Terms memory terms) TaskBase(market, offer) {
        if (terms.quorum == 0 || terms.quorum > terms.voices || terms.voices > MAX_VOICES) revert BadTerms();
        (SOURCE, STRIKE, EXPIRY, PERIOD) = (source, terms.strike, terms.expiry, terms.period);
        (VOLATILITY_BPS, VOICES, QUORUM) = (terms.volatilityBps, terms.voices, terms.quorum);
    }

    /// @notice Asks for a round, at the caller's expense: an approval for VOICES times the offer's unit price.
    function update() external returns (bytes32[] memory orders) {
        if (block.timestamp >= EXPIRY) revert Expired();
        uint256 until = askedAt + PERIOD;
        if (block.timestamp < until) revert TooEarly(until);
        askedAt = uint64(block.timestamp);
        uint64 asked = ++round;
        spot = SOURCE.price();
        emit RoundAsked(asked, msg.sender, spot);
        orders = new bytes32[](VOICES);
        for (uint256 voice = 0; voice < VOICES; ++voice) {
            bytes memory params = abi.encode(spot, STRIKE, VOLATILITY_BPS, EXPIRY - askedAt, asked, voice);
            orders[voice] = _ask(msg.sender, msg.sender, 1, CALLBACK_GAS, params);
            _roundOf[orders[voice]] = asked;
        }
    }

    /// @notice The newest price, if it is no older than `maxAge` seconds.
    function latest(uint256 maxAge) external view returns (uint128 value, uint64 updatedAt) {
        if (_updatedAt == 0 || block.timestamp > _updatedAt + maxAge) revert Stale(_updatedAt);
        return (_value, _updatedAt);
    }

    /// @notice How many workers have answered in a round.
    function answersOf(uint64 round_) external view returns (uint256) {
        return _answers[round_].length;
    }

    function _answer(bytes32 order, address, bytes calldata result) internal override returns (bytes31) {
        uint64 asked = _roundOf[order];
        if (asked != round) revert Late(asked);
        address worker = address(bytes20(result[:20]));
        if (_hasSpoken[asked][worker]) revert SpokenAlready(worker);
        uint256 found = abi.decode(result[20:], (uint256));
        // A right to buy is never worth more than the thing itself.
        if (found > spot) revert Implausible(found);
        _hasSpoken[asked][worker] = true;
        // forge-lint: disable-next-line(unsafe-typecast)
        uint128 value = uint128(found); // fits: no more than the spot
        _answers[asked].push(value);
        emit Answered(asked, worker, value);
        if (_answers[asked].length == QUORUM) _update(asked);
        return bytes31(bytes16(value));
    }

    /// @dev Later answers of the round change nothing: a price that is published stays.
    function _update(uint64 asked) internal {
        (_value, _updatedAt) = (median(_answers[asked]), uint64(block.timestamp));
        emit Updated(asked, _value);
    }

    /// @notice The middle one; of an even number, the lower of the two in the middle.
    function median(uint128[] memory values) public pure returns (uint128) {
        for (uint256 i = 1; i < values.length; ++i) {
            uint128 value = values[i];
            uint256 place = i;
            for (; place > 0 && values[place - 1] > value; --place) {
                values[place] = values[place - 1];
            }
            values[place] = value;
        }
        return values[(values.length - 1) / 2];
    }
}
