// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DevRLC} from "../src/DevRLC.sol";
import {RLC} from "../src/RLC.sol";
import {IApprovalReceiver} from "../src/interfaces/IApprovalReceiver.sol";
import {Base} from "./Base.sol";

contract ApprovalRecorder is IApprovalReceiver {
    address public caller;
    address public from;
    uint256 public amount;
    address public token;
    bytes public data;

    error Unwanted();

    function receiveApproval(address from_, uint256 amount_, address token_, bytes calldata data_) external {
        if (keccak256(data_) == keccak256("revert")) revert Unwanted();
        (caller, from, amount, token, data) = (msg.sender, from_, amount_, token_, data_);
    }
}

contract RLCTest is Base {
    DevRLC private token = new DevRLC(address(this));
    ApprovalRecorder private recorder = new ApprovalRecorder();
    address private alice = actor("alice");

    function test_supplyIs87MillionWithNineDecimals() public view {
        assertEq(token.decimals(), 9, "decimals");
        assertEq(token.totalSupply(), 87_000_000 * 10 ** 9, "supply");
        assertEq(token.balanceOf(address(this)), token.totalSupply(), "holder's balance");
    }

    function test_approveAndCall_approvesThenCalls() public {
        vm.prank(alice);
        assertTrue(token.approveAndCall(address(recorder), 5, "data"), "answers true");
        assertEq(token.allowance(alice, address(recorder)), 5, "allowance");
        assertEq(recorder.caller(), address(token), "caller");
        assertEq(recorder.from(), alice, "from");
        assertEq(recorder.amount(), 5, "amount");
        assertEq(recorder.token(), address(token), "token");
        assertEq(recorder.data(), "data", "data");
    }

    function test_approveAndCall_revertsIf_spenderReverts() public {
        vm.expectRevert(ApprovalRecorder.Unwanted.selector);
        token.approveAndCall(address(recorder), 5, "revert");
        assertEq(token.allowance(address(this), address(recorder)), 0, "allowance");
    }

    function test_approveAndCall_revertsIf_spenderIsNoContract() public {
        vm.expectRevert();
        token.approveAndCall(alice, 5, "");
    }

    function test_faucet_mintsUpToItsLimit() public {
        uint256 limit = token.FAUCET_MAX();
        assertEq(limit, 1000 * 10 ** 9, "limit");
        vm.startPrank(alice);
        token.faucet(limit);
        assertEq(token.balanceOf(alice), limit, "balance");
        vm.expectRevert(abi.encodeWithSelector(DevRLC.FaucetLimit.selector, limit + 1, limit));
        token.faucet(limit + 1);
        vm.stopPrank();
    }

    function test_plainTokenHasNoFaucet() public {
        RLC plain = new RLC(address(this));
        (bool success,) = address(plain).call(abi.encodeCall(DevRLC.faucet, (1)));
        assertTrue(!success, "refused");
    }
}
