// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Callbacks} from "./Callbacks.sol";
import {Ledger} from "./Ledger.sol";
import {Offers} from "./Offers.sol";
import {Signatures} from "./Signatures.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {IProofVerifier} from "./interfaces/IProofVerifier.sol";
import {IVerifier} from "./interfaces/IVerifier.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Market for computation
/// @dev No re-entrancy guard on purpose: every function finishes its books before it calls out, and a contract may
/// well order its next computation from within the callback of the last one.
contract Market is Offers {
    using SafeERC20 for IERC20;

    /// @dev All that is kept of an order, in one word.
    struct OrderState {
        Status status;
        bool kept;
        uint64 cancelUntil;
        uint64 done;
    }

    /// @dev A price, divided.
    struct Pay {
        uint256 worker;
        uint256 pool;
        uint256 provider;
    }

    /// @notice Params are paid for by the requester once, and again by the pool that replays them.
    uint256 public constant MAX_PARAMS_BYTES = 4096;
    /// @notice As much as a worker takes from an app.
    uint256 public constant MAX_RESULT_BYTES = 8192;
    uint256 public constant MAX_REASON_BYTES = Callbacks.MAX_REASON_BYTES;
    uint256 public constant MAX_CALLBACK_GAS = Callbacks.MAX_GAS;
    /// @notice Orders that differ in nothing, to the second, and still get different ids. It bounds a search and is far
    /// above what anybody needs.
    uint256 public constant MAX_ALIKE = 64;
    /// @notice How long a pool has to say that it is at work on an order that is being cancelled.
    uint256 public constant CANCEL_DELAY = 1 hours;
    /// @dev In an order's nonce.
    uint256 private constant BAG = 1 << 255;

    bytes32 private constant SIGNED_REQUEST = keccak256(
        "SignedRequest(address requester,address relayer,uint96 tip,bytes32 offer,uint64 units,bool bag,uint96 priceMax,address callback,uint32 callbackGas,uint64 validUntil,bytes32 salt,bytes params)"
    );

    mapping(bytes32 order => OrderState) private _states;
    mapping(bytes32 signedRequest => bool) private _used;

    constructor(address token_) Ledger(token_) EIP712("gristmill market", "1") {}

    /// @inheritdoc IMarket
    function request(
        bytes32 offer,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 order) {
        Order memory details = _draft(offer, units, callback, callbackGas, params);
        _priceStanding(details, priceMax);
        _debit(msg.sender, details.price);
        return _open(details, msg.sender);
    }

    /// @inheritdoc IMarket
    function requestFor(
        address requester,
        bytes32 offer,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 order) {
        Order memory details = _draft(offer, units, callback, callbackGas, params);
        _priceStanding(details, priceMax);
        _debit(msg.sender, details.price);
        return _open(details, requester);
    }

    /// @inheritdoc IMarket
    function requestFromWallet(
        address requester,
        bytes32 offer,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 order) {
        Order memory details = _draft(offer, units, callback, callbackGas, params);
        _priceStanding(details, priceMax);
        order = _open(details, requester);
        TOKEN.safeTransferFrom(msg.sender, address(this), details.price);
    }

    /// @inheritdoc IMarket
    function requestWithPermit(
        bytes32 offer,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params,
        Permit calldata permit
    ) external returns (bytes32 order) {
        _permit(permit.value, permit.deadline, permit.v, permit.r, permit.s);
        Order memory details = _draft(offer, units, callback, callbackGas, params);
        _priceStanding(details, priceMax);
        order = _open(details, msg.sender);
        TOKEN.safeTransferFrom(msg.sender, address(this), details.price);
    }

    /// @inheritdoc IMarket
    function requestBag(
        bytes32 offer,
        uint64 tasks,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 bag) {
        Order memory details = _draft(offer, tasks, callback, callbackGas, params);
        details.nonce = BAG;
        _priceStanding(details, priceMax);
        _debit(msg.sender, details.price);
        return _open(details, msg.sender);
    }

    /// @inheritdoc IMarket
    function requestSigned(
        SignedOffer calldata signed,
        bytes calldata signature,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 order) {
        Order memory details = _draft(_take(signed, signature, units), units, callback, callbackGas, params);
        _price(details, priceMax);
        _debit(msg.sender, details.price);
        return _open(details, msg.sender);
    }

    /// @inheritdoc IMarket
    function relay(SignedRequest calldata signed, bytes calldata signature) external returns (bytes32 order) {
        if (signed.relayer != address(0) && signed.relayer != msg.sender) {
            revert NotRelayer(msg.sender, signed.relayer);
        }
        if (block.timestamp > signed.validUntil) revert RequestExpired(signed.validUntil);
        bytes32 hash = signedRequestHash(signed);
        if (_used[hash]) revert RequestUsed(hash);
        address requester = signed.requester;
        if (!Signatures.isBy(requester, hash, signature)) revert BadSignature(requester);
        _used[hash] = true;

        Order memory details = _draft(signed.offer, signed.units, signed.callback, signed.callbackGas, signed.params);
        if (signed.bag) details.nonce = BAG;
        _priceStanding(details, signed.priceMax);
        _debit(requester, uint256(details.price) + signed.tip);
        _credit(msg.sender, signed.tip);
        order = _open(details, requester);
        emit Relayed(order, msg.sender, signed.tip);
    }

    /// @inheritdoc IMarket
    function settle(Order calldata order, address worker, bytes calldata result) external {
        (bytes32 id, StoredOffer storage offer) = _toSettle(order);
        if (!IVerifier(offer.verifier).verify(id, worker, order.params, result)) revert ResultRefused(id);
        _end(id, order, offer, worker, result);
    }

    /// @inheritdoc IMarket
    function settleWithProof(Order calldata order, address worker, bytes calldata result, bytes calldata proof)
        external
    {
        (bytes32 id, StoredOffer storage offer) = _toSettle(order);
        _judge(id, offer, worker, order.params, result, proof);
        _end(id, order, offer, worker, result);
    }

    /// @inheritdoc IMarket
    function settleMany(Settlement[] calldata settlements) external {
        for (uint256 i = 0; i < settlements.length; ++i) {
            Settlement calldata one = settlements[i];
            if (!_isInTime(orderIdOf(one.order), one.order)) continue;
            (bytes32 id, StoredOffer storage offer) = _toSettle(one.order);
            _judge(id, offer, one.worker, one.order.params, one.result, one.proof);
            _end(id, one.order, offer, one.worker, one.result);
        }
    }

    /// @inheritdoc IMarket
    function settleBatch(
        Order calldata order,
        address worker,
        uint256 count,
        uint256 failed,
        bytes32 root,
        bytes calldata proof
    ) external {
        (bytes32 id, StoredOffer storage offer) = _toSettleBag(order);
        if (worker == address(0)) revert ZeroAddress();
        uint256 first = _advance(id, order, count, failed);
        bytes memory result = abi.encode(first, count, failed, root);
        if (!IProofVerifier(offer.verifier).verifyWithProof(taskIdOf(id, first), worker, order.params, result, proof)) {
            revert ResultRefused(id);
        }
        _credit(order.requester, failed * offer.unitPrice);
        Pay memory paid = _pay((count - failed) * offer.unitPrice, offer, worker);
        emit BatchSettled(id, worker, first, count, failed, root, paid.worker, paid.pool, paid.provider);
        if (order.callback != address(0)) _callBack(id, id, order, result);
    }

    /// @inheritdoc IMarket
    function settleTasks(Order calldata order, TaskResult[] calldata results) external {
        (bytes32 id, StoredOffer storage offer) = _toSettleBag(order);
        uint256 first = _advance(id, order, results.length, 0);
        for (uint256 i = 0; i < results.length; ++i) {
            _settleTask(id, first + i, order, offer, results[i]);
        }
    }

    /// @inheritdoc IMarket
    function cancel(Order calldata order) external {
        bytes32 id = orderIdOf(order);
        OrderState storage state = _states[id];
        if (state.status != Status.Open) revert NotOpen(id, state.status);
        if (msg.sender != order.requester) revert NotRequester(msg.sender, order.requester);
        if (state.kept || state.done > 0) revert WorkStarted(id);
        state.status = Status.Cancelling;
        uint256 until = block.timestamp + CANCEL_DELAY;
        // forge-lint: disable-next-line(unsafe-typecast)
        state.cancelUntil = uint64(until); // seconds
        emit CancelStarted(id, until);
    }

    /// @inheritdoc IMarket
    function keep(Order calldata order) external {
        bytes32 id = orderIdOf(order);
        OrderState storage state = _states[id];
        if (state.status != Status.Cancelling) revert NotCancelling(id);
        _requirePool(_offers[order.offer]);
        if (block.timestamp > state.cancelUntil) revert DeadlinePassed(state.cancelUntil);
        (state.status, state.kept) = (Status.Open, true);
        emit Kept(id);
    }

    /// @inheritdoc IMarket
    function decline(Order calldata order, bytes calldata reason) external {
        bytes32 id = orderIdOf(order);
        _requireOpen(id);
        _requirePool(_offers[order.offer]);
        if (reason.length > MAX_REASON_BYTES) revert ReasonTooLong(reason.length);
        emit Declined(id, reason);
        _refund(id, order);
    }

    /// @inheritdoc IMarket
    function refund(Order calldata order) external {
        bytes32 id = orderIdOf(order);
        uint256 last = _lastSecond(_requireOpen(id), id, order);
        if (block.timestamp <= last) revert DeadlineNotPassed(last);
        _refund(id, order);
    }

    /// @inheritdoc IMarket
    function statusOf(bytes32 order) external view returns (Status) {
        return _states[order].status;
    }

    /// @inheritdoc IMarket
    function doneOf(bytes32 bag) external view returns (uint256) {
        return _states[bag].done;
    }

    /// @inheritdoc IMarket
    function orderIdOf(Order calldata order) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), order));
    }

    /// @inheritdoc IMarket
    function taskIdOf(bytes32 bag, uint256 index) public pure returns (bytes32) {
        return keccak256(abi.encode(bag, index));
    }

    /// @inheritdoc IMarket
    function signedRequestHash(SignedRequest calldata signed) public view returns (bytes32) {
        // Two halves, for the compiler's stack: the encoding of static fields is the same in one piece.
        bytes memory head = abi.encode(
            SIGNED_REQUEST, signed.requester, signed.relayer, signed.tip, signed.offer, signed.units, signed.bag
        );
        bytes memory tail = abi.encode(
            signed.priceMax,
            signed.callback,
            signed.callbackGas,
            signed.validUntil,
            signed.salt,
            keccak256(signed.params)
        );
        return _hashTypedDataV4(keccak256(bytes.concat(head, tail)));
    }

    /// @dev Orders what `data` says, paid from the wallet.
    function _approved(address from, bytes calldata data) internal override {
        Order memory details;
        // The encoding of arguments is whole words long: four bytes more are a selector.
        if (data.length % 32 == 4 && bytes4(data[:4]) == this.requestBag.selector) {
            data = data[4:];
            details.nonce = BAG;
        }
        uint256 priceMax;
        (details.offer, details.units, priceMax, details.callback, details.callbackGas, details.params) =
            abi.decode(data, (bytes32, uint64, uint256, address, uint32, bytes));
        _priceStanding(details, priceMax);
        _open(details, from);
        TOKEN.safeTransferFrom(from, address(this), details.price);
    }

    function _draft(bytes32 offer, uint64 units, address callback, uint32 callbackGas, bytes calldata params)
        internal
        pure
        returns (Order memory details)
    {
        details.offer = offer;
        details.units = units;
        details.callback = callback;
        details.callbackGas = callbackGas;
        details.params = params;
    }

    function _priceStanding(Order memory details, uint256 priceMax) internal view {
        if (!_offers[details.offer].active) revert OfferNotActive(details.offer);
        _price(details, priceMax);
    }

    /// @dev Fills in price and deadline, and refuses what cannot be ordered.
    function _price(Order memory details, uint256 priceMax) internal view {
        StoredOffer storage offer = _offers[details.offer];
        if (details.units == 0) revert ZeroUnits();
        if (details.params.length > MAX_PARAMS_BYTES) revert ParamsTooLong(details.params.length);
        if (details.callbackGas > MAX_CALLBACK_GAS) revert CallbackGasTooHigh(details.callbackGas);
        uint256 price = uint256(details.units) * offer.unitPrice;
        if (price > priceMax) revert PriceAboveMax(price, priceMax);
        if (price > type(uint96).max) revert PriceTooLarge(price);
        // forge-lint: disable-next-line(unsafe-typecast)
        details.price = uint96(price); // fits: checked above
        details.deadline = uint64(block.timestamp + offer.duration);
    }

    /// @dev The caller takes care that the price comes in.
    function _open(Order memory details, address requester) internal returns (bytes32 id) {
        if (requester == address(0)) revert ZeroAddress();
        details.requester = requester;
        id = _idOf(details);
        uint256 tooMany = details.nonce + MAX_ALIKE;
        while (_states[id].status != Status.None) {
            if (++details.nonce == tooMany) revert TooManyAlike(id);
            id = _idOf(details);
        }
        _states[id].status = Status.Open;
        if (details.nonce < BAG) emit Requested(id, details.offer, requester, details);
        else emit BagRequested(id, details.offer, requester, details);
    }

    /// @dev The order's id and offer, if the caller may settle it now.
    function _toSettle(Order calldata order) internal view returns (bytes32 id, StoredOffer storage offer) {
        (id, offer) = _toSettleAny(order);
        if (order.nonce >= BAG) revert IsABag(id);
    }

    function _toSettleBag(Order calldata order) internal view returns (bytes32 id, StoredOffer storage offer) {
        (id, offer) = _toSettleAny(order);
        if (order.nonce < BAG) revert NotABag(id);
    }

    function _toSettleAny(Order calldata order) internal view returns (bytes32 id, StoredOffer storage offer) {
        id = orderIdOf(order);
        uint256 last = _lastSecond(_requireOpen(id), id, order);
        offer = _offers[order.offer];
        _requirePool(offer);
        if (block.timestamp > last) revert DeadlinePassed(last);
    }

    function _judge(
        bytes32 id,
        StoredOffer storage offer,
        address worker,
        bytes calldata params,
        bytes calldata result,
        bytes calldata proof
    ) internal view {
        bool accepted = proof.length == 0
            ? IVerifier(offer.verifier).verify(id, worker, params, result)
            : IProofVerifier(offer.verifier).verifyWithProof(id, worker, params, result, proof);
        if (!accepted) revert ResultRefused(id);
    }

    /// @dev The verifier has accepted.
    function _end(bytes32 id, Order calldata order, StoredOffer storage offer, address worker, bytes calldata result)
        internal
    {
        if (worker == address(0)) revert ZeroAddress();
        if (result.length > MAX_RESULT_BYTES) revert ResultTooLong(result.length);
        _states[id].status = Status.Settled;
        Pay memory paid = _pay(order.price, offer, worker);
        emit Settled(id, worker, paid.worker, paid.pool, paid.provider, result);
        if (order.callback != address(0)) _callBack(id, id, order, result);
    }

    /// @dev Counts a bag's next tasks as done, and says which is the first of them.
    function _advance(bytes32 id, Order calldata order, uint256 count, uint256 failed)
        internal
        returns (uint256 first)
    {
        OrderState storage state = _states[id];
        first = state.done;
        uint256 left = order.units - first;
        if (count == 0 || count > left || failed > count) revert BatchSize(count, failed, left);
        // forge-lint: disable-next-line(unsafe-typecast)
        state.done = uint64(first + count); // fits: no more than units
        state.status = count == left ? Status.Settled : Status.Open;
    }

    function _settleTask(
        bytes32 bag,
        uint256 index,
        Order calldata order,
        StoredOffer storage offer,
        TaskResult calldata one
    ) internal {
        if (one.worker == address(0)) {
            _credit(order.requester, offer.unitPrice);
            emit TaskFailed(bag, index);
            return;
        }
        if (one.result.length > MAX_RESULT_BYTES) revert ResultTooLong(one.result.length);
        bytes32 id = taskIdOf(bag, index);
        _judge(id, offer, one.worker, order.params, one.result, one.proof);
        Pay memory paid = _pay(offer.unitPrice, offer, one.worker);
        emit TaskSettled(bag, index, one.worker, paid.worker, one.result);
        if (order.callback != address(0)) _callBack(id, bag, order, one.result);
    }

    /// @dev Both fees are rounded down, so that the three parts always add up to the price.
    function _pay(uint256 price, StoredOffer storage offer, address worker) internal returns (Pay memory paid) {
        // Side by side, so that each word is read once.
        (uint256 poolFeeBps, uint256 providerFeeBps) = (offer.poolFeeBps, offer.providerFeeBps);
        (address pool, address provider) = (offer.pool, _providerOf(offer));
        paid.pool = price * poolFeeBps / BPS;
        paid.provider = price * providerFeeBps / BPS;
        paid.worker = price - paid.pool - paid.provider;
        _credit(worker, paid.worker);
        _credit(pool, paid.pool);
        _credit(provider, paid.provider);
    }

    /// @dev Only where there is a callback: to pass the result is to copy it.
    function _callBack(bytes32 id, bytes32 orderId, Order calldata order, bytes memory result) internal {
        (bool success, bytes memory reason) = Callbacks.deliver(id, order.callback, order.callbackGas, result);
        if (!success) emit CallbackFailed(orderId, reason);
    }

    /// @dev What a bag has left is a whole number of tasks at an equal price.
    function _refund(bytes32 id, Order calldata order) internal {
        OrderState storage state = _states[id];
        uint256 done = state.done;
        uint256 amount = done == 0 ? order.price : uint256(order.price) / order.units * (order.units - done);
        state.status = Status.Refunded;
        _credit(order.requester, amount);
        emit Refunded(id, order.requester, amount);
    }

    function _isInTime(bytes32 id, Order calldata order) internal view returns (bool) {
        Status status = _states[id].status;
        if (status != Status.Open && status != Status.Cancelling) return false;
        return block.timestamp <= _lastSecond(status, id, order);
    }

    /// @dev In which an open order can still be settled.
    function _lastSecond(Status status, bytes32 id, Order calldata order) internal view returns (uint256) {
        if (status == Status.Open) return order.deadline;
        return Math.min(_states[id].cancelUntil, order.deadline);
    }

    /// @dev Same as `orderIdOf`, for an order in memory.
    function _idOf(Order memory order) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), order));
    }

    function _requireOpen(bytes32 id) internal view returns (Status status) {
        status = _states[id].status;
        if (status != Status.Open && status != Status.Cancelling) revert NotOpen(id, status);
    }

    function _requirePool(StoredOffer storage offer) internal view {
        if (msg.sender != offer.pool) revert NotPool(msg.sender, offer.pool);
    }
}
