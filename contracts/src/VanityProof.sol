// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {VanityParams} from "./VanityParams.sol";
import {IVerifier} from "./interfaces/IVerifier.sol";

/// @title Proof of a vanity address on secp256k1
/// @notice The requester gives out a public key P and keeps its private key a; a worker looks for an offset k such
/// that the address of P + k·G is wanted. k is useless without a, so a result may be public, and this contract alone
/// decides whether it is one.
///
/// A result is `worker (20) ‖ index (8) ‖ image (1) ‖ Qx (32) ‖ Qy (32)`, where k = base + index mod n with
/// base = keccak256(order ‖ worker) mod n and Q = P + k·G. The base gives every worker of every order its own row of
/// candidates: a result that is copied by somebody else is no result.
///
/// Each Q stands for six addresses, at no cost to the searcher: x times a cube root of unity is another point's x
/// (the curve's endomorphism), and each x belongs to two points. `image` = 2·e + s says which: β^e·Qx mod p with the y
/// of parity s (the prefix 02 or 03 of a compressed key). The requester's key for it is ±λ^e·(a + k) mod n.
///
/// What it costs cannot go much lower: recovery 3,000, two hashes of precompiles with their calls about 1,400, and the
/// params and result have to be read.
abstract contract VanityProof is IVerifier {
    using VanityParams for bytes;

    uint256 public constant RESULT_BYTES = 93;

    /// @dev secp256k1: field prime, group order, and a cube root of 1 mod p.
    uint256 internal constant P = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFC2F;
    uint256 private constant N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    uint256 private constant BETA = 0x7AE96A2B657C07106E64479EAC3434E99CF0497512F58995C1396C28719501EE;
    uint256 private constant BETA_SQUARED = 0x851695D49A83F8EF919BB86153CBCB16630FB68AED0A766A3EC693D68E6AFA40;

    /// @inheritdoc IVerifier
    function verify(bytes32 order, address worker, bytes calldata params, bytes calldata result)
        external
        pure
        returns (bool)
    {
        if (result.length != RESULT_BYTES) return false;
        (address resultWorker, uint256 index, uint256 image, uint256 x, uint256 y) = _parse(result);
        if (resultWorker != worker || image > 5) return false;

        uint256 offset = addmod(uint256(keccak256(abi.encodePacked(order, worker))), index, N);
        if (offset == 0) return false;
        if (!_isSum(params.keyPrefix(), params.keyX(), offset, x, y)) return false;

        return _isWanted(params, _hashOf(image, _imageX(image, x), y));
    }

    function _parse(bytes calldata result)
        internal
        pure
        returns (address worker, uint256 index, uint256 image, uint256 x, uint256 y)
    {
        assembly ("memory-safe") {
            let head := calldataload(result.offset)
            worker := shr(96, head)
            index := and(shr(32, head), 0xffffffffffffffff)
            image := and(shr(24, head), 0xff)
            x := calldataload(add(result.offset, 29))
            y := calldataload(add(result.offset, 61))
        }
    }

    /// @dev Whether (x, y) is the point with x coordinate `keyX` and the parity of `keyPrefix`, plus offset·G.
    /// Signature recovery computes r⁻¹·(s·R − z·G) where R has the x coordinate r; with r = s = keyX and
    /// z = −offset·keyX that is R + offset·G, given as an address, whose only known preimage is the point itself. The
    /// precompile answers nothing for a v other than 27 and 28, for an r that is 0, not below n or not on the curve, and
    /// for the point at infinity.
    function _isSum(uint256 keyPrefix, uint256 keyX, uint256 offset, uint256 x, uint256 y)
        internal
        pure
        returns (bool)
    {
        uint256 z = N - mulmod(offset, keyX, N);
        // forge-lint: disable-next-line(unsafe-typecast)
        address sum = ecrecover(bytes32(z), uint8(25 + keyPrefix), bytes32(keyX), bytes32(keyX));
        return sum != address(0) && sum == address(uint160(uint256(keccak256(abi.encodePacked(x, y)))));
    }

    /// @dev False for params of a wrong length, too: they have no ranges.
    function _isWanted(bytes calldata params, uint256 hash) internal pure returns (bool) {
        uint256 count = params.rangeCount();
        for (uint256 i = 0; i < count; ++i) {
            (uint256 lo, uint256 hi) = params.range(i);
            if (lo <= hash && hash <= hi) return true;
        }
        return false;
    }

    /// @dev The x coordinate of an image.
    function _imageX(uint256 image, uint256 x) internal pure returns (uint256) {
        uint256 power = image >> 1;
        if (power == 1) return mulmod(x, BETA, P);
        if (power == 2) return mulmod(x, BETA_SQUARED, P);
        return x;
    }

    /// @dev The twenty bytes of the address of an image, as a number.
    /// @param x The image's own.
    /// @param y Of the point or its negative: the image's has the parity of `image`.
    function _hashOf(uint256 image, uint256 x, uint256 y) internal pure virtual returns (uint256);
}
