// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "./interfaces/IMarket.sol";
import {ITaskCallback} from "./interfaces/ITaskCallback.sol";
import {IVerifier} from "./interfaces/IVerifier.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Market for computation
/// @dev No re-entrancy guard on purpose: every function finishes its books before it calls out, and a contract may
/// well order its next computation from within the callback of the last one. The token is trusted to move exactly
/// the amounts it is told to, as RLC does.
contract Market is IMarket {
    using SafeERC20 for IERC20;

    /// @dev `Offer` packed by who reads what: a settlement the first two words, a request the third. The provider's
    /// address is cut in two to fill them.
    struct StoredOffer {
        address pool;
        uint96 providerHigh;
        uint64 providerLow;
        address verifier;
        uint16 poolFeeBps;
        uint16 providerFeeBps;
        uint96 unitPrice;
        uint32 duration;
        bool active;
        bytes32 app;
    }

    uint256 private constant BPS = 10_000;

    /// @notice An order's deposit is never locked for longer.
    uint256 public constant MAX_DURATION = 365 days;
    /// @notice Params are paid for by the requester once, and again by the pool that replays them.
    uint256 public constant MAX_PARAMS_BYTES = 4096;
    /// @notice As much as a worker takes from an app.
    uint256 public constant MAX_RESULT_BYTES = 8192;
    uint256 public constant MAX_REASON_BYTES = 256;
    /// @notice The pool pays for this gas: a callback stores a few words, and whoever needs more reads the event.
    uint256 public constant MAX_CALLBACK_GAS = 500_000;
    /// @notice Orders that differ in nothing, to the second, and still get different ids. It bounds a search and is far
    /// above what anybody needs.
    uint256 public constant MAX_ALIKE = 64;
    /// @dev What is spent between the gas check and the callback's first instruction: a cold account and what it
    /// delegates to (EIP-7702), 2,600 each, and stack work.
    uint256 private constant CALLBACK_OVERHEAD = 8000;

    IERC20 private immutable TOKEN;

    mapping(bytes32 offer => StoredOffer) private _offers;
    mapping(bytes32 order => Status) private _statuses;
    mapping(address account => uint256) private _accounts;

    constructor(address token_) {
        if (token_ == address(0)) revert ZeroAddress();
        TOKEN = IERC20(token_);
    }

    /// @inheritdoc IMarket
    function publishOffer(Offer calldata terms) external returns (bytes32 offer) {
        if (msg.sender != terms.pool) revert NotPool(msg.sender, terms.pool);
        if (terms.provider == address(0)) revert ZeroAddress();
        if (terms.verifier.code.length == 0) revert VerifierMissing(terms.verifier);
        uint256 feesBps = uint256(terms.poolFeeBps) + terms.providerFeeBps;
        if (feesBps > BPS) revert FeesTooHigh(feesBps);
        if (terms.duration == 0 || terms.duration > MAX_DURATION) revert DurationOutOfRange(terms.duration);

        offer = keccak256(abi.encode(block.chainid, address(this), terms));
        if (_offers[offer].active) revert OfferAlreadyActive(offer);
        _offers[offer] = StoredOffer({
            pool: terms.pool,
            providerHigh: uint96(uint160(terms.provider) >> 64),
            providerLow: uint64(uint160(terms.provider)),
            verifier: terms.verifier,
            poolFeeBps: terms.poolFeeBps,
            providerFeeBps: terms.providerFeeBps,
            unitPrice: terms.unitPrice,
            duration: terms.duration,
            active: true,
            app: terms.app
        });
        emit OfferPublished(offer, msg.sender, terms);
    }

    /// @inheritdoc IMarket
    function withdrawOffer(bytes32 offer) external {
        StoredOffer storage stored = _offers[offer];
        if (!stored.active) revert OfferNotActive(offer);
        if (msg.sender != stored.pool) revert NotPool(msg.sender, stored.pool);
        stored.active = false;
        emit OfferWithdrawn(offer);
    }

    /// @inheritdoc IMarket
    function deposit(uint256 amount) external {
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IMarket
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        _permit(Permit(amount, deadline, v, r, s));
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IMarket
    function withdraw(uint256 amount) external {
        _withdraw(msg.sender, amount);
    }

    /// @inheritdoc IMarket
    function withdrawTo(address to, uint256 amount) external {
        _withdraw(to, amount);
    }

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
        _price(details, priceMax);
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
        _price(details, priceMax);
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
        _price(details, priceMax);
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
        _permit(permit);
        Order memory details = _draft(offer, units, callback, callbackGas, params);
        _price(details, priceMax);
        order = _open(details, msg.sender);
        TOKEN.safeTransferFrom(msg.sender, address(this), details.price);
    }

    /// @inheritdoc IMarket
    function receiveApproval(address from, uint256 amount, address, bytes calldata data) external {
        if (msg.sender != address(TOKEN)) revert NotToken(msg.sender);
        if (data.length == 0) return _deposit(from, amount);

        Order memory details;
        uint256 priceMax;
        (details.offer, details.units, priceMax, details.callback, details.callbackGas, details.params) =
            abi.decode(data, (bytes32, uint64, uint256, address, uint32, bytes));
        _price(details, priceMax);
        _open(details, from);
        TOKEN.safeTransferFrom(from, address(this), details.price);
    }

    /// @inheritdoc IMarket
    function settle(Order calldata order, address worker, bytes calldata result) external {
        bytes32 id = orderIdOf(order);
        _requireOpen(id);
        StoredOffer storage offer = _offers[order.offer];
        if (msg.sender != offer.pool) revert NotPool(msg.sender, offer.pool);
        if (block.timestamp > order.deadline) revert DeadlinePassed(order.deadline);
        if (worker == address(0)) revert ZeroAddress();
        if (result.length > MAX_RESULT_BYTES) revert ResultTooLong(result.length);
        if (!IVerifier(offer.verifier).verify(id, worker, order.params, result)) revert ResultRefused(id);

        _statuses[id] = Status.Settled;
        _pay(id, order.price, offer, worker, result);
        if (order.callback != address(0)) _callBack(id, order.callback, order.callbackGas, result);
    }

    /// @inheritdoc IMarket
    function decline(Order calldata order, bytes calldata reason) external {
        bytes32 id = orderIdOf(order);
        _requireOpen(id);
        address pool = _offers[order.offer].pool;
        if (msg.sender != pool) revert NotPool(msg.sender, pool);
        if (reason.length > MAX_REASON_BYTES) revert ReasonTooLong(reason.length);
        emit Declined(id, reason);
        _refund(id, order);
    }

    /// @inheritdoc IMarket
    function refund(Order calldata order) external {
        bytes32 id = orderIdOf(order);
        _requireOpen(id);
        if (block.timestamp <= order.deadline) revert DeadlineNotPassed(order.deadline);
        _refund(id, order);
    }

    /// @inheritdoc IMarket
    function offerOf(bytes32 offer) external view returns (Offer memory terms, bool active) {
        StoredOffer storage stored = _offers[offer];
        terms = Offer({
            pool: stored.pool,
            provider: _providerOf(stored),
            app: stored.app,
            verifier: stored.verifier,
            unitPrice: stored.unitPrice,
            poolFeeBps: stored.poolFeeBps,
            providerFeeBps: stored.providerFeeBps,
            duration: stored.duration
        });
        active = stored.active;
    }

    /// @inheritdoc IMarket
    function accountOf(address account) external view returns (uint256) {
        return _accounts[account];
    }

    /// @inheritdoc IMarket
    function statusOf(bytes32 order) external view returns (Status) {
        return _statuses[order];
    }

    /// @inheritdoc IMarket
    function token() external view returns (address) {
        return address(TOKEN);
    }

    /// @inheritdoc IMarket
    function orderIdOf(Order calldata order) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), order));
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

    /// @dev Fills in price and deadline, and refuses what cannot be ordered.
    function _price(Order memory details, uint256 priceMax) internal view {
        StoredOffer storage offer = _offers[details.offer];
        if (!offer.active) revert OfferNotActive(details.offer);
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
        while (_statuses[id] != Status.None) {
            if (++details.nonce == MAX_ALIKE) revert TooManyAlike(id);
            id = _idOf(details);
        }
        _statuses[id] = Status.Open;
        emit Requested(id, details.offer, requester, details);
    }

    /// @dev Both fees are rounded down, so that the three parts always add up to the price.
    function _pay(bytes32 id, uint256 price, StoredOffer storage offer, address worker, bytes calldata result)
        internal
    {
        uint256 poolPaid = price * offer.poolFeeBps / BPS;
        uint256 providerPaid = price * offer.providerFeeBps / BPS;
        uint256 workerPaid = price - poolPaid - providerPaid;
        _credit(worker, workerPaid);
        _credit(offer.pool, poolPaid);
        _credit(_providerOf(offer), providerPaid);
        emit Settled(id, worker, workerPaid, poolPaid, providerPaid, result);
    }

    /// @dev Solidity's own `try` would copy all of the return data at the settler's expense, and would not notice
    /// that the callback got less gas than promised: under the 63/64 rule a settler could starve it and be paid.
    function _callBack(bytes32 id, address callback, uint256 callbackGas, bytes calldata result) internal {
        bytes memory message = abi.encodeCall(ITaskCallback.receiveResult, (id, result));
        if (gasleft() < callbackGas + callbackGas / 63 + CALLBACK_OVERHEAD) revert CallbackStarved(callbackGas);
        bool success;
        assembly ("memory-safe") {
            success := call(callbackGas, callback, 0, add(message, 0x20), mload(message), 0, 0)
        }
        if (success) return;

        uint256 length;
        assembly ("memory-safe") {
            length := returndatasize()
        }
        bytes memory reason = new bytes(length < MAX_REASON_BYTES ? length : MAX_REASON_BYTES);
        assembly ("memory-safe") {
            returndatacopy(add(reason, 0x20), 0, mload(reason))
        }
        emit CallbackFailed(id, reason);
    }

    function _refund(bytes32 id, Order calldata order) internal {
        _statuses[id] = Status.Refunded;
        _credit(order.requester, order.price);
        emit Refunded(id, order.requester, order.price);
    }

    function _deposit(address account, uint256 amount) internal {
        _credit(account, amount);
        TOKEN.safeTransferFrom(account, address(this), amount);
        emit Deposited(account, amount);
    }

    function _withdraw(address to, uint256 amount) internal {
        // Tokens that the market owes to nobody would be stuck in it.
        if (to == address(this)) revert InvalidReceiver(to);
        _debit(msg.sender, amount);
        TOKEN.safeTransfer(to, amount);
        emit Withdrawn(msg.sender, to, amount);
    }

    /// @dev Anybody may submit a signature seen in the mempool; then the allowance is there and the permit fails.
    function _permit(Permit memory permit) internal {
        try IERC20Permit(address(TOKEN))
            .permit(msg.sender, address(this), permit.value, permit.deadline, permit.v, permit.r, permit.s) {}
            catch {}
    }

    function _credit(address account, uint256 amount) internal {
        if (amount > 0) _accounts[account] += amount;
    }

    function _debit(address account, uint256 amount) internal {
        uint256 balance = _accounts[account];
        if (balance < amount) revert AccountTooLow(account, balance, amount);
        _accounts[account] = balance - amount;
    }

    function _providerOf(StoredOffer storage offer) internal view returns (address) {
        return address((uint160(offer.providerHigh) << 64) | offer.providerLow);
    }

    /// @dev Same as `orderIdOf`, for an order in memory.
    function _idOf(Order memory order) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), order));
    }

    function _requireOpen(bytes32 id) internal view {
        Status status = _statuses[id];
        if (status != Status.Open) revert NotOpen(id, status);
    }
}
