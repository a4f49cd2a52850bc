// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Outcome} from "../src/Outcome.sol";
import {Task} from "../src/Task.sol";
import {TaskBase} from "../src/TaskBase.sol";
import {PriceFeed} from "../src/examples/PriceFeed.sol";
import {Raffle} from "../src/examples/Raffle.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IVerifier} from "../src/interfaces/IVerifier.sol";
import {Vm} from "./Base.sol";
import {Fixture} from "./Fixture.sol";

contract YesVerifier is IVerifier {
    function verify(bytes32, address, bytes calldata, bytes calldata) external pure returns (bool) {
        return true;
    }
}

/// @dev As it was written in 2017, but for the constructor.
contract VanityGen is Task {
    constructor(IMarket market, bytes32 offer) Task(market, offer) {}
}

abstract contract ExamplesFixture is Fixture {
    function setUp() public virtual override {
        super.setUp();
        IMarket.Offer memory lenient = terms();
        lenient.verifier = address(new YesVerifier());
        offer = publish(lenient);
        vm.roll(1000);
    }

    function approve(address account, address spender) internal {
        vm.prank(account);
        token.approve(spender, type(uint256).max);
    }

    /// @dev The order that `requested()` finds, settled with `result`.
    function answer(bytes memory result) internal returns (bool delivered) {
        IMarket.Order memory order = requested();
        vm.recordLogs();
        vm.prank(pool);
        market.settle(order, worker, result);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IMarket.CallbackFailed.selector) return false;
        }
        return true;
    }
}

contract TaskTest is ExamplesFixture {
    VanityGen private task;

    function setUp() public override {
        super.setUp();
        task = new VanityGen(market, offer);
        approve(alice, address(task));
    }

    function test_task_speaksTheVerbsOf2017() public {
        vm.recordLogs();
        vm.expectEmit(address(task));
        emit Task.Launch(UNIT_PRICE, "1LoVE", alice);
        vm.prank(alice);
        task.setParam("1LoVE", "02ab");
        IMarket.Order memory order = requestedIn();
        assertEq(order.params, "1LoVE 02ab", "params");
        assertEq(order.requester, alice, "requester");
        assertEq(order.callback, address(task), "callback");
        vm.expectEmit(address(task));
        emit Task.Logs("Task finished!", alice);
        vm.prank(pool);
        market.settle(order, worker, abi.encode("1LoVEabc", "https://pool.example/blob"));
        vm.prank(alice);
        (string memory text, string memory url) = task.getResult();
        assertEq(bytes(text), "1LoVEabc", "text");
        assertEq(bytes(url), "https://pool.example/blob", "url");
    }

    function test_task_iexecSubmit_andAPlainTextResult() public {
        vm.recordLogs();
        vm.prank(alice);
        bytes32 order = task.iexecSubmit("--help");
        vm.recordLogs();
        vm.prank(alice);
        task.iexecSubmit("--version");
        assertTrue(answer("usage: nothing"), "delivered");
        assertTrue(order != 0, "order");
        vm.prank(alice);
        (string memory text, string memory url) = task.getResult();
        assertEq(bytes(text), "usage: nothing", "text");
        assertEq(bytes(url), "", "url");
    }

    function test_task_setParam_withoutValue() public {
        vm.recordLogs();
        vm.prank(alice);
        task.setParam("--help", "");
        assertEq(requested().params, "--help", "params");
    }

    function test_task_pushResult_revertsFor_everybody() public {
        vm.expectRevert(abi.encodeWithSelector(Task.NotPushable.selector, pool));
        vm.prank(pool);
        task.pushResult(alice, "result", "url");
        vm.expectRevert(abi.encodeWithSelector(TaskBase.NotMarket.selector, pool));
        vm.prank(pool);
        task.receiveResult("order", "result");
    }

    function requestedIn() private returns (IMarket.Order memory) {
        return requested();
    }
}

