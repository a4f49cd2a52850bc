// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../src/Market.sol";
import {RLC} from "../src/RLC.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {ITaskCallback} from "../src/interfaces/ITaskCallback.sol";
import {IVouchers} from "../src/interfaces/IVouchers.sol";
import {HookToken} from "./Attacks.t.sol";
import {Base, Vm} from "./Base.sol";
import {Fixture, ProofVerifier} from "./Fixture.sol";
import {Looper, Reverter} from "./MarketCallback.t.sol";
import {Asker} from "./TaskBase.t.sol";

/// @dev Comes back into the market whenever it is let in, be it as a callback or by a token's hook: it takes out all that it
/// has, or puts all in, and always tries to take more.
contract Churner is ITaskCallback {
    RLC private immutable TOKEN;
    Market private immutable MARKET;
    uint256 public theftsThatWorked;
    uint256 public churned;

    constructor(RLC token, Market market) {
        (TOKEN, MARKET) = (token, market);
        token.approve(address(market), type(uint256).max);
    }

    function receiveResult(bytes32, bytes calldata) external {
        churn();
    }

    function churn() public {
        uint256 account = MARKET.accountOf(address(this));
        try MARKET.withdraw(account + 1) {
            ++theftsThatWorked;
        } catch {}
        if (account > 0) MARKET.withdraw(account);
        else MARKET.deposit(TOKEN.balanceOf(address(this)));
        ++churned;
    }

    function leave() external {
        MARKET.withdraw(MARKET.accountOf(address(this)));
    }

    function fortune() external view returns (uint256) {
        return TOKEN.balanceOf(address(this)) + MARKET.accountOf(address(this));
    }
}

