// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Parts} from "./Parts.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

/// @title What a registry's token stands for
/// @dev One of these is deployed for each registry; entries are clones of it, and carry their content in their code. The
/// getters are named as iExec's SDK calls them.
abstract contract Entry {
    IERC721 private immutable REGISTRY;

    constructor(IERC721 registry_) {
        REGISTRY = registry_;
    }

    function registry() external view returns (address) {
        return address(REGISTRY);
    }

    /// @notice Who holds the entry's token.
    function owner() external view returns (address) {
        return REGISTRY.ownerOf(uint160(address(this)));
    }
}

contract App is Entry {
    constructor(IERC721 registry_) Entry(registry_) {}

    function m_appName() external view returns (string memory) {
        return string(Parts.own(0));
    }

    function m_appType() external view returns (string memory) {
        return string(Parts.own(1));
    }

    function m_appMultiaddr() external view returns (bytes memory) {
        return Parts.own(2);
    }

    function m_appChecksum() external view returns (bytes32) {
        return bytes32(Parts.own(3));
    }

    function m_appMREnclave() external view returns (bytes memory) {
        return Parts.own(4);
    }
}

contract Dataset is Entry {
    constructor(IERC721 registry_) Entry(registry_) {}

    function m_datasetName() external view returns (string memory) {
        return string(Parts.own(0));
    }

    function m_datasetMultiaddr() external view returns (bytes memory) {
        return Parts.own(1);
    }

    function m_datasetChecksum() external view returns (bytes32) {
        return bytes32(Parts.own(2));
    }
}

contract Workerpool is Entry {
    constructor(IERC721 registry_) Entry(registry_) {}

    function m_workerpoolDescription() external view returns (string memory) {
        return string(Parts.own(0));
    }

    /// @notice Workers stake nothing per task here: those who sign have a bond at the court.
    function m_workerStakeRatioPolicy() external pure returns (uint256) {
        return 0;
    }

    /// @notice Nothing is divided on chain: the pool is paid, and pays its workers by voucher.
    function m_schedulerRewardRatioPolicy() external pure returns (uint256) {
        return 0;
    }
}
