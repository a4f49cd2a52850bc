// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {CodeStore} from "../CodeStore.sol";
import {IPocoHub} from "./IPocoHub.sol";
import {Parts} from "./Parts.sol";

/// @title Deals and finished tasks as bytes of code
/// @notice A deal is 302 bytes and the params, against twenty words of storage.
library DealRecord {
    uint256 private constant HEAD_BYTES = 302;

    /// @dev Two halves, for the compiler's stack. Every number fits: `PocoHub` checks them when it makes the deal.
    function write(IPocoHub.Deal memory deal) internal returns (address pointer) {
        bytes memory parties = abi.encodePacked(
            _resource(deal.app),
            _resource(deal.dataset),
            _resource(deal.workerpool),
            deal.requester,
            deal.beneficiary,
            deal.callback,
            deal.sponsor
        );
        // forge-lint: disable-start(unsafe-typecast)
        bytes memory terms = abi.encodePacked(
            deal.tag,
            uint64(deal.trust),
            uint64(deal.category),
            uint48(deal.startTime),
            uint48(deal.botFirst),
            uint48(deal.botSize)
        );
        // forge-lint: disable-end(unsafe-typecast)
        return CodeStore.write(bytes.concat(parties, terms, bytes(deal.params)));
    }

    function read(address pointer) internal view returns (IPocoHub.Deal memory deal) {
        bytes memory row = CodeStore.read(pointer);
        deal.app = _readResource(row, 0);
        deal.dataset = _readResource(row, 52);
        deal.workerpool = _readResource(row, 104);
        deal.requester = address(uint160(_number(row, 156, 20)));
        deal.beneficiary = address(uint160(_number(row, 176, 20)));
        deal.callback = address(uint160(_number(row, 196, 20)));
        deal.sponsor = address(uint160(_number(row, 216, 20)));
        deal.tag = bytes32(_number(row, 236, 32));
        deal.trust = _number(row, 268, 8);
        deal.category = _number(row, 276, 8);
        deal.startTime = _number(row, 284, 6);
        deal.botFirst = _number(row, 290, 6);
        deal.botSize = _number(row, 296, 6);
        deal.params = string(Parts.slice(row, HEAD_BYTES, row.length - HEAD_BYTES));
    }

    /// @dev Six bytes of time, two of the length of the results, results, callback bytes.
    function writeTask(bytes calldata results, bytes calldata resultsCallback) internal returns (address pointer) {
        // forge-lint: disable-next-line(unsafe-typecast)
        bytes memory head = abi.encodePacked(uint48(block.timestamp), uint16(results.length));
        return CodeStore.write(bytes.concat(head, results, resultsCallback));
    }

    function readTask(address pointer)
        internal
        view
        returns (uint256 timestamp, bytes memory results, bytes memory resultsCallback)
    {
        bytes memory row = CodeStore.read(pointer);
        uint256 length = _number(row, 6, 2);
        return (_number(row, 0, 6), Parts.slice(row, 8, length), Parts.slice(row, 8 + length, row.length - 8 - length));
    }

    function _resource(IPocoHub.Resource memory resource) private pure returns (bytes memory) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return abi.encodePacked(resource.pointer, resource.owner, uint96(resource.price));
    }

    function _readResource(bytes memory row, uint256 start) private pure returns (IPocoHub.Resource memory) {
        return IPocoHub.Resource(
            address(uint160(_number(row, start, 20))),
            address(uint160(_number(row, start + 20, 20))),
            _number(row, start + 40, 12)
        );
    }

    function _number(bytes memory row, uint256 start, uint256 length) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, mul(8, length)), mload(add(add(row, 0x20), start)))
        }
    }
}
