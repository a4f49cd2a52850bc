// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {TaskBase} from "../src/TaskBase.sol";
import {VanityShop} from "../src/VanityShop.sol";
import {VanityVerifier} from "../src/VanityVerifier.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Vm} from "./Base.sol";
import {Fixture} from "./Fixture.sol";
import {VanitySearch} from "./VanitySearch.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract VanityShopTest is Fixture, VanitySearch {
    uint64 private constant UNIT_CANDIDATES = 1000;
    uint64 private constant MIN_UNITS = 3;
    uint256 private constant SPACE = 1 << 160;
    uint256 private constant SECRET = 4242;
    /// @dev 2^160 / 2^140 candidates are 1,048.576 units, so 1,049 at 7 nRLC.
    uint160 private constant HI = 2 ** 140 - 1;
    uint256 private constant PRICE = 1049 * 7;

    uint256 private constant LEAST_PRICE = MIN_UNITS * UNIT_PRICE;

    VanityShop private shop;
    bytes private key;

    function setUp() public override {
        super.setUp();
        offer = publish(vanityTerms());
        shop = new VanityShop(market, offer, UNIT_CANDIDATES, MIN_UNITS);
        key = publicKey(SECRET);
    }

    function test_constructor_revertsIf_offerIsNotActive() public {
        vm.prank(pool);
        market.withdrawOffer(offer);
        vm.expectRevert(abi.encodeWithSelector(TaskBase.OfferNotActive.selector, offer));
        new VanityShop(market, offer, UNIT_CANDIDATES, MIN_UNITS);
    }

    function test_constructor_revertsIf_unitsAreZero() public {
        vm.expectRevert(VanityShop.ZeroUnits.selector);
        new VanityShop(market, offer, 0, MIN_UNITS);
        vm.expectRevert(VanityShop.ZeroUnits.selector);
        new VanityShop(market, offer, UNIT_CANDIDATES, 0);
    }

    function test_quote_isTheExpectedWork() public view {
        assertQuote(range(0, HI), 1049);
        // Two ranges of half the width are as hard as one.
        assertQuote(bytes.concat(range(0, HI / 2), range(2 ** 150, 2 ** 150 + HI / 2)), 1049);
        // Neighbours without a gap are fine.
        assertQuote(bytes.concat(range(0, HI / 2), range(HI / 2 + 1, HI)), 1049);
        // One candidate more than fits one unit starts another.
        assertQuote(range(0, uint160(SPACE / 4000 - 1)), 4);
        assertQuote(range(0, uint160(SPACE / 4001 - 1)), 5);
        // Everything matches: the least that the shop sells.
        assertQuote(range(0, type(uint160).max), MIN_UNITS);
        assertQuote(range(7, 7 + uint160(SPACE / 2000)), MIN_UNITS);
    }

    function test_fuzz_quote_neverBelowTheExpectedWork(uint160 lo, uint160 hi) public view {
        vm.assume(lo <= hi && hi - lo > type(uint160).max >> 60);
        (uint64 units, uint256 price) = shop.quote(bytes.concat(key, range(lo, hi)));
        uint256 difficulty = (1 << 160) / (uint256(hi) - lo + 1);
        assertTrue(uint256(units) * UNIT_CANDIDATES >= difficulty, "enough");
        assertTrue(units == MIN_UNITS || uint256(units - 1) * UNIT_CANDIDATES < difficulty, "not too much");
        assertEq(price, uint256(units) * UNIT_PRICE, "price");
    }

    function test_quote_revertsIf_tooDifficult() public {
        // 2^64 − 1 units of 1,000 candidates are a little less than 2^74.
        assertQuote(range(0, 2 ** 87 - 1), uint64((2 ** 73 + 999) / uint256(1000)));
        refuses(
            bytes.concat(key, range(0, 2 ** 86 - 1)), abi.encodeWithSelector(VanityShop.TooDifficult.selector, 2 ** 74)
        );
        refuses(bytes.concat(key, range(5, 5)), abi.encodeWithSelector(VanityShop.TooDifficult.selector, 2 ** 160));
    }

    function test_order_takesExactlyThePrice() public {
        bytes memory params = wanted();
        vm.startPrank(alice);
        token.approve(address(shop), WALLET);
        vm.recordLogs();
        bytes32 id = shop.order(params, PRICE);
        vm.stopPrank();
        assertOrdered(id, params);
        assertEq(token.allowance(alice, address(shop)), WALLET - PRICE, "rest of the approval");
    }

    function test_approveAndCall_paysAndOrdersInOne() public {
        bytes memory params = wanted();
        vm.recordLogs();
        vm.prank(alice);
        token.approveAndCall(address(shop), 2 * PRICE, abi.encode(params));
        assertOrdered(market.orderIdOf(expectedOrder(params)), params);
    }

    function test_approveAndCall_revertsIf_approvedForLessThanThePrice() public {
        bytes memory data = abi.encode(wanted());
        vm.expectRevert(abi.encodeWithSelector(VanityShop.PriceAboveMax.selector, PRICE, PRICE - 1));
        vm.prank(alice);
        token.approveAndCall(address(shop), PRICE - 1, data);
    }

    function test_approveAndCall_revertsIf_dataIsNoEncodingOfBytes() public {
        bytes memory data = abi.encode(wanted());
        refusesData("", abi.encodeWithSelector(VanityShop.ParamsLength.selector, 0));
        refusesData(new bytes(63), abi.encodeWithSelector(VanityShop.ParamsLength.selector, 63));
        refusesData(new bytes(64), abi.encodeWithSelector(VanityShop.ParamsLength.selector, 64));
        refusesData(
            bytes.concat(bytes32(uint256(32)), bytes32(uint256(73)), new bytes(72)),
            abi.encodeWithSelector(VanityShop.ParamsLength.selector, 73)
        );
        refusesData(
            bytes.concat(bytes32(uint256(32)), bytes32(type(uint256).max)),
            abi.encodeWithSelector(VanityShop.ParamsLength.selector, type(uint256).max)
        );
        data[31] = 0x21;
        refusesData(data, abi.encodeWithSelector(VanityShop.ParamsLength.selector, data.length));
    }

    /// @dev Else anybody could have alice's approval spent on a search of their own.
    function test_receiveApproval_revertsIf_callerIsNotTheToken() public {
        vm.prank(alice);
        token.approve(address(shop), WALLET);
        bytes memory data = abi.encode(wanted());
        vm.expectRevert(abi.encodeWithSelector(TaskBase.NotToken.selector, stranger));
        vm.prank(stranger);
        shop.receiveApproval(alice, WALLET, address(token), data);
    }

    function test_order_revertsIf_priceIsAboveMax() public {
        vm.startPrank(alice);
        token.approve(address(shop), WALLET);
        vm.expectRevert(abi.encodeWithSelector(VanityShop.PriceAboveMax.selector, PRICE, PRICE - 1));
        shop.order(wanted(), PRICE - 1);
        vm.stopPrank();
    }

    function test_order_revertsIf_callerHasApprovedNothing() public {
        vm.prank(alice);
        token.approve(address(shop), WALLET);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(shop), 0, PRICE)
        );
        vm.prank(bob);
        shop.order(wanted(), PRICE);
    }

    function test_order_revertsIf_paramsHaveTheWrongLength() public {
        bytes memory params = wanted();
        uint256[4] memory lengths = [uint256(0), 33, 72, 74];
        for (uint256 i = 0; i < lengths.length; ++i) {
            bytes memory cut = new bytes(lengths[i]);
            for (uint256 j = 0; j < cut.length && j < params.length; ++j) {
                cut[j] = params[j];
            }
            refuses(cut, abi.encodeWithSelector(VanityShop.ParamsLength.selector, cut.length));
        }
    }

    function test_order_32RangesAreTheMost() public {
        bytes memory params = key;
        for (uint160 i = 0; i < 32; ++i) {
            params = bytes.concat(params, range(i << 140, i << 140));
        }
        vm.expectRevert(abi.encodeWithSelector(VanityShop.TooDifficult.selector, 2 ** 155));
        shop.quote(params);
        params = bytes.concat(params, range(32 << 140, 32 << 140));
        refuses(params, abi.encodeWithSelector(VanityShop.ParamsLength.selector, 33 + 33 * 40));
    }

    function test_order_revertsIf_rangesAreReversedUnsortedOrOverlap() public {
        refuses(bytes.concat(key, range(6, 5)), abi.encodeWithSelector(VanityShop.RangeReversed.selector, 0));
        bytes memory first = bytes.concat(key, range(5, HI));
        refuses(
            bytes.concat(first, range(HI + 2, HI + 1)), abi.encodeWithSelector(VanityShop.RangeReversed.selector, 1)
        );
        refuses(bytes.concat(first, range(HI, HI)), abi.encodeWithSelector(VanityShop.RangeNotSorted.selector, 1));
        refuses(bytes.concat(first, range(0, 4)), abi.encodeWithSelector(VanityShop.RangeNotSorted.selector, 1));
        bytes memory all = bytes.concat(key, range(0, type(uint160).max));
        refuses(
            bytes.concat(all, range(type(uint160).max, type(uint160).max)),
            abi.encodeWithSelector(VanityShop.RangeNotSorted.selector, 1)
        );
    }

    function test_order_revertsIf_keyIsNone() public {
        bytes memory params = wanted();
        params[0] = 0x04;
        refuses(params, abi.encodeWithSelector(VanityShop.KeyPrefix.selector, 4));
        params[0] = 0x01;
        refuses(params, abi.encodeWithSelector(VanityShop.KeyPrefix.selector, 1));
        // x = 5 is on no point of the curve; x = 0 and n are not either, and p is not reduced.
        uint256[5] memory xs = [uint256(0), 5, N, P, type(uint256).max];
        for (uint256 i = 0; i < xs.length; ++i) {
            bytes memory bad = abi.encodePacked(uint8(2), xs[i], range(0, HI));
            refuses(bad, abi.encodeWithSelector(VanityShop.KeyNotOnCurve.selector, xs[i]));
        }
    }

    function test_order_acceptsKeysOfBothParities() public {
        for (uint256 secret = 1; secret < 9; ++secret) {
            shop.quote(bytes.concat(publicKey(secret), range(0, HI)));
        }
    }

    function test_receiveResult_keepsTheAnswer() public {
        (IMarket.Order memory order, bytes memory result) = foundBy(worker, 5);
        bytes32 id = market.orderIdOf(order);
        (bool found,,,) = shop.answerOf(id);
        assertTrue(!found, "not yet");

        vm.expectEmit(address(shop));
        emit VanityShop.Found(id, alice, worker, 5, 4);
        vm.prank(pool);
        market.settle(order, worker, result);

        address by;
        uint64 index;
        uint8 image;
        (found, by, index, image) = shop.answerOf(id);
        assertTrue(found, "found");
        assertEq(by, worker, "worker");
        assertEq(index, 5, "index");
        assertEq(image, 4, "image");
        assertStatus(order, IMarket.Status.Settled);
    }

    /// @dev Its word is warm here; in a transaction of its own that would be 2,100 gas more.
    function test_receiveResult_hasGasToSpare() public {
        (IMarket.Order memory order, bytes memory result) = foundBy(worker, 5);
        bytes memory message = abi.encodeCall(shop.receiveResult, (market.orderIdOf(order), result));
        uint256 half = shop.CALLBACK_GAS() / 2 - 2100;
        vm.prank(address(market));
        (bool success,) = address(shop).call{gas: half}(message);
        assertTrue(success, "half is enough");
    }

    function test_receiveResult_revertsIf_callerIsNotTheMarket() public {
        (IMarket.Order memory order, bytes memory result) = foundBy(worker, 5);
        bytes32 id = market.orderIdOf(order);
        vm.expectRevert(abi.encodeWithSelector(TaskBase.NotMarket.selector, stranger));
        vm.prank(stranger);
        shop.receiveResult(id, result);
    }

    /// @dev Anybody can order at the market and name the shop as callback; it did not ask for that.
    function test_receiveResult_revertsIf_somebodyElseOrdered() public {
        deposit(bob, PRICE);
        vm.recordLogs();
        vm.prank(bob);
        market.request(offer, 1049, PRICE, address(shop), 100_000, anything());
        IMarket.Order memory order = requested();
        bytes32 id = market.orderIdOf(order);
        bytes memory result = resultFor(order, worker, 5);
        vm.expectEmit(address(market));
        emit IMarket.CallbackFailed(id, abi.encodeWithSelector(TaskBase.NotAsked.selector, id));
        vm.prank(pool);
        market.settle(order, worker, result);
        (bool found,,,) = shop.answerOf(id);
        assertTrue(!found, "nothing stored");
    }

    function test_receiveResult_revertsIf_answeredBefore() public {
        (IMarket.Order memory order, bytes memory result) = foundBy(worker, 5);
        bytes32 id = market.orderIdOf(order);
        vm.startPrank(address(market));
        shop.receiveResult(id, result);
        vm.expectRevert(abi.encodeWithSelector(TaskBase.NotAsked.selector, id));
        shop.receiveResult(id, result);
        vm.stopPrank();
    }

    /// @dev A pool that sees the worker's result cannot keep the worker's part by settling it as its own.
    function test_settle_revertsIf_poolCopiesTheResult() public {
        (IMarket.Order memory order, bytes memory result) = foundBy(worker, 5);
        bytes32 id = market.orderIdOf(order);
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, id));
        market.settle(order, pool, result);
        bytes20 name = bytes20(pool);
        for (uint256 i = 0; i < 20; ++i) {
            result[i] = name[i];
        }
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, id));
        market.settle(order, pool, result);
        vm.stopPrank();
    }

    function test_refund_goesToTheBuyer() public {
        (IMarket.Order memory order,) = foundBy(worker, 5);
        vm.warp(order.deadline + 1);
        market.refund(order);
        assertEq(market.accountOf(alice), LEAST_PRICE, "buyer's account");
        vm.prank(alice);
        market.withdraw(LEAST_PRICE);
        assertEq(token.balanceOf(alice), WALLET, "buyer's wallet");
    }

    function vanityTerms() private returns (IMarket.Offer memory offered) {
        offered = terms();
        offered.verifier = address(new VanityVerifier());
    }

    function range(uint160 lo, uint160 hi) private pure returns (bytes memory) {
        return abi.encodePacked(lo, hi);
    }

    function wanted() private view returns (bytes memory) {
        return bytes.concat(key, range(0, HI));
    }

    function anything() private view returns (bytes memory) {
        return bytes.concat(key, range(0, type(uint160).max));
    }

    /// @dev An order of alice's at the shop that any candidate answers, and the one at `index` of `by`.
    function foundBy(address by, uint64 index) private returns (IMarket.Order memory order, bytes memory result) {
        vm.prank(alice);
        vm.recordLogs();
        token.approveAndCall(address(shop), LEAST_PRICE, abi.encode(anything()));
        order = requested();
        result = resultFor(order, by, index);
    }

    function resultFor(IMarket.Order memory order, address by, uint64 index) private returns (bytes memory) {
        Vm.Wallet memory sum = sumOf(SECRET, market.orderIdOf(order), by, index);
        return resultOf(sum, by, index, 4);
    }

    function expectedOrder(bytes memory params) private view returns (IMarket.Order memory) {
        return IMarket.Order({
            offer: offer,
            requester: alice,
            callback: address(shop),
            callbackGas: shop.CALLBACK_GAS(),
            units: 1049,
            price: uint96(PRICE),
            deadline: uint64(block.timestamp + DURATION),
            nonce: 0,
            params: params
        });
    }

    function assertOrdered(bytes32 id, bytes memory params) private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        Vm.Log memory last = logs[logs.length - 1];
        assertEq(last.emitter, address(shop), "emitter");
        assertEq(last.topics[0], VanityShop.Ordered.selector, "event");
        assertEq(last.topics[1], id, "order");
        assertEq(last.topics[2], bytes32(uint256(uint160(alice))), "requester");
        assertEq(last.data, abi.encode(uint64(1049), PRICE, params), "rest of the event");

        assertEq(market.orderIdOf(expectedOrder(params)), id, "order's id");
        assertStatus(expectedOrder(params), IMarket.Status.Open);
        assertEq(token.balanceOf(alice), WALLET - PRICE, "buyer's wallet");
        assertEq(token.balanceOf(address(market)), PRICE, "market's wallet");
        assertEq(token.balanceOf(address(shop)), 0, "shop's wallet");
        assertEq(market.accountOf(address(shop)), 0, "shop's account");
    }

    function assertQuote(bytes memory ranges, uint64 expected) private view {
        (uint64 units, uint256 price) = shop.quote(bytes.concat(key, ranges));
        assertEq(units, expected, "units");
        assertEq(price, uint256(expected) * UNIT_PRICE, "price");
    }

    /// @dev All three ways in refuse alike, and nothing moves.
    function refuses(bytes memory params, bytes memory why) private {
        vm.expectRevert(why);
        shop.quote(params);
        vm.expectRevert(why);
        vm.prank(alice);
        shop.order(params, type(uint256).max);
        refusesData(abi.encode(params), why);
    }

    function refusesData(bytes memory data, bytes memory why) private {
        vm.expectRevert(why);
        vm.prank(alice);
        token.approveAndCall(address(shop), WALLET, data);
        assertEq(token.balanceOf(alice), WALLET, "wallet");
    }
}
