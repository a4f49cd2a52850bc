// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "./interfaces/IMarket.sol";
import {ITaskCallback} from "./interfaces/ITaskCallback.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Base of contracts that have something computed
/// @notice Call `_ask` to order and implement `_answer` to receive. Holds no money: the exact price goes from the
/// payer's wallet to the market, refunds go to the requester's account there.
abstract contract TaskBase is ITaskCallback {
    using SafeERC20 for IERC20;

    enum Stage {
        None,
        Asked,
        Answered
    }

    /// @dev One word per task: who asked, until the answer takes its place.
    struct StoredTask {
        bytes31 kept;
        Stage stage;
    }

    IMarket public immutable MARKET;
    IERC20 public immutable TOKEN;
    bytes32 public immutable OFFER;
    uint256 public immutable UNIT_PRICE;

    mapping(bytes32 order => StoredTask) private _tasks;

    error NotMarket(address caller);
    error NotToken(address caller);
    error OfferNotActive(bytes32 offer);
    /// @notice The market delivered an order that somebody else placed, naming this contract as its callback.
    error NotAsked(bytes32 order);

    constructor(IMarket market, bytes32 offer) {
        (IMarket.Offer memory terms, bool active) = market.offerOf(offer);
        if (!active) revert OfferNotActive(offer);
        MARKET = market;
        TOKEN = IERC20(market.token());
        OFFER = offer;
        UNIT_PRICE = terms.unitPrice;
        // The market takes nothing but the price of what this contract orders itself.
        TOKEN.forceApprove(address(market), type(uint256).max);
    }

    /// @inheritdoc ITaskCallback
    function receiveResult(bytes32 id, bytes calldata result) external {
        if (msg.sender != address(MARKET)) revert NotMarket(msg.sender);
        StoredTask storage task = _tasks[id];
        if (task.stage != Stage.Asked) revert NotAsked(id);
        address requester = address(bytes20(task.kept));
        task.stage = Stage.Answered;
        bytes31 kept = _answer(id, requester, result);
        _tasks[id] = StoredTask(kept, Stage.Answered);
    }

    /// @dev Orders `units` for `requester`, paid by `payer`, who has approved this contract for the price.
    /// `payer` must be the caller or vouched for by the token: an approval is not a consent to any order.
    function _ask(address payer, address requester, uint64 units, uint32 callbackGas, bytes memory params)
        internal
        returns (bytes32 order)
    {
        uint256 price = units * UNIT_PRICE;
        TOKEN.safeTransferFrom(payer, address(this), price);
        order = MARKET.requestFromWallet(requester, OFFER, units, price, address(this), callbackGas, params);
        _tasks[order] = StoredTask(bytes31(bytes20(requester)), Stage.Asked);
    }

    /// @dev Called once per order, with a result that the offer's verifier has accepted.
    /// @return kept What is to be remembered of it, in the word that is already paid for: see `_taskOf`.
    function _answer(bytes32 order, address requester, bytes calldata result) internal virtual returns (bytes31 kept);

    /// @return stage How far the order is.
    /// @return kept The requester's address in front while asked, `_answer`'s value when answered.
    function _taskOf(bytes32 order) internal view returns (Stage stage, bytes31 kept) {
        StoredTask storage task = _tasks[order];
        return (task.stage, task.kept);
    }
}
