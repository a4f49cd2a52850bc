// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Court} from "../src/Court.sol";
import {Outcome} from "../src/Outcome.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Fixture} from "./Fixture.sol";

/// @dev A court, an offer that it judges, and workers of three pools with seats.
abstract contract CourtFixture is Fixture {
    uint256 internal constant WINDOW = 1 hours;
    uint256 internal constant DRAW_TIME = 30 minutes;
    uint256 internal constant COMMIT_TIME = 2 hours;
    uint256 internal constant REVEAL_TIME = 45 minutes;
    uint96 internal constant SEAT_BOND = 10_001;
    uint96 internal constant BOND_MIN = 500;
    /// @dev Ten times the price of 700.
    uint256 internal constant BOND = 7000;

    Court internal court;
    bytes internal truth = Outcome.encode(0, keccak256("blob"), "42");
    bytes internal lie = Outcome.encode(0, keccak256("blob"), "43");

    function setUp() public virtual override {
        super.setUp();
        court = new Court(rules());
        IMarket.Offer memory judged = terms();
        judged.verifier = address(court);
        judged.duration = 1 days;
        offer = publish(judged);
        fund(pool, 1_000_000);
        fund(bob, 1_000_000);
        vm.roll(1000);
    }

    function rules() internal view returns (ICourt.Rules memory) {
        return ICourt.Rules({
            market: address(market),
            window: uint64(WINDOW),
            drawTime: uint64(DRAW_TIME),
            commitTime: uint64(COMMIT_TIME),
            revealTime: uint64(REVEAL_TIME),
            seatBond: SEAT_BOND,
            bondMin: BOND_MIN,
            bondFactor: 10
        });
    }

    function fund(address account, uint256 amount) internal {
        token.transfer(account, amount);
        vm.startPrank(account);
        token.approve(address(court), amount);
        court.deposit(amount);
        vm.stopPrank();
    }

    function juror(uint256 i) internal returns (address) {
        return actor(jurorName(i));
    }

    function jurorName(uint256 i) internal pure returns (string memory) {
        return string.concat("juror ", vm.toString(i));
    }

    function seat(address account, address of_) internal {
        fund(account, SEAT_BOND);
        vm.prank(account);
        court.bond(of_);
    }

    function seatJurors(uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            seat(juror(i), address(uint160(0x1000 + i % 3)));
        }
        vm.warp(block.timestamp + 1);
    }

    function propose(IMarket.Order memory order, bytes memory result) internal returns (bytes32 id) {
        id = market.orderIdOf(order);
        vm.prank(pool);
        court.propose(order, 0, worker, result);
    }

    function challenge(bytes32 id, address by) internal {
        vm.prank(by);
        court.challenge(id);
    }

    function draw(bytes32 id, bytes32 seed) internal returns (address[] memory jurors) {
        uint256 drawBlock = block.number + 2;
        vm.roll(drawBlock + 1);
        vm.setBlockhash(drawBlock, seed);
        court.draw(id);
        return court.jurorsOf(id);
    }

    /// @dev Each juror votes for what stands beside it; empty: it does not show up.
    function vote(bytes32 id, address[] memory jurors, bytes[] memory found) internal {
        for (uint256 i = 0; i < jurors.length; ++i) {
            if (found[i].length == 0) continue;
            vm.prank(jurors[i]);
            court.sealVote(id, keccak256(abi.encode(id, jurors[i], keccak256(found[i]), bytes32("salt"))));
        }
        vm.warp(block.timestamp + COMMIT_TIME + 1);
        for (uint256 i = 0; i < jurors.length; ++i) {
            if (found[i].length == 0) continue;
            vm.prank(jurors[i]);
            court.openVote(id, keccak256(found[i]), "salt");
        }
        vm.warp(block.timestamp + REVEAL_TIME);
        court.close(id);
    }

    function votes(bytes memory a, bytes memory b, bytes memory c, bytes memory d, bytes memory e)
        internal
        pure
        returns (bytes[] memory all)
    {
        all = new bytes[](5);
        (all[0], all[1], all[2], all[3], all[4]) = (a, b, c, d, e);
    }

    function statement(IMarket.Order memory order, bytes memory result)
        internal
        view
        returns (ICourt.Statement memory)
    {
        return ICourt.Statement(market.orderIdOf(order), keccak256(order.params), keccak256(result));
    }

    function signStatement(string memory by, ICourt.Statement memory said) internal returns (bytes memory) {
        return signAs(by, court.statementHash(said));
    }

    function assertStage(bytes32 id, ICourt.Stage expected) internal view {
        assertEq(uint256(court.stageOf(id)), uint256(expected), "stage");
    }
}
