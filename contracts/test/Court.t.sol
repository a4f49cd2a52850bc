// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Court} from "../src/Court.sol";
import {Outcome} from "../src/Outcome.sol";
import {Quorum} from "../src/Quorum.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {CourtFixture} from "./CourtFixture.sol";

contract CourtTest is CourtFixture {
    function test_propose_isAcceptedWhenNobodyDoubts() public {
        IMarket.Order memory order = openOrder();
        bytes32 id = propose(order, truth);
        assertEq(court.accountOf(pool), 1_000_000 - BOND, "pool's account");
        vm.warp(block.timestamp + WINDOW);
        refusesToSettle(order, truth);
        vm.warp(block.timestamp + 1);
        refusesToSettle(order, lie);
        vm.prank(pool);
        market.settle(order, worker, truth);
        assertPaidFor700();
        court.close(id);
        assertStage(id, ICourt.Stage.Accepted);
        assertEq(court.accountOf(pool), 1_000_000, "bond is back");
    }

    function test_propose_paysWhomItNamed() public {
        IMarket.Order memory order = openOrder();
        propose(order, truth);
        vm.warp(block.timestamp + WINDOW + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(order)));
        vm.prank(pool);
        market.settle(order, stranger, truth);
    }

    function test_propose_ofABagsBatch() public {
        IMarket.Order memory bag = openBag(10);
        bytes memory result = abi.encode(uint256(0), uint256(6), uint256(0), bytes32("root"));
        vm.prank(pool);
        court.propose(bag, 0, worker, result);
        vm.warp(block.timestamp + WINDOW + 1);
        vm.startPrank(pool);
        bytes memory why = abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(bag));
        vm.expectRevert(why);
        market.settleBatch(bag, worker, 7, 0, "root", "");
        market.settleBatch(bag, worker, 6, 0, "root", "");
        vm.expectRevert(why);
        market.settleBatch(bag, worker, 4, 0, "root", "");
        vm.stopPrank();
    }

    function test_propose_revertsIf_notOpenNotThePoolNotOurs() public {
        IMarket.Order memory order = openOrder();
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotThePool.selector, stranger, pool));
        vm.prank(stranger);
        court.propose(order, 0, worker, truth);

        IMarket.Offer memory elsewhere = terms();
        elsewhere.unitPrice = UNIT_PRICE + 1;
        offer = publish(elsewhere);
        deposit(alice, 100);
        IMarket.Order memory other = openOrder();
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotJudgedHere.selector, offer));
        vm.prank(pool);
        court.propose(other, 0, worker, truth);

        vm.startPrank(pool);
        market.decline(order, "");
        vm.expectRevert(abi.encodeWithSelector(ICourt.OrderNotOpen.selector, market.orderIdOf(order)));
        court.propose(order, 0, worker, truth);
        vm.stopPrank();
    }

    function test_propose_revertsIf_aDisputeWouldOutlastTheOrder() public {
        IMarket.Order memory order = openOrder();
        uint256 longest = WINDOW + DRAW_TIME + COMMIT_TIME + REVEAL_TIME + 1 hours;
        vm.warp(order.deadline - longest + 1);
        vm.expectRevert(abi.encodeWithSelector(ICourt.DeadlineTooNear.selector, order.deadline, order.deadline + 1));
        vm.prank(pool);
        court.propose(order, 0, worker, truth);
        vm.warp(order.deadline - longest);
        propose(order, truth);
    }

    function test_propose_onceOnly() public {
        IMarket.Order memory order = openOrder();
        bytes32 id = propose(order, truth);
        vm.expectRevert(abi.encodeWithSelector(ICourt.WrongStage.selector, id, ICourt.Stage.Proposed));
        vm.prank(pool);
        court.propose(order, 0, worker, lie);
    }

    function test_propose_cheapOrdersHaveTheLeastBond() public {
        propose(openOrder(1, address(0), 0), truth);
        assertEq(court.accountOf(pool), 1_000_000 - BOND_MIN, "pool's account");
    }

    function test_jury_upholdsTheTruth() public {
        (IMarket.Order memory order, bytes32 id, address[] memory jurors) = disputed(truth);
        refusesToSettle(order, truth);
        vote(id, jurors, votes(truth, truth, lie, truth, ""));
        assertStage(id, ICourt.Stage.Upheld);
        // Half of bob's bond goes to three jurors, the rest and its own to the pool.
        assertEq(court.accountOf(jurors[0]), 1166, "fee");
        assertEq(court.accountOf(jurors[2]), 0, "minority");
        assertEq(court.accountOf(jurors[4]), 0, "absent");
        assertEq(court.accountOf(pool), 1_000_000 + BOND - 3 * 1166, "pool's account");
        assertEq(court.accountOf(bob), 1_000_000 - BOND, "bob's account");
        vm.prank(pool);
        market.settle(order, worker, truth);
        assertPaidFor700();
    }

    function test_jury_refutesTheLie() public {
        (IMarket.Order memory order, bytes32 id, address[] memory jurors) = disputed(lie);
        vote(id, jurors, votes("", lie, truth, truth, truth));
        assertStage(id, ICourt.Stage.Refuted);
        assertEq(court.accountOf(bob), 1_000_000 + BOND - 3 * 1166, "bob's account");
        assertEq(court.accountOf(pool), 1_000_000 - BOND, "pool's account");
        refusesToSettle(order, lie);
        refusesToSettle(order, truth);
        vm.warp(order.deadline + 1);
        refusesToPropose(order, id, ICourt.Stage.Refuted);
        market.refund(order);
        assertEq(market.accountOf(alice), 700, "alice's account");
    }

    function test_jury_withoutMajorityCostsNobodyAnything() public {
        bytes memory third = Outcome.encode(0, keccak256("blob"), "44");
        (IMarket.Order memory order, bytes32 id, address[] memory jurors) = disputed(truth);
        vote(id, jurors, votes(truth, truth, lie, lie, third));
        assertStage(id, ICourt.Stage.Hung);
        assertEq(court.accountOf(pool), 1_000_000, "pool's account");
        assertEq(court.accountOf(bob), 1_000_000, "bob's account");
        refusesToSettle(order, truth);
    }

    function test_jury_thatIsNotDrawnInTimeIsHung() public {
        seatJurors(9);
        bytes32 id = propose(openOrder(), truth);
        challenge(id, bob);
        vm.roll(block.number + 3);
        vm.warp(block.timestamp + DRAW_TIME + 1);
        vm.expectRevert(abi.encodeWithSelector(ICourt.TooLate.selector, block.timestamp - 1));
        court.draw(id);
        court.close(id);
        assertStage(id, ICourt.Stage.Hung);
        assertEq(court.accountOf(bob), 1_000_000, "bob's account");
    }

    function test_jury_isHungWithoutEnoughWorkersOfOtherPools() public {
        for (uint256 i = 0; i < 9; ++i) {
            seat(juror(i), i < 4 ? address(0x1000) : pool);
        }
        vm.warp(block.timestamp + 1);
        bytes32 id = propose(openOrder(), truth);
        challenge(id, bob);
        assertEq(draw(id, "seed").length, 4, "jurors");
        assertStage(id, ICourt.Stage.Hung);
    }

    function test_fuzz_draw_takesFiveDifferentWorkersOfOtherPools(bytes32 seed) public {
        seatJurors(12);
        seat(actor("own worker"), pool);
        seat(bob, address(0x1000));
        seat(pool, address(0x1000));
        vm.warp(block.timestamp + 1);
        bytes32 id = propose(openOrder(), truth);
        challenge(id, bob);
        seat(actor("late"), address(0x1000));
        address[] memory jurors = draw(id, keccak256(abi.encode(seed)));
        assertEq(jurors.length, 5, "jurors");
        for (uint256 i = 0; i < 5; ++i) {
            assertTrue(jurors[i] != actor("own worker") && jurors[i] != bob && jurors[i] != pool, "not a party");
            assertTrue(jurors[i] != actor("late"), "bonded before the challenge");
            for (uint256 j = 0; j < i; ++j) {
                assertTrue(jurors[i] != jurors[j], "different");
            }
        }
    }

    /// @dev Once the seed is known, joining and leaving change nothing.
    function test_fuzz_draw_cannotBeShapedAfterTheChallenge(bytes32 seed) public {
        seatJurors(12);
        address leaver = actor("leaver");
        seat(leaver, address(0x1000));
        vm.prank(leaver);
        court.startLeave();
        vm.warp(block.timestamp + court.leaveDelay() + 1);
        bytes32 id = propose(openOrder(), truth);
        challenge(id, bob);
        address[] memory before = predict(id, seed);
        // A seat is vacated and taken anew, one is added, one is given up.
        vm.prank(leaver);
        court.finishLeave();
        seat(actor("late 1"), address(0x1000));
        seat(actor("late 2"), address(0x1000));
        vm.prank(juror(3));
        court.startLeave();
        address[] memory jurors = draw(id, seed);
        assertEq(abi.encode(jurors), abi.encode(before), "the same jury");
    }

    function test_draw_namesAnotherBlockIfTheHashIsOutOfReach() public {
        seatJurors(9);
        bytes32 id = propose(openOrder(), truth);
        challenge(id, bob);
        vm.expectRevert(abi.encodeWithSelector(ICourt.TooEarly.selector, 1002));
        court.draw(id);
        vm.roll(1002);
        vm.expectRevert(abi.encodeWithSelector(ICourt.TooEarly.selector, 1002));
        court.draw(id);
        vm.roll(1002 + 257);
        vm.expectEmit(address(court));
        emit ICourt.Challenged(id, bob, 1002 + 257 + 2);
        court.draw(id);
        assertStage(id, ICourt.Stage.Challenged);
        vm.roll(1002 + 260);
        vm.setBlockhash(1002 + 259, "seed");
        court.draw(id);
        assertStage(id, ICourt.Stage.Drawn);
    }

    function test_challenge_revertsIf_lateOrPoor() public {
        bytes32 id = propose(openOrder(), truth);
        vm.expectRevert(abi.encodeWithSelector(ILedger.AccountTooLow.selector, stranger, 0, BOND));
        challenge(id, stranger);
        uint256 until = block.timestamp + WINDOW;
        vm.warp(until + 1);
        vm.expectRevert(abi.encodeWithSelector(ICourt.TooLate.selector, until));
        challenge(id, bob);
        vm.expectRevert(abi.encodeWithSelector(ICourt.WrongStage.selector, bytes32("none"), ICourt.Stage.None));
        challenge("none", bob);
    }

    function test_vote_isSealedByJurorsInTime() public {
        (, bytes32 id, address[] memory jurors) = disputed(truth);
        uint256 commitUntil = block.timestamp + COMMIT_TIME;
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotJuror.selector, stranger));
        vm.prank(stranger);
        court.sealVote(id, "vote");
        bytes32 sealedVote = keccak256(abi.encode(id, jurors[0], keccak256(truth), bytes32("salt")));
        vm.prank(jurors[0]);
        court.sealVote(id, sealedVote);
        // Copied by another juror it opens nothing.
        vm.prank(jurors[1]);
        court.sealVote(id, sealedVote);
        vm.expectRevert(abi.encodeWithSelector(ICourt.TooEarly.selector, commitUntil));
        vm.prank(jurors[0]);
        court.openVote(id, keccak256(truth), "salt");

        vm.warp(commitUntil + 1);
        vm.expectRevert(abi.encodeWithSelector(ICourt.TooLate.selector, commitUntil));
        vm.prank(jurors[2]);
        court.sealVote(id, sealedVote);
        vm.expectRevert(abi.encodeWithSelector(ICourt.VoteNotSealed.selector, jurors[1]));
        vm.prank(jurors[1]);
        court.openVote(id, keccak256(truth), "salt");
        vm.startPrank(jurors[0]);
        vm.expectRevert(abi.encodeWithSelector(ICourt.VoteNotSealed.selector, jurors[0]));
        court.openVote(id, keccak256(lie), "salt");
        court.openVote(id, keccak256(truth), "salt");
        vm.expectRevert(abi.encodeWithSelector(ICourt.VoteNotSealed.selector, jurors[0]));
        court.openVote(id, keccak256(truth), "salt");
        vm.stopPrank();

        vm.expectRevert(abi.encodeWithSelector(ICourt.TooEarly.selector, commitUntil + REVEAL_TIME));
        court.close(id);
        vm.warp(commitUntil + REVEAL_TIME + 1);
        vm.expectRevert(abi.encodeWithSelector(ICourt.TooLate.selector, commitUntil + REVEAL_TIME));
        vm.prank(jurors[1]);
        court.openVote(id, keccak256(truth), "salt");
        court.close(id);
        assertStage(id, ICourt.Stage.Hung);
        vm.expectRevert(abi.encodeWithSelector(ICourt.WrongStage.selector, id, ICourt.Stage.Hung));
        court.close(id);
    }

    function test_bond_oneSeatEach() public {
        fund(worker, 3 * SEAT_BOND);
        vm.startPrank(worker);
        vm.expectRevert(ILedger.ZeroAddress.selector);
        court.bond(address(0));
        court.bond(pool);
        assertTrue(court.isBonded(worker), "bonded");
        vm.expectRevert(abi.encodeWithSelector(ICourt.AlreadyBonded.selector, worker));
        court.bond(pool);
        court.startLeave();
        assertTrue(!court.isBonded(worker), "leaving");
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotBonded.selector, worker));
        court.startLeave();
        uint256 until = block.timestamp + court.leaveDelay();
        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(ICourt.TooEarly.selector, until));
        court.finishLeave();
        vm.warp(until + 1);
        court.finishLeave();
        assertEq(court.accountOf(worker), 3 * SEAT_BOND, "all of it");
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotBonded.selector, worker));
        court.finishLeave();
        court.bond(pool);
        vm.stopPrank();
        assertTrue(!court.isBonded(address(0)), "nobody");
        vm.expectRevert(abi.encodeWithSelector(ILedger.AccountTooLow.selector, stranger, 0, SEAT_BOND));
        vm.prank(stranger);
        court.bond(pool);
    }

    function test_slash_whoSignedTwoResultsOfOneOrder() public {
        seat(worker, pool);
        IMarket.Order memory order = openOrder();
        (ICourt.Statement memory one, ICourt.Statement memory other) = (statement(order, truth), statement(order, lie));
        bytes memory first = signStatement("worker", one);
        bytes memory second = signStatement("worker", other);
        vm.prank(stranger);
        court.slashContradiction(worker, one, first, other, second);
        assertEq(court.accountOf(stranger), 5000, "reporter");
        assertEq(token.balanceOf(court.BURNT()), 5001, "burnt");
        assertTrue(!court.isBonded(worker), "not bonded");
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotBonded.selector, worker));
        court.slashContradiction(worker, one, first, other, second);
    }

    /// @dev Leaving takes longer than finding out.
    function test_slash_whoIsLeaving() public {
        seat(worker, pool);
        vm.prank(worker);
        court.startLeave();
        IMarket.Order memory order = openOrder();
        (ICourt.Statement memory one, ICourt.Statement memory other) = (statement(order, truth), statement(order, lie));
        court.slashContradiction(worker, one, signStatement("worker", one), other, signStatement("worker", other));
    }

    function test_slash_revertsIf_thereIsNoContradiction() public {
        seat(worker, pool);
        IMarket.Order memory order = openOrder();
        ICourt.Statement memory one = statement(order, truth);
        ICourt.Statement memory other = statement(openOrder(), lie);
        bytes memory first = signStatement("worker", one);
        bytes memory second = signStatement("worker", other);
        vm.expectRevert(ICourt.NoContradiction.selector);
        court.slashContradiction(worker, one, first, other, second);
        vm.expectRevert(ICourt.NoContradiction.selector);
        court.slashContradiction(worker, one, first, one, mirrored(first));
        other = statement(order, lie);
        second = signStatement("stranger", other);
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotSignedBy.selector, worker));
        court.slashContradiction(worker, one, first, other, second);
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotSignedBy.selector, worker));
        court.slashContradiction(worker, other, second, one, first);
    }

    function test_slash_whoSignedWhatTheJuryRefuted() public {
        seat(worker, pool);
        seat(actor("honest"), pool);
        (IMarket.Order memory order, bytes32 id, address[] memory jurors) = disputed(lie);
        ICourt.Statement memory said = statement(order, lie);
        bytes memory signature = signStatement("worker", said);
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotRefuted.selector, id));
        court.slashRefuted(worker, said, signature);
        vote(id, jurors, votes(truth, truth, truth, lie, lie));
        court.slashRefuted(worker, said, signature);
        assertTrue(!court.isBonded(worker), "not bonded");
        ICourt.Statement memory true_ = statement(order, truth);
        bytes memory honest = signStatement("honest", true_);
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotRefuted.selector, id));
        court.slashRefuted(actor("honest"), true_, honest);
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotSignedBy.selector, actor("honest")));
        court.slashRefuted(actor("honest"), said, signature);
    }

    /// @dev Neither being late or absent nor finding something else than most others is a lie.
    function test_slash_neverForBeingLateOrInTheMinority() public {
        (, bytes32 id, address[] memory jurors) = disputed(truth);
        vote(id, jurors, votes(truth, truth, truth, lie, ""));
        assertTrue(court.isBonded(jurors[3]) && court.isBonded(jurors[4]), "still bonded");
    }

    function test_quorum_settlesAtOnceWithSignaturesOfBondedWorkers() public {
        IMarket.Order memory order = quorumOrder(3);
        bytes memory proof = quorumProof(order, truth, 3);
        vm.prank(pool);
        market.settleWithProof(order, pool, truth, proof);
        assertStatus(order, IMarket.Status.Settled);
    }

    function test_quorum_refusesEverythingElse() public {
        IMarket.Order memory order = quorumOrder(3);
        bytes memory good = quorumProof(order, truth, 3);
        refusesProof(order, truth, quorumProof(order, truth, 2));
        refusesProof(order, truth, quorumProof(order, truth, 4));
        refusesProof(order, truth, "");
        refusesProof(order, lie, good);
        refusesProof(order, truth, bytes.concat(slice(good, 0), slice(good, 0), slice(good, 2)));
        refusesProof(order, truth, bytes.concat(slice(good, 1), slice(good, 0), slice(good, 2)));
        refusesProof(order, truth, bytes.concat(slice(good, 0), slice(good, 1), mirrored(slice(good, 1))));
        IMarket.Order memory other = openOrder();
        refusesProof(other, truth, good);
        address leaver = sortedJurors(3)[1];
        vm.prank(leaver);
        court.startLeave();
        refusesProof(order, truth, good);
    }

    function test_quorum_ofABag() public {
        quorumOrder(2);
        IMarket.Order memory bag = openBag(10);
        bytes memory result = abi.encode(uint256(0), uint256(10), uint256(1), bytes32("root"));
        ICourt.Statement memory said =
            ICourt.Statement(market.taskIdOf(market.orderIdOf(bag), 0), keccak256("params"), keccak256(result));
        bytes memory proof = signaturesOf(said, 2);
        vm.prank(pool);
        market.settleBatch(bag, pool, 10, 1, "root", proof);
        assertStatus(bag, IMarket.Status.Settled);
    }

    function test_quorum_constructor_revertsIf_nobodyMustSign() public {
        vm.expectRevert(Quorum.NoSignatures.selector);
        new Quorum(court, 0);
    }

    function test_statement_isForThisCourtAndChain() public {
        ICourt.Statement memory said = statement(openOrder(), truth);
        bytes32 here = court.statementHash(said);
        assertTrue(here != new Court(rules()).statementHash(said), "another court");
        vm.chainId(4242);
        assertTrue(here != court.statementHash(said), "another chain");
    }

    function test_outcome_roundTrip() public view {
        (uint32 exitStatus, bytes32 location, bytes memory answer) = this.parsed(Outcome.encode(7, "blob", "answer"));
        assertEq(exitStatus, 7, "exit status");
        assertEq(location, bytes32("blob"), "location");
        assertEq(answer, "answer", "answer");
    }

    function test_outcome_revertsIf_tooShort() public {
        vm.expectRevert(abi.encodeWithSelector(Outcome.OutcomeTooShort.selector, 35));
        this.parsed(new bytes(35));
    }

    function parsed(bytes calldata result) external pure returns (uint32, bytes32, bytes memory) {
        return Outcome.parse(result);
    }

    function disputed(bytes memory result)
        private
        returns (IMarket.Order memory order, bytes32 id, address[] memory jurors)
    {
        seatJurors(9);
        order = openOrder();
        id = propose(order, result);
        challenge(id, bob);
        jurors = draw(id, "seed");
        assertEq(jurors.length, 5, "jurors");
    }

    /// @dev The jury that a seed would draw now.
    function predict(bytes32 id, bytes32 seed) private returns (address[] memory jurors) {
        (bool success, bytes memory answer) = address(this).call(abi.encodeCall(this.drawAndRevert, (id, seed)));
        assertTrue(!success, "undone");
        return abi.decode(answer, (address[]));
    }

    function drawAndRevert(bytes32 id, bytes32 seed) external {
        bytes memory jurors = abi.encode(draw(id, seed));
        assembly {
            revert(add(jurors, 0x20), mload(jurors))
        }
    }

    function quorumOrder(uint256 signatures) private returns (IMarket.Order memory) {
        for (uint256 i = 0; i < 4; ++i) {
            seat(juror(i), pool);
        }
        IMarket.Offer memory judged = terms();
        judged.verifier = address(new Quorum(court, signatures));
        offer = publish(judged);
        return openOrder();
    }

    function quorumProof(IMarket.Order memory order, bytes memory result, uint256 count)
        private
        returns (bytes memory)
    {
        return signaturesOf(statement(order, result), count);
    }

    function signaturesOf(ICourt.Statement memory said, uint256 count) private returns (bytes memory proof) {
        address[] memory signers = sortedJurors(count);
        for (uint256 i = 0; i < count; ++i) {
            for (uint256 j = 0; j < count; ++j) {
                if (juror(j) == signers[i]) proof = bytes.concat(proof, signStatement(jurorName(j), said));
            }
        }
    }

    function sortedJurors(uint256 count) private returns (address[] memory sorted) {
        sorted = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            address next = juror(i);
            uint256 position = i;
            for (; position > 0 && sorted[position - 1] > next; --position) {
                sorted[position] = sorted[position - 1];
            }
            sorted[position] = next;
        }
    }

    function slice(bytes memory proof, uint256 index) private pure returns (bytes memory part) {
        part = new bytes(65);
        for (uint256 i = 0; i < 65; ++i) {
            part[i] = proof[index * 65 + i];
        }
    }

    function refusesProof(IMarket.Order memory order, bytes memory result, bytes memory proof) private {
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(order)));
        vm.prank(pool);
        market.settleWithProof(order, pool, result, proof);
    }

    function refusesToSettle(IMarket.Order memory order, bytes memory result) private {
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(order)));
        vm.prank(pool);
        market.settle(order, worker, result);
    }

    function refusesToPropose(IMarket.Order memory order, bytes32 id, ICourt.Stage stage) private {
        uint256 now_ = block.timestamp;
        vm.warp(order.deadline - 10 hours);
        vm.expectRevert(abi.encodeWithSelector(ICourt.WrongStage.selector, id, stage));
        vm.prank(pool);
        court.propose(order, 0, worker, truth);
        vm.warp(now_);
    }
}
