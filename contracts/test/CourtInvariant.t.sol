// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Court} from "../src/Court.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Base} from "./Base.sol";
import {CourtFixture} from "./CourtFixture.sol";

/// @dev Random people with seats, proposals and doubts, and its own books of seats and bonds.
contract CourtHandler is Base {
    struct Known {
        bytes32 id;
        IMarket.Order order;
        ICourt.Stage stage;
        uint256 bond;
    }

    uint256 private constant SEAT_BOND = 10_001;

    Court private immutable COURT;
    address private immutable OWNER = msg.sender;
    address[] public people;
    string[] private _names;
    Known[] private _known;
    uint256[] private _open;

    uint256 public seats;
    uint256 public bonds;
    uint256 public burnt;
    uint256 public theftsThatWorked;
    uint256 public verdicts;

    constructor(Court court, string[] memory names, IMarket.Order[] memory orders) {
        COURT = court;
        _names = names;
        for (uint256 i = 0; i < names.length; ++i) {
            people.push(actor(names[i]));
        }
        for (uint256 i = 0; i < orders.length; ++i) {
            bytes32 id = keccak256(abi.encode(block.chainid, COURT.MARKET(), orders[i]));
            _known.push(Known(id, orders[i], ICourt.Stage.None, 0));
        }
    }

    function withdraw(uint256 who, uint256 amount) external {
        address account = person(who);
        vm.startPrank(account);
        uint256 balance = COURT.accountOf(account);
        COURT.withdraw(bound(amount, 0, balance / 10));
        vm.stopPrank();
    }

    function takeSeat(uint256 who, uint256 pool) external {
        address account = person(who);
        if (COURT.accountOf(account) < SEAT_BOND) return;
        vm.prank(account);
        (bool success,) = address(COURT).call(abi.encodeCall(COURT.bond, (person(pool))));
        if (success) ++seats;
    }

    function giveUpSeat(uint256 who) external {
        address account = person(who);
        vm.prank(account);
        if (COURT.isBonded(account)) {
            vm.prank(account);
            COURT.startLeave();
            return;
        }
        vm.prank(account);
        (bool success,) = address(COURT).call(abi.encodeCall(COURT.finishLeave, ()));
        if (success) --seats;
    }

    function propose(uint256 which) external {
        Known storage known = _known[which % _known.length];
        uint256 amount = known.order.price < 50 ? 500 : 10 * uint256(known.order.price);
        if (known.stage != ICourt.Stage.None || COURT.accountOf(people[0]) < amount) return;
        vm.prank(people[0]);
        COURT.propose(known.order, 0, people[0], resultOf(which));
        (known.stage, known.bond) = (ICourt.Stage.Proposed, amount);
        bonds += amount;
    }

    function challenge(uint256 which, uint256 who) external {
        Known storage known = _known[which % _known.length];
        if (known.stage != ICourt.Stage.Proposed || COURT.accountOf(person(who)) < known.bond) return;
        vm.prank(person(who));
        (bool success,) = address(COURT).call(abi.encodeCall(COURT.challenge, (known.id)));
        if (!success) return;
        known.stage = ICourt.Stage.Challenged;
        bonds += known.bond;
    }

    function draw(uint256 which, bytes32 seed) external {
        Known storage known = _known[which % _known.length];
        if (known.stage != ICourt.Stage.Challenged) return;
        vm.roll(block.number + 1);
        vm.setBlockhash(block.number - 1, seed);
        (bool success,) = address(COURT).call(abi.encodeCall(COURT.draw, (known.id)));
        if (success) follow(known);
    }

    /// @dev A whole vote at once, with whatever each of the jury happens to say.
    function vote(uint256 which, uint256 says) external {
        Known storage known = _known[which % _known.length];
        if (known.stage != ICourt.Stage.Drawn) return;
        address[] memory jurors = COURT.jurorsOf(known.id);
        for (uint256 i = 0; i < jurors.length; ++i) {
            bytes32 found = keccak256(resultOf(says >> (2 * i)));
            vm.prank(jurors[i]);
            (bool success,) = address(COURT)
                .call(
                    abi.encodeCall(
                        COURT.sealVote, (known.id, keccak256(abi.encode(known.id, jurors[i], found, bytes32("salt"))))
                    )
                );
            if (!success) return;
        }
        vm.warp(block.timestamp + 2 hours + 1);
        for (uint256 i = 0; i < jurors.length; ++i) {
            if ((says >> (128 + i)) % 8 == 0) continue;
            vm.prank(jurors[i]);
            COURT.openVote(known.id, keccak256(resultOf(says >> (2 * i))), "salt");
        }
        vm.warp(block.timestamp + 45 minutes);
        COURT.close(known.id);
        follow(known);
        ++verdicts;
    }

    function close(uint256 which) external {
        Known storage known = _known[which % _known.length];
        (bool success,) = address(COURT).call(abi.encodeCall(COURT.close, (known.id)));
        if (success) follow(known);
    }

    function slash(uint256 which, uint256 who, uint256 by) external {
        Known storage known = _known[which % _known.length];
        ICourt.Statement memory one = ICourt.Statement(known.id, "inputs", keccak256(resultOf(0)));
        ICourt.Statement memory other = ICourt.Statement(known.id, "inputs", keccak256(resultOf(1)));
        bytes memory first = signAs(_names[who % _names.length], COURT.statementHash(one));
        bytes memory second = signAs(_names[who % _names.length], COURT.statementHash(other));
        vm.prank(person(by));
        (bool success,) = address(COURT)
            .call(
                by % 16 == 0
                    ? abi.encodeCall(COURT.slashContradiction, (person(who), one, first, other, second))
                    : abi.encodeCall(COURT.slashRefuted, (person(who), one, first))
            );
        if (!success) return;
        --seats;
        burnt += SEAT_BOND - SEAT_BOND / 2;
    }

    function pass(uint256 time) external {
        vm.warp(block.timestamp + bound(time, 1, time % 8 == 0 ? 8 days : 20 minutes));
        vm.roll(block.number + 1 + time % 5);
    }

    function steal(uint256 which, uint256 who) external {
        Known storage known = _known[which % _known.length];
        address thief = person(who);
        attempt(thief, abi.encodeCall(COURT.withdraw, (COURT.accountOf(thief) + 1)));
        if (known.stage == ICourt.Stage.None) return;
        attempt(people[0], abi.encodeCall(COURT.propose, (known.order, 0, thief, resultOf(which))));
        if (known.stage != ICourt.Stage.Proposed) attempt(thief, abi.encodeCall(COURT.challenge, (known.id)));
        if (known.stage > ICourt.Stage.Drawn) attempt(thief, abi.encodeCall(COURT.close, (known.id)));
        attempt(thief, abi.encodeCall(COURT.openVote, (known.id, bytes32("x"), bytes32("y"))));
    }

    function peopleCount() external view returns (uint256) {
        return people.length;
    }

    /// @dev For the end of a run only.
    function closeAll() external {
        if (msg.sender != OWNER) return;
        vm.warp(block.timestamp + 20 days);
        for (uint256 i = 0; i < _known.length; ++i) {
            if (_known[i].stage == ICourt.Stage.None || _known[i].stage > ICourt.Stage.Drawn) continue;
            COURT.close(_known[i].id);
            follow(_known[i]);
        }
    }

    function follow(Known storage known) private {
        ICourt.Stage stage = COURT.stageOf(known.id);
        if (stage > ICourt.Stage.Drawn && known.stage <= ICourt.Stage.Drawn) {
            bonds -= known.stage == ICourt.Stage.Proposed ? known.bond : 2 * known.bond;
        }
        known.stage = stage;
    }

    function attempt(address caller, bytes memory message) private {
        vm.prank(caller);
        (bool success,) = address(COURT).call(message);
        if (success) ++theftsThatWorked;
    }

    function resultOf(uint256 choice) private pure returns (bytes memory) {
        return abi.encode(choice % 2);
    }

    function person(uint256 who) private view returns (address) {
        return people[who % people.length];
    }
}

