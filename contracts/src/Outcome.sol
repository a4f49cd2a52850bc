// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Layout of results that people judge
/// @notice `exit status (4) ‖ storage location (32) ‖ answer`: how the program ended, the digest by which its output is
/// stored and fetched, and the bytes that a contract needs of it. Signatures and votes are over all of it, so that
/// neither output nor place nor status can be exchanged later.
library Outcome {
    error OutcomeTooShort(uint256 length);

    uint256 internal constant HEAD_BYTES = 36;

    function encode(uint32 exitStatus, bytes32 location, bytes memory answer) internal pure returns (bytes memory) {
        return abi.encodePacked(exitStatus, location, answer);
    }

    function parse(bytes calldata result)
        internal
        pure
        returns (uint32 exitStatus, bytes32 location, bytes calldata answer)
    {
        if (result.length < HEAD_BYTES) revert OutcomeTooShort(result.length);
        return (uint32(bytes4(result[:4])), bytes32(result[4:HEAD_BYTES]), result[HEAD_BYTES:]);
    }
}
