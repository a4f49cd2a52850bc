// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IApprovalReceiver} from "./IApprovalReceiver.sol";

/// @title Market for computation
/// @notice Pools publish standing offers; requesters lock the price of an order; the offer's pool settles it with a
/// result that the offer's verifier accepts, or the requester gets everything back.
///
/// Every token in the market belongs to one account or to one open order. There is no owner, no pause, no upgrade and
/// no way to move funds other than the functions below.
///
/// Time is cut in two so that no race decides who gets the money: up to and including its deadline an order can only
/// be settled (or declined by its pool), from then on it can only be refunded. If a late settlement were accepted
/// until somebody refunds, a requester could watch for it in the mempool, read the result there and refund first; the
/// other way round a pool could sit on a result until the refund shows up. The pool knows the deadline from the start
/// and leaves itself a margin: a settlement that arrives late reverts and its result has been shown for nothing.
interface IMarket is IApprovalReceiver {
    /// @notice Terms at which a pool runs one app. Immutable: other terms are another offer.
    /// @param pool Who settles, and takes the pool's fee.
    /// @param provider Who takes the app provider's fee.
    /// @param app Digest of the app's manifest.
    /// @param verifier Judge of results. Must be a contract: offers without one are not supported yet.
    /// @param unitPrice Price of one unit of work, in nRLC.
    /// @param poolFeeBps Pool's part of the price in basis points.
    /// @param providerFeeBps Provider's part of the price in basis points. The worker has the rest, and all rounding.
    /// @param duration Seconds from order to deadline.
    struct Offer {
        address pool;
        address provider;
        bytes32 app;
        address verifier;
        uint96 unitPrice;
        uint16 poolFeeBps;
        uint16 providerFeeBps;
        uint32 duration;
    }

    /// @notice What was bought. Only its hash's status is stored: the order travels in the event `Requested`, and
    /// whoever settles, declines or refunds it hands it in again.
    /// @param offer The offer it was made under.
    /// @param requester Owner: gets refunds.
    /// @param callback Contract that receives the result, or zero.
    /// @param callbackGas Gas that the callback is guaranteed, and limited to.
    /// @param units Units of work paid for.
    /// @param price `units` times the offer's unit price, in nRLC.
    /// @param deadline Last second in which it can be settled.
    /// @param nonce Tells apart orders that are otherwise equal, to the second: 0, then 1 and so on.
    /// @param params Input of the app, judged by the verifier.
    struct Order {
        bytes32 offer;
        address requester;
        address callback;
        uint32 callbackGas;
        uint64 units;
        uint96 price;
        uint64 deadline;
        uint256 nonce;
        bytes params;
    }

    /// @notice An ERC-2612 approval of the market, signed by the caller.
    struct Permit {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @dev Refunded covers both refund and decline.
    enum Status {
        None,
        Open,
        Settled,
        Refunded
    }

    event OfferPublished(bytes32 indexed offer, address indexed pool, Offer terms);
    event OfferWithdrawn(bytes32 indexed offer);
    event Requested(bytes32 indexed order, bytes32 indexed offer, address indexed requester, Order details);
    event Settled(
        bytes32 indexed order,
        address indexed worker,
        uint256 workerPaid,
        uint256 poolPaid,
        uint256 providerPaid,
        bytes result
    );
    /// @notice The callback reverted or ran out of its gas; the order is settled all the same.
    /// @param reason What it reverted with, cut after MAX_REASON_BYTES.
    event CallbackFailed(bytes32 indexed order, bytes reason);
    event Declined(bytes32 indexed order, bytes reason);
    /// @notice Follows every `Declined`, too.
    event Refunded(bytes32 indexed order, address indexed requester, uint256 amount);
    event Deposited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, address indexed to, uint256 amount);

