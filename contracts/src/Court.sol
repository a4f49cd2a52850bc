// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Ledger} from "./Ledger.sol";
import {Signatures} from "./Signatures.sol";
import {ICourt} from "./interfaces/ICourt.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {IProofVerifier} from "./interfaces/IProofVerifier.sol";
import {IVerifier} from "./interfaces/IVerifier.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Bonds, proposals, challenges, juries
/// @dev Money is in accounts, in seats (SEAT_BOND each) and in cases (the bonds of both sides), and nowhere else.
contract Court is Ledger, EIP712, ICourt {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev What the check of a signature reads is one word. Times are seconds.
    struct Member {
        uint64 seat;
        uint48 since;
        uint48 leavingSince;
        address pool;
    }

    struct Case {
        /// @dev Who is to be paid for what: only that is accepted.
        bytes32 claim;
        bytes32 result;
        address pool;
        uint48 until;
        Stage stage;
        address challenger;
        uint96 bond;
        uint64 drawBlock;
        uint64 seats;
        uint48 challengedAt;
        uint48 commitUntil;
        uint48 revealUntil;
        bytes32 verdict;
        address[] jurors;
    }

    /// @dev A juror's seal, until the vote itself takes its place.
    struct Vote {
        bytes32 word;
        bool isOpen;
    }

    uint256 public constant JURORS = 5;
    uint256 public constant MAJORITY = 3;
    /// @notice Seats looked at for a jury. Where half of the row may judge, a jury fails to fill once in ten million draws.
    uint256 public constant DRAW_TRIES = 40;
    /// @notice Blocks between a challenge and the block whose hash draws the jury.
    uint256 public constant DRAW_DELAY = 2;
    /// @notice Added to the longest dispute: time to report a lie before its bond has gone.
    uint256 public constant REPORT_TIME = 7 days;
    /// @notice Added to the longest dispute: time to settle what it upheld.
    uint256 public constant SETTLE_TIME = 1 hours;
    address public constant BURNT = 0x000000000000000000000000000000000000dEaD;

    bytes32 private constant STATEMENT = keccak256("Statement(bytes32 order,bytes32 inputs,bytes32 result)");

    IMarket public immutable MARKET;
    uint64 private immutable WINDOW;
    uint64 private immutable DRAW_TIME;
    uint64 private immutable COMMIT_TIME;
    uint64 private immutable REVEAL_TIME;
    uint96 private immutable SEAT_BOND;
    uint96 private immutable BOND_MIN;
    uint96 private immutable BOND_FACTOR;

    /// @dev Seat 0 is nobody's. A seat that was left is taken again by the next who bonds, so that the row stays short.
    address[] private _seats;
    uint64[] private _free;
    mapping(address worker => Member) private _members;
    mapping(bytes32 order => Case) private _cases;
    mapping(bytes32 order => mapping(address juror => Vote)) private _votes;

    constructor(Rules memory rules_) Ledger(IMarket(rules_.market).token()) EIP712("gristmill court", "1") {
        MARKET = IMarket(rules_.market);
        WINDOW = rules_.window;
        DRAW_TIME = rules_.drawTime;
        COMMIT_TIME = rules_.commitTime;
        REVEAL_TIME = rules_.revealTime;
        SEAT_BOND = rules_.seatBond;
        BOND_MIN = rules_.bondMin;
        BOND_FACTOR = rules_.bondFactor;
        _seats.push();
    }

    /// @inheritdoc ICourt
    function bond(address pool) external {
        if (pool == address(0)) revert ZeroAddress();
        if (_members[msg.sender].seat != 0) revert AlreadyBonded(msg.sender);
        _debit(msg.sender, SEAT_BOND);
        uint64 seat = _seats.length.toUint64();
        if (_free.length > 0) {
            seat = _free[_free.length - 1];
            _free.pop();
        } else {
            _seats.push();
        }
        _seats[seat] = msg.sender;
        _members[msg.sender] = Member(seat, block.timestamp.toUint48(), 0, pool);
        emit Bonded(msg.sender, pool, SEAT_BOND);
    }

    /// @inheritdoc ICourt
    function startLeave() external {
        if (!isBonded(msg.sender)) revert NotBonded(msg.sender);
        _members[msg.sender].leavingSince = block.timestamp.toUint48();
        emit LeaveStarted(msg.sender, block.timestamp + leaveDelay());
    }

    /// @inheritdoc ICourt
    function finishLeave() external {
        uint256 since = _members[msg.sender].leavingSince;
        if (since == 0) revert NotBonded(msg.sender);
        if (block.timestamp <= since + leaveDelay()) revert TooEarly(since + leaveDelay());
        _vacate(msg.sender);
        _credit(msg.sender, SEAT_BOND);
        emit Left(msg.sender, SEAT_BOND);
    }

    /// @inheritdoc ICourt
    function propose(IMarket.Order calldata order, uint256 first, address worker, bytes calldata result) external {
        bytes32 id = MARKET.orderIdOf(order);
        _checkProposal(id, order);
        if (order.nonce >> 255 == 1) id = MARKET.taskIdOf(id, first);
        Case storage found = _cases[id];
        if (found.stage != Stage.None) revert WrongStage(id, found.stage);

        uint256 amount = Math.max(BOND_MIN, uint256(BOND_FACTOR) * order.price);
        _debit(msg.sender, amount);
        uint256 until = block.timestamp + WINDOW;
        found.claim = keccak256(abi.encode(worker, keccak256(result)));
        found.result = keccak256(result);
        (found.pool, found.until, found.stage) = (msg.sender, until.toUint48(), Stage.Proposed);
        found.bond = amount.toUint96();
        emit Proposed(id, msg.sender, worker, until, amount, result);
    }

    /// @inheritdoc ICourt
    function challenge(bytes32 order) external {
        Case storage found = _at(order, Stage.Proposed);
        if (block.timestamp > found.until) revert TooLate(found.until);
        _debit(msg.sender, found.bond);
        (found.stage, found.challenger) = (Stage.Challenged, msg.sender);
        found.challengedAt = block.timestamp.toUint48();
        found.until = (block.timestamp + DRAW_TIME).toUint48();
        found.drawBlock = (block.number + DRAW_DELAY).toUint64();
        found.seats = _seats.length.toUint64();
        emit Challenged(order, msg.sender, found.drawBlock);
    }

    /// @inheritdoc ICourt
    function draw(bytes32 order) external {
        Case storage found = _at(order, Stage.Challenged);
        if (block.timestamp > found.until) revert TooLate(found.until);
        if (block.number <= found.drawBlock) revert TooEarly(found.drawBlock);
        bytes32 seed = blockhash(found.drawBlock);
        if (seed == 0) {
            found.drawBlock = (block.number + DRAW_DELAY).toUint64();
            emit Challenged(order, found.challenger, found.drawBlock);
            return;
        }

        _fillJury(found, seed);
        if (found.jurors.length < JURORS) return _close(order, found, Stage.Hung, 0);
        found.stage = Stage.Drawn;
        found.commitUntil = (block.timestamp + COMMIT_TIME).toUint48();
        found.revealUntil = (block.timestamp + COMMIT_TIME + REVEAL_TIME).toUint48();
        emit Drawn(order, found.jurors, found.commitUntil, found.revealUntil);
    }

    /// @inheritdoc ICourt
    function sealVote(bytes32 order, bytes32 sealedVote) external {
        Case storage found = _at(order, Stage.Drawn);
        if (block.timestamp > found.commitUntil) revert TooLate(found.commitUntil);
        if (!_isJuror(found, msg.sender)) revert NotJuror(msg.sender);
        _votes[order][msg.sender].word = sealedVote;
        emit VoteSealed(order, msg.sender);
    }

    /// @inheritdoc ICourt
    function openVote(bytes32 order, bytes32 result, bytes32 salt) external {
        Case storage found = _at(order, Stage.Drawn);
        if (block.timestamp <= found.commitUntil) revert TooEarly(found.commitUntil);
        if (block.timestamp > found.revealUntil) revert TooLate(found.revealUntil);
        Vote storage vote = _votes[order][msg.sender];
        bytes32 sealedVote = keccak256(abi.encode(order, msg.sender, result, salt));
        if (vote.isOpen || vote.word != sealedVote) revert VoteNotSealed(msg.sender);
        (vote.word, vote.isOpen) = (result, true);
        emit Voted(order, msg.sender, result);
    }

    /// @inheritdoc ICourt
    function close(bytes32 order) external {
        Case storage found = _cases[order];
        Stage stage = found.stage;
        if (stage != Stage.Proposed && stage != Stage.Challenged && stage != Stage.Drawn) {
            revert WrongStage(order, stage);
        }
        uint256 until = stage == Stage.Drawn ? found.revealUntil : found.until;
        if (block.timestamp <= until) revert TooEarly(until);
        if (stage == Stage.Proposed) return _close(order, found, Stage.Accepted, 0);
        if (stage == Stage.Challenged) return _close(order, found, Stage.Hung, 0);

        bytes32 verdict = _verdict(order, found.jurors);
        if (verdict == 0) return _close(order, found, Stage.Hung, 0);
        _close(order, found, verdict == found.result ? Stage.Upheld : Stage.Refuted, verdict);
    }

    /// @inheritdoc ICourt
    function slashContradiction(
        address worker,
        Statement calldata one,
        bytes calldata oneSignature,
        Statement calldata other,
        bytes calldata otherSignature
    ) external {
        (bytes32 oneHash, bytes32 otherHash) = (statementHash(one), statementHash(other));
        if (one.order != other.order || oneHash == otherHash) revert NoContradiction();
        if (!Signatures.isBy(worker, oneHash, oneSignature)) revert NotSignedBy(worker);
        if (!Signatures.isBy(worker, otherHash, otherSignature)) revert NotSignedBy(worker);
        _slash(worker, one.order);
    }

    /// @inheritdoc ICourt
    function slashRefuted(address worker, Statement calldata signed, bytes calldata signature) external {
        bytes32 verdict = _cases[signed.order].verdict;
        if (verdict == 0 || signed.result == verdict) revert NotRefuted(signed.order);
        if (!Signatures.isBy(worker, statementHash(signed), signature)) revert NotSignedBy(worker);
        _slash(worker, signed.order);
    }

    /// @inheritdoc IVerifier
    function verify(bytes32 order, address worker, bytes calldata, bytes calldata result) public view returns (bool) {
        Case storage found = _cases[order];
        if (found.claim != keccak256(abi.encode(worker, keccak256(result)))) return false;
        Stage stage = found.stage;
        if (stage == Stage.Proposed) return block.timestamp > found.until;
        return stage == Stage.Accepted || stage == Stage.Upheld;
    }

    /// @inheritdoc IProofVerifier
    /// @dev The proof is what happened here.
    function verifyWithProof(
        bytes32 order,
        address worker,
        bytes calldata params,
        bytes calldata result,
        bytes calldata
    ) external view returns (bool) {
        return verify(order, worker, params, result);
    }

    /// @inheritdoc ICourt
    function stageOf(bytes32 order) external view returns (Stage) {
        return _cases[order].stage;
    }

    /// @inheritdoc ICourt
    function jurorsOf(bytes32 order) external view returns (address[] memory) {
        return _cases[order].jurors;
    }

    /// @inheritdoc ICourt
    function isBonded(address worker) public view returns (bool) {
        Member storage member = _members[worker];
        // Side by side, so that the word is read once.
        (uint256 seat, uint256 leavingSince) = (member.seat, member.leavingSince);
        return seat != 0 && leavingSince == 0;
    }

    /// @inheritdoc ICourt
    function areBonded(address[] calldata workers) external view returns (bool) {
        address last = address(0);
        for (uint256 i = 0; i < workers.length; ++i) {
            address worker = workers[i];
            if (worker <= last || !isBonded(worker)) return false;
            last = worker;
        }
        return true;
    }

    /// @inheritdoc ICourt
    function statementHash(Statement calldata statement) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(STATEMENT, statement)));
    }

    /// @inheritdoc ICourt
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @inheritdoc ICourt
    function rules() external view returns (Rules memory) {
        return Rules(address(MARKET), WINDOW, DRAW_TIME, COMMIT_TIME, REVEAL_TIME, SEAT_BOND, BOND_MIN, BOND_FACTOR);
    }

    /// @notice Seconds between a proposal and the end of the longest dispute about it.
    function disputeTime() public view returns (uint256) {
        return uint256(WINDOW) + DRAW_TIME + COMMIT_TIME + REVEAL_TIME;
    }

    /// @notice Seconds between giving up a seat and getting the bond back.
    function leaveDelay() public view returns (uint256) {
        return disputeTime() + REPORT_TIME;
    }

    function _checkProposal(bytes32 id, IMarket.Order calldata order) internal view {
        if (MARKET.statusOf(id) != IMarket.Status.Open) revert OrderNotOpen(id);
        (IMarket.Offer memory terms,) = MARKET.offerOf(order.offer);
        if (terms.pool != msg.sender) revert NotThePool(msg.sender, terms.pool);
        if (terms.verifier != address(this)) revert NotJudgedHere(order.offer);
        uint256 needed = block.timestamp + disputeTime() + SETTLE_TIME;
        if (order.deadline < needed) revert DeadlineTooNear(order.deadline, needed);
    }

    /// @dev A function of the seed and of the seats as they were at the challenge: who came later does not count, and who
    /// has given up a seat since still does, so that nobody shapes the jury once its seed is known. Only who lets itself
    /// be slashed leaves a gap, at half a bond each.
    function _fillJury(Case storage found, bytes32 seed) internal {
        for (uint256 i = 0; i < DRAW_TRIES && found.jurors.length < JURORS; ++i) {
            address worker = _seats[uint256(keccak256(abi.encode(seed, i))) % found.seats];
            if (_mayJudge(worker, found) && !_isJuror(found, worker)) found.jurors.push(worker);
        }
    }

    function _mayJudge(address worker, Case storage found) internal view returns (bool) {
        Member storage member = _members[worker];
        if (member.seat == 0 || member.since >= found.challengedAt) return false;
        if (member.leavingSince != 0 && member.leavingSince < found.challengedAt) return false;
        return member.pool != found.pool && worker != found.pool && worker != found.challenger;
    }

    function _isJuror(Case storage found, address worker) internal view returns (bool) {
        for (uint256 i = 0; i < found.jurors.length; ++i) {
            if (found.jurors[i] == worker) return true;
        }
        return false;
    }

    /// @return What most of the jury found, or 0.
    function _verdict(bytes32 order, address[] storage jurors) internal view returns (bytes32) {
        for (uint256 i = 0; i + MAJORITY <= JURORS; ++i) {
            Vote storage candidate = _votes[order][jurors[i]];
            if (!candidate.isOpen) continue;
            uint256 votes = 1;
            for (uint256 j = i + 1; j < JURORS; ++j) {
                Vote storage vote = _votes[order][jurors[j]];
                if (vote.isOpen && vote.word == candidate.word) ++votes;
            }
            if (votes >= MAJORITY) return candidate.word;
        }
        return 0;
    }

    /// @dev The loser's bond: half among the jurors who found the verdict, the rest to the winner.
    function _close(bytes32 order, Case storage found, Stage stage, bytes32 verdict) internal {
        (found.stage, found.verdict) = (stage, verdict);
        uint256 amount = found.bond;
        if (stage == Stage.Accepted || stage == Stage.Hung) {
            _credit(found.pool, amount);
            if (stage == Stage.Hung) _credit(found.challenger, amount);
        } else {
            address winner = stage == Stage.Upheld ? found.pool : found.challenger;
            _credit(winner, 2 * amount - _payJurors(order, found, amount / 2));
        }
        emit Closed(order, stage, verdict);
    }

    function _payJurors(bytes32 order, Case storage found, uint256 fees) internal returns (uint256 paid) {
        uint256 right = 0;
        for (uint256 i = 0; i < JURORS; ++i) {
            if (_votedFor(order, found.jurors[i], found.verdict)) ++right;
        }
        for (uint256 i = 0; i < JURORS; ++i) {
            if (!_votedFor(order, found.jurors[i], found.verdict)) continue;
            _credit(found.jurors[i], fees / right);
            paid += fees / right;
        }
    }

    function _votedFor(bytes32 order, address juror, bytes32 result) internal view returns (bool) {
        Vote storage vote = _votes[order][juror];
        return vote.isOpen && vote.word == result;
    }

    function _slash(address worker, bytes32 order) internal {
        if (_members[worker].seat == 0) revert NotBonded(worker);
        _vacate(worker);
        uint256 reward = SEAT_BOND / 2;
        _credit(msg.sender, reward);
        emit Slashed(worker, msg.sender, order, SEAT_BOND);
        TOKEN.safeTransfer(BURNT, SEAT_BOND - reward);
    }

    function _vacate(address worker) internal {
        uint64 seat = _members[worker].seat;
        delete _seats[seat];
        delete _members[worker];
        _free.push(seat);
    }

    function _at(bytes32 order, Stage stage) internal view returns (Case storage found) {
        found = _cases[order];
        if (found.stage != stage) revert WrongStage(order, found.stage);
    }
}
