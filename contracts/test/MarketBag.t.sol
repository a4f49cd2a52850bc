// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchProof} from "../src/BatchProof.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Fixture} from "./Fixture.sol";
import {Looper, Recorder} from "./MarketCallback.t.sol";

contract MarketBagTest is Fixture {
    bytes32 private constant ROOT = keccak256("root");

    function test_requestBag_locksThePriceOfAllTasks() public {
        IMarket.Order memory bag = openBag(100);
        assertStatus(bag, IMarket.Status.Open);
        assertEq(bag.price, 700, "price");
        assertEq(market.accountOf(alice), 0, "alice's account");
        assertEq(market.doneOf(market.orderIdOf(bag)), 0, "done");
    }

    function test_requestBag_alikeGetDifferentIds() public {
        IMarket.Order memory first = openBag(3);
        IMarket.Order memory second = openBag(3);
        IMarket.Order memory single = openOrder(3, address(0), 0);
        assertEq(second.nonce, first.nonce + 1, "next");
        assertTrue(market.orderIdOf(single) != market.orderIdOf(first), "a bag is no order");
        for (uint256 i = 2; i < 64; ++i) {
            openBag(3);
        }
        deposit(alice, 21);
        vm.expectRevert();
        vm.prank(alice);
        market.requestBag(offer, 3, type(uint256).max, address(0), 0, "params");
    }

    function test_requestBag_byApproveAndCall() public {
        bytes memory call_ = abi.encodeCall(market.requestBag, (offer, 100, 700, address(0), 0, bytes("params")));
        vm.recordLogs();
        vm.prank(alice);
        token.approveAndCall(address(market), 700, call_);
        IMarket.Order memory bag = abi.decode(lastLog(IMarket.BagRequested.selector).data, (IMarket.Order));
        assertEq(bag.requester, alice, "requester");
        assertEq(token.balanceOf(alice), WALLET - 700, "wallet");
        settleBatch(bag, 100, 0);
        assertStatus(bag, IMarket.Status.Settled);
    }

    function test_settleBatch_wholeBagAtOnce() public {
        IMarket.Order memory bag = openBag(100);
        bytes32 id = market.orderIdOf(bag);
        bytes memory proof = batchProof(bag, 0, 100, 0);
        vm.expectEmit(address(market));
        emit IMarket.BatchSettled(id, worker, 0, 100, 0, ROOT, 642, 35, 23);
        vm.prank(pool);
        market.settleBatch(bag, worker, 100, 0, ROOT, proof);
        assertPaidFor700();
        assertStatus(bag, IMarket.Status.Settled);
        refusesFurther(bag, IMarket.Status.Settled);
    }

    function test_settleBatch_failedTasksAreRefunded() public {
        IMarket.Order memory bag = openBag(100);
        settleBatch(bag, 60, 60);
        assertEq(market.accountOf(alice), 420, "alice's account");
        assertEq(market.accountOf(worker), 0, "worker's account");
        settleBatch(bag, 40, 10);
        assertEq(market.accountOf(alice), 490, "alice's account");
        assertEq(market.accountOf(worker), 210 - 10 - 6, "worker's account");
        assertStatus(bag, IMarket.Status.Settled);
    }

    function test_settleBatch_partsFollowEachOther() public {
        IMarket.Order memory bag = openBag(100);
        settleBatch(bag, 30, 0);
        assertStatus(bag, IMarket.Status.Open);
        assertEq(market.doneOf(market.orderIdOf(bag)), 30, "done");
        // The proof of the first batch says that it is the first.
        bytes memory again = batchProof(bag, 0, 30, 0);
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(bag)));
        vm.prank(pool);
        market.settleBatch(bag, worker, 30, 0, ROOT, again);
        settleBatch(bag, 70, 0);
        assertStatus(bag, IMarket.Status.Settled);
    }

    function test_settleBatch_restIsRefundedAfterTheDeadlineOrDeclined() public {
        IMarket.Order memory bag = openBag(100);
        IMarket.Order memory other = openBag(100);
        settleBatch(bag, 30, 0);
        settleBatch(other, 99, 0);
        vm.prank(pool);
        market.decline(other, "no more");
        assertEq(market.accountOf(alice), 7, "declined");
        vm.warp(bag.deadline + 1);
        market.refund(bag);
        assertEq(market.accountOf(alice), 7 + 490, "refunded");
        refusesFurther(bag, IMarket.Status.Refunded);
    }

    function test_settleBatch_revertsIf_sizeIsWrong() public {
        IMarket.Order memory bag = openBag(10);
        uint256[2][4] memory sizes = [[uint256(0), 0], [uint256(11), 0], [uint256(3), 4], [type(uint256).max, 0]];
        vm.startPrank(pool);
        for (uint256 i = 0; i < sizes.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IMarket.BatchSize.selector, sizes[i][0], sizes[i][1], 10));
            market.settleBatch(bag, worker, sizes[i][0], sizes[i][1], ROOT, "");
        }
        vm.stopPrank();
    }

    function test_settleBatch_revertsIf_proofIsForSomethingElse() public {
        IMarket.Order memory bag = openBag(10);
        bytes memory proof = batchProof(bag, 0, 10, 1);
        bytes memory why = abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(bag));
        vm.startPrank(pool);
        vm.expectRevert(why);
        market.settleBatch(bag, worker, 10, 0, ROOT, proof);
        vm.expectRevert(why);
        market.settleBatch(bag, worker, 9, 1, ROOT, proof);
        vm.expectRevert(why);
        market.settleBatch(bag, stranger, 10, 1, ROOT, proof);
        vm.expectRevert(why);
        market.settleBatch(bag, worker, 10, 1, keccak256("another"), proof);
        market.settleBatch(bag, worker, 10, 1, ROOT, proof);
        vm.stopPrank();
    }

    function test_settleBatch_revertsIf_notThePoolOrLateOrNobody() public {
        IMarket.Order memory bag = openBag(10);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, stranger, pool));
        vm.prank(stranger);
        market.settleBatch(bag, worker, 10, 0, ROOT, "");
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, stranger, pool));
        vm.prank(stranger);
        market.settleTasks(bag, new IMarket.TaskResult[](1));
        vm.expectRevert(ILedger.ZeroAddress.selector);
        vm.prank(pool);
        market.settleBatch(bag, address(0), 10, 0, ROOT, "");
        vm.warp(bag.deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.DeadlinePassed.selector, bag.deadline));
        vm.prank(pool);
        market.settleBatch(bag, worker, 10, 0, ROOT, "");
    }

    function test_settle_bagsAndOrdersAreKeptApart() public {
        IMarket.Order memory bag = openBag(10);
        IMarket.Order memory single = openOrder();
        bytes memory forBag = proofFor(bag, worker);
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(IMarket.IsABag.selector, market.orderIdOf(bag)));
        market.settle(bag, worker, forBag);
        vm.expectRevert(abi.encodeWithSelector(IMarket.IsABag.selector, market.orderIdOf(bag)));
        market.settleWithProof(bag, worker, forBag, "proof");
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotABag.selector, market.orderIdOf(single)));
        market.settleBatch(single, worker, 1, 0, ROOT, "");
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotABag.selector, market.orderIdOf(single)));
        market.settleTasks(single, new IMarket.TaskResult[](1));
        vm.stopPrank();
    }

    function test_settleTasks_paysEachWorkerForItsTask() public {
        IMarket.Order memory bag = openBag(4);
        IMarket.TaskResult[] memory results = new IMarket.TaskResult[](2);
        results[0] = taskResult(bag, 0, worker);
        results[1] = taskResult(bag, 1, bob);
        vm.prank(pool);
        market.settleTasks(bag, results);
        // 7 nRLC each: fees of 0.35 and 0.23 are rounded down to nothing.
        assertEq(market.accountOf(worker), 7, "worker's account");
        assertEq(market.accountOf(bob), 7, "bob's account");
        assertEq(market.doneOf(market.orderIdOf(bag)), 2, "done");

        results[0] = IMarket.TaskResult(address(0), "", "");
        results[1] = withProof(bag, 3, worker);
        vm.expectEmit(address(market));
        emit IMarket.TaskFailed(market.orderIdOf(bag), 2);
        vm.prank(pool);
        market.settleTasks(bag, results);
        assertEq(market.accountOf(alice), 7, "alice's account");
        assertEq(market.accountOf(worker), 14, "worker's account");
        assertStatus(bag, IMarket.Status.Settled);
    }

    function test_settleTasks_revertsIf_oneResultIsForAnotherTask() public {
        IMarket.Order memory bag = openBag(2);
        IMarket.TaskResult[] memory results = new IMarket.TaskResult[](2);
        results[0] = taskResult(bag, 0, worker);
        results[1] = taskResult(bag, 0, worker);
        bytes32 second = market.taskIdOf(market.orderIdOf(bag), 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, second));
        vm.prank(pool);
        market.settleTasks(bag, results);
    }

    function test_settleTasks_revertsIf_tooManyOrTooLong() public {
        IMarket.Order memory bag = openBag(2);
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(IMarket.BatchSize.selector, 3, 0, 2));
        market.settleTasks(bag, new IMarket.TaskResult[](3));
        IMarket.TaskResult[] memory results = new IMarket.TaskResult[](1);
        results[0] = IMarket.TaskResult(worker, new bytes(8193), "");
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultTooLong.selector, 8193));
        market.settleTasks(bag, results);
        vm.stopPrank();
    }

    function test_callback_receivesBatchesAndTasks() public {
        Recorder recorder = new Recorder();
        IMarket.Order memory bag = openBag(10, address(recorder), 300_000);
        bytes32 id = market.orderIdOf(bag);
        settleBatch(bag, 4, 1);
        assertEq(recorder.id(), id, "the bag's id");
        assertEq(recorder.result(), abi.encode(0, 4, 1, ROOT), "batch");
        IMarket.TaskResult[] memory results = new IMarket.TaskResult[](1);
        results[0] = taskResult(bag, 4, worker);
        vm.prank(pool);
        market.settleTasks(bag, results);
        assertEq(recorder.id(), market.taskIdOf(id, 4), "the task's id");
        assertEq(recorder.result(), results[0].result, "result");
    }

    function test_callback_thatLoopsStopsNoBatch() public {
        IMarket.Order memory bag = openBag(10, address(new Looper()), 100_000);
        settleBatch(bag, 10, 0);
        assertStatus(bag, IMarket.Status.Settled);
    }

    function test_settleMany_settlesWhatCanBeSettled() public {
        IMarket.Settlement[] memory all = new IMarket.Settlement[](4);
        for (uint256 i = 0; i < 4; ++i) {
            IMarket.Order memory order = openOrder();
            all[i] = IMarket.Settlement(order, worker, proofFor(order, worker), "");
        }
        all[3].proof = verifier.proofOf(market.orderIdOf(all[3].order), worker, "params", all[3].result);
        // One has ended, one is there twice.
        vm.prank(pool);
        market.decline(all[1].order, "");
        all[2] = all[0];
        vm.prank(pool);
        market.settleMany(all);
        assertEq(market.accountOf(worker), 2 * 642, "worker's account");
        assertStatus(all[0].order, IMarket.Status.Settled);
        assertStatus(all[1].order, IMarket.Status.Refunded);
        assertStatus(all[3].order, IMarket.Status.Settled);
    }

    function test_settleMany_passesOverWhatIsLate() public {
        IMarket.Order memory late = openOrder();
        vm.warp(block.timestamp + 100);
        IMarket.Order memory order = openOrder();
        IMarket.Settlement[] memory all = new IMarket.Settlement[](2);
        all[0] = IMarket.Settlement(late, worker, proofFor(late, worker), "");
        all[1] = IMarket.Settlement(order, worker, proofFor(order, worker), "");
        vm.warp(late.deadline + 1);
        vm.prank(pool);
        market.settleMany(all);
        assertStatus(late, IMarket.Status.Open);
        assertStatus(order, IMarket.Status.Settled);
    }

    function test_settleMany_revertsIf_anyIsRefusedOrOfAnotherPool() public {
        IMarket.Order memory order = openOrder();
        IMarket.Settlement[] memory all = new IMarket.Settlement[](1);
        all[0] = IMarket.Settlement(order, worker, "garbage", "");
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(order)));
        vm.prank(pool);
        market.settleMany(all);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, stranger, pool));
        vm.prank(stranger);
        market.settleMany(all);
    }

    function test_settleWithProof_needsTheProof() public {
        IMarket.Order memory order = openOrder();
        bytes32 id = market.orderIdOf(order);
        bytes memory proof = verifier.proofOf(id, worker, "params", "result");
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, id));
        market.settleWithProof(order, worker, "another", proof);
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, id));
        market.settleWithProof(order, worker, "result", "");
        market.settleWithProof(order, worker, "result", proof);
        vm.stopPrank();
        assertPaidFor700();
    }

    /// @dev Whatever the sizes, parts and failures, every unit ends in one of four accounts.
    function test_fuzz_settleBatch_dividesWithoutRemainder(uint64 tasks, uint256 seed) public {
        tasks = uint64(bound(tasks, 1, 1000));
        IMarket.Order memory bag = openBag(tasks);
        uint256 left = tasks;
        while (left > 0) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 count = bound(seed, 1, left);
            settleBatch(bag, count, bound(seed >> 128, 0, count));
            left -= count;
        }
        uint256 paid = market.accountOf(worker) + market.accountOf(pool) + market.accountOf(provider);
        assertEq(paid + market.accountOf(alice), uint256(tasks) * 7, "all of the price");
        assertStatus(bag, IMarket.Status.Settled);
    }

    /// @dev A batch's root lets anybody prove one task's result to a contract that keeps the root only.
    function test_fuzz_batchProof_provesEachTaskAndNoOther(uint8 count, uint8 index) public pure {
        uint256 size = bound(count, 1, 40);
        uint256 which = bound(index, 0, size - 1);
        bytes32[] memory leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = BatchProof.leafOf(i, abi.encode("result", i));
        }
        (bytes32 root, bytes32[] memory path) = rootAndPath(leaves, which);
        assertTrue(BatchProof.isIn(root, which, abi.encode("result", which), path), "proved");
        assertTrue(!BatchProof.isIn(root, which + 1, abi.encode("result", which), path), "another index");
        assertTrue(!BatchProof.isIn(root, which, abi.encode("result", which + 1), path), "another result");
    }

    function settleBatch(IMarket.Order memory bag, uint256 count, uint256 failed) private {
        bytes memory proof = batchProof(bag, market.doneOf(market.orderIdOf(bag)), count, failed);
        vm.prank(pool);
        market.settleBatch(bag, worker, count, failed, ROOT, proof);
    }

    function batchProof(IMarket.Order memory bag, uint256 first, uint256 count, uint256 failed)
        private
        view
        returns (bytes memory)
    {
        bytes32 id = market.taskIdOf(market.orderIdOf(bag), first);
        return verifier.proofOf(id, worker, bag.params, abi.encode(first, count, failed, ROOT));
    }

    function taskResult(IMarket.Order memory bag, uint256 index, address by)
        private
        view
        returns (IMarket.TaskResult memory)
    {
        bytes32 id = market.taskIdOf(market.orderIdOf(bag), index);
        return IMarket.TaskResult(by, verifier.proof(id, by, bag.params), "");
    }

    function withProof(IMarket.Order memory bag, uint256 index, address by)
        private
        view
        returns (IMarket.TaskResult memory)
    {
        bytes32 id = market.taskIdOf(market.orderIdOf(bag), index);
        return IMarket.TaskResult(by, "result", verifier.proofOf(id, by, bag.params, "result"));
    }

    function refusesFurther(IMarket.Order memory bag, IMarket.Status status) private {
        bytes memory why = abi.encodeWithSelector(IMarket.NotOpen.selector, market.orderIdOf(bag), status);
        vm.startPrank(pool);
        vm.expectRevert(why);
        market.settleBatch(bag, worker, 1, 0, ROOT, "");
        vm.expectRevert(why);
        market.settleTasks(bag, new IMarket.TaskResult[](1));
        vm.expectRevert(why);
        market.decline(bag, "");
        vm.warp(bag.deadline + 1);
        vm.expectRevert(why);
        market.refund(bag);
        vm.stopPrank();
    }

    /// @dev An odd one at the end of a row moves up as it is.
    function rootAndPath(bytes32[] memory row, uint256 which)
        private
        pure
        returns (bytes32 root, bytes32[] memory path)
    {
        bytes32[] memory long = new bytes32[](8);
        uint256 depth = 0;
        while (row.length > 1) {
            uint256 other = which ^ 1;
            if (other < row.length) long[depth++] = row[other];
            bytes32[] memory above = new bytes32[]((row.length + 1) / 2);
            for (uint256 i = 0; i < above.length; ++i) {
                (bytes32 a, bytes32 b) = (row[2 * i], 2 * i + 1 < row.length ? row[2 * i + 1] : bytes32(0));
                above[i] = 2 * i + 1 == row.length ? a : keccak256(a < b ? abi.encode(a, b) : abi.encode(b, a));
            }
            (row, which) = (above, which / 2);
        }
        path = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            path[i] = long[i];
        }
        return (row[0], path);
    }
}
