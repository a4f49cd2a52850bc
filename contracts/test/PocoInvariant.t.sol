// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IPocoHub} from "../src/poco/IPocoHub.sol";
import {Looper, Reverter} from "./MarketCallback.t.sol";
import {PocoFixture} from "./PocoFixture.sol";

/// @dev A fixture of its own, which does random things that are allowed, keeps books of what they should come to, and
/// tries things that are not.
contract PocoHandler is PocoFixture {
    struct KnownTask {
        bytes32 dealid;
        uint256 idx;
        uint256 price;
        uint256 deadline;
        address sponsor;
        uint256[3] prices;
        IPocoHub.TaskStatus status;
    }

    uint256 private constant TASKS_MAX = 400;

    address[] public people;
    mapping(address account => uint256) public staked;
    mapping(address account => uint256) public locked;
    uint256 public theftsThatWorked;
    uint256 public settled;
    uint256 public refunded;
    KnownTask[] private _known;
    address[] private _callbacks;

    constructor() {
        setUp();
        people = [alice, bob, dev, scientist, pool, stranger];
        staked[alice] = WALLET;
        _callbacks = [address(0), address(new Reverter(300)), address(new Looper()), alice];
    }

    function put(uint256 who, uint256 amount) external {
        amount = bound(amount, 0, 100_000);
        deposit(person(who), amount);
        staked[person(who)] += amount;
    }

    function take(uint256 who, uint256 to, uint256 amount) external {
        address account = person(who);
        amount = bound(amount, 0, staked[account]);
        vm.prank(account);
        hub.withdrawTo(amount, person(to));
        staked[account] -= amount;
    }

    function move(uint256 who, uint256 to, uint256 amount, bool allowed) external {
        (address from, address target) = (person(who), person(to));
        amount = bound(amount, 0, staked[from]);
        vm.prank(from);
        if (allowed) {
            hub.approve(target, amount);
            vm.prank(target);
            hub.transferFrom(from, target, amount);
        } else {
            hub.transfer(target, amount);
        }
        staked[from] -= amount;
        staked[target] += amount;
    }

    function match_(uint256 volume, uint256 prices, uint256 payer, uint256 callback, bytes32 salt) external {
        if (_known.length > TASKS_MAX) return;
        uint256[3] memory price = [prices % 50, (prices >> 8) % 50, (prices >> 16) % 50];
        uint256 sum = price[0] + price[1] + price[2];
        address sponsor = payer % 3 == 0 ? person(payer / 3) : alice;
        volume = bound(volume, 0, sum == 0 ? 8 : staked[sponsor] / sum);
        if (volume > 8) volume = 8;
        if (volume == 0) return;
        IPocoHub.AppOrder memory a = appOrder();
        IPocoHub.DatasetOrder memory d = datasetOrder();
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        IPocoHub.RequestOrder memory r = requestOrder(volume);
        (a.appprice, d.datasetprice, w.workerpoolprice) = (price[0], price[1], price[2]);
        (r.appmaxprice, r.datasetmaxprice, r.workerpoolmaxprice) = (50, 50, 50);
        (r.salt, r.callback) = (keccak256(abi.encode(salt, _known.length)), _callbacks[callback % 4]);
        (a.salt, d.salt, w.salt) = (r.salt, r.salt, r.salt);
        (a, d, w, r) = (signed(a), signed(d), signed(w), signed(r));
        vm.prank(sponsor);
        bytes32 dealid = payer % 3 == 0 ? hub.sponsorMatchOrders(a, d, w, r) : hub.matchOrders(a, d, w, r);
        staked[sponsor] -= volume * sum;
        locked[sponsor] += volume * sum;
        for (uint256 i = 0; i < volume; ++i) {
            _known.push(KnownTask(dealid, i, sum, block.timestamp + 3000, sponsor, price, IPocoHub.TaskStatus.UNSET));
        }
        attempt(stranger, abi.encodeCall(hub.matchOrders, (a, d, w, r)));
    }

    function begin(uint256 which) external {
        if (_known.length == 0) return;
        KnownTask storage known = _known[which % _known.length];
        if (known.status != IPocoHub.TaskStatus.UNSET) return;
        hub.initialize(known.dealid, known.idx);
        known.status = IPocoHub.TaskStatus.ACTIVE;
    }

    function settleOne(uint256 which) external {
        if (_known.length == 0) return;
        KnownTask storage known = _known[which % _known.length];
        if (known.status > IPocoHub.TaskStatus.ACTIVE || block.timestamp >= known.deadline) return;
        settle(known.dealid, known.idx);
        staked[dev] += known.prices[0];
        staked[scientist] += known.prices[1];
        staked[pool] += known.prices[2];
        locked[known.sponsor] -= known.price;
        known.status = IPocoHub.TaskStatus.COMPLETED;
        ++settled;
    }

    function decline(uint256 which) external {
        if (_known.length == 0) return;
        KnownTask storage known = _known[which % _known.length];
        if (known.status > IPocoHub.TaskStatus.ACTIVE) return;
        uint256[] memory indexes = new uint256[](1);
        indexes[0] = known.idx;
        vm.prank(pool);
        hub.declineTasks(known.dealid, indexes);
        bookRefund(known);
    }

    function claim(uint256 which) public {
        if (_known.length == 0) return;
        KnownTask storage known = _known[which % _known.length];
        if (known.status > IPocoHub.TaskStatus.ACTIVE || block.timestamp < known.deadline) return;
        if (known.status == IPocoHub.TaskStatus.UNSET) hub.initialize(known.dealid, known.idx);
        vm.prank(stranger);
        hub.claim(taskOf(known.dealid, known.idx));
        bookRefund(known);
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + bound(time, 1, 20 minutes));
    }

    function steal(uint256 which, uint256 who) external {
        address thief = person(who);
        attempt(thief, abi.encodeCall(hub.withdraw, (staked[thief] + 1)));
        attempt(thief, abi.encodeCall(hub.transfer, (bob, staked[thief] + 1)));
        if (thief != pool) attempt(thief, abi.encodeCall(hub.transferFrom, (pool, thief, staked[pool] + 1)));
        if (_known.length == 0) return;
        KnownTask storage known = _known[which % _known.length];
        bytes32 taskid = taskOf(known.dealid, known.idx);
        if (thief != pool) attempt(thief, abi.encodeCall(hub.settleTasks, (known.dealid, reports(known.idx, ""))));
        if (block.timestamp >= known.deadline) {
            attempt(pool, abi.encodeCall(hub.settleTasks, (known.dealid, reports(known.idx, ""))));
        }
        if (known.status > IPocoHub.TaskStatus.ACTIVE || block.timestamp < known.deadline) {
            attempt(thief, abi.encodeCall(hub.claim, (taskid)));
        }
        attempt(pool, abi.encodeCall(hub.settleTasks, (known.dealid, reports(8, ""))));
    }

    function knownCount() external view returns (uint256) {
        return _known.length;
    }

    function checkAll() external view {
        for (uint256 i = 0; i < _known.length; ++i) {
            assertTask(_known[i].dealid, _known[i].idx, _known[i].status);
        }
    }

    function check() external view {
        uint256 sum = 0;
        for (uint256 i = 0; i < people.length; ++i) {
            assertAccount(people[i], staked[people[i]], locked[people[i]]);
            sum += staked[people[i]] + locked[people[i]];
        }
        assertEq(token.balanceOf(address(hub)), sum, "stakes and locks are all there is");
        assertEq(theftsThatWorked, 0, "thefts");
    }

    /// @dev When all deadlines are over, everybody can take everything out.
    function drain() external {
        vm.warp(block.timestamp + 3001);
        for (uint256 i = 0; i < _known.length; ++i) {
            claim(i);
        }
        for (uint256 i = 0; i < people.length; ++i) {
            assertEq(locked[people[i]], 0, "nothing is locked");
            vm.prank(people[i]);
            hub.withdraw(staked[people[i]]);
        }
        assertEq(token.balanceOf(address(hub)), 0, "nothing is left");
    }

    function bookRefund(KnownTask storage known) private {
        staked[known.sponsor] += known.price;
        locked[known.sponsor] -= known.price;
        known.status = IPocoHub.TaskStatus.FAILED;
        ++refunded;
    }

    function attempt(address caller, bytes memory message) private {
        vm.prank(caller);
        (bool success,) = address(hub).call(message);
        if (success) ++theftsThatWorked;
    }

    function person(uint256 who) private view returns (address) {
        return people[who % people.length];
    }
}

