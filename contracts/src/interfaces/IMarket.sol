// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ILedger} from "./ILedger.sol";
import {IVouchers} from "./IVouchers.sol";

/// @title Market for computation
/// @notice Pools publish standing offers; requesters lock the price of an order; the offer's pool settles it with a
/// result that the offer's verifier accepts, or the requester gets everything back.
///
/// Every token in the market belongs to one account, one open order, or the cover of one pool's vouchers. There is no
/// owner, no pause, no upgrade and no way to move funds other than the functions below.
///
/// Time is cut in two so that no race decides who gets the money: up to and including its deadline an order can only
/// be settled (or declined by its pool), from then on it can only be refunded. If a late settlement were accepted
/// until somebody refunds, a requester could watch for it in the mempool, read the result there and refund first; the
/// other way round a pool could sit on a result until the refund shows up. The pool knows the deadline from the start
/// and leaves itself a margin: a settlement that arrives late reverts and its result has been shown for nothing.
///
/// Paying and ordering are one transaction in either of two ways: `requestWithPermit`, or
/// `RLC.approveAndCall(market, amount, abi.encode(offer, units, priceMax, callback, callbackGas, params))`, which pulls
/// exactly the price from the caller's wallet. With the selector of `requestBag` in front of the arguments that orders a
/// bag; with no data it deposits `amount`.
///
/// An order is one task, whatever number of units it is worth, or a **bag**: then each unit is a task, and a settlement
/// ends the next tasks in turn, so that one counter says which are done.
interface IMarket is ILedger, IVouchers {
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
    /// @param nonce Tells apart orders that are otherwise equal, to the second: 0, then 1 and so on. A bag has the
    /// highest bit set.
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

    /// @notice A pool's offer that is not on chain until somebody takes it. EIP-712 type `SignedOffer(Offer terms,address
    /// requester,uint64 units,uint64 validUntil,bytes32 salt)Offer(...)`, in the domain of this contract and chain.
    /// @param requester Who alone may take it, or zero.
    /// @param units How many units may be ordered under it in all.
    /// @param validUntil Last second in which it can be taken.
    /// @param salt Makes another offer of equal terms.
    struct SignedOffer {
        Offer terms;
        address requester;
        uint64 units;
        uint64 validUntil;
        bytes32 salt;
    }

    /// @notice An order signed instead of sent, for somebody else to bring. EIP-712 type `SignedRequest(address
    /// requester,address relayer,uint96 tip,bytes32 offer,uint64 units,bool bag,uint96 priceMax,address callback,uint32
    /// callbackGas,uint64 validUntil,bytes32 salt,bytes params)`, in the domain of this contract and chain.
    /// @param requester Who signs, pays from its account, and owns the order.
    /// @param relayer Who alone may bring it, or zero.
    /// @param tip What the requester pays the bringer for the gas, on top of the price.
    /// @param bag Whether each unit is a task.
    /// @param validUntil Last second in which it can be brought.
    /// @param salt Makes another request of equal terms; each is good once.
    struct SignedRequest {
        address requester;
        address relayer;
        uint96 tip;
        bytes32 offer;
        uint64 units;
        bool bag;
        uint96 priceMax;
        address callback;
        uint32 callbackGas;
        uint64 validUntil;
        bytes32 salt;
        bytes params;
    }

    /// @notice One order's end among several.
    /// @param proof Empty where the offer's verifier needs none.
    struct Settlement {
        Order order;
        address worker;
        bytes result;
        bytes proof;
    }

    /// @notice The end of a bag's next task.
    /// @param worker Who is paid; zero if the task failed, which refunds it.
    /// @param proof Empty where the offer's verifier needs none.
    struct TaskResult {
        address worker;
        bytes result;
        bytes proof;
    }

