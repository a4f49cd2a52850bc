// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Callbacks} from "../src/Callbacks.sol";
import {Market} from "../src/Market.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {ITaskCallback} from "../src/interfaces/ITaskCallback.sol";
import {Vm} from "./Base.sol";
import {Fixture} from "./Fixture.sol";

contract Recorder is ITaskCallback {
    uint256 public gasGiven;
    address public caller;
    bytes32 public id;
    bytes public result;

    function receiveResult(bytes32 id_, bytes calldata result_) external {
        gasGiven = gasleft();
        (caller, id, result) = (msg.sender, id_, result_);
    }
}

/// @dev Reverts with as many bytes as it is told to, each 0xab.
contract Reverter is ITaskCallback {
    uint256 private immutable LENGTH;

    constructor(uint256 length) {
        LENGTH = length;
    }

    function receiveResult(bytes32, bytes calldata) external view {
        bytes memory reason = new bytes(LENGTH);
        for (uint256 i = 0; i < LENGTH; ++i) {
            reason[i] = 0xab;
        }
        assembly {
            revert(add(reason, 0x20), mload(reason))
        }
    }
}

contract Looper is ITaskCallback {
    function receiveResult(bytes32, bytes calldata) external pure {
        while (true) {}
    }
}

/// @dev Answers with as much as its gas buys.
contract Bomb is ITaskCallback {
    uint256 private constant BYTES = 400_000;
    bool private immutable REVERTS;

    constructor(bool reverts) {
        REVERTS = reverts;
    }

    function receiveResult(bytes32, bytes calldata) external view {
        bool reverts = REVERTS;
        assembly {
            if reverts { revert(0, BYTES) }
            return(0, BYTES)
        }
    }
}

/// @dev Pool, worker, requester and callback in one, trying while it is called back whatever could pay twice.
contract Reenterer is ITaskCallback {
    Market private immutable MARKET;
    uint256 public refused;
    bytes32 public nextOrder;
    IMarket.Order private _order;
    bytes private _result;

    constructor(Market market) {
        MARKET = market;
    }

    function publish(IMarket.Offer calldata terms) external returns (bytes32) {
        return MARKET.publishOffer(terms);
    }

    function settle(IMarket.Order calldata order, bytes calldata result) external {
        (_order, _result) = (order, result);
        MARKET.settle(order, address(this), result);
    }

    function receiveResult(bytes32, bytes calldata) external {
        try MARKET.settle(_order, address(this), _result) {}
        catch {
            ++refused;
        }
        try MARKET.decline(_order, "") {}
        catch {
            ++refused;
        }
        try MARKET.refund(_order) {}
        catch {
            ++refused;
        }
        // Its pay has arrived by now; taking it out and ordering again with the rest is no theft.
        uint256 balance = MARKET.accountOf(address(this));
        MARKET.withdraw(balance - 7);
        nextOrder = MARKET.request(_order.offer, 1, 7, address(0), 0, "");
        try MARKET.withdraw(1) {}
        catch {
            ++refused;
        }
    }
}

