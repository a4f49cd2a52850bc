// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IMarket} from "../src/interfaces/IMarket.sol";
import {Fixture} from "./Fixture.sol";

contract MarketRefundTest is Fixture {
    function test_refund_byAnybodyAfterTheDeadline() public {
        IMarket.Order memory order = openOrder();
        vm.warp(order.deadline + 1);
        vm.expectEmit(address(market));
        emit IMarket.Refunded(market.orderIdOf(order), alice, 700);
        vm.prank(stranger);
        market.refund(order);
        assertRefunded(order);
        vm.prank(alice);
        market.withdraw(700);
        assertEq(token.balanceOf(alice), WALLET, "wallet");
    }

    function test_refund_goesToTheRequesterAndNotToThePayer() public {
        deposit(bob, 700);
        vm.recordLogs();
        vm.prank(bob);
        market.requestFor(alice, offer, 100, 700, address(0), 0, "");
        IMarket.Order memory order = requested();
        vm.warp(order.deadline + 1);
        market.refund(order);
        assertRefunded(order);
        assertEq(market.accountOf(bob), 0, "payer's account");
    }

    function test_refund_revertsUntilTheDeadlineHasPassed() public {
        IMarket.Order memory order = openOrder();
        vm.warp(order.deadline);
        vm.expectRevert(abi.encodeWithSelector(IMarket.DeadlineNotPassed.selector, order.deadline));
        vm.prank(alice);
        market.refund(order);
    }

    function test_refund_revertsIf_alreadyRefunded() public {
        IMarket.Order memory order = openOrder();
        vm.warp(order.deadline + 1);
        market.refund(order);
        bytes32 id = market.orderIdOf(order);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotOpen.selector, id, IMarket.Status.Refunded));
        market.refund(order);
        assertRefunded(order);
    }

    /// @dev At every moment exactly one of the two is possible, so nobody can win by being first.
    function test_fuzz_refund_exactlyWhenSettlingIsOver(uint256 wait) public {
        IMarket.Order memory order = openOrder();
        vm.warp(block.timestamp + bound(wait, 0, 2 * DURATION));
        bytes memory settling = abi.encodeCall(market.settle, (order, worker, proofFor(order, worker)));
        if (uint256(keccak256(abi.encode(wait))) % 2 == 0) {
            bool settled = attempt(pool, settling);
            assertTrue(settled != attempt(stranger, abi.encodeCall(market.refund, (order))), "one of them");
            assertTrue(settled == (block.timestamp <= order.deadline), "the right one");
        } else {
            bool refunded = attempt(stranger, abi.encodeCall(market.refund, (order)));
            assertTrue(refunded != attempt(pool, settling), "one of them");
            assertTrue(refunded == (block.timestamp > order.deadline), "the right one");
        }
    }

    function test_decline_refundsAtOnce() public {
        IMarket.Order memory order = openOrder();
        bytes32 id = market.orderIdOf(order);
        vm.expectEmit(address(market));
        emit IMarket.Declined(id, "no worker has the app");
        vm.expectEmit(address(market));
        emit IMarket.Refunded(id, alice, 700);
        vm.prank(pool);
        market.decline(order, "no worker has the app");
        assertRefunded(order);
    }

    function test_decline_evenAfterTheDeadline() public {
        IMarket.Order memory order = openOrder();
        vm.warp(order.deadline + 1);
        vm.prank(pool);
        market.decline(order, "");
        assertRefunded(order);
    }

    function test_decline_revertsIf_callerIsNotThePool() public {
        IMarket.Order memory order = openOrder();
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, alice, pool));
        vm.prank(alice);
        market.decline(order, "");
    }

    function test_decline_revertsIf_reasonIsTooLong() public {
        IMarket.Order memory order = openOrder();
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(IMarket.ReasonTooLong.selector, 257));
        market.decline(order, new bytes(257));
        market.decline(order, new bytes(256));
        vm.stopPrank();
    }

    function attempt(address caller, bytes memory message) private returns (bool success) {
        vm.prank(caller);
        (success,) = address(market).call(message);
    }

    function assertRefunded(IMarket.Order memory order) private view {
        assertStatus(order, IMarket.Status.Refunded);
        assertEq(market.accountOf(alice), 700, "requester's account");
        assertEq(token.balanceOf(address(market)), 700, "market's wallet");
    }
}
