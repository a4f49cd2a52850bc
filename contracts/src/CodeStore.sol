// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Bytes kept as a contract's code
/// @notice A word of storage costs 22,100 gas, a word of code 6,400: what is written once and is longer than two words
/// belongs into code. The first byte is STOP, so that nobody can run it.
library CodeStore {
    error StoreFailed();

    /// @param data At most 24,575 bytes.
    function write(bytes memory data) internal returns (address pointer) {
        // PUSH2 size, DUP1, PUSH1 10, 0, CODECOPY, 0, RETURN: returns what comes behind it.
        bytes memory code = abi.encodePacked(hex"61", uint16(data.length + 1), hex"80600a3d393df3", hex"00", data);
        assembly ("memory-safe") {
            pointer := create(0, add(code, 0x20), mload(code))
        }
        if (pointer == address(0)) revert StoreFailed();
    }

    function read(address pointer) internal view returns (bytes memory data) {
        data = new bytes(pointer.code.length - 1);
        assembly ("memory-safe") {
            extcodecopy(pointer, add(data, 0x20), 1, mload(data))
        }
    }
}
