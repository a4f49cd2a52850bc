// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Court} from "../src/Court.sol";
import {Ledger} from "../src/Ledger.sol";
import {Market} from "../src/Market.sol";
import {RLC} from "../src/RLC.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IVouchers} from "../src/interfaces/IVouchers.sol";
import {PocoHub} from "../src/poco/PocoHub.sol";
import {AppRegistry, DatasetRegistry, WorkerpoolRegistry} from "../src/poco/Registries.sol";
import {Fixture} from "./Fixture.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @dev Calls its holder before and after every movement, as some tokens do.
contract HookToken is RLC {
    address public hook;
    bytes public message;
    uint256 public successes;
    bool private _inside;

    constructor() RLC(msg.sender) {}

    function setHook(address hook_, bytes calldata message_) external {
        (hook, message) = (hook_, message_);
    }

    function _update(address from, address to, uint256 value) internal override {
        _call();
        super._update(from, to, value);
        _call();
    }

    function _call() private {
        if (hook == address(0) || _inside) return;
        _inside = true;
        (bool success,) = hook.call(message);
        if (success) ++successes;
        _inside = false;
    }
}

/// @dev The account that the hook acts for.
contract Thief {
    function act(address target, bytes calldata message) external returns (bool success) {
        (success,) = target.call(message);
    }
}

/// @dev Says that it cannot pay instead of reverting.
contract FalseToken is RLC {
    bool public refuses;

    constructor() RLC(msg.sender) {}

    function setRefuses(bool refuses_) external {
        refuses = refuses_;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        return !refuses && super.transfer(to, value);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        return !refuses && super.transferFrom(from, to, value);
    }
}