contract MarketCallbackTest is Fixture {
    uint32 private constant CALLBACK_GAS = 200_000;
    /// @dev What a settlement costs without the callback's own gas, generously.
    uint256 private constant SETTLE_GAS_MAX = 150_000;

    function test_callback_receivesTheResultFromTheMarket() public {
        Recorder recorder = new Recorder();
        IMarket.Order memory order = openOrder(100, address(recorder), CALLBACK_GAS);
        vm.recordLogs();
        settle(order);
        assertEq(recorder.caller(), address(market), "caller");
        assertEq(recorder.id(), market.orderIdOf(order), "id");
        assertEq(recorder.result(), proofFor(order, worker), "result");
        assertTrue(!callbackFailed(), "no CallbackFailed");
    }

    function test_callback_getsNoMoreGasThanOrdered() public {
        Recorder recorder = new Recorder();
        settle(openOrder(100, address(recorder), CALLBACK_GAS));
        assertTrue(recorder.gasGiven() <= CALLBACK_GAS, "at most what was ordered");
    }

    function test_callback_toAnAccountWithoutCodeIsNothing() public {
        IMarket.Order memory order = openOrder(100, stranger, CALLBACK_GAS);
        vm.recordLogs();
        settle(order);
        assertPaidFor700();
        assertTrue(!callbackFailed(), "no CallbackFailed");
    }

    function test_callback_thatRevertsIsReportedAndPaidFor() public {
        IMarket.Order memory order = openOrder(100, address(new Reverter(5)), CALLBACK_GAS);
        bytes memory result = proofFor(order, worker);
        vm.expectEmit(address(market));
        emit IMarket.CallbackFailed(market.orderIdOf(order), hex"ababababab");
        vm.prank(pool);
        market.settle(order, worker, result);
        assertPaidFor700();
        assertStatus(order, IMarket.Status.Settled);
    }

    function test_callback_reasonIsCutAtItsLimit() public {
        uint256[3] memory lengths = [uint256(255), 256, 257];
        for (uint256 i = 0; i < lengths.length; ++i) {
            IMarket.Order memory order = openOrder(100, address(new Reverter(lengths[i])), CALLBACK_GAS);
            vm.recordLogs();
            settle(order);
            bytes memory reason = abi.decode(lastLog(IMarket.CallbackFailed.selector).data, (bytes));
            assertEq(reason.length, lengths[i] < 256 ? lengths[i] : 256, "length");
            assertTrue(reason[reason.length - 1] == 0xab, "last byte");
        }
    }

    function test_callback_thatLoopsSpendsItsGasOnly() public {
        IMarket.Order memory order = openOrder(100, address(new Looper()), CALLBACK_GAS);
        vm.recordLogs();
        uint256 used = gasToSettle(order);
        assertTrue(callbackFailed(), "CallbackFailed");
        assertTrue(used < CALLBACK_GAS + SETTLE_GAS_MAX, "gas");
        assertPaidFor700();
    }

    /// @dev Copying what it answers would cost more than the callback itself was allowed.
    function test_callback_thatAnswersWithMegabytesCostsItsGasOnly() public {
        for (uint256 i = 0; i < 2; ++i) {
            bool reverts = i == 1;
            Bomb bomb = new Bomb(reverts);
            (bool success, bytes memory answer) =
                address(bomb).call{gas: 500_000}(abi.encodeCall(bomb.receiveResult, ("", "")));
            assertTrue(success != reverts && answer.length == 400_000, "the bomb goes off");

            IMarket.Order memory order = openOrder(100, address(bomb), 500_000);
            vm.recordLogs();
            uint256 used = gasToSettle(order);
            assertTrue(used < 500_000 + SETTLE_GAS_MAX, "gas");
            assertTrue(callbackFailed() == reverts, "CallbackFailed");
            assertStatus(order, IMarket.Status.Settled);
        }
        assertEq(market.accountOf(worker), 2 * 642, "worker's account");
    }

    function test_callback_thatReentersIsPaidOnce() public {
        Reenterer everybody = new Reenterer(market);
        IMarket.Offer memory offered = terms();
        offered.pool = address(everybody);
        offer = everybody.publish(offered);
        // Somebody else's money, for the taking.
        deposit(bob, 100_000);
        IMarket.Order memory order = openOrder(100, address(everybody), 500_000);
        vm.warp(order.deadline);
        vm.recordLogs();
        everybody.settle(order, proofFor(order, address(everybody)));

        assertTrue(!callbackFailed(), "the callback came to its end");
        assertEq(everybody.refused(), 4, "refusals");
        assertEq(token.balanceOf(address(everybody)), 642 + 35 - 7, "its wallet");
        assertEq(market.accountOf(address(everybody)), 0, "its account");
        assertEq(market.accountOf(bob), 100_000, "bob's account");
        assertEq(uint256(market.statusOf(everybody.nextOrder())), uint256(IMarket.Status.Open), "next order");
        assertEq(token.balanceOf(address(market)), 100_000 + 23 + 7, "market's wallet");
    }

    function gasToSettle(IMarket.Order memory order) private returns (uint256 used) {
        bytes memory result = proofFor(order, worker);
        vm.prank(pool);
        used = gasleft();
        market.settle(order, worker, result);
        used -= gasleft();
    }

    function callbackFailed() private returns (bool) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IMarket.CallbackFailed.selector) return true;
        }
        return false;
    }
}

/// @dev Everything is set up beforehand so that the callback's account is cold, as in a transaction of its own.
contract MarketStarvationTest is Fixture {
    /// @dev The most there is, since a 64th is kept back.
    uint32 private constant CALLBACK_GAS = 500_000;

    Recorder private recorder;
    bytes32 private id;
    bytes private settling;

    function setUp() public override {
        super.setUp();
        recorder = new Recorder();
        IMarket.Order memory order = openOrder(100, address(recorder), CALLBACK_GAS);
        id = market.orderIdOf(order);
        settling = abi.encodeCall(market.settle, (order, worker, proofFor(order, worker)));
    }

    /// @dev The least gas with which a settlement goes through must give the callback all that was promised to it:
    /// otherwise the pool could choose whether the requester hears of the result.
    function test_callback_cannotBeStarvedByTheSettler() public {
        bytes memory expected = abi.encodeWithSelector(Callbacks.CallbackStarved.selector, CALLBACK_GAS);
        bytes memory message = settling;
        uint256 starved = 0;
        for (uint256 gasLimit = CALLBACK_GAS;; gasLimit += 500) {
            vm.prank(pool);
            (bool success, bytes memory answer) = address(market).call{gas: gasLimit}(message);
            if (success) break;
            if (keccak256(answer) == keccak256(expected)) ++starved;
        }
        assertTrue(starved > 0, "refused with its own error");
        assertEq(recorder.id(), id, "called back");
        Recorder another = new Recorder();
        another.receiveResult{gas: CALLBACK_GAS}(id, recorder.result());
        assertEq(recorder.gasGiven(), another.gasGiven(), "with all its gas");
    }
}
