// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../src/Market.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IVouchers} from "../src/interfaces/IVouchers.sol";
import {ContractWallet, Fixture} from "./Fixture.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract MarketVoucherTest is Fixture {
    uint256 private constant DELAY = 21 days;

    address private carol = actor("carol");

    function setUp() public override {
        super.setUp();
        token.transfer(pool, WALLET);
        deposit(pool, 1_000_000);
    }

    function test_cash_paysWhatIsDueToTheWorkersWallet() public {
        lock(1000);
        vm.expectEmit(address(market));
        emit IVouchers.Cashed(pool, worker, 300);
        cash(worker, 300);
        cash(worker, 450);
        assertEq(token.balanceOf(worker), 450, "worker's wallet");
        assertEq(cover(worker).cashed, 450, "cashed");
        assertEq(cover(worker).locked, 550, "locked");
        assertEq(token.balanceOf(address(market)), 1_000_000 - 450, "market's wallet");
    }

    function test_cash_oldVoucherIsPassedOver() public {
        lock(1000);
        cash(worker, 300);
        cash(worker, 300);
        cash(worker, 299);
        assertEq(token.balanceOf(worker), 300, "worker's wallet");
    }

    function test_cash_takesTheReserveFirst() public {
        lock(1000);
        reserve(worker, 200);
        cash(worker, 150);
        assertCover(worker, 50, 1000);
        cash(worker, 350);
        assertCover(worker, 0, 850);
    }

    function test_cash_paysAsFarAsTheCoverGoesAndTheRestLater() public {
        lock(100);
        reserve(worker, 20);
        cash(worker, 500);
        assertEq(token.balanceOf(worker), 120, "all there is");
        cash(worker, 500);
        assertEq(token.balanceOf(worker), 120, "nothing more");
        lock(1000);
        cash(worker, 500);
        assertEq(token.balanceOf(worker), 500, "the rest");
    }

    /// @dev Whatever the pool signs to others, a reserve is there for its worker.
    function test_fuzz_cash_reserveIsCertain(uint256 reserved, uint256 owed, uint256 others) public {
        reserved = bound(reserved, 1, 500_000);
        owed = bound(owed, 1, reserved);
        reserve(worker, reserved);
        lock(1_000_000 - reserved);
        cash(carol, others);
        vm.startPrank(pool);
        market.startUnlock(1_000_000);
        market.startRelease(worker);
        vm.warp(block.timestamp + DELAY);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.TooEarly.selector, block.timestamp));
        market.finishRelease(worker);
        vm.stopPrank();
        cash(worker, owed);
        assertEq(token.balanceOf(worker), owed, "worker's wallet");
    }

    function test_cash_severalAtOnceOfSeveralPools() public {
        address other = actor("other pool");
        token.transfer(other, 1000);
        deposit(other, 1000);
        vm.prank(other);
        market.lock(1000);
        lock(1000);
        IVouchers.Voucher[] memory vouchers = new IVouchers.Voucher[](4);
        vouchers[0] = voucher("pool", worker, 10);
        vouchers[1] = voucher("other pool", worker, 20);
        vouchers[2] = voucher("pool", worker, 5);
        vouchers[3] = voucher("pool", carol, 40);
        vm.prank(stranger);
        market.cash(vouchers);
        assertEq(token.balanceOf(worker), 30, "worker's wallet");
        assertEq(token.balanceOf(carol), 40, "carol's wallet");
        assertEq(token.balanceOf(stranger), 0, "stranger's wallet");
    }

    function test_cash_revertsIf_signedBySomebodyElse() public {
        lock(1000);
        IVouchers.Voucher[] memory vouchers = new IVouchers.Voucher[](2);
        vouchers[0] = voucher("pool", worker, 10);
        vouchers[1] = voucher("stranger", worker, 10);
        vouchers[1].pool = pool;
        vm.expectRevert(abi.encodeWithSelector(IVouchers.BadVoucher.selector, 1));
        market.cash(vouchers);
    }

    function test_cash_revertsIf_anythingSignedIsAltered() public {
        lock(1000);
        for (uint256 field = 0; field < 5; ++field) {
            IVouchers.Voucher[] memory vouchers = one(voucher("pool", worker, 10));
            if (field == 0) vouchers[0].pool = stranger;
            if (field == 1) vouchers[0].worker = stranger;
            if (field == 2) vouchers[0].cumulative += 1;
            if (field == 3) vouchers[0].signature = mirrored(vouchers[0].signature);
            if (field == 4) vouchers[0].signature = "";
            vm.expectRevert(abi.encodeWithSelector(IVouchers.BadVoucher.selector, 0));
            market.cash(vouchers);
        }
    }

    function test_cash_revertsIf_signedForAnotherMarketOrChain() public {
        lock(1000);
        IVouchers.Voucher[] memory vouchers = one(voucher("pool", worker, 10));
        Market twin = new Market(address(token));
        vm.expectRevert(abi.encodeWithSelector(IVouchers.BadVoucher.selector, 0));
        twin.cash(vouchers);
        vm.chainId(4242);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.BadVoucher.selector, 0));
        market.cash(vouchers);
    }

    function test_cash_acceptsAPoolThatIsAContract() public {
        ContractWallet wallet = new ContractWallet();
        token.transfer(address(wallet), 100);
        wallet.act(address(token), abi.encodeCall(token.approveAndCall, (address(market), 100, "")));
        wallet.act(address(market), abi.encodeCall(market.lock, (100)));
        wallet.accept(market.voucherHash(address(wallet), worker, 60));
        market.cash(one(IVouchers.Voucher(address(wallet), worker, 60, "")));
        assertEq(token.balanceOf(worker), 60, "worker's wallet");
        vm.expectRevert(abi.encodeWithSelector(IVouchers.BadVoucher.selector, 0));
        market.cash(one(IVouchers.Voucher(address(wallet), worker, 61, "")));
    }

    /// @dev Tokens sent to the market itself would belong to nobody.
    function test_cash_revertsIf_workerIsTheMarketOrNobody() public {
        lock(1000);
        IVouchers.Voucher[] memory vouchers = one(voucher("pool", address(market), 10));
        vm.expectRevert(abi.encodeWithSelector(ILedger.InvalidReceiver.selector, address(market)));
        market.cash(vouchers);
        vouchers = one(voucher("pool", address(0), 10));
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        market.cash(vouchers);
    }

    function test_lock_revertsIf_accountIsTooLow() public {
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(ILedger.AccountTooLow.selector, pool, 1_000_000, 1_000_001));
        market.lock(1_000_001);
        vm.expectRevert(abi.encodeWithSelector(ILedger.AccountTooLow.selector, pool, 1_000_000, 1_000_001));
        market.reserve(worker, 1_000_001);
        vm.stopPrank();
    }

    function test_reserve_revertsIf_workerIsNobody() public {
        vm.expectRevert(ILedger.ZeroAddress.selector);
        vm.prank(pool);
        market.reserve(address(0), 1);
    }

    function test_unlock_takesWhatIsLeftAfterTheDelay() public {
        lock(1000);
        vm.startPrank(pool);
        vm.expectEmit(address(market));
        emit IVouchers.UnlockStarted(pool, 900, block.timestamp + DELAY);
        market.startUnlock(900);
        assertEq(cover(worker).leaving, 900, "leaving");
        assertEq(cover(worker).lockedUntil, block.timestamp + DELAY, "until");
        vm.warp(block.timestamp + DELAY);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.TooEarly.selector, block.timestamp));
        market.finishUnlock();
        vm.stopPrank();
        cash(worker, 300);
        vm.warp(block.timestamp + 1);
        vm.prank(pool);
        market.finishUnlock();
        assertEq(market.accountOf(pool), 999_000 + 700, "pool's account");
        assertCover(worker, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.NothingToUnlock.selector, pool));
        vm.prank(pool);
        market.finishUnlock();
    }

    function test_unlock_leavesWhatWasNotAnnounced() public {
        lock(1000);
        vm.prank(pool);
        market.startUnlock(400);
        lock(50);
        vm.warp(block.timestamp + DELAY + 1);
        vm.prank(pool);
        market.finishUnlock();
        assertCover(worker, 0, 650);
        assertEq(cover(worker).leaving, 0, "leaving");
    }

    function test_unlock_canBeRevokedAndStartsAnew() public {
        lock(1000);
        vm.startPrank(pool);
        market.startUnlock(400);
        vm.warp(block.timestamp + DELAY + 1);
        market.startUnlock(500);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.TooEarly.selector, block.timestamp + DELAY));
        market.finishUnlock();
        market.startUnlock(0);
        vm.warp(block.timestamp + DELAY + 1);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.NothingToUnlock.selector, pool));
        market.finishUnlock();
        vm.stopPrank();
    }

    function test_release_givesTheReserveBackAfterTheDelay() public {
        reserve(worker, 1000);
        vm.startPrank(pool);
        vm.expectEmit(address(market));
        emit IVouchers.ReleaseStarted(pool, worker, block.timestamp + DELAY);
        market.startRelease(worker);
        vm.warp(block.timestamp + DELAY + 1);
        market.finishRelease(worker);
        assertEq(market.accountOf(pool), 1_000_000, "pool's account");
        assertCover(worker, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.NothingToRelease.selector, pool, worker));
        market.finishRelease(worker);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.NothingToRelease.selector, pool, worker));
        market.startRelease(worker);
        vm.stopPrank();
    }

    function test_release_isRevokedByReservingMore() public {
        reserve(worker, 1000);
        vm.prank(pool);
        market.startRelease(worker);
        reserve(worker, 1);
        vm.warp(block.timestamp + DELAY + 1);
        vm.expectRevert(abi.encodeWithSelector(IVouchers.NothingToRelease.selector, pool, worker));
        vm.prank(pool);
        market.finishRelease(worker);
        assertEq(cover(worker).reserved, 1001, "reserved");
    }

    /// @dev What was cashed stays cashed: old vouchers do not come alive with a new reserve.
    function test_release_doesNotReviveOldVouchers() public {
        reserve(worker, 1000);
        cash(worker, 600);
        vm.startPrank(pool);
        market.startRelease(worker);
        vm.warp(block.timestamp + DELAY + 1);
        market.finishRelease(worker);
        vm.stopPrank();
        reserve(worker, 1000);
        cash(worker, 600);
        assertEq(token.balanceOf(worker), 600, "worker's wallet");
    }

    function lock(uint256 amount) private {
        vm.prank(pool);
        market.lock(amount);
    }

    function reserve(address account, uint256 amount) private {
        vm.prank(pool);
        market.reserve(account, amount);
    }

    function cash(address account, uint256 cumulative) private {
        market.cash(one(voucher("pool", account, cumulative)));
    }

    function voucher(string memory signer, address account, uint256 cumulative)
        private
        returns (IVouchers.Voucher memory)
    {
        address by = actor(signer);
        return IVouchers.Voucher(by, account, cumulative, signAs(signer, market.voucherHash(by, account, cumulative)));
    }

    function one(IVouchers.Voucher memory only) private pure returns (IVouchers.Voucher[] memory vouchers) {
        vouchers = new IVouchers.Voucher[](1);
        vouchers[0] = only;
    }

    function cover(address account) private view returns (IVouchers.Cover memory) {
        return market.coverOf(pool, account);
    }

    function assertCover(address account, uint256 reserved, uint256 locked) private view {
        assertEq(cover(account).reserved, reserved, "reserved");
        assertEq(cover(account).locked, locked, "locked");
    }
}
