// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVerifier} from "./IVerifier.sol";

/// @title Judge of results that come with a proof
/// @notice A proof (signatures, a Merkle path) convinces the judge and is nothing to the requester: it is neither stored
/// nor delivered.
interface IProofVerifier is IVerifier {
    /// @notice Tells whether `proof` shows that `result` is the work of `worker` that answers `order`.
    /// @dev The same duties as `IVerifier.verify`. For a batch of a bag, `order` is the id of its first task
    /// and `result` is `abi.encode(first, count, failed, root)`, as in `IMarket.settleBatch`.
    function verifyWithProof(
        bytes32 order,
        address worker,
        bytes calldata params,
        bytes calldata result,
        bytes calldata proof
    ) external view returns (bool);
}
