// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {TaskBase} from "../src/TaskBase.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Fixture} from "./Fixture.sol";

/// @dev As small as a contract that has something computed can be.
contract Asker is TaskBase {
    event Answered(bytes32 order, address requester, bytes result);

    constructor(IMarket market, bytes32 offer) TaskBase(market, offer) {}

    function ask(address requester, uint64 units, bytes calldata params) external returns (bytes32) {
        return _ask(msg.sender, requester, units, 100_000, params);
    }

    function taskOf(bytes32 order) external view returns (Stage stage, bytes31 kept) {
        return _taskOf(order);
    }

    function _answer(bytes32 order, address requester, bytes calldata result) internal override returns (bytes31) {
        emit Answered(order, requester, result);
        return bytes31(keccak256(result));
    }
}

contract TaskBaseTest is Fixture {
    Asker private asker;

    function setUp() public override {
        super.setUp();
        asker = new Asker(market, offer);
        vm.prank(alice);
        token.approve(address(asker), WALLET);
    }

    function test_constructor_readsTheOffer() public view {
        assertEq(address(asker.MARKET()), address(market), "market");
        assertEq(address(asker.TOKEN()), address(token), "token");
        assertEq(asker.OFFER(), offer, "offer");
        assertEq(asker.UNIT_PRICE(), UNIT_PRICE, "unit price");
    }

    function test_ask_takesExactlyThePriceAndRemembersTheRequester() public {
        vm.recordLogs();
        vm.prank(alice);
        bytes32 id = asker.ask(bob, 100, "params");
        IMarket.Order memory order = requested();
        assertEq(market.orderIdOf(order), id, "id");
        assertEq(order.requester, bob, "requester");
        assertEq(order.callback, address(asker), "callback");
        assertEq(token.balanceOf(alice), WALLET - 700, "payer's wallet");
        assertEq(token.balanceOf(address(asker)), 0, "contract's wallet");
        assertEq(token.balanceOf(address(market)), 700, "market's wallet");
        assertTask(id, TaskBase.Stage.Asked, bytes31(bytes20(bob)));
    }

    /// @dev Something in the account, such as a worker's pay, must not make the payer's money stay behind.
    function test_ask_leavesTheContractsOwnAccountAlone() public {
        IMarket.Order memory order = openOrder();
        bytes memory result = proofFor(order, address(asker));
        vm.prank(pool);
        market.settle(order, address(asker), result);
        vm.prank(bob);
        token.transfer(address(asker), 5);
        vm.prank(alice);
        asker.ask(alice, 100, "params");
        assertEq(market.accountOf(address(asker)), 642, "contract's account");
        assertEq(token.balanceOf(address(asker)), 5, "contract's wallet");
    }

    function test_receiveResult_keepsWhatTheAnswerReturns() public {
        vm.recordLogs();
        vm.prank(alice);
        bytes32 id = asker.ask(bob, 100, "params");
        IMarket.Order memory order = requested();
        bytes memory result = proofFor(order, worker);
        vm.expectEmit(address(asker));
        emit Asker.Answered(id, bob, result);
        settle(order);
        assertTask(id, TaskBase.Stage.Answered, bytes31(keccak256(result)));
    }

    function test_taskOf_unknownIsNone() public view {
        assertTask(keccak256("nothing"), TaskBase.Stage.None, 0);
    }

    function assertTask(bytes32 id, TaskBase.Stage stage, bytes31 kept) private view {
        (TaskBase.Stage actualStage, bytes31 actualKept) = asker.taskOf(id);
        assertEq(uint256(actualStage), uint256(stage), "stage");
        assertEq(bytes32(actualKept), bytes32(kept), "kept");
    }
}
