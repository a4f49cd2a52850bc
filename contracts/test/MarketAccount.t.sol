// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Fixture} from "./Fixture.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract MarketAccountTest is Fixture {
    function test_deposit_movesFromWalletToAccount() public {
        vm.startPrank(alice);
        token.approve(address(market), 50);
        vm.expectEmit(address(market));
        emit ILedger.Deposited(alice, 50);
        market.deposit(50);
        vm.stopPrank();
        assertMoved(50);
    }

    function test_deposit_revertsIf_notApproved() public {
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 0, 50)
        );
        vm.prank(alice);
        market.deposit(50);
    }

    function test_depositWithPermit_movesFromWalletToAccount() public {
        IMarket.Permit memory permit = signPermit("alice", 50, block.timestamp);
        vm.prank(alice);
        market.depositWithPermit(50, permit.deadline, permit.v, permit.r, permit.s);
        assertMoved(50);
    }

    function test_depositWithPermit_survivesSomebodyElseUsingThePermit() public {
        IMarket.Permit memory permit = signPermit("alice", 50, block.timestamp);
        vm.prank(stranger);
        token.permit(alice, address(market), 50, permit.deadline, permit.v, permit.r, permit.s);
        vm.prank(alice);
        market.depositWithPermit(50, permit.deadline, permit.v, permit.r, permit.s);
        assertMoved(50);
    }

    function test_depositWithPermit_revertsIf_signedBySomebodyElse() public {
        IMarket.Permit memory permit = signPermit("alice", 50, block.timestamp);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(market), 0, 50)
        );
        vm.prank(bob);
        market.depositWithPermit(50, permit.deadline, permit.v, permit.r, permit.s);
    }

    function test_approveAndCall_withoutDataDeposits() public {
        vm.prank(alice);
        token.approveAndCall(address(market), 50, "");
        assertMoved(50);
    }

    function test_withdraw_movesFromAccountToWallet() public {
        deposit(alice, 50);
        vm.expectEmit(address(market));
        emit ILedger.Withdrawn(alice, alice, 20);
        vm.prank(alice);
        market.withdraw(20);
        assertMoved(30);
    }

    function test_withdrawTo_movesToSomebodyElsesWallet() public {
        deposit(alice, 50);
        vm.expectEmit(address(market));
        emit ILedger.Withdrawn(alice, stranger, 20);
        vm.prank(alice);
        market.withdrawTo(stranger, 20);
        assertEq(market.accountOf(alice), 30, "account");
        assertEq(token.balanceOf(stranger), 20, "stranger's wallet");
        assertEq(token.balanceOf(address(market)), 30, "market's wallet");
    }

    function test_withdrawTo_revertsIf_receiverIsTheMarketOrNobody() public {
        deposit(alice, 50);
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(ILedger.InvalidReceiver.selector, address(market)));
        market.withdrawTo(address(market), 20);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        market.withdrawTo(address(0), 20);
        vm.stopPrank();
        assertMoved(50);
    }

    function test_fuzz_withdraw_revertsIf_moreThanTheAccountHolds(uint256 held, uint256 wanted) public {
        held = bound(held, 0, WALLET);
        wanted = bound(wanted, held + 1, type(uint256).max);
        deposit(alice, held);
        deposit(bob, WALLET);
        vm.expectRevert(abi.encodeWithSelector(ILedger.AccountTooLow.selector, alice, held, wanted));
        vm.prank(alice);
        market.withdraw(wanted);
    }

    function assertMoved(uint256 amount) private view {
        assertEq(market.accountOf(alice), amount, "account");
        assertEq(token.balanceOf(alice), WALLET - amount, "wallet");
        assertEq(token.balanceOf(address(market)), amount, "market's wallet");
    }
}
