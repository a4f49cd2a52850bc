// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Court} from "../src/Court.sol";
import {Market} from "../src/Market.sol";
import {RLC} from "../src/RLC.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {IPocoHub} from "../src/poco/IPocoHub.sol";
import {PocoHub} from "../src/poco/PocoHub.sol";
import {AppRegistry, DatasetRegistry, WorkerpoolRegistry} from "../src/poco/Registries.sol";
import {Base} from "./Base.sol";

/// @dev A hub with registries, one app, dataset and pool, and orders for all of them. Signs as iExec's SDK does: types
/// and domain are written out here once more.
abstract contract PocoFixture is Base {
    string internal constant APP_TYPE =
        "AppOrder(address app,uint256 appprice,uint256 volume,bytes32 tag,address datasetrestrict,address workerpoolrestrict,address requesterrestrict,bytes32 salt)";
    string internal constant DATASET_TYPE =
        "DatasetOrder(address dataset,uint256 datasetprice,uint256 volume,bytes32 tag,address apprestrict,address workerpoolrestrict,address requesterrestrict,bytes32 salt)";
    string internal constant POOL_TYPE =
        "WorkerpoolOrder(address workerpool,uint256 workerpoolprice,uint256 volume,bytes32 tag,uint256 category,uint256 trust,address apprestrict,address datasetrestrict,address requesterrestrict,bytes32 salt)";
    string internal constant REQUEST_TYPE =
        "RequestOrder(address app,uint256 appmaxprice,address dataset,uint256 datasetmaxprice,address workerpool,uint256 workerpoolmaxprice,address requester,uint256 volume,bytes32 tag,uint256 category,uint256 trust,address beneficiary,address callback,string params,bytes32 salt)";

    uint256 internal constant WALLET = 1_000_000;
    uint256 internal constant TASK_PRICE = 5 + 3 + 20;
    bytes internal constant RESULTS = '{"storage":"ipfs","location":"/ipfs/Qm"}';

    RLC internal token;
    Market internal market;
    Court internal court;
    PocoHub internal hub;
    AppRegistry internal apps;
    DatasetRegistry internal datasets;
    WorkerpoolRegistry internal pools;
    address internal app;
    address internal dataset;
    address internal workerpool;

    address internal dev = actor("dev");
    address internal scientist = actor("scientist");
    address internal pool = actor("pool");
    address internal alice = actor("alice");
    address internal bob = actor("bob");
    address internal stranger = actor("stranger");

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        token = new RLC(address(this));
        market = new Market(address(token));
        court = new Court(ICourt.Rules(address(market), 1 hours, 1 hours, 1 hours, 1 hours, 1000, 100, 10));
        apps = new AppRegistry();
        datasets = new DatasetRegistry();
        pools = new WorkerpoolRegistry();
        hub = new PocoHub(address(token), apps, datasets, pools, court);
        app = apps.createApp(dev, "app", "DOCKER", "registry.example/app:1", keccak256("image"), "");
        dataset = datasets.createDataset(scientist, "data", "/ipfs/QmData", keccak256("data"));
        workerpool = pools.createWorkerpool(pool, "a pool");
        deposit(alice, WALLET);
    }

    function deposit(address account, uint256 amount) internal {
        token.transfer(account, amount);
        vm.prank(account);
        token.approveAndCall(address(hub), amount, "");
    }

    function appOrder() internal view returns (IPocoHub.AppOrder memory o) {
        (o.app, o.appprice, o.volume) = (app, 5, 1000);
    }

    function datasetOrder() internal view returns (IPocoHub.DatasetOrder memory o) {
        (o.dataset, o.datasetprice, o.volume) = (dataset, 3, 1000);
    }

    function poolOrder() internal view returns (IPocoHub.WorkerpoolOrder memory o) {
        (o.workerpool, o.workerpoolprice, o.volume, o.trust) = (workerpool, 20, 1000, 100);
    }

    function requestOrder(uint256 volume) internal view returns (IPocoHub.RequestOrder memory o) {
        (o.app, o.appmaxprice, o.dataset, o.datasetmaxprice) = (app, 5, dataset, 3);
        (o.workerpool, o.workerpoolmaxprice, o.requester, o.volume) = (workerpool, 20, alice, volume);
        (o.beneficiary, o.params, o.trust) = (alice, '{"iexec_args":"1"}', 1);
    }

    function domainSeparator() internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("iExecODB"),
                keccak256("5.0.0"),
                block.chainid,
                address(hub)
            )
        );
    }

    function typed(bytes memory data) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domainSeparator(), keccak256(data)));
    }

    function hashOf(IPocoHub.AppOrder memory o) internal view returns (bytes32) {
        return typed(encoded(o));
    }

    function encoded(IPocoHub.AppOrder memory o) internal pure returns (bytes memory) {
        return abi.encode(
            keccak256(bytes(APP_TYPE)),
            o.app,
            o.appprice,
            o.volume,
            o.tag,
            o.datasetrestrict,
            o.workerpoolrestrict,
            o.requesterrestrict,
            o.salt
        );
    }

    function hashOf(IPocoHub.DatasetOrder memory o) internal view returns (bytes32) {
        return typed(encoded(o));
    }

    function encoded(IPocoHub.DatasetOrder memory o) internal pure returns (bytes memory) {
        return abi.encode(
            keccak256(bytes(DATASET_TYPE)),
            o.dataset,
            o.datasetprice,
            o.volume,
            o.tag,
            o.apprestrict,
            o.workerpoolrestrict,
            o.requesterrestrict,
            o.salt
        );
    }

    function hashOf(IPocoHub.WorkerpoolOrder memory o) internal view returns (bytes32) {
        return typed(encoded(o));
    }

    function encoded(IPocoHub.WorkerpoolOrder memory o) internal pure returns (bytes memory) {
        bytes memory head = abi.encode(
            keccak256(bytes(POOL_TYPE)), o.workerpool, o.workerpoolprice, o.volume, o.tag, o.category, o.trust
        );
        return bytes.concat(head, abi.encode(o.apprestrict, o.datasetrestrict, o.requesterrestrict, o.salt));
    }

    function hashOf(IPocoHub.RequestOrder memory o) internal view returns (bytes32) {
        return typed(encoded(o));
    }

    function encoded(IPocoHub.RequestOrder memory o) internal pure returns (bytes memory) {
        bytes memory head = abi.encode(
            keccak256(bytes(REQUEST_TYPE)),
            o.app,
            o.appmaxprice,
            o.dataset,
            o.datasetmaxprice,
            o.workerpool,
            o.workerpoolmaxprice,
            o.requester
        );
        bytes memory tail = abi.encode(
            o.volume, o.tag, o.category, o.trust, o.beneficiary, o.callback, keccak256(bytes(o.params)), o.salt
        );
        return bytes.concat(head, tail);
    }

    function signed(IPocoHub.AppOrder memory o) internal returns (IPocoHub.AppOrder memory) {
        o.sign = signAs("dev", hashOf(o));
        return o;
    }

    function signed(IPocoHub.DatasetOrder memory o) internal returns (IPocoHub.DatasetOrder memory) {
        if (o.dataset != address(0)) o.sign = signAs("scientist", hashOf(o));
        return o;
    }

    function signed(IPocoHub.WorkerpoolOrder memory o) internal returns (IPocoHub.WorkerpoolOrder memory) {
        o.sign = signAs("pool", hashOf(o));
        return o;
    }

    function signed(IPocoHub.RequestOrder memory o) internal returns (IPocoHub.RequestOrder memory) {
        o.sign = signAs("alice", hashOf(o));
        return o;
    }

    function matched(IPocoHub.RequestOrder memory request) internal returns (bytes32) {
        return hub.matchOrders(signed(appOrder()), signed(datasetOrder()), signed(poolOrder()), signed(request));
    }

    function matched(uint256 volume) internal returns (bytes32) {
        return matched(requestOrder(volume));
    }

    function settle(bytes32 dealid, uint256 idx) internal {
        vm.prank(pool);
        hub.settleTasks(dealid, reports(idx, ""));
    }

    function reports(uint256 idx, bytes memory proof) internal pure returns (IPocoHub.TaskReport[] memory all) {
        all = new IPocoHub.TaskReport[](1);
        all[0] = IPocoHub.TaskReport(idx, RESULTS, "callback", proof);
    }

    function taskOf(bytes32 dealid, uint256 idx) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(dealid, idx));
    }

    function assertTask(bytes32 dealid, uint256 idx, IPocoHub.TaskStatus expected) internal view {
        assertEq(uint256(hub.viewTask(taskOf(dealid, idx)).status), uint256(expected), "task status");
    }

    function assertAccount(address account, uint256 stake, uint256 locked) internal view {
        IPocoHub.Account memory found = hub.viewAccount(account);
        assertEq(found.stake, stake, "stake");
        assertEq(found.locked, locked, "locked");
    }
}
