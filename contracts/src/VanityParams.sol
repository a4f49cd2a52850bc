// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Layout of the params of a vanity search
/// @notice `compressed public key (33) ‖ n × (lo (20) ‖ hi (20))`: the requester's key and the ranges, both ends
/// included, that the hash160 of an address may lie in.
library VanityParams {
    uint256 internal constant KEY_BYTES = 33;
    uint256 internal constant RANGE_BYTES = 40;
    uint256 internal constant MAX_RANGES = 32;

    /// @notice Number of ranges, or 0 where the length fits no permitted number.
    function rangeCount(bytes calldata params) internal pure returns (uint256) {
        if (params.length < KEY_BYTES + RANGE_BYTES || (params.length - KEY_BYTES) % RANGE_BYTES != 0) return 0;
        uint256 count = (params.length - KEY_BYTES) / RANGE_BYTES;
        return count <= MAX_RANGES ? count : 0;
    }

    /// @dev Where `rangeCount` is 0, this and the following read past the end: harmless, and meaningless.
    function keyPrefix(bytes calldata params) internal pure returns (uint256 prefix) {
        assembly ("memory-safe") {
            prefix := byte(0, calldataload(params.offset))
        }
    }

    function keyX(bytes calldata params) internal pure returns (uint256 x) {
        assembly ("memory-safe") {
            x := calldataload(add(params.offset, 1))
        }
    }

    function range(bytes calldata params, uint256 index) internal pure returns (uint256 lo, uint256 hi) {
        uint256 position = KEY_BYTES + index * RANGE_BYTES;
        assembly ("memory-safe") {
            let start := add(params.offset, position)
            lo := shr(96, calldataload(start))
            hi := shr(96, calldataload(add(start, 20)))
        }
    }
}