/// @dev What people have tried on markets like this. Attacks on vouchers, signed offers and requests, batches, callbacks,
/// the court and the hub stand beside what they attack; these are the others.
contract AttacksTest is Fixture {
    /// @dev A result in the mempool is no use to anybody else: only the pool settles, and the verifier ties it to the
    /// worker and the order.
    function test_attack_frontRunningAResult() public {
        IMarket.Order memory order = openOrder();
        bytes memory result = proofFor(order, worker);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, stranger, pool));
        vm.prank(stranger);
        market.settle(order, stranger, result);
        IMarket.Settlement[] memory all = new IMarket.Settlement[](1);
        all[0] = IMarket.Settlement(order, stranger, result, "");
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotPool.selector, stranger, pool));
        vm.prank(stranger);
        market.settleMany(all);
    }

    /// @dev At the deadline only settlements count, after it only refunds: there is no race to win.
    function test_attack_refundingUnderASettlement() public {
        IMarket.Order memory order = openOrder();
        vm.warp(order.deadline);
        vm.expectRevert(abi.encodeWithSelector(IMarket.DeadlineNotPassed.selector, order.deadline));
        vm.prank(alice);
        market.refund(order);
        settle(order);
    }

    /// @dev The same order at another market, or on a fork of the chain, is another order.
    function test_attack_replayingAnOrderElsewhere() public {
        IMarket.Order memory order = openOrder();
        bytes32 id = market.orderIdOf(order);
        Market twin = new Market(address(token));
        assertTrue(twin.orderIdOf(order) != id, "another market");
        vm.chainId(4242);
        assertTrue(market.orderIdOf(order) != id, "another chain");
        bytes32 forked = market.orderIdOf(order);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotOpen.selector, forked, IMarket.Status.None));
        vm.prank(pool);
        market.decline(order, "");
    }

    /// @dev An order for next to nothing with the dearest callback cannot make a pool do anything: it leaves it alone, and
    /// whoever wants the coin back pays for that.
    function test_attack_dustOrdersBindNobody() public {
        IMarket.Offer memory cheap = terms();
        cheap.unitPrice = 0;
        offer = publish(cheap);
        for (uint256 i = 0; i < 5; ++i) {
            IMarket.Order memory order = openOrder(1, address(this), 500_000);
            vm.warp(order.deadline + 1);
            market.refund(order);
            assertStatus(order, IMarket.Status.Refunded);
        }
        assertEq(token.balanceOf(address(market)), market.accountOf(alice), "nothing is locked");
    }

    function test_attack_rounding_neverMakesMoney() public {
        IMarket.Offer memory odd = terms();
        (odd.unitPrice, odd.poolFeeBps, odd.providerFeeBps) = (1, 9999, 1);
        offer = publish(odd);
        deposit(alice, 1);
        vm.recordLogs();
        vm.prank(alice);
        market.request(offer, 1, 1, address(0), 0, "params");
        settle(requested());
        assertEq(market.accountOf(worker), 1, "the indivisible unit goes to the worker");
        assertEq(market.accountOf(pool) + market.accountOf(provider), 0, "fees");
    }

    /// @dev A token that calls back in the middle of every transfer finds the books finished.
    function test_attack_reenteringThroughTheToken() public {
        HookToken hooked = new HookToken();
        market = new Market(address(hooked));
        Thief thief = new Thief();
        hooked.transfer(address(thief), 1000);
        hooked.approve(address(market), 5000);
        market.deposit(5000);
        thief.act(address(hooked), abi.encodeCall(hooked.approve, (address(market), 1000)));

        bytes memory withdrawAll = abi.encodeCall(market.withdraw, (1000));
        hooked.setHook(address(thief), abi.encodeCall(thief.act, (address(market), withdrawAll)));
        thief.act(address(market), abi.encodeCall(market.deposit, (1000)));
        hooked.setHook(address(0), "");
        assertEq(market.accountOf(address(thief)) + hooked.balanceOf(address(thief)), 1000, "after deposit");

        thief.act(address(hooked), abi.encodeCall(hooked.approve, (address(market), 1000)));
        thief.act(address(market), abi.encodeCall(market.deposit, (hooked.balanceOf(address(thief)))));
        hooked.setHook(address(thief), abi.encodeCall(thief.act, (address(market), withdrawAll)));
        thief.act(address(market), withdrawAll);
        hooked.setHook(address(0), "");
        assertEq(market.accountOf(address(thief)) + hooked.balanceOf(address(thief)), 1000, "after withdrawal");
        assertEq(hooked.balanceOf(address(market)), 5000 + market.accountOf(address(thief)), "the others' money");
    }

    function test_attack_cashingTwiceThroughTheToken() public {
        HookToken hooked = new HookToken();
        market = new Market(address(hooked));
        hooked.transfer(pool, 5000);
        vm.startPrank(pool);
        hooked.approve(address(market), 5000);
        market.deposit(5000);
        market.lock(5000);
        vm.stopPrank();
        IVouchers.Voucher[] memory vouchers = new IVouchers.Voucher[](1);
        bytes memory signature = signAs("pool", market.voucherHash(pool, worker, 700));
        vouchers[0] = IVouchers.Voucher(pool, worker, 700, signature);
        hooked.setHook(address(market), abi.encodeCall(market.cash, (vouchers)));
        market.cash(vouchers);
        assertEq(hooked.successes(), 2, "the hook's calls went through");
        assertEq(hooked.balanceOf(worker), 700, "and paid nothing");
    }

    function test_attack_tokenThatSaysNoIsNotBelieved() public {
        FalseToken liar = new FalseToken();
        market = new Market(address(liar));
        liar.approve(address(market), 1000);
        liar.setRefuses(true);
        bytes memory why = abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(liar));
        vm.expectRevert(why);
        market.deposit(1000);
        liar.setRefuses(false);
        market.deposit(1000);
        liar.setRefuses(true);
        vm.expectRevert(why);
        market.withdraw(1000);
        assertEq(market.accountOf(address(this)), 1000, "account");
    }

    /// @dev Nobody but the token says that somebody has approved something, and nothing unknown is guessed at.
    function test_attack_forgedApproval() public {
        vm.prank(alice);
        token.approve(address(market), 1000);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotToken.selector, stranger));
        vm.prank(stranger);
        market.receiveApproval(alice, 1000, address(token), "");
    }

    function test_attack_maximalUnitsAndPrices() public {
        IMarket.Offer memory dear = terms();
        dear.unitPrice = type(uint96).max;
        offer = publish(dear);
        uint256 price = uint256(type(uint96).max) * type(uint64).max;
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(IMarket.PriceTooLarge.selector, price));
        market.request(offer, type(uint64).max, type(uint256).max, address(0), 0, "");
        vm.expectRevert(abi.encodeWithSelector(IMarket.PriceTooLarge.selector, price));
        market.requestBag(offer, type(uint64).max, type(uint256).max, address(0), 0, "");
        vm.expectRevert(abi.encodeWithSelector(ILedger.AccountTooLow.selector, alice, 0, type(uint96).max));
        market.request(offer, 1, type(uint256).max, address(0), 0, "");
        vm.stopPrank();
    }

    /// @dev Vouchers are cumulative: the largest number there is pays what is covered, and nothing twice.
    function test_attack_aVoucherOfTheLargestAmountPaysTheCoverOnce() public {
        token.transfer(pool, 5000);
        deposit(pool, 5000);
        vm.prank(pool);
        market.lock(700);
        IVouchers.Voucher[] memory vouchers = new IVouchers.Voucher[](2);
        bytes memory signature = signAs("pool", market.voucherHash(pool, worker, type(uint256).max));
        vouchers[0] = IVouchers.Voucher(pool, worker, type(uint256).max, signature);
        vouchers[1] = vouchers[0];
        market.cash(vouchers);
        market.cash(vouchers);
        assertEq(token.balanceOf(worker), 700, "the cover");
        assertEq(market.accountOf(pool), 4300, "and nothing else of the pool's");
    }

    /// @dev A pool that signs the same terms with the same salt twice has signed one offer with one volume.
    function test_attack_equalSaltsAreOneOfferWithOneVolume() public {
        IMarket.SignedOffer memory signed;
        (signed.terms, signed.units, signed.validUntil) = (terms(), 3, uint64(block.timestamp + 1));
        bytes32 hash = market.signedOfferHash(signed);
        (bytes memory one, bytes memory again) = (signAs("pool", hash), signAs("pool", hash));
        deposit(alice, 4 * UNIT_PRICE);
        vm.startPrank(alice);
        market.requestSigned(signed, one, 2, type(uint256).max, address(0), 0, "");
        vm.expectRevert(abi.encodeWithSelector(IMarket.OfferExhausted.selector, hash, 2, 3));
        market.requestSigned(signed, again, 2, type(uint256).max, address(0), 0, "");
        vm.stopPrank();
    }

    function test_attack_reenteringTheCourtThroughTheToken() public {
        HookToken hooked = new HookToken();
        Court court = new Court(ICourt.Rules(address(new Market(address(hooked))), 1, 1, 1, 1, 1000, 100, 10));
        reenters(hooked, court, abi.encodeCall(court.withdraw, (1000)));
    }

    function test_attack_reenteringTheHubThroughTheToken() public {
        HookToken hooked = new HookToken();
        PocoHub hub = newHub(hooked);
        hooked.approve(address(hub), 5000);
        hub.deposit(5000);
        Thief thief = new Thief();
        hooked.transfer(address(thief), 1000);
        thief.act(address(hooked), abi.encodeCall(hooked.approveAndCall, (address(hub), 1000, "")));
        bytes memory again = abi.encodeCall(hub.withdraw, (1000));
        hooked.setHook(address(thief), abi.encodeCall(thief.act, (address(hub), again)));
        thief.act(address(hub), again);
        assertEq(hooked.balanceOf(address(thief)), 1000, "its own, once");
        assertEq(hooked.balanceOf(address(hub)), 5000, "the others' money");
    }

    function newHub(RLC paid) private returns (PocoHub) {
        AppRegistry apps = new AppRegistry();
        return new PocoHub(address(paid), apps, new DatasetRegistry(), new WorkerpoolRegistry(), ICourt(address(0)));
    }

    /// @dev Somebody else's 5000 lie there, and the thief's 1000, which it withdraws while it withdraws them.
    function reenters(HookToken hooked, Ledger ledger, bytes memory again) private {
        hooked.approve(address(ledger), 5000);
        ledger.deposit(5000);
        Thief thief = new Thief();
        hooked.transfer(address(thief), 1000);
        thief.act(address(hooked), abi.encodeCall(hooked.approve, (address(ledger), 1000)));
        thief.act(address(ledger), abi.encodeCall(ledger.deposit, (1000)));
        hooked.setHook(address(thief), abi.encodeCall(thief.act, (address(ledger), again)));
        thief.act(address(ledger), again);
        assertEq(hooked.balanceOf(address(thief)), 1000, "its own, once");
        assertEq(hooked.balanceOf(address(ledger)), 5000, "the others' money");
    }
}
