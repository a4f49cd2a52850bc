// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IVerifier} from "../src/interfaces/IVerifier.sol";
import {Fixture} from "./Fixture.sol";

contract LongResultVerifier is IVerifier {
    function verify(bytes32, address, bytes calldata, bytes calldata) external pure returns (bool) {
        return true;
    }
}

contract RevertingVerifier is IVerifier {
    error Broken();

    function verify(bytes32, address, bytes calldata, bytes calldata) external pure returns (bool) {
        revert Broken();
    }
}

contract MarketSettleTest is Fixture {
    function test_settle_paysWorkerPoolAndProvider() public {
        IMarket.Order memory order = openOrder();
        bytes memory result = proofFor(order, worker);
        vm.expectEmit(address(market));
        emit IMarket.Settled(market.orderIdOf(order), worker, 642, 35, 23, result);
        vm.prank(pool);
        market.settle(order, worker, result);

        assertStatus(order, IMarket.Status.Settled);
        assertPaidFor700();
        assertEq(market.accountOf(alice), 0, "requester's account");
        assertEq(token.balanceOf(address(market)), 700, "market's wallet");
    }

    function test_settle_partsCanAllBeCashed() public {
        settle(openOrder());
        cash(worker, 642);
        cash(pool, 35);
        cash(provider, 23);
        assertEq(token.balanceOf(address(market)), 0, "market's wallet");
    }

    function test_settle_oneAddressInAllRolesHasItAll() public {
        IMarket.Offer memory offered = terms();
        offered.provider = pool;
        offer = publish(offered);
        IMarket.Order memory order = openOrder();
        bytes memory result = proofFor(order, pool);
        vm.prank(pool);
        market.settle(order, pool, result);
        assertEq(market.accountOf(pool), 700, "account");
    }

    function test_fuzz_settle_partsAddUpAndRoundingGoesToTheWorker(
        uint64 units,
        uint96 unitPrice,
        uint16 poolFeeBps,
        uint16 providerFeeBps
    ) public {
        IMarket.Offer memory offered = terms();
        offered.poolFeeBps = uint16(bound(poolFeeBps, 0, 10_000));
        offered.providerFeeBps = uint16(bound(providerFeeBps, 0, 10_000 - offered.poolFeeBps));
        units = uint64(bound(units, 1, 1e9));
        offered.unitPrice = uint96(bound(unitPrice, 0, WALLET / units));
        uint256 price = uint256(units) * offered.unitPrice;
        offered.app = keccak256("fuzzed");
        offer = publish(offered);

        deposit(alice, price);
        vm.recordLogs();
        vm.prank(alice);
        market.request(offer, units, price, address(0), 0, "params");
        settle(requested());

        uint256 poolPaid = market.accountOf(pool);
        uint256 providerPaid = market.accountOf(provider);
        uint256 workerPaid = market.accountOf(worker);
        assertEq(workerPaid + poolPaid + providerPaid, price, "parts add up");
        assertEq(poolPaid, price * offered.poolFeeBps / 10_000, "pool's part");
        assertEq(providerPaid, price * offered.providerFeeBps / 10_000, "provider's part");
        uint256 workerBps = 10_000 - offered.poolFeeBps - offered.providerFeeBps;
        assertTrue(workerPaid >= price * workerBps / 10_000, "worker has at least its part");
        assertTrue(workerPaid <= price * workerBps / 10_000 + 2, "and at most two units more");
    }

    function test_settle_revertsIf_callerIsNotThePool() public {
        IMarket.Order memory order = openOrder();
        bytes memory result = proofFor(order, worker);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, worker, pool));
        vm.prank(worker);
        market.settle(order, worker, result);
    }

    function test_settle_revertsIf_callerIsThePoolOfAnotherOffer() public {
        IMarket.Offer memory offered = terms();
        offered.pool = stranger;
        publish(offered);
        IMarket.Order memory order = openOrder();
        bytes memory result = proofFor(order, worker);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, stranger, pool));
        vm.prank(stranger);
        market.settle(order, worker, result);
    }

    function test_settle_revertsIf_alreadySettled() public {
        IMarket.Order memory order = openOrder();
        settle(order);
        refusesAs(order, IMarket.Status.Settled);
        assertPaidFor700();
    }

    function test_settle_revertsIf_refunded() public {
        IMarket.Order memory order = openOrder();
        vm.prank(pool);
        market.decline(order, "");
        refusesAs(order, IMarket.Status.Refunded);
    }

    /// @dev The order is believed only because its hash is known: each field must be part of that.
    function test_settle_revertsIf_anyFieldIsAltered() public {
        IMarket.Order memory order = openOrder();
        // Money for the greedy to find.
        deposit(bob, 1_000_000);
        for (uint256 field = 0; field < 9; ++field) {
            IMarket.Order memory altered = abi.decode(abi.encode(order), (IMarket.Order));
            if (field == 0) altered.offer = keccak256("another");
            if (field == 1) altered.requester = stranger;
            if (field == 2) altered.callback = stranger;
            if (field == 3) altered.callbackGas += 1;
            if (field == 4) altered.units += 1;
            if (field == 5) altered.price += 1;
            if (field == 6) altered.deadline += 1;
            if (field == 7) altered.nonce += 1;
            if (field == 8) altered.params = "other params";
            refusesAs(altered, IMarket.Status.None);
        }
        settle(order);
    }

    function test_settle_untilTheDeadlineIsIncluded() public {
        IMarket.Order memory order = openOrder();
        vm.warp(order.deadline);
        settle(order);
        assertPaidFor700();
    }

    function test_settle_revertsIf_deadlineHasPassed() public {
        IMarket.Order memory order = openOrder();
        bytes memory result = proofFor(order, worker);
        vm.warp(order.deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.DeadlinePassed.selector, order.deadline));
        vm.prank(pool);
        market.settle(order, worker, result);
    }

    function test_settle_revertsIf_verifierRefuses() public {
        IMarket.Order memory order = openOrder();
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(order)));
        vm.prank(pool);
        market.settle(order, worker, "garbage");
        assertStatus(order, IMarket.Status.Open);
    }

    function test_settle_revertsIf_resultBelongsToAnotherWorker() public {
        IMarket.Order memory order = openOrder();
        bytes memory result = proofFor(order, worker);
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(order)));
        vm.prank(pool);
        market.settle(order, stranger, result);
    }

    function test_settle_revertsIf_resultBelongsToAnotherOrder() public {
        bytes memory result = proofFor(openOrder(), worker);
        IMarket.Order memory order = openOrder();
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultRefused.selector, market.orderIdOf(order)));
        vm.prank(pool);
        market.settle(order, worker, result);
    }

    function test_settle_revertsIf_verifierReverts() public {
        IMarket.Offer memory offered = terms();
        offered.verifier = address(new RevertingVerifier());
        offer = publish(offered);
        IMarket.Order memory order = openOrder();
        vm.expectRevert(RevertingVerifier.Broken.selector);
        vm.prank(pool);
        market.settle(order, worker, "");
        assertStatus(order, IMarket.Status.Open);
    }

    function test_settle_revertsIf_workerIsNobody() public {
        IMarket.Order memory order = openOrder();
        bytes memory result = proofFor(order, address(0));
        vm.expectRevert(ILedger.ZeroAddress.selector);
        vm.prank(pool);
        market.settle(order, address(0), result);
    }

    function test_settle_revertsIf_resultIsTooLong() public {
        IMarket.Offer memory offered = terms();
        offered.verifier = address(new LongResultVerifier());
        offer = publish(offered);
        IMarket.Order memory order = openOrder();
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(IMarket.ResultTooLong.selector, 8193));
        market.settle(order, worker, new bytes(8193));
        market.settle(order, worker, new bytes(8192));
        vm.stopPrank();
    }

    function refusesAs(IMarket.Order memory order, IMarket.Status status) private {
        bytes32 id = market.orderIdOf(order);
        bytes memory result = proofFor(order, worker);
        vm.warp(order.deadline - 10);
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotOpen.selector, id, status));
        market.settle(order, worker, result);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotOpen.selector, id, status));
        market.decline(order, "");
        vm.stopPrank();
        vm.warp(order.deadline + 10);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotOpen.selector, id, status));
        market.refund(order);
        vm.warp(order.deadline - 10);
    }

    function cash(address account, uint256 amount) private {
        vm.prank(account);
        market.withdraw(amount);
        assertEq(token.balanceOf(account), amount, "cashed");
    }
}
