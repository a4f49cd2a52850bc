// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "../src/Market.sol";
import {RLC} from "../src/RLC.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IProofVerifier} from "../src/interfaces/IProofVerifier.sol";
import {IVerifier} from "../src/interfaces/IVerifier.sol";
import {Base, Vm} from "./Base.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @dev Accepts one result per order and worker, which anybody can compute: `proof`.
contract HashVerifier is IVerifier {
    function verify(bytes32 order, address worker, bytes calldata params, bytes calldata result)
        external
        pure
        returns (bool)
    {
        return keccak256(result) == keccak256(proof(order, worker, params));
    }

    function proof(bytes32 order, address worker, bytes memory params) public pure returns (bytes memory) {
        return abi.encode(keccak256(abi.encode(order, worker, params)));
    }
}

/// @dev The same with a proof beside the result; a batch is proved like any result.
contract ProofVerifier is HashVerifier, IProofVerifier {
    function verifyWithProof(
        bytes32 order,
        address worker,
        bytes calldata params,
        bytes calldata result,
        bytes calldata proof_
    ) external pure returns (bool) {
        return keccak256(proof_) == keccak256(proofOf(order, worker, params, result));
    }

    function proofOf(bytes32 order, address worker, bytes memory params, bytes memory result)
        public
        pure
        returns (bytes memory)
    {
        return abi.encode(keccak256(abi.encode(order, worker, params, result)));
    }
}

/// @dev A wallet contract that accepts exactly one hash as signed.
contract ContractWallet is IERC1271 {
    bytes32 public accepted;

    function accept(bytes32 hash) external {
        accepted = hash;
    }

    function act(address target, bytes calldata message) external returns (bytes memory answer) {
        bool success;
        (success, answer) = target.call(message);
        require(success, "acted");
    }

    function isValidSignature(bytes32 hash, bytes calldata) external view returns (bytes4) {
        return hash == accepted ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// @dev A token, a market, an offer, and people with money.
abstract contract Fixture is Base {
    uint96 internal constant UNIT_PRICE = 7;
    uint16 internal constant POOL_FEE_BPS = 500;
    uint16 internal constant PROVIDER_FEE_BPS = 333;
    uint32 internal constant DURATION = 1 hours;
    uint256 internal constant WALLET = 1_000_000 * 1e9;

    RLC internal token;
    Market internal market;
    ProofVerifier internal verifier;
    bytes32 internal offer;

    address internal pool = actor("pool");
    address internal provider = actor("provider");
    address internal worker = actor("worker");
    address internal alice = actor("alice");
    address internal bob = actor("bob");
    address internal stranger = actor("stranger");

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        token = newToken();
        market = new Market(address(token));
        verifier = new ProofVerifier();
        offer = publish(terms());
        token.transfer(alice, WALLET);
        token.transfer(bob, WALLET);
    }

    function newToken() internal virtual returns (RLC) {
        return new RLC(address(this));
    }

    function terms() internal view returns (IMarket.Offer memory) {
        return IMarket.Offer({
            pool: pool,
            provider: provider,
            app: keccak256("app"),
            verifier: address(verifier),
            unitPrice: UNIT_PRICE,
            poolFeeBps: POOL_FEE_BPS,
            providerFeeBps: PROVIDER_FEE_BPS,
            duration: DURATION
        });
    }

    function publish(IMarket.Offer memory offered) internal returns (bytes32) {
        vm.prank(offered.pool);
        return market.publishOffer(offered);
    }

    function deposit(address account, uint256 amount) internal {
        vm.startPrank(account);
        token.approve(address(market), amount);
        market.deposit(amount);
        vm.stopPrank();
    }

    /// @dev An order of alice's, paid from her account, with a callback unless that is zero.
    function openOrder(uint64 units, address callback, uint32 callbackGas)
        internal
        returns (IMarket.Order memory order)
    {
        deposit(alice, units * UNIT_PRICE);
        vm.recordLogs();
        vm.prank(alice);
        market.request(offer, units, type(uint256).max, callback, callbackGas, "params");
        return requested();
    }

    function openOrder() internal returns (IMarket.Order memory) {
        return openOrder(100, address(0), 0);
    }

    /// @dev A bag of alice's, paid from her account.
    function openBag(uint64 tasks, address callback, uint32 callbackGas) internal returns (IMarket.Order memory order) {
        deposit(alice, tasks * UNIT_PRICE);
        vm.recordLogs();
        vm.prank(alice);
        market.requestBag(offer, tasks, type(uint256).max, callback, callbackGas, "params");
        return abi.decode(lastLog(IMarket.BagRequested.selector).data, (IMarket.Order));
    }

    function openBag(uint64 tasks) internal returns (IMarket.Order memory) {
        return openBag(tasks, address(0), 0);
    }

    /// @dev The order in the last `Requested` since `vm.recordLogs()`.
    function requested() internal returns (IMarket.Order memory) {
        return abi.decode(lastLog(IMarket.Requested.selector).data, (IMarket.Order));
    }

    function lastLog(bytes32 selector) internal returns (Vm.Log memory) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = logs.length; i > 0; --i) {
            if (logs[i - 1].topics[0] == selector) return logs[i - 1];
        }
        revert Untrue("event was emitted");
    }

    function proofFor(IMarket.Order memory order, address by) internal view returns (bytes memory) {
        return verifier.proof(market.orderIdOf(order), by, order.params);
    }

    function settle(IMarket.Order memory order) internal {
        bytes memory proof = proofFor(order, worker);
        vm.prank(pool);
        market.settle(order, worker, proof);
    }

    function assertStatus(IMarket.Order memory order, IMarket.Status expected) internal view {
        assertEq(uint256(market.statusOf(market.orderIdOf(order))), uint256(expected), "status");
    }

    /// @dev What each party has of a price of 700: 35 is 5 %, 23.31 is 3.33 %.
    function assertPaidFor700() internal view {
        assertEq(market.accountOf(pool), 35, "pool's account");
        assertEq(market.accountOf(provider), 23, "provider's account");
        assertEq(market.accountOf(worker), 642, "worker's account");
    }

    /// @dev An ERC-2612 signature of `owner`, an actor of that name, for the market.
    function signPermit(string memory owner, uint256 value, uint256 deadline)
        internal
        returns (IMarket.Permit memory permit)
    {
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        address signer = actor(owner);
        bytes32 structHash =
            keccak256(abi.encode(typeHash, signer, address(market), value, token.nonces(signer), deadline));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
        permit.value = value;
        permit.deadline = deadline;
        (permit.v, permit.r, permit.s) = vm.sign(uint256(keccak256(bytes(owner))), digest);
    }
}