    /// @notice An ERC-2612 approval of the market, signed by the caller.
    struct Permit {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @dev Refunded covers refund, decline and cancellation. Cancelling: open, and refundable soon.
    enum Status {
        None,
        Open,
        Settled,
        Refunded,
        Cancelling
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
    /// @notice A signed offer was taken. If it was the first time, its terms are on chain from now on: `offerOf`.
    /// @param signed What the pool signed.
    event OfferTaken(bytes32 indexed offer, bytes32 indexed signed, address indexed pool, uint64 units);
    event OfferRevoked(bytes32 indexed signed);
    event BagRequested(bytes32 indexed bag, bytes32 indexed offer, address indexed requester, Order details);
    /// @notice Tasks `first` to `first + count - 1` of a bag are done.
    /// @param failed So many of them are refunded.
    /// @param root Digest of all their results.
    event BatchSettled(
        bytes32 indexed bag,
        address indexed worker,
        uint256 first,
        uint256 count,
        uint256 failed,
        bytes32 root,
        uint256 workerPaid,
        uint256 poolPaid,
        uint256 providerPaid
    );
    event TaskSettled(bytes32 indexed bag, uint256 index, address indexed worker, uint256 workerPaid, bytes result);
    event TaskFailed(bytes32 indexed bag, uint256 index);
    event Relayed(bytes32 indexed order, address indexed relayer, uint256 tip);
    event CancelStarted(bytes32 indexed order, uint256 until);
    /// @notice The pool has begun with the order, which can no longer be cancelled.
    event Kept(bytes32 indexed order);

    error NotPool(address caller, address pool);
    error VerifierMissing(address verifier);
    error FeesTooHigh(uint256 bps);
    error DurationOutOfRange(uint256 duration);
    error OfferAlreadyActive(bytes32 offer);
    error OfferNotActive(bytes32 offer);
    error ZeroUnits();
    error PriceTooLarge(uint256 price);
    error PriceAboveMax(uint256 price, uint256 priceMax);
    error ParamsTooLong(uint256 length);
    error ResultTooLong(uint256 length);
    error ReasonTooLong(uint256 length);
    error CallbackGasTooHigh(uint256 callbackGas);
    error TooManyAlike(bytes32 order);
    error NotOpen(bytes32 order, Status status);
    error DeadlinePassed(uint256 deadline);
    error DeadlineNotPassed(uint256 deadline);
    error ResultRefused(bytes32 order);
    error NotRequester(address caller, address requester);
    error NotRelayer(address caller, address relayer);
    error BadSignature(address signer);
    error OfferExpired(uint256 validUntil);
    error OfferExhausted(bytes32 signed, uint256 taken, uint256 units);
    error RequestExpired(uint256 validUntil);
    error RequestUsed(bytes32 hash);
    error WorkStarted(bytes32 order);
    error NotCancelling(bytes32 order);
    error NotABag(bytes32 order);
    /// @notice A bag's tasks are settled by `settleBatch` or `settleTasks`.
    error IsABag(bytes32 order);
    /// @notice A batch has at least one task, no more than are left, and no more failures than tasks.
    error BatchSize(uint256 count, uint256 failed, uint256 left);

    /// @notice Publishes the caller's offer, or takes up again one it has withdrawn.
    /// @param terms `terms.pool` must be the caller.
    /// @return offer `keccak256(abi.encode(block.chainid, market, terms))`.
    function publishOffer(Offer calldata terms) external returns (bytes32 offer);

    /// @notice Stops new orders under the offer; open ones stay as they are. Pool only.
    function withdrawOffer(bytes32 offer) external;

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

    /// @notice Orders a bag, paid from the caller's account: each unit is a task. All tasks share `params`, which says
    /// what each of them is, in whatever way the app reads it.
    /// @param callback Contract that receives results: for a batch, `abi.encode(first, count, failed, root)` under the
    /// bag's id; for a task settled by itself, its result under `taskIdOf`.
    /// @return bag The order's id.
    function requestBag(
        bytes32 offer,
        uint64 tasks,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 bag);

    /// @notice Orders under a pool's signed offer, paid from the caller's account.
    function requestSigned(
        SignedOffer calldata signed,
        bytes calldata signature,
        uint64 units,
        uint256 priceMax,
        address callback,
        uint32 callbackGas,
        bytes calldata params
    ) external returns (bytes32 order);