/// @dev Which of the handler's functions the fuzzer calls.
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}

contract PocoInvariantTest {
    PocoHandler private handler;

    function setUp() public {
        handler = new PocoHandler();
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[10] memory all = [
            handler.put.selector,
            handler.take.selector,
            handler.move.selector,
            handler.match_.selector,
            handler.begin.selector,
            handler.settleOne.selector,
            handler.decline.selector,
            handler.claim.selector,
            handler.pass.selector,
            handler.steal.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0].addr = address(handler);
        targets[0].selectors = new bytes4[](all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            targets[0].selectors[i] = all[i];
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev Every token is in a stake or a lock, as booked; nothing was stolen.
    function invariant_booksAreRight() public view {
        handler.check();
    }

    function afterInvariant() public {
        handler.checkAll();
        handler.drain();
    }

    function test_handler_reachesEveryEnd() public {
        handler.put(1, 5000);
        handler.match_(5, 0x0a0b0c, 1, 1, "a");
        handler.match_(2, 0x0a0b0c, 3, 2, "b");
        require(handler.knownCount() == 7, "tasks");
        handler.begin(1);
        handler.settleOne(0);
        handler.settleOne(1);
        handler.settleOne(5);
        handler.decline(2);
        handler.steal(3, 5);
        handler.pass(20 minutes - 1);
        handler.pass(20 minutes - 1);
        handler.pass(20 minutes - 1);
        handler.claim(3);
        handler.steal(0, 5);
        handler.move(0, 1, 50, true);
        handler.take(1, 1, 10);
        require(handler.settled() == 3 && handler.refunded() == 2, "ends");
        handler.check();
        afterInvariant();
    }
}
