// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Signatures} from "./Signatures.sol";
import {Vouchers} from "./Vouchers.sol";
import {IMarket} from "./interfaces/IMarket.sol";

/// @title Pools' terms: standing on chain, or signed and brought by whoever takes them
abstract contract Offers is Vouchers, IMarket {
    /// @dev `Offer` packed by who reads what: a settlement the first two words, a request the third. The provider's
    /// address is cut in two to fill them.
    struct StoredOffer {
        address pool;
        uint96 providerHigh;
        uint64 providerLow;
        address verifier;
        uint16 poolFeeBps;
        uint16 providerFeeBps;
        uint96 unitPrice;
        uint32 duration;
        bool active;
        bytes32 app;
    }

    uint256 internal constant BPS = 10_000;

    /// @notice An order's deposit is never locked for longer.
    uint256 public constant MAX_DURATION = 365 days;

    bytes32 private constant OFFER = keccak256(
        "Offer(address pool,address provider,bytes32 app,address verifier,uint96 unitPrice,uint16 poolFeeBps,uint16 providerFeeBps,uint32 duration)"
    );
    bytes32 private constant SIGNED_OFFER = keccak256(
        "SignedOffer(Offer terms,address requester,uint64 units,uint64 validUntil,bytes32 salt)Offer(address pool,address provider,bytes32 app,address verifier,uint96 unitPrice,uint16 poolFeeBps,uint16 providerFeeBps,uint32 duration)"
    );

    mapping(bytes32 offer => StoredOffer) internal _offers;
    mapping(bytes32 signed => uint256) private _taken;

    /// @inheritdoc IMarket
    function publishOffer(Offer calldata terms) external returns (bytes32 offer) {
        if (msg.sender != terms.pool) revert NotPool(msg.sender, terms.pool);
        _checkTerms(terms);
        offer = _offerIdOf(terms);
        if (_offers[offer].active) revert OfferAlreadyActive(offer);
        _storeOffer(offer, terms);
        _offers[offer].active = true;
        emit OfferPublished(offer, msg.sender, terms);
    }

    /// @inheritdoc IMarket
    function withdrawOffer(bytes32 offer) external {
        StoredOffer storage stored = _offers[offer];
        if (!stored.active) revert OfferNotActive(offer);
        if (msg.sender != stored.pool) revert NotPool(msg.sender, stored.pool);
        stored.active = false;
        emit OfferWithdrawn(offer);
    }

    /// @inheritdoc IMarket
    function revokeOffer(SignedOffer calldata signed) external {
        if (msg.sender != signed.terms.pool) revert NotPool(msg.sender, signed.terms.pool);
        bytes32 hash = signedOfferHash(signed);
        _taken[hash] = type(uint256).max;
        emit OfferRevoked(hash);
    }

    /// @inheritdoc IMarket
    function offerOf(bytes32 offer) external view returns (Offer memory terms, bool active) {
        StoredOffer storage stored = _offers[offer];
        terms = Offer({
            pool: stored.pool,
            provider: _providerOf(stored),
            app: stored.app,
            verifier: stored.verifier,
            unitPrice: stored.unitPrice,
            poolFeeBps: stored.poolFeeBps,
            providerFeeBps: stored.providerFeeBps,
            duration: stored.duration
        });
        active = stored.active;
    }

    /// @inheritdoc IMarket
    function takenOf(bytes32 signed) external view returns (uint256) {
        return _taken[signed];
    }

    /// @inheritdoc IMarket
    function signedOfferHash(SignedOffer calldata signed) public view returns (bytes32) {
        bytes32 terms = keccak256(abi.encode(OFFER, signed.terms));
        return _hashTypedDataV4(
            keccak256(abi.encode(SIGNED_OFFER, terms, signed.requester, signed.units, signed.validUntil, signed.salt))
        );
    }

    /// @dev Books `units` under a signed offer, and keeps its terms on chain for the settlement to come.
    function _take(SignedOffer calldata signed, bytes calldata signature, uint64 units)
        internal
        returns (bytes32 offer)
    {
        if (block.timestamp > signed.validUntil) revert OfferExpired(signed.validUntil);
        if (signed.requester != address(0) && signed.requester != msg.sender) {
            revert NotRequester(msg.sender, signed.requester);
        }
        address pool = signed.terms.pool;
        bytes32 hash = signedOfferHash(signed);
        if (!Signatures.isBy(pool, hash, signature)) revert BadSignature(pool);
        uint256 taken = _taken[hash];
        if (taken > signed.units || units > signed.units - taken) revert OfferExhausted(hash, taken, signed.units);
        _taken[hash] = taken + units;

        offer = _offerIdOf(signed.terms);
        if (_offers[offer].pool == address(0)) {
            _checkTerms(signed.terms);
            _storeOffer(offer, signed.terms);
        }
        emit OfferTaken(offer, hash, pool, units);
    }

    function _checkTerms(Offer calldata terms) internal view {
        if (terms.provider == address(0)) revert ZeroAddress();
        if (terms.verifier.code.length == 0) revert VerifierMissing(terms.verifier);
        uint256 feesBps = uint256(terms.poolFeeBps) + terms.providerFeeBps;
        if (feesBps > BPS) revert FeesTooHigh(feesBps);
        if (terms.duration == 0 || terms.duration > MAX_DURATION) revert DurationOutOfRange(terms.duration);
    }

    function _storeOffer(bytes32 offer, Offer calldata terms) internal {
        _offers[offer] = StoredOffer({
            pool: terms.pool,
            providerHigh: uint96(uint160(terms.provider) >> 64),
            providerLow: uint64(uint160(terms.provider)),
            verifier: terms.verifier,
            poolFeeBps: terms.poolFeeBps,
            providerFeeBps: terms.providerFeeBps,
            unitPrice: terms.unitPrice,
            duration: terms.duration,
            active: false,
            app: terms.app
        });
    }

    function _offerIdOf(Offer calldata terms) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), terms));
    }

    function _providerOf(StoredOffer storage offer) internal view returns (address) {
        return address((uint160(offer.providerHigh) << 64) | offer.providerLow);
    }
}
