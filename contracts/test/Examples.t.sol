// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../src/Market.sol";
import {Outcome} from "../src/Outcome.sol";
import {Task} from "../src/Task.sol";
import {TaskBase} from "../src/TaskBase.sol";
import {Divisor, DivisorVerifier} from "../src/examples/Divisor.sol";
import {IPriceSource, PriceFeed} from "../src/examples/PriceFeed.sol";
import {Raffle} from "../src/examples/Raffle.sol";
import {Voices} from "../src/examples/Voices.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IVerifier} from "../src/interfaces/IVerifier.sol";
import {HookToken} from "./Attacks.t.sol";
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
        return answer(requested(), worker, result);
    }

    function answer(IMarket.Order memory order, address by, bytes memory result) internal returns (bool delivered) {
        vm.recordLogs();
        vm.prank(pool);
        market.settle(order, by, result);
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
        uint256 lowest = lowestTicket();
        assertTrue(answer(outcome(lowest)), "delivered");
        address winner = raffle.tickets(lowest);
        vm.expectRevert(Raffle.ChallengeNotOver.selector);
        vm.prank(winner);
        raffle.collect();
        vm.warp(raffle.drawnAt() + raffle.CHALLENGE() + 1);
        address loser = winner == alice ? bob : alice;
        vm.expectRevert(abi.encodeWithSelector(Raffle.NotWinner.selector, loser));
        vm.prank(loser);
        raffle.collect();
        uint256 before = token.balanceOf(winner);
        vm.startPrank(winner);
        raffle.collect();
        raffle.collect();
        vm.stopPrank();
        assertEq(token.balanceOf(winner), before + 300, "once");
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

    function test_raffle_sellsNoMoreThanTheAppGoesThrough() public {
        vm.startPrank(alice);
        for (uint256 i = 0; i < raffle.MAX_TICKETS(); ++i) {
            raffle.buy();
        }
        vm.expectRevert(Raffle.TooManyTickets.selector);
        raffle.buy();
        vm.stopPrank();
        assertEq(raffle.pot(), raffle.MAX_TICKETS() * 100, "pot");
    }

    function test_raffle_withoutTicketsHasNoDraw() public {
        vm.warp(raffle.SALE_END() + 1);
        vm.expectRevert(Raffle.NoTickets.selector);
        raffle.close();
        vm.expectRevert(Raffle.NoSeed.selector);
        raffle.draw();
        vm.expectRevert(Raffle.NotDrawn.selector);
        raffle.collect();
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

    /// @dev One hash shows the lie, for a day; who has nothing to show changes nothing.
    function test_attack_aFalseDrawIsCorrectedByWhoeverHoldsALowerTicket() public {
        sell();
        draw();
        uint256 lowest = lowestTicket();
        assertTrue(answer(outcome((lowest + 1) % 3)), "delivered");
        vm.expectRevert(abi.encodeWithSelector(Raffle.NotLower.selector, (lowest + 1) % 3));
        raffle.challenge((lowest + 1) % 3);
        vm.expectRevert(abi.encodeWithSelector(Raffle.TicketUnknown.selector, 3));
        raffle.challenge(3);
        vm.warp(raffle.drawnAt() + raffle.CHALLENGE());
        raffle.challenge(lowest);
        assertEq(raffle.leader(), lowest, "leader");
        vm.expectRevert(abi.encodeWithSelector(Raffle.NotLower.selector, (lowest + 1) % 3));
        raffle.challenge((lowest + 1) % 3);
        vm.warp(block.timestamp + 1);
        vm.prank(raffle.tickets(lowest));
        raffle.collect();
        assertEq(raffle.pot(), 0, "taken");
    }

    function test_attack_challengingWhenItIsOver() public {
        sell();
        draw();
        uint256 lowest = lowestTicket();
        answer(outcome((lowest + 1) % 3));
        vm.warp(raffle.drawnAt() + raffle.CHALLENGE() + 1);
        vm.expectRevert(Raffle.ChallengeOver.selector);
        raffle.challenge(lowest);
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
        vm.warp(raffle.askedAt() + raffle.RETRY() + 1);
        vm.recordLogs();
        vm.prank(bob);
        raffle.draw();
        assertTrue(answer(outcome(2)), "delivered");
        assertEq(raffle.leader(), 2, "leader");
    }

    /// @dev A pool that is gone, or withdraws its offer, cannot keep the pot from the players.
    function test_attack_noPoolHoldsThePotHostage() public {
        sell();
        vm.warp(raffle.SALE_END() + 1);
        raffle.close();
        vm.expectRevert(Raffle.NoSeed.selector);
        raffle.takeSeed();
        vm.roll(raffle.seedBlock() + 1);
        vm.setBlockhash(raffle.seedBlock(), "seed");
        raffle.takeSeed();
        vm.prank(pool);
        market.withdrawOffer(offer);
        vm.expectRevert(abi.encodeWithSelector(IMarket.OfferNotActive.selector, offer));
        vm.prank(alice);
        raffle.draw();
        vm.expectRevert(Raffle.NotDrawn.selector);
        raffle.challenge(0);
        vm.warp(raffle.closedAt() + raffle.RETRY() + 1);
        uint256 lowest = lowestTicket();
        raffle.challenge((lowest + 1) % 3);
        raffle.challenge(lowest);
        vm.warp(raffle.drawnAt() + raffle.CHALLENGE() + 1);
        vm.prank(raffle.tickets(lowest));
        raffle.collect();
    }

    function test_raffle_refusesATicketThatDoesNotExistAndADrawThatFailed() public {
        sell();
        draw();
        IMarket.Order memory order = requested();
        assertTrue(!answer(order, worker, outcome(3)), "refused");
        assertEq(raffle.drawnAt(), 0, "no leader");
        vm.warp(raffle.askedAt() + raffle.RETRY() + 1);
        vm.recordLogs();
        vm.prank(alice);
        raffle.draw();
        assertTrue(!answer(Outcome.encode(1, "blob", abi.encode(0))), "failed");
        assertEq(raffle.drawnAt(), 0, "no leader");
    }

    /// @dev A draw that comes late is a challenge like any other, no second draw, and nothing when it is over.
    function test_attack_aLateAnswerChangesNothingThatIsRight() public {
        patientRaffle();
        sell();
        draw();
        IMarket.Order memory late = requested();
        vm.warp(raffle.askedAt() + raffle.RETRY() + 1);
        uint256 lowest = lowestTicket();
        raffle.challenge(lowest);
        assertTrue(answer(late, worker, outcome((lowest + 1) % 3)), "delivered");
        assertEq(raffle.leader(), lowest, "leader");
    }

    function test_attack_aLateAnswerCorrectsAFalseLeaderWithinTheWindowOnly() public {
        for (uint256 lateness = 0; lateness < 2; ++lateness) {
            patientRaffle();
            sell();
            draw();
            IMarket.Order memory late = requested();
            uint256 lowest = lowestTicket();
            vm.warp(raffle.askedAt() + raffle.RETRY() + 1);
            raffle.challenge((lowest + 1) % 3);
            vm.warp(raffle.drawnAt() + raffle.CHALLENGE() + lateness);
            assertTrue(answer(late, worker, outcome(lowest)), "delivered");
            assertEq(raffle.leader(), lateness == 0 ? lowest : (lowest + 1) % 3, "leader");
        }
    }

    /// @dev A raffle whose draws may take a month.
    function patientRaffle() private {
        IMarket.Offer memory slow = terms();
        slow.verifier = address(new YesVerifier());
        slow.duration = 30 days;
        raffle = new Raffle(market, publish(slow), 100, block.timestamp + 1 days);
        approve(alice, address(raffle));
        approve(bob, address(raffle));
    }

    /// @dev Whoever orders a draw elsewhere and names the raffle as its callback draws nothing.
    function test_attack_somebodyElsesOrderDrawsNothing() public {
        sell();
        draw();
        bytes32 drawing = raffle.drawing();
        vm.expectRevert(abi.encodeWithSelector(TaskBase.NotMarket.selector, stranger));
        vm.prank(stranger);
        raffle.receiveResult(drawing, outcome(0));
        deposit(alice, UNIT_PRICE);
        vm.recordLogs();
        vm.prank(alice);
        market.request(offer, 1, UNIT_PRICE, address(raffle), 80_000, "params");
        assertTrue(!answer(outcome(0)), "refused");
        assertEq(raffle.drawnAt(), 0, "no leader");
    }

    function test_attack_anAnswerIsGoodOnce() public {
        sell();
        draw();
        IMarket.Order memory order = requested();
        answer(order, worker, outcome(1));
        bytes32 id = market.orderIdOf(order);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotOpen.selector, id, IMarket.Status.Settled));
        vm.prank(pool);
        market.settle(order, worker, outcome(2));
        vm.expectRevert(abi.encodeWithSelector(TaskBase.NotAsked.selector, id));
        vm.prank(address(market));
        raffle.receiveResult(id, outcome(2));
    }

    /// @dev The token calls `collect` again while it moves the pot.
    function test_attack_collectingTwiceThroughTheToken() public {
        HookToken hooked = new HookToken();
        token = hooked;
        market = new Market(address(hooked));
        IMarket.Offer memory lenient = terms();
        lenient.verifier = address(new YesVerifier());
        offer = publish(lenient);
        raffle = new Raffle(market, offer, 100, block.timestamp + 1 days);
        Player player = new Player(raffle);
        hooked.transfer(address(player), 1000);
        hooked.transfer(alice, 1000);
        player.act(address(hooked), abi.encodeCall(hooked.approve, (address(raffle), 1000)));
        player.act(address(raffle), abi.encodeCall(raffle.buy, ()));
        approve(alice, address(raffle));
        draw();
        answer(outcome(0));
        // Somebody else's tokens are there, too.
        hooked.transfer(address(raffle), 500);
        vm.warp(raffle.drawnAt() + raffle.CHALLENGE() + 1);
        hooked.setHook(address(player), abi.encodeCall(player.collect, ()));
        player.collect();
        assertEq(hooked.successes(), 2, "the hook's calls went through");
        assertEq(hooked.balanceOf(address(player)), 1000, "and paid nothing");
    }

    function lowestTicket() private view returns (uint256 lowest) {
        for (uint256 i = 1; i < raffle.ticketCount(); ++i) {
            if (raffle.scoreOf(i) < raffle.scoreOf(lowest)) lowest = i;
        }
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

/// @dev A player that is a contract.
contract Player {
    Raffle private immutable RAFFLE;

    constructor(Raffle raffle) {
        RAFFLE = raffle;
    }

    function act(address target, bytes calldata message) external {
        (bool success,) = target.call(message);
        require(success, "acted");
    }

    function collect() external {
        RAFFLE.collect();
    }
}

contract SettablePrice is IPriceSource {
    uint128 public price = 1000;

    function set(uint128 price_) external {
        price = price_;
    }
}

contract PriceFeedTest is ExamplesFixture {
    PriceFeed private feed;
    SettablePrice private source;

    function setUp() public override {
        super.setUp();
        IMarket.Offer memory voiced = terms();
        voiced.verifier = address(new Voices());
        offer = publish(voiced);
        source = new SettablePrice();
        feed = new PriceFeed(market, offer, source, feedTerms(3, 3));
        approve(alice, address(feed));
    }

    function test_feed_takesTheMedianOfEachRound() public {
        for (uint64 i = 1; i <= 3; ++i) {
            IMarket.Order[] memory orders = ask();
            assertTrue(speak(orders[0], "first", 100 * i), "first");
            assertTrue(speak(orders[1], "second", 1000), "second");
            assertEq(feed.answersOf(i), 2, "answers");
            assertTrue(speak(orders[2], "third", 200 * i), "third");
            (uint128 value, uint64 updatedAt) = feed.latest(0);
            assertEq(value, 200 * i, "value");
            assertEq(updatedAt, block.timestamp, "time");
            vm.expectRevert(abi.encodeWithSelector(PriceFeed.TooEarly.selector, block.timestamp + 1 hours));
            vm.prank(alice);
            feed.update();
            vm.warp(block.timestamp + 1 hours);
        }
    }

    function test_feed_asksForWhatTheSourceSays() public {
        source.set(1234);
        IMarket.Order[] memory orders = ask();
        for (uint256 voice = 0; voice < 3; ++voice) {
            bytes memory expected = abi.encode(uint256(1234), 900, 8000, 90 days, 1, voice);
            assertEq(orders[voice].params, expected, "params");
            assertEq(orders[voice].requester, alice, "refunds are the payer's");
        }
    }

    function test_feed_oldPricesAreNotGivenOut() public {
        vm.expectRevert(abi.encodeWithSelector(PriceFeed.Stale.selector, 0));
        feed.latest(type(uint64).max);
        speakAll(ask(), 7);
        uint256 known = block.timestamp;
        vm.warp(known + 10);
        feed.latest(10);
        vm.warp(known + 11);
        vm.expectRevert(abi.encodeWithSelector(PriceFeed.Stale.selector, known));
        feed.latest(10);
    }

    function test_feed_endsWithTheOption() public {
        vm.warp(feed.EXPIRY());
        vm.expectRevert(PriceFeed.Expired.selector);
        vm.prank(alice);
        feed.update();
    }

    /// @dev Fewer than half of the voices move the price no further than to what an honest one has said.
    function test_fuzz_attack_aMinorityOfLiarsStaysBetweenTheOthers(uint128 lie, uint8 who) public {
        feed = new PriceFeed(market, offer, source, feedTerms(5, 5));
        approve(alice, address(feed));
        IMarket.Order[] memory orders = ask();
        lie = uint128(bound(lie, 0, 1000));
        for (uint256 i = 0; i < 5; ++i) {
            bool lies = i == who % 5 || i == (who % 5 + 2) % 5;
            assertTrue(answer(orders[i], voice(i), result(voice(i), lies ? lie : 500 + i)), "taken");
        }
        (uint128 value,) = feed.latest(0);
        assertTrue(value >= 500 && value <= 504, "between honest answers");
    }

    function test_attack_oneWorkerSpeaksOnceInARound() public {
        IMarket.Order[] memory orders = ask();
        assertTrue(speak(orders[0], "first", 1), "first");
        assertTrue(!speak(orders[1], "first", 1), "second time");
        assertEq(feed.answersOf(1), 1, "answers");
        // Nor in another's name: the verifier ties the answer to who is paid.
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(orders[2])));
        vm.prank(pool);
        market.settle(orders[2], worker, result(bob, 1));
    }

    function test_attack_anAnswerOfAnEarlierRoundIsLate() public {
        IMarket.Order[] memory old = ask();
        vm.warp(block.timestamp + 1 hours);
        IMarket.Order[] memory orders = ask();
        assertTrue(!speak(old[0], "first", 1), "late");
        speakAll(orders, 7);
        (uint128 value,) = feed.latest(0);
        assertEq(value, 7, "value");
    }

    function test_attack_aPublishedPriceStays() public {
        feed = new PriceFeed(market, offer, source, feedTerms(3, 2));
        approve(alice, address(feed));
        IMarket.Order[] memory orders = ask();
        speak(orders[0], "first", 5);
        speak(orders[1], "second", 6);
        (uint128 value,) = feed.latest(0);
        assertEq(value, 5, "the lower of the two in the middle");
        assertTrue(speak(orders[2], "third", 900), "counted");
        (value,) = feed.latest(0);
        assertEq(value, 5, "and changes nothing");
    }

    function test_attack_anOptionIsNotWorthMoreThanTheThing() public {
        IMarket.Order[] memory orders = ask();
        assertTrue(!answer(orders[0], worker, result(worker, type(uint256).max)), "refused");
        assertTrue(!speak(orders[1], "first", 1001), "refused");
        assertTrue(speak(orders[2], "first", 1000), "taken");
    }

    function test_attack_somebodyElsesOrderSaysNothing() public {
        ask();
        vm.expectRevert(abi.encodeWithSelector(TaskBase.NotMarket.selector, stranger));
        vm.prank(stranger);
        feed.receiveResult("order", result(stranger, 1));
        deposit(alice, UNIT_PRICE);
        vm.recordLogs();
        vm.prank(alice);
        market.request(offer, 1, UNIT_PRICE, address(feed), 250_000, "params");
        assertTrue(!answer(result(worker, 1)), "refused");
        assertEq(feed.answersOf(1), 0, "answers");
    }

    function test_feed_theMostVoicesFitIntoACallback() public {
        feed = new PriceFeed(market, offer, source, feedTerms(16, 16));
        approve(alice, address(feed));
        IMarket.Order[] memory orders = ask();
        // Falling answers are the worst for the sort.
        for (uint256 i = 0; i < 16; ++i) {
            assertTrue(answer(orders[i], voice(i), result(voice(i), 900 - i)), "taken");
        }
        (uint128 value,) = feed.latest(0);
        assertEq(value, 892, "the lower of the two in the middle");
    }

    function test_feed_constructor_revertsIf_votesCannotBeHad() public {
        uint8[2][3] memory wrong = [[3, 0], [2, 3], [17, 3]];
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(PriceFeed.BadTerms.selector);
            new PriceFeed(market, offer, source, feedTerms(wrong[i][0], wrong[i][1]));
        }
    }

    function test_voices_refusesResultsOfWrongLength() public {
        Voices voices = new Voices();
        assertTrue(voices.verify(0, worker, "", result(worker, 1)), "right");
        assertTrue(!voices.verify(0, worker, "", bytes.concat(result(worker, 1), "x")), "long");
        assertTrue(!voices.verify(0, worker, "", abi.encodePacked(worker)), "short");
        assertTrue(!voices.verify(0, worker, "", ""), "empty");
    }

    function feedTerms(uint8 voices, uint8 quorum) private view returns (PriceFeed.Terms memory) {
        return PriceFeed.Terms({
            strike: 900,
            expiry: uint64(block.timestamp + 90 days),
            period: 1 hours,
            volatilityBps: 8000,
            voices: voices,
            quorum: quorum
        });
    }

    function ask() private returns (IMarket.Order[] memory orders) {
        vm.recordLogs();
        vm.prank(alice);
        feed.update();
        orders = new IMarket.Order[](feed.VOICES());
        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256 found = 0;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != IMarket.Requested.selector) continue;
            orders[found++] = abi.decode(logs[i].data, (IMarket.Order));
        }
        assertEq(found, orders.length, "orders");
    }

    function speakAll(IMarket.Order[] memory orders, uint256 value) private {
        for (uint256 i = 0; i < orders.length; ++i) {
            assertTrue(answer(orders[i], voice(i), result(voice(i), value)), "taken");
        }
    }

    function speak(IMarket.Order memory order, string memory name, uint256 value) private returns (bool) {
        address by = actor(name);
        return answer(order, by, result(by, value));
    }

    function voice(uint256 number) private pure returns (address) {
        return address(uint160(0xbeef00 + number));
    }

    function result(address by, uint256 value) private pure returns (bytes memory) {
        return abi.encodePacked(by, value);
    }
}

