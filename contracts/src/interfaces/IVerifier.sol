// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Judge of results
/// @notice An offer names a verifier; the market pays only for results it accepts.
interface IVerifier {
    /// @notice Tells whether `result` is the work of `worker` that answers `order`.
    /// @dev Called by `staticcall`. A verifier must tie the result to both order and worker: a result travels in a
    /// public transaction, and one that is good for anybody else can be copied from there. Malformed bytes are
    /// answered with false.
    /// @param order The order's id.
    /// @param worker Who is to be paid.
    /// @param params What the requester asked for.
    /// @param result What the worker found.
    function verify(bytes32 order, address worker, bytes calldata params, bytes calldata result)
        external
        view
        returns (bool);
}