/// @dev Does random things that are allowed and keeps its own books of what they should come to; and tries things
/// that are not allowed, which must all be refused.
contract MarketHandler is Base {
    struct Known {
        IMarket.Order order;
        IMarket.Offer terms;
        IMarket.Status status;
        uint256 done;
        bool bag;
        bool kept;
        uint256 cancelUntil;
    }

    /// @dev Enough to come back into the market.
    uint32 private constant CALLBACK_GAS = 150_000;

    RLC private immutable TOKEN;
    Market private immutable MARKET;
    ProofVerifier private immutable VERIFIER;
    Asker private immutable ASKER;

    Churner public churner;
    address[] public people;
    string[] private _names;
    address[] private _callbacks;
    bytes32[] private _offers;
    Known[] private _known;

    /// @dev The books.
    mapping(address account => uint256) public owed;
    uint256 public locked;
    uint256 public coverSum;
    mapping(address pool => uint256) public lockOf;
    mapping(address pool => mapping(address worker => uint256)) public reserveOf;
    mapping(address pool => mapping(address worker => uint256)) public cashedOf;
    /// @dev The most that each pool has ever signed to each worker: it must never be paid more.
    mapping(address pool => mapping(address worker => uint256)) public signedOf;
    uint256 public theftsThatWorked;
    /// @dev How often each thing was done: a run that never settles proves nothing.
    uint256 public settled;
    uint256 public refunded;

    constructor(
        RLC token,
        Market market,
        ProofVerifier verifier,
        Asker asker,
        string[] memory names,
        bytes32[] memory offers
    ) {
        TOKEN = token;
        MARKET = market;
        VERIFIER = verifier;
        ASKER = asker;
        _names = names;
        for (uint256 i = 0; i < names.length; ++i) {
            people.push(actor(names[i]));
        }
        _offers = offers;
        churner = new Churner(token, market);
        _callbacks = [address(0), address(new Reverter(300)), address(new Looper()), people[0], address(churner)];
    }

    function deposit(uint256 who, uint256 amount, bool inOneCall) external {
        address account = person(who);
        amount = bound(amount, 0, TOKEN.balanceOf(account));
        vm.startPrank(account);
        if (inOneCall) {
            TOKEN.approveAndCall(address(MARKET), amount, "");
        } else {
            TOKEN.approve(address(MARKET), amount);
            MARKET.deposit(amount);
        }
        vm.stopPrank();
        owed[account] += amount;
    }

    function withdraw(uint256 who, uint256 to, uint256 amount) external {
        address account = person(who);
        amount = bound(amount, 0, owed[account]);
        vm.prank(account);
        MARKET.withdrawTo(person(to), amount);
        owed[account] -= amount;
    }

    function requestFromAccount(uint256 who, uint256 other, uint256 offer, uint64 units, uint256 callback) external {
        address account = person(who);
        (bytes32 id, uint96 unitPrice) = activeOffer(offer);
        units = uint64(bound(units, 0, unitPrice == 0 ? 100 : owed[account] / unitPrice));
        if (id == 0 || units == 0) return;
        vm.recordLogs();
        vm.prank(account);
        MARKET.requestFor(person(other), id, units, type(uint256).max, callbackAt(callback), CALLBACK_GAS, "params");
        owed[account] -= uint256(units) * unitPrice;
        remember();
    }

    function requestFromWallet(uint256 who, uint256 other, uint256 offer, uint64 units, bool inOneCall) external {
        address account = person(who);
        (bytes32 id, uint96 unitPrice) = activeOffer(offer);
        units = uint64(bound(units, 0, unitPrice == 0 ? 100 : TOKEN.balanceOf(account) / unitPrice));
        if (id == 0 || units == 0) return;
        uint256 price = uint256(units) * unitPrice;
        vm.recordLogs();
        vm.startPrank(account);
        if (inOneCall) {
            bytes memory data = abi.encode(id, units, price, address(0), uint32(0), bytes("params"));
            TOKEN.approveAndCall(address(MARKET), price, data);
        } else {
            TOKEN.approve(address(MARKET), price);
            MARKET.requestFromWallet(person(other), id, units, price, address(0), 0, "params");
        }
        vm.stopPrank();
        remember();
    }

    function requestThroughContract(uint256 who, uint256 other, uint64 units) external {
        address account = person(who);
        (, bool active) = MARKET.offerOf(ASKER.OFFER());
        units = uint64(bound(units, 0, TOKEN.balanceOf(account) / ASKER.UNIT_PRICE()));
        if (!active || units == 0) return;
        vm.recordLogs();
        vm.startPrank(account);
        TOKEN.approve(address(ASKER), type(uint256).max);
        ASKER.ask(person(other), units, "params");
        vm.stopPrank();
        remember();
    }

    function settle(uint256 which, uint256 who) external {
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        if (!isOpen(known) || isLate(known) || known.bag) return;
        address worker = person(who);
        bytes32 id = MARKET.orderIdOf(known.order);
        bytes memory result = VERIFIER.proof(id, worker, known.order.params);
        bytes memory proof = VERIFIER.proofOf(id, worker, known.order.params, result);
        vm.prank(known.terms.pool);
        if (who % 3 == 0) {
            MARKET.settle(known.order, worker, result);
        } else if (who % 3 == 1) {
            MARKET.settleWithProof(known.order, worker, result, proof);
        } else {
            IMarket.Settlement[] memory all = new IMarket.Settlement[](2);
            (all[0].order, all[0].worker, all[0].result) = (known.order, worker, result);
            all[1] = all[0];
            MARKET.settleMany(all);
        }
        bookPay(known, known.order.price, worker);
        known.status = IMarket.Status.Settled;
        ++settled;
    }

    function requestBag(uint256 who, uint256 offer, uint64 tasks, uint256 callback) external {
        address account = person(who);
        (bytes32 id, uint96 unitPrice) = activeOffer(offer);
        tasks = uint64(bound(tasks, 0, unitPrice == 0 ? 100 : min(owed[account] / unitPrice, 1000)));
        if (id == 0 || tasks == 0) return;
        vm.recordLogs();
        vm.prank(account);
        MARKET.requestBag(id, tasks, type(uint256).max, callbackAt(callback), CALLBACK_GAS, "params");
        owed[account] -= uint256(tasks) * unitPrice;
        remember();
    }

    function relay(uint256 who, uint256 by, uint256 offer, uint64 units, bool bag, uint96 tip) external {
        address account = person(who);
        (bytes32 id, uint96 unitPrice) = activeOffer(offer);
        units = uint64(bound(units, 0, unitPrice == 0 ? 100 : min(owed[account] / unitPrice, 1000)));
        if (id == 0 || units == 0) return;
        IMarket.SignedRequest memory signed;
        (signed.requester, signed.offer, signed.units, signed.bag) = (account, id, units, bag);
        signed.tip = uint96(bound(tip, 0, owed[account] - uint256(units) * unitPrice));
        (signed.priceMax, signed.validUntil) = (type(uint96).max, type(uint64).max);
        (signed.params, signed.salt) = ("params", keccak256(abi.encode(_known.length)));
        bytes memory signature = signAs(nameOf(who), MARKET.signedRequestHash(signed));
        vm.recordLogs();
        vm.prank(person(by));
        MARKET.relay(signed, signature);
        owed[account] -= uint256(units) * unitPrice + signed.tip;
        owed[person(by)] += signed.tip;
        remember();
        attempt(person(by), abi.encodeCall(MARKET.relay, (signed, signature)));
    }

    function settleBatch(uint256 which, uint256 who, uint256 count, uint256 failed) external {
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        if (!isOpen(known) || isLate(known) || !known.bag) return;
        address worker = person(who);
        count = bound(count, 1, known.order.units - known.done);
        failed = bound(failed, 0, count);
        bytes memory result = abi.encode(known.done, count, failed, bytes32("root"));
        bytes32 id = MARKET.taskIdOf(MARKET.orderIdOf(known.order), known.done);
        bytes memory proof = VERIFIER.proofOf(id, worker, known.order.params, result);
        vm.prank(known.terms.pool);
        MARKET.settleBatch(known.order, worker, count, failed, "root", proof);
        bookFailed(known, failed);
        bookPay(known, (count - failed) * known.terms.unitPrice, worker);
        bookDone(known, count);
    }

    function settleTasks(uint256 which, uint256 who, uint256 count) external {
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        if (!isOpen(known) || isLate(known) || !known.bag) return;
        count = bound(count, 1, min(known.order.units - known.done, 4));
        IMarket.TaskResult[] memory results = new IMarket.TaskResult[](count);
        bytes32 bag = MARKET.orderIdOf(known.order);
        for (uint256 i = 0; i < count; ++i) {
            if ((who >> 8 >> i) % 4 == 0) continue;
            address worker = person(who % 6 + i);
            results[i].worker = worker;
            results[i].result = VERIFIER.proof(MARKET.taskIdOf(bag, known.done + i), worker, known.order.params);
        }
        vm.prank(known.terms.pool);
        MARKET.settleTasks(known.order, results);
        for (uint256 i = 0; i < count; ++i) {
            if (results[i].worker == address(0)) bookFailed(known, 1);
            else bookPay(known, known.terms.unitPrice, results[i].worker);
        }
        bookDone(known, count);
    }

    function cancel(uint256 which) external {
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        if (known.status != IMarket.Status.Open || known.kept || known.done > 0) return;
        vm.prank(known.order.requester);
        MARKET.cancel(known.order);
        known.status = IMarket.Status.Cancelling;
        known.cancelUntil = block.timestamp + 1 hours;
    }

    function keep(uint256 which) external {
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        if (known.status != IMarket.Status.Cancelling || block.timestamp > known.cancelUntil) return;
        vm.prank(known.terms.pool);
        MARKET.keep(known.order);
        (known.status, known.kept) = (IMarket.Status.Open, true);
    }

    function lock(uint256 who, uint256 amount) external {
        address pool = person(who);
        amount = bound(amount, 0, owed[pool]);
        vm.prank(pool);
        MARKET.lock(amount);
        owed[pool] -= amount;
        lockOf[pool] += amount;
        coverSum += amount;
    }

    function reserve(uint256 who, uint256 to, uint256 amount) external {
        address pool = person(who);
        amount = bound(amount, 0, owed[pool]);
        vm.prank(pool);
        MARKET.reserve(person(to), amount);
        owed[pool] -= amount;
        reserveOf[pool][person(to)] += amount;
        coverSum += amount;
    }

    /// @dev Announces, or takes what was announced: whichever is possible.
    function takeCoverBack(uint256 who, uint256 to, uint256 amount) external {
        (address pool, address worker) = (person(who), person(to));
        IVouchers.Cover memory cover = MARKET.coverOf(pool, worker);
        vm.startPrank(pool);
        if (cover.lockedUntil == 0) {
            MARKET.startUnlock(bound(amount, 0, 2 * lockOf[pool]));
        } else if (block.timestamp > cover.lockedUntil) {
            MARKET.finishUnlock();
            uint256 left = min(cover.leaving, lockOf[pool]);
            lockOf[pool] -= left;
            owed[pool] += left;
            coverSum -= left;
        }
        if (cover.reservedUntil == 0 && cover.reserved > 0) {
            MARKET.startRelease(worker);
        } else if (cover.reservedUntil != 0 && block.timestamp > cover.reservedUntil) {
            MARKET.finishRelease(worker);
            owed[pool] += reserveOf[pool][worker];
            coverSum -= reserveOf[pool][worker];
            reserveOf[pool][worker] = 0;
        }
        vm.stopPrank();
    }

    function cash(uint256 who, uint256 to, uint256 more) external {
        (address pool, address worker) = (person(who), person(to));
        uint256 cumulative = signedOf[pool][worker] + bound(more, 0, 1_000_000);
        signedOf[pool][worker] = cumulative;
        IVouchers.Voucher[] memory vouchers = new IVouchers.Voucher[](2);
        bytes memory signature = signAs(nameOf(who), MARKET.voucherHash(pool, worker, cumulative));
        vouchers[0] = IVouchers.Voucher(pool, worker, cumulative, signature);
        vouchers[1] = vouchers[0];
        MARKET.cash(vouchers);
        uint256 due = cumulative - cashedOf[pool][worker];
        uint256 fromReserve = min(due, reserveOf[pool][worker]);
        uint256 fromLock = min(due - fromReserve, lockOf[pool]);
        reserveOf[pool][worker] -= fromReserve;
        lockOf[pool] -= fromLock;
        cashedOf[pool][worker] += fromReserve + fromLock;
        coverSum -= fromReserve + fromLock;

        vouchers[0].cumulative += 1;
        attempt(worker, abi.encodeCall(MARKET.cash, (vouchers)));
    }

    function passDays(uint256 time) external {
        if (time % 4 != 0) return;
        vm.warp(block.timestamp + bound(time, 1, 15 days));
    }

    function decline(uint256 which) external {
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        if (!isOpen(known)) return;
        vm.prank(known.terms.pool);
        MARKET.decline(known.order, "reason");
        bookRefund(known);
    }

    function refund(uint256 which, uint256 who) public {
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        if (!isOpen(known) || !isLate(known)) return;
        vm.prank(person(who));
        MARKET.refund(known.order);
        bookRefund(known);
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + bound(time, 1, 20 minutes));
    }

    function toggleOffer(uint256 which) external {
        bytes32 id = _offers[which % _offers.length];
        (IMarket.Offer memory terms, bool active) = MARKET.offerOf(id);
        vm.prank(terms.pool);
        if (active) MARKET.withdrawOffer(id);
        else MARKET.publishOffer(terms);
    }

    /// @dev Everything by which somebody could get at money that is not theirs.
    function steal(uint256 which, uint256 who) external {
        address thief = person(who);
        attempt(thief, abi.encodeCall(MARKET.withdraw, (owed[thief] + 1)));
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        IMarket.Order memory order = known.order;
        bytes32 id = MARKET.orderIdOf(order);
        bytes memory result = VERIFIER.proof(id, thief, order.params);
        (bool open, bool late) = (isOpen(known), isLate(known));

        if (thief != known.terms.pool || !open) {
            attempt(thief, abi.encodeCall(MARKET.settle, (order, thief, result)));
            attempt(thief, abi.encodeCall(MARKET.decline, (order, "")));
        }
        if (!open || late) attempt(known.terms.pool, abi.encodeCall(MARKET.settle, (order, thief, result)));
        if (!open || !late) attempt(thief, abi.encodeCall(MARKET.refund, (order)));
        if (!open) attempt(known.terms.pool, abi.encodeCall(MARKET.decline, (order, "")));
        attempt(known.terms.pool, abi.encodeCall(MARKET.settle, (order, known.terms.pool, "garbage")));
        attempt(known.terms.pool, abi.encodeCall(MARKET.settleBatch, (order, thief, 1, 1, "root", "garbage")));
        if (thief != order.requester) attempt(thief, abi.encodeCall(MARKET.cancel, (order)));

        order.price += 1;
        result = VERIFIER.proof(MARKET.orderIdOf(order), thief, order.params);
        attempt(known.terms.pool, abi.encodeCall(MARKET.settle, (order, thief, result)));
        attempt(known.terms.pool, abi.encodeCall(MARKET.decline, (order, "")));
    }

    function knownCount() external view returns (uint256) {
        return _known.length;
    }

    function peopleCount() external view returns (uint256) {
        return people.length;
    }

    function isAsBooked(uint256 which) external view returns (bool) {
        Known storage known = _known[which];
        return MARKET.statusOf(MARKET.orderIdOf(known.order)) == known.status;
    }

    function attempt(address caller, bytes memory message) private {
        vm.prank(caller);
        (bool success,) = address(MARKET).call(message);
        if (success) ++theftsThatWorked;
    }

    function remember() private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            bool bag = logs[i].topics[0] == IMarket.BagRequested.selector;
            if (!bag && logs[i].topics[0] != IMarket.Requested.selector) continue;
            IMarket.Order memory order = abi.decode(logs[i].data, (IMarket.Order));
            (IMarket.Offer memory terms,) = MARKET.offerOf(order.offer);
            _known.push(Known(order, terms, IMarket.Status.Open, 0, bag, false, 0));
            locked += order.price;
            return;
        }
        revert Untrue("Requested was emitted");
    }

    function bookRefund(Known storage known) private {
        uint256 left = known.order.price - known.done * known.terms.unitPrice;
        owed[known.order.requester] += left;
        locked -= left;
        known.status = IMarket.Status.Refunded;
        ++refunded;
    }

    function bookPay(Known storage known, uint256 price, address worker) private {
        uint256 poolPaid = price * known.terms.poolFeeBps / 10_000;
        uint256 providerPaid = price * known.terms.providerFeeBps / 10_000;
        owed[known.terms.pool] += poolPaid;
        owed[known.terms.provider] += providerPaid;
        owed[worker] += price - poolPaid - providerPaid;
        locked -= price;
    }

    function bookFailed(Known storage known, uint256 failed) private {
        owed[known.order.requester] += failed * known.terms.unitPrice;
        locked -= failed * known.terms.unitPrice;
    }

    function bookDone(Known storage known, uint256 count) private {
        known.done += count;
        known.status = known.done == known.order.units ? IMarket.Status.Settled : IMarket.Status.Open;
        ++settled;
    }

    function isOpen(Known storage known) private view returns (bool) {
        return known.status == IMarket.Status.Open || known.status == IMarket.Status.Cancelling;
    }

    function isLate(Known storage known) private view returns (bool) {
        if (block.timestamp > known.order.deadline) return true;
        return known.status == IMarket.Status.Cancelling && block.timestamp > known.cancelUntil;
    }

    function nameOf(uint256 who) private view returns (string memory) {
        return _names[who % _names.length];
    }

    function min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }

    function activeOffer(uint256 which) private view returns (bytes32 id, uint96 unitPrice) {
        id = _offers[which % _offers.length];
        (IMarket.Offer memory terms, bool active) = MARKET.offerOf(id);
        return active ? (id, terms.unitPrice) : (bytes32(0), 0);
    }

    function callbackAt(uint256 which) private view returns (address) {
        return _callbacks[which % _callbacks.length];
    }

    function person(uint256 who) private view returns (address) {
        return people[who % people.length];
    }
}

