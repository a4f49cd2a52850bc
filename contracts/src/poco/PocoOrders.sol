// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IPocoHub} from "./IPocoHub.sol";

/// @title EIP-712 struct hashes of iExec's orders
/// @dev All but the last field of an order are words that lie side by side in calldata, as EIP-712 wants them; only the
/// params of a request are hashed first.
library PocoOrders {
    string private constant APP_TYPE =
        "AppOrder(address app,uint256 appprice,uint256 volume,bytes32 tag,address datasetrestrict,address workerpoolrestrict,address requesterrestrict,bytes32 salt)";
    string private constant DATASET_TYPE =
        "DatasetOrder(address dataset,uint256 datasetprice,uint256 volume,bytes32 tag,address apprestrict,address workerpoolrestrict,address requesterrestrict,bytes32 salt)";
    string private constant POOL_TYPE =
        "WorkerpoolOrder(address workerpool,uint256 workerpoolprice,uint256 volume,bytes32 tag,uint256 category,uint256 trust,address apprestrict,address datasetrestrict,address requesterrestrict,bytes32 salt)";
    string private constant REQUEST_TYPE =
        "RequestOrder(address app,uint256 appmaxprice,address dataset,uint256 datasetmaxprice,address workerpool,uint256 workerpoolmaxprice,address requester,uint256 volume,bytes32 tag,uint256 category,uint256 trust,address beneficiary,address callback,string params,bytes32 salt)";

    bytes32 private constant APP = keccak256(bytes(APP_TYPE));
    bytes32 private constant DATASET = keccak256(bytes(DATASET_TYPE));
    bytes32 private constant POOL = keccak256(bytes(POOL_TYPE));
    bytes32 private constant REQUEST = keccak256(bytes(REQUEST_TYPE));
    bytes32 private constant APP_OPERATION =
        keccak256(bytes(string.concat("AppOrderOperation(AppOrder order,uint256 operation)", APP_TYPE)));
    bytes32 private constant DATASET_OPERATION =
        keccak256(bytes(string.concat("DatasetOrderOperation(DatasetOrder order,uint256 operation)", DATASET_TYPE)));
    bytes32 private constant POOL_OPERATION =
        keccak256(bytes(string.concat("WorkerpoolOrderOperation(WorkerpoolOrder order,uint256 operation)", POOL_TYPE)));
    bytes32 private constant REQUEST_OPERATION =
        keccak256(bytes(string.concat("RequestOrderOperation(RequestOrder order,uint256 operation)", REQUEST_TYPE)));

    function hash(IPocoHub.AppOrder calldata order) internal pure returns (bytes32) {
        bytes32 place;
        assembly {
            place := order
        }
        return _hash(APP, place, 8);
    }

    function hash(IPocoHub.DatasetOrder calldata order) internal pure returns (bytes32) {
        bytes32 place;
        assembly {
            place := order
        }
        return _hash(DATASET, place, 8);
    }

    function hash(IPocoHub.WorkerpoolOrder calldata order) internal pure returns (bytes32) {
        bytes32 place;
        assembly {
            place := order
        }
        return _hash(POOL, place, 10);
    }

    function hash(IPocoHub.RequestOrder calldata order) internal pure returns (bytes32 result) {
        bytes32 typeHash = REQUEST;
        bytes32 params = keccak256(bytes(order.params));
        bytes32 salt = order.salt;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            calldatacopy(add(free, 0x20), order, 0x1a0)
            mstore(add(free, 0x1c0), params)
            mstore(add(free, 0x1e0), salt)
            result := keccak256(free, 0x200)
        }
    }

    function hash(IPocoHub.AppOrderOperation calldata o) internal pure returns (bytes32) {
        return keccak256(abi.encode(APP_OPERATION, hash(o.order), o.operation));
    }

    function hash(IPocoHub.DatasetOrderOperation calldata o) internal pure returns (bytes32) {
        return keccak256(abi.encode(DATASET_OPERATION, hash(o.order), o.operation));
    }

    function hash(IPocoHub.WorkerpoolOrderOperation calldata o) internal pure returns (bytes32) {
        return keccak256(abi.encode(POOL_OPERATION, hash(o.order), o.operation));
    }

    function hash(IPocoHub.RequestOrderOperation calldata o) internal pure returns (bytes32) {
        return keccak256(abi.encode(REQUEST_OPERATION, hash(o.order), o.operation));
    }

    function _hash(bytes32 typeHash, bytes32 order, uint256 words) private pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            calldatacopy(add(free, 0x20), order, mul(words, 0x20))
            result := keccak256(free, mul(add(words, 1), 0x20))
        }
    }
}
