// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ILedger} from "./ILedger.sol";
import {IMarket} from "./IMarket.sol";
import {IProofVerifier} from "./IProofVerifier.sol";

/// @title Trust for results that no program on chain can check
/// @notice Workers bond money, sign what they computed, and lose the bond for a lie that is proven. Two kinds of offers
/// build on it by naming their verifier:
///
/// - `Quorum`: a settlement carries the signatures of so many bonded workers, and pays at once.
/// - this contract: the pool **proposes** a result with a bond; whoever doubts it **challenges** with an equal one; a
///   jury of bonded workers of other pools, drawn by the hash of a block that did not exist at the challenge, computes
///   the task again and votes under seal. Unchallenged or upheld, the market accepts the result.
///
/// What is slashed: a signature under something else than the jury's verdict on the same task, and two signatures under
/// different results of the same task. Never: lateness, absence, a vote with the minority. An app whose results differ
/// from run to run finds no majority, and then nobody loses anything: the order is not accepted and is refunded.
///
/// What a verdict is worth: seats cost the same and are drawn evenly, so who wants to decide verdicts has to bond about
/// as much as everybody else together, and every worker bonded by others lowers the chance.
interface ICourt is ILedger, IProofVerifier {
    /// @notice What a worker signs: EIP-712 type `Statement(bytes32 order,bytes32 inputs,bytes32 result)` in the domain of
    /// this contract and chain. A worker signs one statement per order in its life, and keeps what it has signed.
    /// @param order The order's id, a task's id, or a batch's: the id of its first task. It contains chain, market,
    /// offer and with it the app.
    /// @param inputs keccak256 of the order's params.
    /// @param result keccak256 of the result, which starts with exit status and storage location: see `Outcome`.
    struct Statement {
        bytes32 order;
        bytes32 inputs;
        bytes32 result;
    }

    enum Stage {
        None,
        Proposed,
        Challenged,
        Drawn,
        Upheld,
        Refuted,
        Hung,
        Accepted
    }

    /// @param market Whose orders are judged.
    /// @param window Seconds in which a proposal can be challenged.
    /// @param drawTime Seconds after a challenge in which the jury must be drawn.
    /// @param commitTime Seconds for jurors to compute and seal their votes.
    /// @param revealTime Seconds to open them.
    /// @param seatBond Price of a seat, in nRLC.
    /// @param bondMin Least bond of a proposal and its challenge, in nRLC.
    /// @param bondFactor Bond as a multiple of the order's price. The jury's fees are half of a bond.
    struct Rules {
        address market;
        uint64 window;
        uint64 drawTime;
        uint64 commitTime;
        uint64 revealTime;
        uint96 seatBond;
        uint96 bondMin;
        uint96 bondFactor;
    }

    event Bonded(address indexed worker, address indexed pool, uint256 amount);
    event LeaveStarted(address indexed worker, uint256 until);
    event Left(address indexed worker, uint256 amount);
    event Proposed(
        bytes32 indexed order, address indexed pool, address worker, uint256 until, uint256 bond, bytes result
    );
    event Challenged(bytes32 indexed order, address indexed challenger, uint256 drawBlock);
    event Drawn(bytes32 indexed order, address[] jurors, uint256 commitUntil, uint256 revealUntil);
    event VoteSealed(bytes32 indexed order, address indexed juror);
    event Voted(bytes32 indexed order, address indexed juror, bytes32 result);
    /// @param verdict keccak256 of the result that the jury found; 0 without a verdict.
    event Closed(bytes32 indexed order, Stage stage, bytes32 verdict);
    event Slashed(address indexed worker, address indexed reporter, bytes32 indexed order, uint256 amount);

    error AlreadyBonded(address worker);
    error NotBonded(address worker);
    error TooEarly(uint256 until);
    error TooLate(uint256 until);
    error NotThePool(address caller, address pool);
    error NotJudgedHere(bytes32 offer);
    error OrderNotOpen(bytes32 order);
    /// @notice A dispute could outlast the order: there must be time for all of it.
    error DeadlineTooNear(uint256 deadline, uint256 needed);
    error WrongStage(bytes32 order, Stage stage);
    error NotJuror(address caller);
    error VoteNotSealed(address juror);
    /// @notice The two statements are equal or about different orders.
    error NoContradiction();
    error NotSignedBy(address worker);
    error NotRefuted(bytes32 order);

    /// @notice Takes a seat for `seatBond` from the caller's account, as a worker of `pool`.
    function bond(address pool) external;

    /// @notice Gives up the caller's seat: it counts for nothing new, and the bond comes back after LEAVE_DELAY.
    function startLeave() external;

    function finishLeave() external;

    /// @notice Proposes a result for an order of the caller's offer, with a bond from its account.
    /// @param first Of a bag: the first task that the batch `result` is about. Otherwise 0.
    function propose(IMarket.Order calldata order, uint256 first, address worker, bytes calldata result) external;

    /// @notice Doubts a proposal, with a bond as high as the pool's from the caller's account.
    function challenge(bytes32 order) external;

    /// @notice Draws the jury. Anybody may call, from the second block after the challenge on. If that block's hash is
    /// out of reach, another block is named.
    function draw(bytes32 order) external;

    /// @param sealedVote `keccak256(abi.encode(order, juror, result, salt))`, with `result` the keccak256 of what the
    /// juror's computation came to.
    function sealVote(bytes32 order, bytes32 sealedVote) external;

    function openVote(bytes32 order, bytes32 result, bytes32 salt) external;

    /// @notice Ends what is over: a proposal that nobody challenged, a jury that nobody drew, a vote.
    function close(bytes32 order) external;

    /// @notice Slashes a worker that signed two statements about one order. Half goes to the caller, half is burnt, so
    /// that nobody gains by reporting itself.
    function slashContradiction(
        address worker,
        Statement calldata one,
        bytes calldata oneSignature,
        Statement calldata other,
        bytes calldata otherSignature
    ) external;

    /// @notice Slashes a worker that signed a result other than the jury's verdict on the same order.
    function slashRefuted(address worker, Statement calldata signed, bytes calldata signature) external;

    function stageOf(bytes32 order) external view returns (Stage);

    function jurorsOf(bytes32 order) external view returns (address[] memory);

    /// @notice Whether the worker has a seat and is not leaving.
    function isBonded(address worker) external view returns (bool);

    /// @notice Whether all of them have, and they are in ascending order of address: so each counts once.
    function areBonded(address[] calldata workers) external view returns (bool);

    function statementHash(Statement calldata statement) external view returns (bytes32);

    function domainSeparator() external view returns (bytes32);

    function rules() external view returns (Rules memory);
}
