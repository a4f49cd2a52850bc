// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Divisor, DivisorVerifier} from "../src/Divisor.sol";
import {DevRLC} from "gristmill/DevRLC.sol";
import {Market} from "gristmill/Market.sol";
import {IMarket} from "gristmill/interfaces/IMarket.sol";

/// @dev Against the real market. This contract is requester and pool in one.
contract DivisorTest {
    DevRLC private token = new DevRLC(address(this));
    Market private market = new Market(address(token));
    Divisor private divisor;
    bytes32 private offer;

    function setUp() public {
        offer = market.publishOffer(
            IMarket.Offer({
                pool: address(this),
                provider: address(this),
                app: "app",
                verifier: address(new DivisorVerifier()),
                unitPrice: 10_000_000,
                poolFeeBps: 1000,
                providerFeeBps: 0,
                duration: 1 hours
            })
        );
        divisor = new Divisor(market, offer);
        token.approve(address(divisor), type(uint256).max);
    }

    function test_theAnswerIsKept() public {
        IMarket.Order memory order = ask(8051);
        market.settle(order, address(this), abi.encode(83));
        require(divisor.divisorOf(8051) == 83, "the divisor");
    }

    function test_whatDoesNotDivideIsNotPaid() public {
        IMarket.Order memory order = ask(8051);
        try market.settle(order, address(this), abi.encode(84)) {
            revert("84 was taken");
        } catch {}
    }

    /// @dev As the market has told it by `Requested`.
    function ask(uint64 number) private returns (IMarket.Order memory) {
        divisor.ask(number);
        return IMarket.Order({
            offer: offer,
            requester: address(this),
            callback: address(divisor),
            callbackGas: 60_000,
            units: 1,
            price: 10_000_000,
            deadline: uint64(block.timestamp + 1 hours),
            nonce: 0,
            params: abi.encode(number)
        });
    }
}
