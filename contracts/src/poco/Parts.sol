// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

/// @title Byte strings in a row, each behind its length in two bytes
/// @notice What an entry consists of, as the immutable arguments of its clone: a third as long as ABI encoding.
library Parts {
    error PartTooLong(uint256 length);

    function join(bytes memory row, bytes memory part) internal pure returns (bytes memory) {
        if (part.length > type(uint16).max) revert PartTooLong(part.length);
        // forge-lint: disable-next-line(unsafe-typecast)
        return abi.encodePacked(row, uint16(part.length), part);
    }

    /// @return The part of that number of the calling clone.
    function own(uint256 index) internal view returns (bytes memory) {
        bytes memory row = Clones.fetchCloneArgs(address(this));
        uint256 start = 0;
        for (; index > 0; --index) {
            start += 2 + _lengthAt(row, start);
        }
        return slice(row, start + 2, _lengthAt(row, start));
    }

    function _lengthAt(bytes memory row, uint256 start) private pure returns (uint256) {
        return (uint256(uint8(row[start])) << 8) | uint8(row[start + 1]);
    }

    function slice(bytes memory row, uint256 start, uint256 length) internal pure returns (bytes memory part) {
        part = new bytes(length);
        assembly ("memory-safe") {
            mcopy(add(part, 0x20), add(add(row, 0x20), start), length)
        }
    }
}