contract MarketInvariantTest is Fixture {
    uint256 private constant CHURNED = 1000;

    MarketHandler private handler;
    Churner internal churner;

    function setUp() public virtual override {
        super.setUp();
        IMarket.Offer memory other = terms();
        other.provider = pool;
        other.poolFeeBps = 10_000;
        other.providerFeeBps = 0;
        other.unitPrice = 1_000_003;
        other.duration = 10 minutes;
        IMarket.Offer memory free = terms();
        free.unitPrice = 0;
        bytes32[] memory offers = new bytes32[](3);
        (offers[0], offers[1], offers[2]) = (offer, publish(other), publish(free));

        Asker asker = new Asker(market, offer);
        string[] memory names = new string[](6);
        (names[0], names[1], names[2]) = ("alice", "bob", "worker");
        (names[3], names[4], names[5]) = ("pool", "provider", "stranger");
        handler = new MarketHandler(token, market, verifier, asker, names, offers);
        churner = handler.churner();
        token.transfer(address(churner), CHURNED);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev One invariant, since each would have a campaign of its own: every token is in one account, one open order
    /// or the cover of one pool's vouchers, and nothing was stolen. What takes longer to compare waits for the end.
    function invariant_booksAreRight() public view {
        uint256 owed = 0;
        for (uint256 i = 0; i < handler.peopleCount(); ++i) {
            address account = handler.people(i);
            assertEq(market.accountOf(account), handler.owed(account), "account as booked");
            owed += handler.owed(account);
        }
        assertEq(
            token.balanceOf(address(market)),
            owed + handler.locked() + handler.coverSum() + market.accountOf(address(churner)),
            "accounts, open orders and covers are all there is"
        );
        assertEq(handler.theftsThatWorked() + churner.theftsThatWorked(), 0, "thefts");
        assertEq(churner.fortune(), CHURNED, "coming back pays nothing");
    }

    /// @dev Before everybody takes out what is theirs.
    function settleDown() internal virtual {
        churner.leave();
    }

    function coversAreAsBooked(address by) private view {
        for (uint256 i = 0; i < handler.peopleCount(); ++i) {
            address to = handler.people(i);
            IVouchers.Cover memory cover = market.coverOf(by, to);
            assertEq(cover.locked, handler.lockOf(by), "lock as booked");
            assertEq(cover.reserved, handler.reserveOf(by, to), "reserve as booked");
            assertEq(cover.cashed, handler.cashedOf(by, to), "cashed as booked");
            assertTrue(cover.cashed <= handler.signedOf(by, to), "never paid more than was signed");
        }
    }

    /// @dev Wherever a run has ended: when all deadlines are over, everybody can take everything out.
    function afterInvariant() public {
        settleDown();
        for (uint256 i = 0; i < handler.knownCount(); ++i) {
            assertTrue(handler.isAsBooked(i), "status as booked");
        }
        for (uint256 i = 0; i < handler.peopleCount(); ++i) {
            coversAreAsBooked(handler.people(i));
        }
        vm.warp(block.timestamp + 1 hours + 1);
        for (uint256 i = 0; i < handler.knownCount(); ++i) {
            handler.refund(i, i);
        }
        assertEq(handler.locked(), 0, "nothing is locked");
        for (uint256 i = 0; i < handler.peopleCount(); ++i) {
            address by = handler.people(i);
            vm.startPrank(by);
            market.startUnlock(type(uint96).max);
            for (uint256 j = 0; j < handler.peopleCount(); ++j) {
                if (handler.reserveOf(by, handler.people(j)) > 0) market.startRelease(handler.people(j));
            }
            vm.warp(block.timestamp + 21 days + 1);
            market.finishUnlock();
            for (uint256 j = 0; j < handler.peopleCount(); ++j) {
                if (handler.reserveOf(by, handler.people(j)) > 0) market.finishRelease(handler.people(j));
            }
            market.withdraw(market.accountOf(by));
            vm.stopPrank();
        }
        assertEq(token.balanceOf(address(market)), 0, "nothing is left");
    }

    /// @dev The fuzzer's random walk must get somewhere: one of each on a straight path.
    function test_handler_reachesEveryEnd() public {
        handler.deposit(0, 1_000_000, true);
        handler.requestFromAccount(0, 1, 0, 50, 1);
        handler.requestFromWallet(1, 0, 1, 2, true);
        handler.requestFromWallet(1, 0, 2, 2, false);
        handler.requestThroughContract(0, 1, 3);
        assertEq(handler.knownCount(), 4, "orders");
        handler.settle(0, 2);
        handler.steal(0, 2);
        handler.decline(1);
        handler.pass(20 minutes - 1);
        handler.settle(3, 5);
        for (uint256 i = 0; i < 4; ++i) {
            handler.pass(20 minutes - 1);
        }
        handler.refund(2, 0);
        handler.steal(2, 2);
        assertEq(handler.settled(), 2, "settled");
        assertEq(handler.refunded(), 2, "refunded");
        assertEq(handler.theftsThatWorked(), 0, "thefts");
        invariant_booksAreRight();
        afterInvariant();
    }

    function test_handler_reachesBagsAndVouchers() public {
        handler.deposit(0, 1_000_000, true);
        handler.requestBag(0, 0, 50, 2);
        handler.relay(0, 5, 0, 20, true, 7);
        handler.relay(0, 5, 0, 20, false, 7);
        handler.settleTasks(0, 2 | 0xfe00, 4);
        handler.settleBatch(0, 3, 46, 6);
        handler.cancel(1);
        handler.keep(1);
        handler.settleBatch(1, 3, 20, 0);
        handler.cancel(2);
        handler.steal(2, 5);
        handler.pass(20 minutes - 1);
        handler.settle(2, 3);
        assertEq(handler.settled(), 4, "settlements");
        assertEq(handler.owed(stranger), 14, "tips");
        handler.lock(3, 100);
        handler.reserve(3, 2, 50);
        handler.cash(3, 2, 60);
        assertEq(handler.cashedOf(pool, worker), 60, "cashed");
        handler.takeCoverBack(3, 2, 40);
        handler.reserve(3, 2, 10);
        handler.takeCoverBack(3, 2, 40);
        handler.passDays(15 days - 4);
        handler.passDays(15 days - 4);
        handler.takeCoverBack(3, 2, 0);
        assertEq(handler.coverSum(), 50, "what was not announced");
        assertEq(handler.theftsThatWorked(), 0, "thefts");
        invariant_booksAreRight();
        afterInvariant();
    }
}

/// @dev The same with a token that lets somebody come back into the market before and after each movement.
contract MarketHostileTokenInvariantTest is MarketInvariantTest {
    function setUp() public override {
        super.setUp();
        HookToken(address(token)).setHook(address(churner), abi.encodeCall(churner.churn, ()));
    }

    function newToken() internal override returns (RLC) {
        return new HookToken();
    }

    function settleDown() internal override {
        assertTrue(churner.churned() > 0, "the token has let it in");
        HookToken(address(token)).setHook(address(0), "");
        super.settleDown();
    }
}
