// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../src/interfaces/IMarket.sol";
import {Fixture} from "./Fixture.sol";

contract MarketCancelTest is Fixture {
    function setUp() public override {
        super.setUp();
        IMarket.Offer memory long = terms();
        long.duration = 1 days;
        offer = publish(long);
    }

    function test_cancel_refundsWhenThePoolIsSilent() public {
        IMarket.Order memory order = openOrder();
        uint256 until = block.timestamp + 1 hours;
        vm.expectEmit(address(market));
        emit IMarket.CancelStarted(market.orderIdOf(order), until);
        cancel(order);
        assertStatus(order, IMarket.Status.Cancelling);
        vm.warp(until);
        vm.expectRevert(abi.encodeWithSelector(IMarket.DeadlineNotPassed.selector, until));
        market.refund(order);
        vm.warp(until + 1);
        bytes memory proof = proofFor(order, worker);
        vm.expectRevert(abi.encodeWithSelector(IMarket.DeadlinePassed.selector, until));
        vm.prank(pool);
        market.settle(order, worker, proof);
        market.refund(order);
        assertEq(market.accountOf(alice), 700, "alice's account");
    }

    function test_cancel_leavesThePoolTimeToSettleOrDecline() public {
        IMarket.Order memory order = openOrder();
        cancel(order);
        vm.warp(block.timestamp + 1 hours);
        settle(order);
        assertPaidFor700();
        IMarket.Order memory other = openOrder();
        cancel(other);
        vm.prank(pool);
        market.decline(other, "");
        assertStatus(other, IMarket.Status.Refunded);
    }

    function test_cancel_keepsAnOrderThatIsBeingWorkedOn() public {
        IMarket.Order memory order = openOrder();
        cancel(order);
        vm.expectEmit(address(market));
        emit IMarket.Kept(market.orderIdOf(order));
        vm.prank(pool);
        market.keep(order);
        assertStatus(order, IMarket.Status.Open);
        vm.expectRevert(abi.encodeWithSelector(IMarket.WorkStarted.selector, market.orderIdOf(order)));
        vm.prank(alice);
        market.cancel(order);
        vm.warp(order.deadline);
        settle(order);
    }

    /// @dev A cancellation never makes the time longer in which an order can be settled.
    function test_cancel_endsWithTheDeadlineAtTheLatest() public {
        IMarket.Order memory order = openOrder();
        vm.warp(order.deadline - 10);
        cancel(order);
        bytes memory proof = proofFor(order, worker);
        vm.warp(order.deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.DeadlinePassed.selector, order.deadline));
        vm.prank(pool);
        market.settle(order, worker, proof);
        market.refund(order);
    }

    function test_cancel_ofABagBeforeItsFirstBatchOnly() public {
        IMarket.Order memory bag = openBag(10);
        cancel(bag);
        IMarket.TaskResult[] memory failed = new IMarket.TaskResult[](1);
        vm.prank(pool);
        market.settleTasks(bag, failed);
        assertStatus(bag, IMarket.Status.Open);
        vm.expectRevert(abi.encodeWithSelector(IMarket.WorkStarted.selector, market.orderIdOf(bag)));
        vm.prank(alice);
        market.cancel(bag);
    }

    function test_cancel_revertsIf_notTheRequesterOrNotOpen() public {
        IMarket.Order memory order = openOrder();
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotRequester.selector, stranger, alice));
        vm.prank(stranger);
        market.cancel(order);
        cancel(order);
        bytes32 id = market.orderIdOf(order);
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotOpen.selector, id, IMarket.Status.Cancelling));
        market.cancel(order);
        vm.warp(order.deadline + 1);
        market.refund(order);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotOpen.selector, id, IMarket.Status.Refunded));
        market.cancel(order);
        vm.stopPrank();
    }

    function test_keep_revertsIf_notThePoolOrLateOrNotCancelling() public {
        IMarket.Order memory order = openOrder();
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotCancelling.selector, market.orderIdOf(order)));
        vm.prank(pool);
        market.keep(order);
        cancel(order);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, stranger, pool));
        vm.prank(stranger);
        market.keep(order);
        uint256 until = block.timestamp + 1 hours;
        vm.warp(until + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.DeadlinePassed.selector, until));
        vm.prank(pool);
        market.keep(order);
    }

    function cancel(IMarket.Order memory order) private {
        vm.prank(alice);
        market.cancel(order);
    }
}
