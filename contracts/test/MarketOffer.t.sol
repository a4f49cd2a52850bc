// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../src/Market.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Fixture} from "./Fixture.sol";

contract MarketOfferTest is Fixture {
    function test_publishOffer_storesTermsUnderTheirHash() public {
        IMarket.Offer memory other = terms();
        other.app = keccak256("another app");
        bytes32 id = keccak256(abi.encode(block.chainid, address(market), other));
        vm.expectEmit(address(market));
        emit IMarket.OfferPublished(id, pool, other);
        assertEq(publish(other), id, "id");

        (IMarket.Offer memory stored, bool active) = market.offerOf(id);
        assertTrue(active, "active");
        assertEq(abi.encode(stored), abi.encode(other), "terms");
    }

    /// @dev Every field at its own extreme: a wrong width or order of the packed words would show.
    function test_fuzz_publishOffer_keepsEveryField(IMarket.Offer memory offered) public {
        vm.assume(offered.provider != address(0) && offered.pool != address(0));
        offered.verifier = address(verifier);
        offered.poolFeeBps = uint16(bound(offered.poolFeeBps, 0, 10_000));
        offered.providerFeeBps = uint16(bound(offered.providerFeeBps, 0, 10_000 - offered.poolFeeBps));
        offered.duration = uint32(bound(offered.duration, 1, market.MAX_DURATION()));
        (IMarket.Offer memory stored, bool active) = market.offerOf(publish(offered));
        assertTrue(active, "active");
        assertEq(abi.encode(stored), abi.encode(offered), "terms");
    }

    function test_offerOf_unknownIsInactive() public view {
        (IMarket.Offer memory stored, bool active) = market.offerOf(keccak256("nothing"));
        assertTrue(!active, "inactive");
        assertEq(stored.pool, address(0), "pool");
    }

    function test_publishOffer_revertsIf_callerIsNotThePool() public {
        IMarket.Offer memory offered = terms();
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, stranger, pool));
        vm.prank(stranger);
        market.publishOffer(offered);
    }

    function test_publishOffer_revertsIf_alreadyActive() public {
        refuses(terms(), abi.encodeWithSelector(IMarket.OfferAlreadyActive.selector, offer));
    }

    function test_publishOffer_revertsIf_verifierHasNoCode() public {
        IMarket.Offer memory offered = terms();
        offered.verifier = address(0);
        refuses(offered, abi.encodeWithSelector(IMarket.VerifierMissing.selector, address(0)));
        offered.verifier = stranger;
        refuses(offered, abi.encodeWithSelector(IMarket.VerifierMissing.selector, stranger));
    }

    function test_publishOffer_revertsIf_providerIsZero() public {
        IMarket.Offer memory offered = terms();
        offered.provider = address(0);
        refuses(offered, abi.encodeWithSelector(ILedger.ZeroAddress.selector));
    }

    function test_publishOffer_revertsIf_feesExceedThePrice() public {
        IMarket.Offer memory offered = terms();
        offered.poolFeeBps = 9000;
        offered.providerFeeBps = 1001;
        refuses(offered, abi.encodeWithSelector(IMarket.FeesTooHigh.selector, 10_001));
        offered.poolFeeBps = type(uint16).max;
        offered.providerFeeBps = type(uint16).max;
        refuses(offered, abi.encodeWithSelector(IMarket.FeesTooHigh.selector, 131_070));
        offered.poolFeeBps = 9000;
        offered.providerFeeBps = 1000;
        publish(offered);
    }

    function test_publishOffer_revertsIf_durationIsOutOfRange() public {
        IMarket.Offer memory offered = terms();
        offered.duration = 0;
        refuses(offered, abi.encodeWithSelector(IMarket.DurationOutOfRange.selector, 0));
        offered.duration = 365 days + 1;
        refuses(offered, abi.encodeWithSelector(IMarket.DurationOutOfRange.selector, 365 days + 1));
        offered.duration = 365 days;
        publish(offered);
    }

    function test_withdrawOffer_stopsNewOrdersOnly() public {
        IMarket.Order memory order = openOrder();
        vm.expectEmit(address(market));
        emit IMarket.OfferWithdrawn(offer);
        vm.prank(pool);
        market.withdrawOffer(offer);

        (, bool active) = market.offerOf(offer);
        assertTrue(!active, "inactive");
        vm.expectRevert(abi.encodeWithSelector(IMarket.OfferNotActive.selector, offer));
        vm.prank(alice);
        market.request(offer, 1, 7, address(0), 0, "");

        settle(order);
        assertPaidFor700();
    }

    function test_withdrawOffer_canBePublishedAgain() public {
        vm.prank(pool);
        market.withdrawOffer(offer);
        assertEq(publish(terms()), offer, "same id");
        settle(openOrder());
    }

    function test_withdrawOffer_revertsIf_callerIsNotThePool() public {
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, stranger, pool));
        vm.prank(stranger);
        market.withdrawOffer(offer);
    }

    function test_withdrawOffer_revertsIf_notActive() public {
        bytes32 unknown = keccak256("nothing");
        vm.expectRevert(abi.encodeWithSelector(IMarket.OfferNotActive.selector, unknown));
        market.withdrawOffer(unknown);
        vm.startPrank(pool);
        market.withdrawOffer(offer);
        vm.expectRevert(abi.encodeWithSelector(IMarket.OfferNotActive.selector, offer));
        market.withdrawOffer(offer);
        vm.stopPrank();
    }

    function test_constructor_revertsIf_tokenIsZero() public {
        vm.expectRevert(ILedger.ZeroAddress.selector);
        new Market(address(0));
    }

    function refuses(IMarket.Offer memory offered, bytes memory why) private {
        vm.expectRevert(why);
        publish(offered);
    }
}