contract DivisorTest is ExamplesFixture {
    Divisor private divisor;

    function setUp() public override {
        super.setUp();
        IMarket.Offer memory checked = terms();
        checked.verifier = address(new DivisorVerifier());
        offer = publish(checked);
        divisor = new Divisor(market, offer);
        approve(alice, address(divisor));
    }

    function test_divisor_isDeliveredAndPaidFor() public {
        IMarket.Order memory order = ask();
        assertTrue(answer(order, worker, abi.encode(83)), "delivered");
        assertEq(divisor.divisorOf(8051), 83, "divisor");
        assertTrue(market.accountOf(worker) > 0, "paid");
    }

    function test_attack_nothingIsPaidForWhatDoesNotDivide() public {
        IMarket.Order memory order = ask();
        bytes[6] memory wrong =
            [abi.encode(1), abi.encode(8051), abi.encode(0), abi.encode(84), abi.encode(83 + (1 << 128)), bytes("")];
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(order)));
            vm.prank(pool);
            market.settle(order, worker, wrong[i]);
        }
    }

    function test_divisor_verifierRefusesParamsOfWrongLength() public {
        DivisorVerifier verifier = new DivisorVerifier();
        assertTrue(verifier.verify(0, worker, abi.encode(8051), abi.encode(83)), "right");
        assertTrue(!verifier.verify(0, worker, bytes.concat(abi.encode(8051), "x"), abi.encode(83)), "long");
    }

    function ask() private returns (IMarket.Order memory) {
        vm.recordLogs();
        vm.prank(alice);
        divisor.ask(8051);
        return requested();
    }
}