contract CourtInvariantTest is CourtFixture {
    CourtHandler private handler;

    function setUp() public override {
        super.setUp();
        IMarket.Offer memory judged = terms();
        judged.verifier = address(court);
        judged.duration = 365 days;
        offer = publish(judged);
        IMarket.Order[] memory orders = new IMarket.Order[](20);
        for (uint256 i = 0; i < orders.length; ++i) {
            orders[i] = openOrder(1 + uint64(i), address(0), 0);
        }
        string[] memory names = new string[](14);
        (names[0], names[1]) = ("pool", "bob");
        for (uint256 i = 2; i < names.length; ++i) {
            names[i] = jurorName(i);
            fund(juror(i), 100_000);
        }
        handler = new CourtHandler(court, names, orders);
        for (uint256 i = 2; i < names.length; ++i) {
            handler.takeSeat(i, i % 3);
        }
        handler.pass(1);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev Every token is in an account, a seat or the bond of a case; what was burnt is gone; nothing was stolen.
    function invariant_booksAreRight() public view {
        uint256 owed = 0;
        for (uint256 i = 0; i < handler.peopleCount(); ++i) {
            owed += court.accountOf(handler.people(i));
        }
        owed += court.accountOf(address(handler));
        assertEq(
            token.balanceOf(address(court)),
            owed + handler.seats() * SEAT_BOND + handler.bonds(),
            "accounts, seats and bonds are all there is"
        );
        assertEq(token.balanceOf(court.BURNT()), handler.burnt(), "burnt");
        assertEq(handler.theftsThatWorked(), 0, "thefts");
    }

    /// @dev Wherever a run has ended, nothing stays locked.
    function afterInvariant() public {
        handler.closeAll();
        assertEq(handler.bonds(), 0, "no bonds");
        for (uint256 i = 0; i < handler.peopleCount(); ++i) {
            address account = handler.people(i);
            vm.startPrank(account);
            if (court.isBonded(account)) court.startLeave();
            vm.warp(block.timestamp + court.leaveDelay() + 1);
            (bool success,) = address(court).call(abi.encodeCall(court.finishLeave, ()));
            success;
            court.withdraw(court.accountOf(account));
            vm.stopPrank();
        }
        assertEq(token.balanceOf(address(court)), court.accountOf(address(handler)), "nothing is left");
    }

    function test_handler_reachesVerdicts() public {
        handler.propose(0);
        handler.challenge(0, 1);
        handler.pass(7);
        handler.draw(0, "seed");
        handler.vote(0, type(uint256).max);
        assertEq(handler.verdicts(), 1, "verdicts");
        handler.slash(1, 5, 16);
        assertEq(handler.burnt(), 5001, "burnt");
        handler.steal(0, 4);
        invariant_booksAreRight();
        afterInvariant();
    }
}

/// @dev What lying costs. A pool holds `own` of 60 seats under other pools' names, proposes a lie for every order, and is
/// challenged. Its jurors vote for the lie; the others compute.
contract CourtSimulationTest is CourtFixture {
    uint256 private constant SEATS = 60;
    uint256 private constant ORDERS = 12;

    /// @dev With a fifth of all seats it loses nearly every bond, far more than the prices it could gain.
    function test_simulation_aLyingPoolWithAFifthOfTheSeatsLosesMoney() public {
        (uint256 won, int256 gain) = play(12, 1);
        assertTrue(won <= 2, "few lies pass");
        assertTrue(gain < -int256(ORDERS * 700 * 5), "and cost far more than they gain");
    }

    function test_simulation_aLyingPoolWithAThirdOfTheSeatsLosesMoney() public {
        (, int256 gain) = play(20, 2);
        assertTrue(gain < 0, "still a loss");
    }

    function test_simulation_anHonestPoolIsPaidForFalseDoubts() public {
        (uint256 won, int256 gain) = play(0, 3, truth);
        assertEq(won, ORDERS, "all upheld");
        assertTrue(gain > int256(ORDERS * 700), "prices and halves of bonds");
    }

    function play(uint256 own, uint256 seed) private returns (uint256 won, int256 gain) {
        return play(own, seed, lie);
    }

    function play(uint256 own, uint256 seed, bytes memory proposed) private returns (uint256 won, int256 gain) {
        seatJurors(SEATS);
        uint256 before = court.accountOf(pool);
        for (uint256 i = 0; i < ORDERS; ++i) {
            bytes32 id = propose(openOrder(), proposed);
            challenge(id, bob);
            address[] memory jurors = draw(id, keccak256(abi.encode(seed, i)));
            bytes[] memory found = new bytes[](5);
            for (uint256 j = 0; j < 5; ++j) {
                found[j] = isOwn(jurors[j], own) ? proposed : truth;
            }
            vote(id, jurors, found);
            if (court.stageOf(id) == ICourt.Stage.Upheld) ++won;
        }
        gain = int256(court.accountOf(pool)) - int256(before) + int256(won * 700);
        for (uint256 i = 0; i < own; ++i) {
            gain += int256(court.accountOf(juror(i)));
        }
    }

    function isOwn(address account, uint256 own) private returns (bool) {
        for (uint256 i = 0; i < own; ++i) {
            if (account == juror(i)) return true;
        }
        return false;
    }
}