contract RaffleTest is ExamplesFixture {
    Raffle private raffle;

    function setUp() public override {
        super.setUp();
        raffle = new Raffle(market, offer, 100, block.timestamp + 1 days);
        approve(alice, address(raffle));
        approve(bob, address(raffle));
    }

    function test_raffle_winnerTakesThePot() public {
        sell();
        draw();
        assertTrue(answer(outcome(1)), "delivered");
        assertEq(raffle.winner(), bob, "winner");
        vm.expectRevert(abi.encodeWithSelector(Raffle.NotWinner.selector, alice));
        vm.prank(alice);
        raffle.collect();
        uint256 before = token.balanceOf(bob);
        vm.startPrank(bob);
        raffle.collect();
        raffle.collect();
        vm.stopPrank();
        assertEq(token.balanceOf(bob), before + 300, "once");
        assertEq(token.balanceOf(address(raffle)), 0, "nothing is left");
        vm.expectRevert(Raffle.AlreadyDrawn.selector);
        raffle.draw();
    }

    function test_raffle_isOpenUntilTheSaleEnds() public {
        vm.expectRevert(Raffle.SaleNotOver.selector);
        raffle.close();
        vm.warp(raffle.SALE_END());
        vm.prank(alice);
        raffle.buy();
        vm.warp(raffle.SALE_END() + 1);
        vm.expectRevert(Raffle.SaleOver.selector);
        vm.prank(alice);
        raffle.buy();
        assertEq(raffle.ticketCount(), 1, "tickets");
    }

    function test_raffle_withoutTicketsHasNoDraw() public {
        vm.warp(raffle.SALE_END() + 1);
        vm.expectRevert(Raffle.NoTickets.selector);
        raffle.close();
        vm.expectRevert(Raffle.NoSeed.selector);
        raffle.draw();
    }

    /// @dev The seed's block is named before it exists, and only once unless it is lost.
    function test_attack_nobodyChoosesTheSeed() public {
        sell();
        vm.warp(raffle.SALE_END() + 1);
        raffle.close();
        vm.expectRevert(Raffle.AlreadyClosed.selector);
        raffle.close();
        vm.expectRevert(Raffle.NoSeed.selector);
        vm.prank(alice);
        raffle.draw();
        vm.roll(raffle.seedBlock() + 257);
        vm.expectRevert(Raffle.NoSeed.selector);
        vm.prank(alice);
        raffle.draw();
        raffle.close();
        vm.roll(raffle.seedBlock() + 1);
        vm.setBlockhash(raffle.seedBlock(), "seed");
        vm.prank(alice);
        raffle.draw();
        assertEq(raffle.seed(), bytes32("seed"), "seed");
        vm.roll(block.number + 300);
        vm.expectRevert(Raffle.AlreadyClosed.selector);
        raffle.close();
    }

    function test_raffle_drawsAgainWhenADrawCameToNothing() public {
        sell();
        draw();
        IMarket.Order memory order = requested();
        vm.expectRevert(abi.encodeWithSelector(Raffle.DrawUnderWay.selector, raffle.drawing()));
        vm.prank(alice);
        raffle.draw();
        vm.prank(pool);
        market.decline(order, "");
        vm.warp(block.timestamp + 1 days + 1);
        vm.recordLogs();
        vm.prank(bob);
        raffle.draw();
        assertTrue(answer(outcome(2)), "delivered");
        assertEq(raffle.winner(), alice, "winner");
    }

    function test_raffle_refusesATicketThatDoesNotExist() public {
        sell();
        draw();
        assertTrue(!answer(outcome(3)), "refused");
        assertEq(raffle.winner(), address(0), "no winner");
    }

    function sell() private {
        vm.prank(alice);
        raffle.buy();
        vm.prank(bob);
        raffle.buy();
        vm.prank(alice);
        raffle.buy();
    }

    function draw() private {
        vm.warp(raffle.SALE_END() + 1);
        raffle.close();
        vm.roll(raffle.seedBlock() + 1);
        vm.setBlockhash(raffle.seedBlock(), "seed");
        vm.recordLogs();
        vm.prank(alice);
        raffle.draw();
    }

    function outcome(uint256 ticket) private pure returns (bytes memory) {
        return Outcome.encode(0, "blob", abi.encode(ticket));
    }
}

contract PriceFeedTest is ExamplesFixture {
    PriceFeed private feed;

    function setUp() public override {
        super.setUp();
        feed = new PriceFeed(market, offer, 1 hours, "RLC/ETH");
        approve(alice, address(feed));
    }

    function test_feed_isUpdatedAgainAndAgain() public {
        for (uint64 i = 1; i <= 3; ++i) {
            ask();
            assertTrue(answer(outcome(uint64(block.timestamp), 100 * i)), "delivered");
            assertEq(feed.value(), 100 * i, "value");
            assertEq(feed.updatedAt(), block.timestamp, "time");
            vm.expectRevert(abi.encodeWithSelector(PriceFeed.TooEarly.selector, block.timestamp + 1 hours));
            vm.prank(alice);
            feed.update();
            vm.warp(block.timestamp + 1 hours);
        }
    }

    function test_feed_takesNothingOldOrFromTheFuture() public {
        ask();
        assertTrue(answer(outcome(uint64(block.timestamp), 7)), "delivered");
        uint64 known = uint64(block.timestamp);
        vm.warp(block.timestamp + 1 hours);
        ask();
        assertTrue(!answer(outcome(known, 8)), "old");
        vm.warp(block.timestamp + 1 hours);
        ask();
        assertTrue(!answer(outcome(uint64(block.timestamp) + 1, 8)), "from the future");
        assertEq(feed.value(), 7, "value");
    }

    function ask() private {
        vm.recordLogs();
        vm.prank(alice);
        feed.update();
    }

    function outcome(uint64 time, uint128 value) private pure returns (bytes memory) {
        return Outcome.encode(0, "blob", abi.encode(time, value));
    }
}
