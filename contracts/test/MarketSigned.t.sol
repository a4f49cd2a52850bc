// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../src/Market.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {ContractWallet, Fixture} from "./Fixture.sol";

/// @dev Offers and orders that are signed instead of sent.
contract MarketSignedTest is Fixture {
    function setUp() public override {
        super.setUp();
        deposit(alice, 100_000);
        deposit(bob, 100_000);
    }

    function test_requestSigned_ordersAtTermsThatWereNeverPublished() public {
        IMarket.SignedOffer memory signed = signedOffer();
        IMarket.Order memory order = take(alice, signed, 40);
        assertEq(order.price, 40 * 11, "price");
        assertEq(market.accountOf(alice), 100_000 - 440, "alice's account");
        assertEq(market.takenOf(market.signedOfferHash(signed)), 40, "taken");
        settle(order);
        assertStatus(order, IMarket.Status.Settled);

        (IMarket.Offer memory stored, bool active) = market.offerOf(order.offer);
        assertTrue(!active, "not standing");
        assertEq(abi.encode(stored), abi.encode(signed.terms), "terms");
        vm.expectRevert(abi.encodeWithSelector(IMarket.OfferNotActive.selector, order.offer));
        vm.prank(alice);
        market.request(order.offer, 1, 11, address(0), 0, "");
    }

    function test_requestSigned_untilItsVolumeIsTaken() public {
        IMarket.SignedOffer memory signed = signedOffer();
        take(alice, signed, 60);
        take(bob, signed, 40);
        bytes32 hash = market.signedOfferHash(signed);
        refusesToTake(alice, signed, 1, abi.encodeWithSelector(IMarket.OfferExhausted.selector, hash, 100, 100));
        // Equal terms with another salt are another offer.
        signed.salt = keccak256("another");
        take(alice, signed, 100);
    }

    function test_fuzz_requestSigned_neverMoreThanItsVolume(uint64 first, uint64 second) public {
        IMarket.SignedOffer memory signed = signedOffer();
        signed.units = 100;
        first = uint64(bound(first, 1, 100));
        take(alice, signed, first);
        bytes32 hash = market.signedOfferHash(signed);
        second = uint64(bound(second, 101 - first, type(uint64).max));
        refusesToTake(alice, signed, second, abi.encodeWithSelector(IMarket.OfferExhausted.selector, hash, first, 100));
    }

    function test_requestSigned_leavesAStandingOfferStanding() public {
        IMarket.SignedOffer memory signed = signedOffer();
        signed.terms = terms();
        IMarket.Order memory order = take(alice, signed, 1);
        assertEq(order.offer, offer, "same terms, same offer");
        (, bool active) = market.offerOf(offer);
        assertTrue(active, "standing");
    }

    function test_requestSigned_canBePublishedLater() public {
        IMarket.SignedOffer memory signed = signedOffer();
        IMarket.Order memory order = take(alice, signed, 1);
        assertEq(publish(signed.terms), order.offer, "same id");
        vm.prank(alice);
        market.request(order.offer, 1, 11, address(0), 0, "");
    }

    function test_requestSigned_revertsIf_expiredOrRevoked() public {
        IMarket.SignedOffer memory signed = signedOffer();
        vm.warp(signed.validUntil);
        take(alice, signed, 1);
        vm.warp(signed.validUntil + 1);
        refusesToTake(alice, signed, 1, abi.encodeWithSelector(IMarket.OfferExpired.selector, signed.validUntil));

        signed.validUntil += 1000;
        bytes32 hash = market.signedOfferHash(signed);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, alice, pool));
        vm.prank(alice);
        market.revokeOffer(signed);
        vm.expectEmit(address(market));
        emit IMarket.OfferRevoked(hash);
        vm.prank(pool);
        market.revokeOffer(signed);
        bytes memory why = abi.encodeWithSelector(IMarket.OfferExhausted.selector, hash, type(uint256).max, 100);
        refusesToTake(alice, signed, 1, why);
    }

    function test_requestSigned_revertsIf_itIsForSomebodyElse() public {
        IMarket.SignedOffer memory signed = signedOffer();
        signed.requester = bob;
        refusesToTake(alice, signed, 1, abi.encodeWithSelector(IMarket.NotRequester.selector, alice, bob));
        take(bob, signed, 1);
    }

    function test_requestSigned_revertsIf_notSignedByThePool() public {
        IMarket.SignedOffer memory signed = signedOffer();
        bytes memory signature = signAs("pool", market.signedOfferHash(signed));
        bytes memory why = abi.encodeWithSelector(IMarket.BadSignature.selector, pool);
        vm.startPrank(alice);
        vm.expectRevert(why);
        market.requestSigned(signed, mirrored(signature), 1, 11, address(0), 0, "");
        bytes memory forged = signAs("stranger", market.signedOfferHash(signed));
        vm.expectRevert(why);
        market.requestSigned(signed, forged, 1, 11, address(0), 0, "");
        signed.terms.unitPrice = 0;
        vm.expectRevert(why);
        market.requestSigned(signed, signature, 1, 11, address(0), 0, "");
        signed = signedOffer();
        signed.units += 1;
        vm.expectRevert(why);
        market.requestSigned(signed, signature, 1, 11, address(0), 0, "");
        signed = signedOffer();
        vm.chainId(4242);
        vm.expectRevert(why);
        market.requestSigned(signed, signature, 1, 11, address(0), 0, "");
        vm.stopPrank();
    }

    function test_requestSigned_revertsIf_termsAreImpossible() public {
        IMarket.SignedOffer memory signed = signedOffer();
        signed.terms.poolFeeBps = 9668;
        refusesToTake(alice, signed, 1, abi.encodeWithSelector(IMarket.FeesTooHigh.selector, 10_001));
        signed = signedOffer();
        signed.terms.verifier = stranger;
        refusesToTake(alice, signed, 1, abi.encodeWithSelector(IMarket.VerifierMissing.selector, stranger));
        signed = signedOffer();
        refusesToTake(alice, signed, 0, abi.encodeWithSelector(IMarket.ZeroUnits.selector));
    }

    function test_relay_ordersForWhoeverSigned() public {
        IMarket.SignedRequest memory signed = signedRequest();
        bytes memory signature = signAs("alice", market.signedRequestHash(signed));
        vm.recordLogs();
        vm.prank(stranger);
        market.relay(signed, signature);
        IMarket.Order memory order = requested();
        assertEq(order.requester, alice, "requester");
        assertEq(order.price, 700, "price");
        assertEq(order.params, "params", "params");
        assertEq(market.accountOf(alice), 100_000 - 700 - 5, "alice's account");
        assertEq(market.accountOf(stranger), 5, "relayer's account");
        settle(order);
    }

    function test_relay_onceOnly() public {
        IMarket.SignedRequest memory signed = signedRequest();
        bytes32 hash = market.signedRequestHash(signed);
        bytes memory signature = signAs("alice", hash);
        market.relay(signed, signature);
        bytes memory why = abi.encodeWithSelector(IMarket.RequestUsed.selector, hash);
        vm.expectRevert(why);
        market.relay(signed, signature);
        vm.warp(block.timestamp + 1);
        vm.expectRevert(why);
        market.relay(signed, signature);
    }

    function test_relay_ofABag() public {
        IMarket.SignedRequest memory signed = signedRequest();
        signed.bag = true;
        bytes memory signature = signAs("alice", market.signedRequestHash(signed));
        vm.recordLogs();
        market.relay(signed, signature);
        IMarket.Order memory bag = abi.decode(lastLog(IMarket.BagRequested.selector).data, (IMarket.Order));
        assertEq(bag.units, 100, "tasks");
    }

    function test_relay_ofAContractWallet() public {
        ContractWallet wallet = new ContractWallet();
        token.transfer(address(wallet), 1000);
        wallet.act(address(token), abi.encodeCall(token.approveAndCall, (address(market), 1000, "")));
        IMarket.SignedRequest memory signed = signedRequest();
        signed.requester = address(wallet);
        vm.expectRevert(abi.encodeWithSelector(IMarket.BadSignature.selector, address(wallet)));
        market.relay(signed, "");
        wallet.accept(market.signedRequestHash(signed));
        market.relay(signed, "");
        assertEq(market.accountOf(address(wallet)), 1000 - 705, "its account");
    }

    function test_relay_revertsIf_anythingSignedIsAltered() public {
        IMarket.SignedRequest memory signed = signedRequest();
        bytes memory signature = signAs("alice", market.signedRequestHash(signed));
        for (uint256 field = 0; field < 10; ++field) {
            IMarket.SignedRequest memory altered = abi.decode(abi.encode(signed), (IMarket.SignedRequest));
            address signer = alice;
            if (field == 0) (altered.requester, signer) = (bob, bob);
            if (field == 1) altered.tip += 1;
            if (field == 2) altered.units -= 1;
            if (field == 3) altered.bag = true;
            if (field == 4) altered.priceMax += 1;
            if (field == 5) altered.callback = stranger;
            if (field == 6) altered.callbackGas += 1;
            if (field == 7) altered.validUntil += 1;
            if (field == 8) altered.salt = keccak256("another");
            if (field == 9) altered.params = "other params";
            vm.expectRevert(abi.encodeWithSelector(IMarket.BadSignature.selector, signer));
            market.relay(altered, signature);
        }
        bytes memory why = abi.encodeWithSelector(IMarket.BadSignature.selector, alice);
        vm.expectRevert(why);
        market.relay(signed, mirrored(signature));
        vm.chainId(4242);
        vm.expectRevert(why);
        market.relay(signed, signature);
    }

    function test_relay_revertsIf_signedForAnotherMarket() public {
        IMarket.SignedRequest memory signed = signedRequest();
        bytes memory signature = signAs("alice", new Market(address(token)).signedRequestHash(signed));
        vm.expectRevert(abi.encodeWithSelector(IMarket.BadSignature.selector, alice));
        market.relay(signed, signature);
    }

    function test_relay_revertsIf_lateOrByAnotherRelayer() public {
        IMarket.SignedRequest memory signed = signedRequest();
        signed.relayer = bob;
        bytes memory signature = signAs("alice", market.signedRequestHash(signed));
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotRelayer.selector, stranger, bob));
        vm.prank(stranger);
        market.relay(signed, signature);
        vm.warp(signed.validUntil + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.RequestExpired.selector, signed.validUntil));
        vm.prank(bob);
        market.relay(signed, signature);
        vm.warp(signed.validUntil);
        vm.prank(bob);
        market.relay(signed, signature);
    }

    function test_relay_revertsIf_priceOrAccountDoNotAllowIt() public {
        IMarket.SignedRequest memory signed = signedRequest();
        signed.priceMax = 699;
        bytes memory signature = signAs("alice", market.signedRequestHash(signed));
        vm.expectRevert(abi.encodeWithSelector(IMarket.PriceAboveMax.selector, 700, 699));
        market.relay(signed, signature);
        signed = signedRequest();
        signed.tip = 99_301;
        signature = signAs("alice", market.signedRequestHash(signed));
        vm.expectRevert(abi.encodeWithSelector(ILedger.AccountTooLow.selector, alice, 100_000, 100_001));
        market.relay(signed, signature);
        vm.prank(pool);
        market.withdrawOffer(offer);
        vm.expectRevert(abi.encodeWithSelector(IMarket.OfferNotActive.selector, offer));
        market.relay(signed, signature);
    }

    /// @dev The types written out as wallets see them.
    function test_hashes_followEip712() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("gristmill market"),
                keccak256("1"),
                block.chainid,
                address(market)
            )
        );
        IMarket.SignedRequest memory s = signedRequest();
        bytes memory head = abi.encode(
            keccak256(
                "SignedRequest(address requester,address relayer,uint96 tip,bytes32 offer,uint64 units,bool bag,uint96 priceMax,address callback,uint32 callbackGas,uint64 validUntil,bytes32 salt,bytes params)"
            ),
            s.requester,
            s.relayer,
            s.tip,
            s.offer,
            s.units,
            s.bag
        );
        bytes memory tail = abi.encode(s.priceMax, s.callback, s.callbackGas, s.validUntil, s.salt, keccak256(s.params));
        bytes32 expected = keccak256(abi.encodePacked(hex"1901", domain, keccak256(bytes.concat(head, tail))));
        assertEq(market.signedRequestHash(s), expected, "request");

        bytes32 voucher = keccak256(
            abi.encode(keccak256("Voucher(address pool,address worker,uint256 cumulative)"), pool, worker, 7)
        );
        assertEq(
            market.voucherHash(pool, worker, 7), keccak256(abi.encodePacked(hex"1901", domain, voucher)), "voucher"
        );
    }

    function signedOffer() private view returns (IMarket.SignedOffer memory signed) {
        signed.terms = terms();
        signed.terms.unitPrice = 11;
        signed.units = 100;
        signed.validUntil = uint64(1_800_000_000 + 1 days);
    }

    function signedRequest() private view returns (IMarket.SignedRequest memory) {
        return IMarket.SignedRequest({
            requester: alice,
            relayer: address(0),
            tip: 5,
            offer: offer,
            units: 100,
            bag: false,
            priceMax: 700,
            callback: address(0),
            callbackGas: 0,
            validUntil: uint64(1_800_000_000 + 1 days),
            salt: keccak256("salt"),
            params: "params"
        });
    }

    function take(address by, IMarket.SignedOffer memory signed, uint64 units) private returns (IMarket.Order memory) {
        bytes memory signature = signAs("pool", market.signedOfferHash(signed));
        vm.recordLogs();
        vm.prank(by);
        market.requestSigned(signed, signature, units, type(uint256).max, address(0), 0, "params");
        return requested();
    }

    function refusesToTake(address by, IMarket.SignedOffer memory signed, uint64 units, bytes memory why) private {
        bytes memory signature = signAs("pool", market.signedOfferHash(signed));
        vm.expectRevert(why);
        vm.prank(by);
        market.requestSigned(signed, signature, units, type(uint256).max, address(0), 0, "params");
    }
}
