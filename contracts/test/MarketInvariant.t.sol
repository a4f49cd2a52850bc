// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../src/Market.sol";
import {RLC} from "../src/RLC.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Base, Vm} from "./Base.sol";
import {Fixture, HashVerifier} from "./Fixture.sol";
import {Looper, Reverter} from "./MarketCallback.t.sol";
import {Asker} from "./TaskBase.t.sol";

/// @dev Does random things that are allowed and keeps its own books of what they should come to; and tries things
/// that are not allowed, which must all be refused.
contract MarketHandler is Base {
    struct Known {
        IMarket.Order order;
        IMarket.Offer terms;
        IMarket.Status status;
    }

    RLC private immutable TOKEN;
    Market private immutable MARKET;
    HashVerifier private immutable VERIFIER;
    Asker private immutable ASKER;

    address[] public people;
    address[] private _callbacks;
    bytes32[] private _offers;
    Known[] private _known;

    /// @dev The books.
    mapping(address account => uint256) public owed;
    uint256 public locked;
    uint256 public theftsThatWorked;
    /// @dev How often each thing was done: a run that never settles proves nothing.
    uint256 public settled;
    uint256 public refunded;

    constructor(
        RLC token,
        Market market,
        HashVerifier verifier,
        Asker asker,
        address[] memory people_,
        bytes32[] memory offers
    ) {
        TOKEN = token;
        MARKET = market;
        VERIFIER = verifier;
        ASKER = asker;
        people = people_;
        _offers = offers;
        _callbacks = [address(0), address(new Reverter(300)), address(new Looper()), people_[0]];
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
        MARKET.requestFor(person(other), id, units, type(uint256).max, callbackAt(callback), 10_000, "params");
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
        if (known.status != IMarket.Status.Open || block.timestamp > known.order.deadline) return;
        address worker = person(who);
        bytes memory result = VERIFIER.proof(MARKET.orderIdOf(known.order), worker, known.order.params);
        vm.prank(known.terms.pool);
        MARKET.settle(known.order, worker, result);

        uint256 price = known.order.price;
        uint256 poolPaid = price * known.terms.poolFeeBps / 10_000;
        uint256 providerPaid = price * known.terms.providerFeeBps / 10_000;
        owed[known.terms.pool] += poolPaid;
        owed[known.terms.provider] += providerPaid;
        owed[worker] += price - poolPaid - providerPaid;
        locked -= price;
        known.status = IMarket.Status.Settled;
        ++settled;
    }

    function decline(uint256 which) external {
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        if (known.status != IMarket.Status.Open) return;
        vm.prank(known.terms.pool);
        MARKET.decline(known.order, "reason");
        bookRefund(known);
    }

    function refund(uint256 which, uint256 who) public {
        if (_known.length == 0) return;
        Known storage known = _known[which % _known.length];
        if (known.status != IMarket.Status.Open || block.timestamp <= known.order.deadline) return;
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
        bool isOpen = known.status == IMarket.Status.Open;
        bool isLate = block.timestamp > order.deadline;

        if (thief != known.terms.pool || !isOpen) {
            attempt(thief, abi.encodeCall(MARKET.settle, (order, thief, result)));
            attempt(thief, abi.encodeCall(MARKET.decline, (order, "")));
        }
        if (!isOpen || isLate) attempt(known.terms.pool, abi.encodeCall(MARKET.settle, (order, thief, result)));
        if (!isOpen || !isLate) attempt(thief, abi.encodeCall(MARKET.refund, (order)));
        if (!isOpen) attempt(known.terms.pool, abi.encodeCall(MARKET.decline, (order, "")));
        attempt(known.terms.pool, abi.encodeCall(MARKET.settle, (order, known.terms.pool, "garbage")));

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
            if (logs[i].topics[0] != IMarket.Requested.selector) continue;
            IMarket.Order memory order = abi.decode(logs[i].data, (IMarket.Order));
            (IMarket.Offer memory terms,) = MARKET.offerOf(order.offer);
            _known.push(Known(order, terms, IMarket.Status.Open));
            locked += order.price;
            return;
        }
        revert Untrue("Requested was emitted");
    }

    function bookRefund(Known storage known) private {
        owed[known.order.requester] += known.order.price;
        locked -= known.order.price;
        known.status = IMarket.Status.Refunded;
        ++refunded;
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
    MarketHandler private handler;

    function setUp() public override {
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
        address[] memory people = new address[](6);
        (people[0], people[1], people[2], people[3], people[4], people[5]) =
        (alice, bob, worker, pool, provider, stranger);
        handler = new MarketHandler(token, market, verifier, asker, people, offers);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_moneyIsConserved() public view {
        uint256 owed = 0;
        for (uint256 i = 0; i < handler.peopleCount(); ++i) {
            address account = handler.people(i);
            assertEq(market.accountOf(account), handler.owed(account), "account as booked");
            owed += handler.owed(account);
        }
        assertEq(token.balanceOf(address(market)), owed + handler.locked(), "accounts and open orders are all there is");
    }

    function invariant_statusesAreAsBooked() public view {
        for (uint256 i = 0; i < handler.knownCount(); ++i) {
            assertTrue(handler.isAsBooked(i), "status as booked");
        }
    }

    function invariant_nothingIsStolen() public view {
        assertEq(handler.theftsThatWorked(), 0, "thefts");
    }

    /// @dev Wherever a run has ended: when all deadlines are over, everybody can take everything out.
    function afterInvariant() public {
        vm.warp(block.timestamp + 1 hours + 1);
        for (uint256 i = 0; i < handler.knownCount(); ++i) {
            handler.refund(i, i);
        }
        assertEq(handler.locked(), 0, "nothing is locked");
        for (uint256 i = 0; i < handler.peopleCount(); ++i) {
            address account = handler.people(i);
            uint256 owed = handler.owed(account);
            vm.prank(account);
            market.withdraw(owed);
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
        invariant_moneyIsConserved();
        invariant_statusesAreAsBooked();
        afterInvariant();
    }
}
