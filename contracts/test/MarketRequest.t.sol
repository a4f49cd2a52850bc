// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Fixture} from "./Fixture.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract MarketRequestTest is Fixture {
    uint256 private constant ANY_PRICE = type(uint256).max;

    function test_request_locksThePriceAndTellsAll() public {
        deposit(alice, 1000);
        IMarket.Order memory expected = expectedOrder(alice, 0);
        bytes32 id = keccak256(abi.encode(block.chainid, address(market), expected));
        vm.expectEmit(address(market));
        emit IMarket.Requested(id, offer, alice, expected);
        vm.prank(alice);
        assertEq(market.request(offer, 100, 700, bob, 9, "params"), id, "id");

        assertEq(market.accountOf(alice), 300, "account");
        assertEq(market.orderIdOf(expected), id, "orderIdOf");
        assertStatus(expected, IMarket.Status.Open);
    }

    function test_request_twiceIsTwoOrders() public {
        deposit(alice, 1400);
        vm.startPrank(alice);
        bytes32 first = market.request(offer, 100, 700, bob, 9, "params");
        bytes32 second = market.request(offer, 100, 700, bob, 9, "params");
        vm.stopPrank();
        assertTrue(first != second, "ids differ");
        assertEq(market.orderIdOf(expectedOrder(alice, 0)), first, "first");
        assertEq(market.orderIdOf(expectedOrder(alice, 1)), second, "second");
    }

    /// @dev An id must not come back when its order is over: its status would say that it is.
    function test_request_againAfterTheFirstWasDeclinedIsANewOrder() public {
        deposit(alice, 700);
        vm.prank(alice);
        bytes32 first = market.request(offer, 100, 700, bob, 9, "params");
        vm.prank(pool);
        market.decline(expectedOrder(alice, 0), "");
        vm.prank(alice);
        bytes32 second = market.request(offer, 100, 700, bob, 9, "params");
        assertTrue(first != second, "ids differ");
        assertStatus(expectedOrder(alice, 0), IMarket.Status.Refunded);
        assertStatus(expectedOrder(alice, 1), IMarket.Status.Open);
    }

    function test_request_revertsIf_tooManyAreAlike() public {
        deposit(alice, 7 * 66);
        vm.startPrank(alice);
        bytes32 last;
        for (uint256 i = 0; i < 64; ++i) {
            last = market.request(offer, 1, 7, bob, 9, "params");
        }
        vm.expectRevert(abi.encodeWithSelector(IMarket.TooManyAlike.selector, last));
        market.request(offer, 1, 7, bob, 9, "params");
        // Whatever makes it another order will do.
        market.request(offer, 1, 7, bob, 8, "params");
        vm.warp(block.timestamp + 1);
        market.request(offer, 1, 7, bob, 9, "params");
        vm.stopPrank();
    }

    function test_requestFor_isPaidByTheCallerAndOwnedByTheOther() public {
        deposit(bob, 700);
        vm.prank(bob);
        bytes32 id = market.requestFor(alice, offer, 100, 700, bob, 9, "params");
        assertEq(market.accountOf(bob), 0, "payer's account");
        assertEq(market.orderIdOf(expectedOrder(alice, 0)), id, "owned by alice");
    }

    function test_requestFromWallet_pullsExactlyThePrice() public {
        vm.startPrank(bob);
        token.approve(address(market), 10_000);
        bytes32 id = market.requestFromWallet(alice, offer, 100, 700, bob, 9, "params");
        vm.stopPrank();
        assertEq(market.orderIdOf(expectedOrder(alice, 0)), id, "owned by alice");
        assertPulled(bob, 700);
    }

    function test_requestWithPermit_pullsExactlyThePrice() public {
        IMarket.Permit memory permit = signPermit("alice", 10_000, block.timestamp);
        vm.prank(alice);
        bytes32 id = market.requestWithPermit(offer, 100, 700, bob, 9, "params", permit);
        assertEq(market.orderIdOf(expectedOrder(alice, 0)), id, "id");
        assertPulled(alice, 700);
    }

    function test_requestWithPermit_survivesSomebodyElseUsingThePermit() public {
        IMarket.Permit memory permit = signPermit("alice", 700, block.timestamp);
        token.permit(alice, address(market), 700, permit.deadline, permit.v, permit.r, permit.s);
        vm.prank(alice);
        market.requestWithPermit(offer, 100, 700, bob, 9, "params", permit);
        assertPulled(alice, 700);
    }

    function test_requestWithPermit_revertsIf_signedBySomebodyElse() public {
        IMarket.Permit memory permit = signPermit("alice", 700, block.timestamp);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 0, 700)
        );
        vm.prank(bob);
        market.requestWithPermit(offer, 100, 700, bob, 9, "params", permit);
    }

    function test_approveAndCall_ordersForExactlyThePrice() public {
        bytes memory data = abi.encode(offer, uint64(100), uint256(700), bob, uint32(9), bytes("params"));
        vm.recordLogs();
        vm.prank(alice);
        token.approveAndCall(address(market), 10_000, data);
        assertEq(abi.encode(requested()), abi.encode(expectedOrder(alice, 0)), "order");
        assertStatus(expectedOrder(alice, 0), IMarket.Status.Open);
        assertPulled(alice, 700);
        assertEq(token.allowance(alice, address(market)), 9300, "rest of the approval");
    }

    function test_approveAndCall_revertsIf_approvedForLessThanThePrice() public {
        bytes memory data = abi.encode(offer, uint64(100), uint256(700), bob, uint32(9), bytes("params"));
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 699, 700)
        );
        vm.prank(alice);
        token.approveAndCall(address(market), 699, data);
    }

    function test_approveAndCall_revertsIf_dataIsMalformed() public {
        vm.expectRevert();
        vm.prank(alice);
        token.approveAndCall(address(market), 10_000, hex"00");
    }

    /// @dev Else anybody could spend what alice has approved.
    function test_receiveApproval_revertsIf_callerIsNotTheToken() public {
        vm.prank(alice);
        token.approve(address(market), 10_000);
        vm.startPrank(stranger);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotToken.selector, stranger));
        market.receiveApproval(alice, 10_000, address(token), "");
        bytes memory data = abi.encode(offer, uint64(100), uint256(700), bob, uint32(9), bytes("params"));
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotToken.selector, stranger));
        market.receiveApproval(alice, 10_000, address(token), data);
        vm.stopPrank();
    }

    function test_request_revertsIf_accountIsTooLow() public {
        deposit(alice, 699);
        deposit(bob, 10_000);
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(ILedger.AccountTooLow.selector, alice, 699, 700));
        market.request(offer, 100, ANY_PRICE, address(0), 0, "");
        vm.expectRevert(abi.encodeWithSelector(ILedger.AccountTooLow.selector, alice, 699, 700));
        market.requestFor(bob, offer, 100, ANY_PRICE, address(0), 0, "");
        vm.stopPrank();
    }

    function test_request_revertsIf_offerIsUnknown() public {
        bytes32 unknown = keccak256("nothing");
        vm.expectRevert(abi.encodeWithSelector(IMarket.OfferNotActive.selector, unknown));
        market.request(unknown, 1, ANY_PRICE, address(0), 0, "");
    }

    function test_request_revertsIf_thereIsNothingToDo() public {
        vm.expectRevert(IMarket.ZeroUnits.selector);
        market.request(offer, 0, ANY_PRICE, address(0), 0, "");
    }

    function test_request_revertsIf_priceIsAboveMax() public {
        deposit(alice, 1000);
        vm.expectRevert(abi.encodeWithSelector(IMarket.PriceAboveMax.selector, 700, 699));
        vm.prank(alice);
        market.request(offer, 100, 699, address(0), 0, "");
    }

    function test_request_revertsIf_priceDoesNotFit() public {
        IMarket.Offer memory offered = terms();
        offered.unitPrice = type(uint96).max;
        bytes32 dear = publish(offered);
        uint256 price = 2 * uint256(type(uint96).max);
        vm.expectRevert(abi.encodeWithSelector(IMarket.PriceTooLarge.selector, price));
        market.request(dear, 2, ANY_PRICE, address(0), 0, "");
        price = uint256(type(uint64).max) * type(uint96).max;
        vm.expectRevert(abi.encodeWithSelector(IMarket.PriceTooLarge.selector, price));
        market.request(dear, type(uint64).max, ANY_PRICE, address(0), 0, "");
    }

    function test_request_freeOffersCostNothing() public {
        IMarket.Offer memory offered = terms();
        offered.unitPrice = 0;
        bytes32 free = publish(offered);
        vm.recordLogs();
        vm.prank(stranger);
        market.request(free, type(uint64).max, 0, address(0), 0, "params");
        IMarket.Order memory order = requested();
        settle(order);
        assertStatus(order, IMarket.Status.Settled);
        assertEq(market.accountOf(worker), 0, "worker's account");
    }

    function test_request_revertsIf_paramsAreTooLong() public {
        deposit(alice, 14);
        vm.startPrank(alice);
        market.request(offer, 1, 7, address(0), 0, new bytes(4096));
        vm.expectRevert(abi.encodeWithSelector(IMarket.ParamsTooLong.selector, 4097));
        market.request(offer, 1, 7, address(0), 0, new bytes(4097));
        vm.stopPrank();
    }

    function test_request_revertsIf_callbackGasIsTooHigh() public {
        deposit(alice, 14);
        vm.startPrank(alice);
        market.request(offer, 1, 7, bob, 500_000, "");
        vm.expectRevert(abi.encodeWithSelector(IMarket.CallbackGasTooHigh.selector, 500_001));
        market.request(offer, 1, 7, bob, 500_001, "");
        vm.stopPrank();
    }

    function test_requestFor_revertsIf_nobodyOwnsTheOrder() public {
        deposit(alice, 7);
        vm.startPrank(alice);
        token.approve(address(market), 7);
        vm.expectRevert(ILedger.ZeroAddress.selector);
        market.requestFor(address(0), offer, 1, 7, address(0), 0, "");
        vm.expectRevert(ILedger.ZeroAddress.selector);
        market.requestFromWallet(address(0), offer, 1, 7, address(0), 0, "");
        vm.stopPrank();
    }

    function expectedOrder(address requester, uint256 nonce) private view returns (IMarket.Order memory) {
        return IMarket.Order({
            offer: offer,
            requester: requester,
            callback: bob,
            callbackGas: 9,
            units: 100,
            price: 700,
            deadline: uint64(block.timestamp + DURATION),
            nonce: nonce,
            params: "params"
        });
    }

    function assertPulled(address payer, uint256 price) private view {
        assertEq(token.balanceOf(payer), WALLET - price, "payer's wallet");
        assertEq(token.balanceOf(address(market)), price, "market's wallet");
        assertEq(market.accountOf(payer), 0, "payer's account");
    }
}