    /// @notice Ends a signed offer of the caller, as far as it has not been taken.
    function revokeOffer(SignedOffer calldata signed) external;

    /// @notice Brings an order that its requester has signed, for a tip. Only once, whatever became of the order.
    function relay(SignedRequest calldata signed, bytes calldata signature) external returns (bytes32 order);

    /// @notice Ends an order with a result, pays worker, pool and provider, then calls the requester's contract.
    /// Pool only, until the deadline, and only with a result that the verifier accepts.
    /// @dev Nothing a callback does (revert, loop, huge return data, re-entry) can undo the payment. Reverts if the
    /// gas left would not give the callback what was promised to it.
    /// @param order The order as it was in `Requested`.
    /// @param worker Who is paid.
    /// @param result What the verifier judges and the callback receives, at most MAX_RESULT_BYTES.
    function settle(Order calldata order, address worker, bytes calldata result) external;

    /// @notice Same, where the verifier wants a proof beside the result.
    function settleWithProof(Order calldata order, address worker, bytes calldata result, bytes calldata proof) external;

    /// @notice Settles several orders. Those that have ended already, or are late, are passed over; a result that the
    /// verifier refuses reverts all.
    function settleMany(Settlement[] calldata settlements) external;

    /// @notice Ends the next `count` tasks of a bag by one digest. The verifier judges
    /// `abi.encode(first, count, failed, root)` and `proof` under the id of the first of them, `taskIdOf(bag, first)`.
    /// @param order The bag as it was in `BagRequested`.
    /// @param worker Who is paid for all tasks that have not failed; a pool that names itself pays its workers by
    /// voucher.
    /// @param count Tasks, from the first that is not done.
    /// @param failed So many of them are refunded to the requester.
    /// @param root Merkle root of the results: see `BatchProof`.
    function settleBatch(
        Order calldata order,
        address worker,
        uint256 count,
        uint256 failed,
        bytes32 root,
        bytes calldata proof
    ) external;

    /// @notice Ends a bag's next tasks with a result each, which the verifier judges under the id `taskIdOf`.
    function settleTasks(Order calldata order, TaskResult[] calldata results) external;

    /// @notice Asks to have an order back that nobody has begun with. Requester only. After CANCEL_DELAY anybody may
    /// refund it, unless the pool has settled it or has said by `keep` that it is at work.
    function cancel(Order calldata order) external;

    /// @notice Keeps an order that is being cancelled, until its deadline, because work has begun. Pool only.
    function keep(Order calldata order) external;

    /// @notice Gives an order back, with a full refund. Pool only, at any time while it is open.
    /// @param reason For the requester to read, at most MAX_REASON_BYTES.
    function decline(Order calldata order, bytes calldata reason) external;

    /// @notice Refunds an order whose deadline has passed or whose cancellation has taken effect, to its requester's
    /// account; of a bag, the tasks that are not done. Anybody may call.
    function refund(Order calldata order) external;

    function offerOf(bytes32 offer) external view returns (Offer memory terms, bool active);

    /// @notice What a pool signs; also the key of what has been taken of it.
    function signedOfferHash(SignedOffer calldata signed) external view returns (bytes32);

    /// @notice What a requester signs.
    function signedRequestHash(SignedRequest calldata signed) external view returns (bytes32);

    /// @notice Units taken of a signed offer.
    function takenOf(bytes32 signed) external view returns (uint256);

    /// @notice Tasks of a bag that are done.
    function doneOf(bytes32 bag) external view returns (uint256);

    /// @notice `keccak256(abi.encode(bag, index))`: what a verifier and a callback know a bag's task by.
    function taskIdOf(bytes32 bag, uint256 index) external pure returns (bytes32);

    function statusOf(bytes32 order) external view returns (Status);

    /// @notice `keccak256(abi.encode(block.chainid, market, order))`.
    function orderIdOf(Order calldata order) external view returns (bytes32);
}