    error ZeroAddress();
    error InvalidReceiver(address to);
    error NotToken(address caller);
    error NotPool(address caller, address pool);
    error VerifierMissing(address verifier);
    error FeesTooHigh(uint256 bps);
    error DurationOutOfRange(uint256 duration);
    error OfferAlreadyActive(bytes32 offer);
    error OfferNotActive(bytes32 offer);
    error ZeroUnits();
    error PriceTooLarge(uint256 price);
    error PriceAboveMax(uint256 price, uint256 priceMax);
    error AccountTooLow(address account, uint256 balance, uint256 needed);
    error ParamsTooLong(uint256 length);
    error ResultTooLong(uint256 length);
    error ReasonTooLong(uint256 length);
    error CallbackGasTooHigh(uint256 callbackGas);
    /// @notice The settler must send more gas: what remains would starve the callback.
    error CallbackStarved(uint256 callbackGas);
    error TooManyAlike(bytes32 order);
    error NotOpen(bytes32 order, Status status);
    error DeadlinePassed(uint256 deadline);
    error DeadlineNotPassed(uint256 deadline);
    error ResultRefused(bytes32 order);

    /// @notice Publishes the caller's offer, or takes up again one it has withdrawn.
    /// @param terms `terms.pool` must be the caller.
    /// @return offer `keccak256(abi.encode(block.chainid, market, terms))`.
    function publishOffer(Offer calldata terms) external returns (bytes32 offer);

    /// @notice Stops new orders under the offer; open ones stay as they are. Pool only.
    function withdrawOffer(bytes32 offer) external;

    /// @notice Pulls `amount` from the caller's wallet into its account.
    function deposit(uint256 amount) external;

    /// @notice Same, with the approval as a signature. A permit that somebody else has already used does no harm.
    function depositWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice Moves `amount` from the caller's account to its wallet.
    function withdraw(uint256 amount) external;

    /// @notice Moves `amount` from the caller's account to the wallet of `to`, which must not be the market's.
    function withdrawTo(address to, uint256 amount) external;

    /// @notice Orders, paid from the caller's account.
    /// @param offer An active offer.
    /// @param units Units of work, at least one.
    /// @param priceMax Most that the caller agrees to pay.
    /// @param callback Contract that receives the result, or zero.
    /// @param callbackGas Gas for it, at most MAX_CALLBACK_GAS.
    /// @param params Input of the app, at most MAX_PARAMS_BYTES.
    /// @return order The order's id.
    function request(
        bytes32 offer,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 order);

    /// @notice Orders for somebody else, paid from the caller's account.
    /// @param requester Owns the order: refunds go to its account.
    function requestFor(
        address requester,
        bytes32 offer,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 order);

    /// @notice Orders for `requester`, pulling exactly the price from the caller's wallet by its allowance.
    function requestFromWallet(
        address requester,
        bytes32 offer,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 order);

    /// @notice Orders, pulling exactly the price from the caller's wallet, with the approval as a signature.
    function requestWithPermit(
        bytes32 offer,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params,
        Permit calldata permit
    ) external returns (bytes32 order);

    /// @notice Orders in one transaction: `RLC.approveAndCall(market, amount, abi.encode(offer, units, priceMax,
    /// callback, callbackGas, params))`, where exactly the price is pulled from the wallet of `from`. With empty
    /// `data`, deposits `amount`.
    /// @inheritdoc IApprovalReceiver
    function receiveApproval(address from, uint256 amount, address token, bytes calldata data) external;

    /// @notice Ends an order with a result, pays worker, pool and provider, then calls the requester's contract.
    /// Pool only, until the deadline, and only with a result that the verifier accepts.
    /// @dev Nothing a callback does (revert, loop, huge return data, re-entry) can undo the payment. Reverts if the
    /// gas left would not give the callback what was promised to it.
    /// @param order The order as it was in `Requested`.
    /// @param worker Who is paid.
    /// @param result What the verifier judges and the callback receives, at most MAX_RESULT_BYTES.
    function settle(Order calldata order, address worker, bytes calldata result) external;

    /// @notice Gives an order back, with a full refund. Pool only, at any time while it is open.
    /// @param reason For the requester to read, at most MAX_REASON_BYTES.
    function decline(Order calldata order, bytes calldata reason) external;

    /// @notice Refunds an order whose deadline has passed, to its requester's account. Anybody may call.
    function refund(Order calldata order) external;

    function offerOf(bytes32 offer) external view returns (Offer memory terms, bool active);

    /// @notice Balance that the account can order with or withdraw.
    function accountOf(address account) external view returns (uint256);

    function statusOf(bytes32 order) external view returns (Status);

    /// @notice `keccak256(abi.encode(block.chainid, market, order))`.
    function orderIdOf(Order calldata order) external view returns (bytes32);

    function token() external view returns (address);
}
