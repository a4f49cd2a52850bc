// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "../src/interfaces/ICourt.sol";
import {ITaskCallback} from "../src/interfaces/ITaskCallback.sol";
import {App, Dataset, Entry, Workerpool} from "../src/poco/Entries.sol";
import {IPocoHub} from "../src/poco/IPocoHub.sol";
import {Parts} from "../src/poco/Parts.sol";
import {PocoHub} from "../src/poco/PocoHub.sol";
import {Registry} from "../src/poco/Registries.sol";
import {ContractWallet} from "./Fixture.sol";
import {Bomb, Looper, Recorder, Reverter} from "./MarketCallback.t.sol";
import {PocoFixture} from "./PocoFixture.sol";
import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Errors} from "@openzeppelin/contracts/utils/Errors.sol";

/// @dev An ERC-734 group with one member.
contract Group {
    address private immutable MEMBER;

    constructor(address member) {
        MEMBER = member;
    }

    function keyHasPurpose(bytes32 key, uint256 purpose) external view returns (bool) {
        return purpose == 4 && key == bytes32(uint256(uint160(MEMBER)));
    }
}

/// @dev Owner of a pool and callback in one, trying while it is called back whatever could pay twice.
contract HubReenterer is ITaskCallback {
    PocoHub private immutable HUB;
    bool public refused;
    bytes32 private _deal;

    constructor(PocoHub hub) {
        HUB = hub;
    }

    function sell(IPocoHub.WorkerpoolOrderOperation memory operation) external {
        HUB.manageWorkerpoolOrder(operation);
    }

    function settle(bytes32 dealid) external {
        _deal = dealid;
        HUB.settleTasks(dealid, report());
    }

    function receiveResult(bytes32 task, bytes calldata) external {
        uint256[] memory indexes = new uint256[](1);
        // What has ended already is passed over.
        HUB.settleTasks(_deal, report());
        HUB.declineTasks(_deal, indexes);
        try HUB.claim(task) {}
        catch {
            refused = true;
        }
    }

    function report() private pure returns (IPocoHub.TaskReport[] memory all) {
        all = new IPocoHub.TaskReport[](1);
        all[0] = IPocoHub.TaskReport(0, "results", "callback", "");
    }
}

contract PocoRegistryTest is PocoFixture {
    function test_create_entriesSayWhatTheyAre() public view {
        assertEq(App(app).m_appName(), "app");
        assertEq(App(app).m_appType(), "DOCKER");
        assertEq(App(app).m_appMultiaddr(), "registry.example/app:1", "multiaddr");
        assertEq(App(app).m_appChecksum(), keccak256("image"), "checksum");
        assertEq(App(app).m_appMREnclave(), "", "enclave");
        assertEq(Dataset(dataset).m_datasetName(), "data");
        assertEq(Dataset(dataset).m_datasetMultiaddr(), "/ipfs/QmData", "multiaddr");
        assertEq(Dataset(dataset).m_datasetChecksum(), keccak256("data"), "checksum");
        assertEq(Workerpool(workerpool).m_workerpoolDescription(), "a pool");
        assertEq(Workerpool(workerpool).m_workerStakeRatioPolicy(), 0, "stake ratio");
        assertEq(Workerpool(workerpool).m_schedulerRewardRatioPolicy(), 0, "reward ratio");
        assertEq(Entry(app).owner(), dev, "owner");
        assertEq(Entry(app).registry(), address(apps), "registry");
    }

    function test_fuzz_create_partsOfAnyLength(string memory name, bytes memory multiaddr, bytes memory mrenclave)
        public
    {
        App made = App(apps.createApp(bob, name, "", multiaddr, keccak256("x"), mrenclave));
        assertEq(made.m_appName(), name);
        assertEq(bytes(made.m_appType()).length, 0, "kind");
        assertEq(made.m_appMultiaddr(), multiaddr, "multiaddr");
        assertEq(made.m_appMREnclave(), mrenclave, "enclave");
    }

    function test_create_revertsIf_aPartIsTooLong() public {
        pools.createWorkerpool(bob, string(new bytes(20_000)));
        vm.expectRevert(abi.encodeWithSelector(Parts.PartTooLong.selector, 65_536));
        pools.createWorkerpool(bob, string(new bytes(65_536)));
    }

    function test_create_whereItWasPredicted() public {
        address predicted = apps.predictApp(bob, "n", "t", "m", "c", "e");
        assertTrue(!apps.isRegistered(predicted), "not yet");
        assertEq(apps.createApp(bob, "n", "t", "m", "c", "e"), predicted, "app");
        assertTrue(apps.isRegistered(predicted), "registered");
        assertEq(apps.ownerOf(uint160(predicted)), bob, "owner");
        assertTrue(apps.predictApp(alice, "n", "t", "m", "c", "e") != predicted, "another's");
        assertEq(datasets.predictDataset(scientist, "data", "/ipfs/QmData", keccak256("data")), dataset, "dataset");
        assertEq(pools.predictWorkerpool(pool, "a pool"), workerpool, "pool");
        vm.expectRevert(Errors.FailedDeployment.selector);
        apps.createApp(bob, "n", "t", "m", "c", "e");
    }

    function test_fuzz_tokens_areListedByOwner(uint256 seed) public {
        address[3] memory people = [alice, bob, stranger];
        uint256[] memory tokens = new uint256[](6);
        for (uint256 i = 0; i < tokens.length; ++i) {
            tokens[i] = uint160(pools.createWorkerpool(people[i % 2], vm.toString(i)));
        }
        for (uint256 i = 0; i < 20; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 tokenId = tokens[seed % 6];
            address holder = pools.ownerOf(tokenId);
            vm.prank(holder);
            pools.safeTransferFrom(holder, people[(seed >> 8) % 3], tokenId);
            assertEq(Entry(address(uint160(tokenId))).owner(), people[(seed >> 8) % 3], "sold");
        }
        uint256 seen = 0;
        for (uint256 i = 0; i < people.length; ++i) {
            for (uint256 j = 0; j < pools.balanceOf(people[i]); ++j) {
                assertEq(pools.ownerOf(pools.tokenOfOwnerByIndex(people[i], j)), people[i], "listed at its owner");
                for (uint256 k = 0; k < 6; ++k) {
                    if (tokens[k] == pools.tokenOfOwnerByIndex(people[i], j)) seen |= 1 << k;
                }
            }
        }
        assertEq(seen, 63, "each once");
        uint256 count = pools.balanceOf(alice);
        vm.expectRevert(abi.encodeWithSelector(Registry.IndexOutOfRange.selector, alice, count));
        pools.tokenOfOwnerByIndex(alice, count);
    }

    function test_tokens_areMovedByTheirOwnersOnly() public {
        vm.expectRevert(
            abi.encodeWithSelector(IERC721Errors.ERC721InsufficientApproval.selector, stranger, uint160(app))
        );
        vm.prank(stranger);
        apps.transferFrom(dev, stranger, uint160(app));
    }

    function assertEq(string memory actual, string memory expected) private pure {
        assertEq(bytes(actual), bytes(expected), "text");
    }
}

contract PocoTest is PocoFixture {
    function test_matchOrders_makesADealAndLocksThePayersMoney() public {
        IPocoHub.RequestOrder memory request = requestOrder(10);
        request.callback = bob;
        bytes32 dealid = keccak256(abi.encodePacked(hashOf(request), uint256(0)));
        vm.expectEmit(address(hub));
        emit IPocoHub.OrdersMatched(
            dealid, hashOf(appOrder()), hashOf(datasetOrder()), hashOf(poolOrder()), hashOf(request), 10
        );
        assertEq(matched(request), dealid, "dealid");
        assertAccount(alice, WALLET - 10 * TASK_PRICE, 10 * TASK_PRICE);

        IPocoHub.Deal memory deal = hub.viewDeal(dealid);
        assertEq(abi.encode(deal.app), abi.encode(app, dev, 5), "app");
        assertEq(abi.encode(deal.dataset), abi.encode(dataset, scientist, 3), "dataset");
        assertEq(abi.encode(deal.workerpool), abi.encode(workerpool, pool, 20), "workerpool");
        assertEq(
            abi.encode(deal.trust, deal.category, deal.tag, deal.requester, deal.beneficiary, deal.callback),
            abi.encode(1, 0, 0, alice, alice, bob),
            "terms"
        );
        assertEq(bytes(deal.params), bytes(request.params), "params");
        assertEq(
            abi.encode(deal.startTime, deal.botFirst, deal.botSize, deal.workerStake, deal.sponsor),
            abi.encode(block.timestamp, 0, 10, 0, alice),
            "bag"
        );
    }

    function test_matchOrders_takesWhatAllOrdersHaveLeft() public {
        bytes32 first = matched(600);
        assertEq(hub.viewDeal(first).botSize, 600, "first");
        IPocoHub.RequestOrder memory request = requestOrder(600);
        request.salt = "another";
        bytes32 second = matched(request);
        assertEq(hub.viewDeal(second).botSize, 400, "second");
        assertEq(hub.viewConsumed(hashOf(request)), 400, "consumed");
        assertEq(hub.viewConsumed(hashOf(appOrder())), 1000, "all of the app's order");
        refuses(request, abi.encodeWithSelector(IPocoHub.OrderConsumed.selector));
    }

    function test_matchOrders_ofARequestInParts() public {
        IPocoHub.WorkerpoolOrder memory small = poolOrder();
        small.volume = 4;
        IPocoHub.RequestOrder memory request = signed(requestOrder(10));
        (IPocoHub.AppOrder memory a, IPocoHub.DatasetOrder memory d) = (signed(appOrder()), signed(datasetOrder()));
        bytes32 first = hub.matchOrders(a, d, signed(small), request);
        small.salt = "another";
        bytes32 second = hub.matchOrders(a, d, signed(small), request);
        assertTrue(first != second, "two deals");
        assertEq(hub.viewDeal(second).botFirst, 4, "first of the second");
        settle(second, 4);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.IndexNotInDeal.selector, 3, 4, 4));
        settle(second, 3);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.IndexNotInDeal.selector, 8, 4, 4));
        settle(second, 8);
    }

    function test_matchOrders_withoutDataset() public {
        IPocoHub.RequestOrder memory request = requestOrder(1);
        (request.dataset, request.datasetmaxprice) = (address(0), 0);
        IPocoHub.DatasetOrder memory none;
        bytes32 dealid = hub.matchOrders(signed(appOrder()), none, signed(poolOrder()), signed(request));
        settle(dealid, 0);
        assertAccount(alice, WALLET - 25, 0);
        assertAccount(address(0), 0, 0);
    }

    function test_matchOrders_freeOfCharge() public {
        (IPocoHub.AppOrder memory a, IPocoHub.DatasetOrder memory d) = (appOrder(), datasetOrder());
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        (a.appprice, d.datasetprice, w.workerpoolprice) = (0, 0, 0);
        bytes32 dealid = hub.matchOrders(signed(a), signed(d), signed(w), signed(requestOrder(3)));
        settle(dealid, 2);
        assertAccount(alice, WALLET, 0);
    }

    function test_matchOrders_byApproveAndCall() public {
        token.transfer(alice, 1000);
        bytes memory call_ = abi.encodeCall(
            hub.matchOrders, (signed(appOrder()), signed(datasetOrder()), signed(poolOrder()), signed(requestOrder(2)))
        );
        vm.prank(alice);
        token.approveAndCall(address(hub), 1000, call_);
        assertAccount(alice, WALLET + 1000 - 2 * TASK_PRICE, 2 * TASK_PRICE);
        bytes memory other = abi.encodeCall(hub.withdraw, (1));
        token.transfer(alice, 1);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.UnknownCall.selector, hub.withdraw.selector));
        vm.prank(alice);
        token.approveAndCall(address(hub), 1, other);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.NotToken.selector, stranger));
        vm.prank(stranger);
        hub.receiveApproval(alice, 1, address(token), "");
    }

    function test_matchOrders_revertsIf_termsDoNotFit() public {
        IPocoHub.RequestOrder memory r = requestOrder(1);
        r.category = 1;
        refuses(r, abi.encodeWithSelector(IPocoHub.CategoryMismatch.selector, 1, 0));
        r = requestOrder(1);
        r.trust = 101;
        refuses(r, abi.encodeWithSelector(IPocoHub.TrustNotOffered.selector, 101, 100));
        r = requestOrder(1);
        r.appmaxprice = 4;
        refuses(r, abi.encodeWithSelector(IPocoHub.PriceAboveMax.selector, app, 5, 4));
        r = requestOrder(1);
        r.datasetmaxprice = 2;
        refuses(r, abi.encodeWithSelector(IPocoHub.PriceAboveMax.selector, dataset, 3, 2));
        r = requestOrder(1);
        r.workerpoolmaxprice = 19;
        refuses(r, abi.encodeWithSelector(IPocoHub.PriceAboveMax.selector, workerpool, 20, 19));
        r = requestOrder(1);
        r.tag = bytes32(uint256(0x100));
        refuses(r, abi.encodeWithSelector(IPocoHub.TagNotOffered.selector, r.tag, bytes32(0)));
        r = requestOrder(1);
        r.app = dataset;
        refuses(r, abi.encodeWithSelector(IPocoHub.AssetMismatch.selector, dataset, app));
        r = requestOrder(1);
        r.dataset = app;
        refuses(r, abi.encodeWithSelector(IPocoHub.AssetMismatch.selector, app, dataset));
        r = requestOrder(1);
        r.workerpool = app;
        refuses(r, abi.encodeWithSelector(IPocoHub.Restricted.selector, app, workerpool));
        r = requestOrder(0);
        refuses(r, abi.encodeWithSelector(IPocoHub.OrderConsumed.selector));
        r = requestOrder(1);
        r.params = string(new bytes(4097));
        refuses(r, abi.encodeWithSelector(IPocoHub.ParamsTooLong.selector, 4097));
        r = requestOrder(500);
        vm.prank(alice);
        hub.withdraw(WALLET - 1000);
        refuses(r, abi.encodeWithSelector(IPocoHub.StakeTooLow.selector, alice, 1000, 500 * TASK_PRICE));
    }

    function test_matchOrders_revertsIf_categoryOrNumbersAreOutOfRange() public {
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        IPocoHub.RequestOrder memory r = requestOrder(1);
        (w.category, r.category) = (5, 5);
        refuses(appOrder(), datasetOrder(), w, r, abi.encodeWithSelector(IPocoHub.CategoryUnknown.selector, 5));
        IPocoHub.AppOrder memory a = appOrder();
        r = requestOrder(1);
        (a.appprice, r.appmaxprice) = (1 << 96, type(uint256).max);
        refuses(a, datasetOrder(), poolOrder(), r, abi.encodeWithSelector(IPocoHub.PriceTooLarge.selector, 1 << 96));
        w = poolOrder();
        r = requestOrder(1);
        (w.trust, r.trust) = (type(uint256).max, 1 << 64);
        bytes memory why = abi.encodeWithSelector(IPocoHub.TrustNotOffered.selector, 1 << 64, type(uint256).max);
        refuses(appOrder(), datasetOrder(), w, r, why);
    }

    /// @dev Everything as large as it can be said: no overflow, one error.
    function test_matchOrders_maximalValues() public {
        IPocoHub.AppOrder memory a = appOrder();
        IPocoHub.DatasetOrder memory d = datasetOrder();
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        IPocoHub.RequestOrder memory r = requestOrder(type(uint256).max);
        (a.volume, d.volume, w.volume) = (type(uint256).max, type(uint256).max, type(uint256).max);
        refuses(a, d, w, r, abi.encodeWithSelector(IPocoHub.OrderConsumed.selector));
        r.volume = type(uint48).max;
        uint256 cost = TASK_PRICE * type(uint48).max;
        refuses(a, d, w, r, abi.encodeWithSelector(IPocoHub.StakeTooLow.selector, alice, WALLET, cost));
        (a.appprice, r.appmaxprice) = (type(uint96).max, type(uint96).max);
        cost = (uint256(type(uint96).max) + 23) * type(uint48).max;
        refuses(a, d, w, r, abi.encodeWithSelector(IPocoHub.StakeTooLow.selector, alice, WALLET, cost));
    }

    function test_matchOrders_tagsOfTheNewestSdk() public {
        bytes32 tee = bytes32(uint256(9));
        IPocoHub.AppOrder memory a = appOrder();
        IPocoHub.DatasetOrder memory d = datasetOrder();
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        IPocoHub.RequestOrder memory r = requestOrder(1);
        (d.tag, w.tag, r.tag) = (bytes32(uint256(3)), tee, tee);
        refuses(a, d, w, r, abi.encodeWithSelector(IPocoHub.TagNotOffered.selector, tee, bytes32(0)));
        a.tag = tee;
        bytes32 dealid = hub.matchOrders(signed(a), signed(d), signed(w), signed(r));
        assertEq(hub.viewDeal(dealid).tag, tee, "the dataset's framework does not count");
        settle(dealid, 0);
    }

    function test_matchOrders_revertsIf_notRegistered() public {
        IPocoHub.RequestOrder memory r = requestOrder(1);
        IPocoHub.AppOrder memory a = appOrder();
        (a.app, r.app) = (dataset, dataset);
        bytes memory why = abi.encodeWithSelector(IPocoHub.NotRegistered.selector, dataset);
        refuses(a, datasetOrder(), poolOrder(), r, why);
        r = requestOrder(1);
        IPocoHub.DatasetOrder memory d = datasetOrder();
        (d.dataset, r.dataset) = (app, app);
        refuses(appOrder(), d, poolOrder(), r, abi.encodeWithSelector(IPocoHub.NotRegistered.selector, app));
        r = requestOrder(1);
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        (w.workerpool, r.workerpool) = (app, app);
        refuses(appOrder(), datasetOrder(), w, r, abi.encodeWithSelector(IPocoHub.NotRegistered.selector, app));
    }

    function test_matchOrders_revertsIf_anOrderIsNotItsOwners() public {
        IPocoHub.AppOrder memory a = signed(appOrder());
        IPocoHub.DatasetOrder memory d = signed(datasetOrder());
        IPocoHub.WorkerpoolOrder memory w = signed(poolOrder());
        IPocoHub.RequestOrder memory r = signed(requestOrder(1));
        for (uint256 i = 0; i < 4; ++i) {
            (bytes memory signature, bytes memory why) = (signAs("stranger", "x"), bytes(""));
            bytes[4] memory kept = [a.sign, d.sign, w.sign, r.sign];
            if (i == 0) (a.sign, why) = (signature, notSigned(hashOf(a), dev));
            if (i == 1) (d.sign, why) = (signature, notSigned(hashOf(d), scientist));
            if (i == 2) (w.sign, why) = (signature, notSigned(hashOf(w), pool));
            if (i == 3) (r.sign, why) = (signature, notSigned(hashOf(r), alice));
            vm.expectRevert(why);
            hub.matchOrders(a, d, w, r);
            (a.sign, d.sign, w.sign, r.sign) = (kept[0], kept[1], kept[2], kept[3]);
        }
        // The twin signature, an order for another chain, and one that was sold since.
        r.sign = mirrored(r.sign);
        vm.expectRevert(notSigned(hashOf(r), alice));
        hub.matchOrders(a, d, w, r);
        r = signed(requestOrder(1));
        vm.chainId(4242);
        vm.expectRevert(notSigned(hashOf(a), dev));
        hub.matchOrders(a, d, w, r);
        vm.chainId(31_337);
        vm.prank(dev);
        apps.transferFrom(dev, bob, uint160(app));
        vm.expectRevert(notSigned(hashOf(a), bob));
        hub.matchOrders(a, d, w, r);
    }

    function test_matchOrders_noFieldOfARequestCanBeAltered() public {
        IPocoHub.AppOrder memory a = signed(appOrder());
        IPocoHub.DatasetOrder memory d = signed(datasetOrder());
        IPocoHub.WorkerpoolOrder memory w = signed(poolOrder());
        for (uint256 field = 0; field < 9; ++field) {
            IPocoHub.RequestOrder memory r = signed(requestOrder(1));
            if (field == 0) r.appmaxprice += 1;
            if (field == 1) r.datasetmaxprice += 1;
            if (field == 2) r.workerpool = address(0);
            if (field == 3) r.workerpoolmaxprice += 1;
            if (field == 4) r.volume += 1;
            if (field == 5) r.trust = 0;
            if (field == 6) r.beneficiary = stranger;
            if (field == 7) r.callback = stranger;
            if (field == 8) r.params = "other";
            vm.expectRevert(notSigned(hashOf(r), alice));
            hub.matchOrders(a, d, w, r);
        }
    }

    function test_matchOrders_acceptsShortSignaturesAndContracts() public {
        IPocoHub.RequestOrder memory r = requestOrder(1);
        bytes memory long = signAs("alice", hashOf(r));
        (bytes32 first, bytes32 second) = abi.decode(long, (bytes32, bytes32));
        if (uint8(long[64]) == 28) second |= bytes32(uint256(1) << 255);
        r.sign = abi.encodePacked(first, second);
        assertTrue(hub.verifySignature(alice, hashOf(r), r.sign), "short");
        assertTrue(!hub.verifySignature(bob, hashOf(r), r.sign), "another's");
        hub.matchOrders(signed(appOrder()), signed(datasetOrder()), signed(poolOrder()), r);

        ContractWallet wallet = new ContractWallet();
        token.approve(address(hub), 1000);
        hub.depositFor(1000, address(wallet));
        r = requestOrder(1);
        r.requester = address(wallet);
        wallet.accept(hashOf(r));
        hub.matchOrders(signed(appOrder()), signed(datasetOrder()), signed(poolOrder()), r);
        assertAccount(address(wallet), 1000 - TASK_PRICE, TASK_PRICE);
        assertTrue(!hub.verifySignature(address(0), "x", new bytes(65)), "nobody");
    }

    function test_restrictions_nameAnAddressOrAGroup() public {
        address good = address(new Group(alice));
        address bad = address(new Group(bob));
        for (uint256 i = 0; i < 4; ++i) {
            address restriction = [alice, good, bad, bob][i];
            (IPocoHub.AppOrder memory a, IPocoHub.DatasetOrder memory d) = (appOrder(), datasetOrder());
            IPocoHub.WorkerpoolOrder memory w = poolOrder();
            IPocoHub.RequestOrder memory r = requestOrder(1);
            r.salt = bytes32(i);
            (a.requesterrestrict, d.requesterrestrict, w.requesterrestrict) = (restriction, restriction, restriction);
            if (i < 2) hub.matchOrders(signed(a), signed(d), signed(w), signed(r));
            else refuses(a, d, w, r, abi.encodeWithSelector(IPocoHub.Restricted.selector, restriction, alice));
        }
    }

    function test_restrictions_ofEveryOrderCount() public {
        for (uint256 i = 0; i < 9; ++i) {
            (IPocoHub.AppOrder memory a, IPocoHub.DatasetOrder memory d) = (appOrder(), datasetOrder());
            IPocoHub.WorkerpoolOrder memory w = poolOrder();
            address about = alice;
            if (i == 0) (a.datasetrestrict, about) = (stranger, dataset);
            if (i == 1) (a.workerpoolrestrict, about) = (stranger, workerpool);
            if (i == 2) a.requesterrestrict = stranger;
            if (i == 3) (d.apprestrict, about) = (stranger, app);
            if (i == 4) (d.workerpoolrestrict, about) = (stranger, workerpool);
            if (i == 5) d.requesterrestrict = stranger;
            if (i == 6) (w.apprestrict, about) = (stranger, app);
            if (i == 7) (w.datasetrestrict, about) = (stranger, dataset);
            if (i == 8) w.requesterrestrict = stranger;
            bytes memory why = abi.encodeWithSelector(IPocoHub.Restricted.selector, stranger, about);
            refuses(a, d, w, requestOrder(1), why);
        }
    }

    function test_sponsor_paysAndIsRefunded() public {
        deposit(bob, 1000);
        IPocoHub.AppOrder memory a = signed(appOrder());
        IPocoHub.DatasetOrder memory d = signed(datasetOrder());
        IPocoHub.WorkerpoolOrder memory w = signed(poolOrder());
        IPocoHub.RequestOrder memory r = signed(requestOrder(2));
        vm.prank(bob);
        bytes32 dealid = hub.sponsorMatchOrders(a, d, w, r);
        assertEq(hub.viewDeal(dealid).sponsor, bob, "sponsor");
        assertAccount(alice, WALLET, 0);
        settle(dealid, 0);
        vm.prank(pool);
        hub.declineTasks(dealid, one(1));
        assertAccount(bob, 1000 - TASK_PRICE, 0);
    }

    /// @dev Whoever is faster makes the requester pay, which it has agreed to by signing; the sponsor loses nothing, and
    /// the requester can protect itself by having no stake.
    function test_attack_frontRunningASponsorCostsTheSponsorNothing() public {
        deposit(bob, 1000);
        IPocoHub.AppOrder memory a = signed(appOrder());
        IPocoHub.DatasetOrder memory d = signed(datasetOrder());
        IPocoHub.WorkerpoolOrder memory w = signed(poolOrder());
        IPocoHub.RequestOrder memory r = signed(requestOrder(2));
        vm.prank(stranger);
        hub.matchOrders(a, d, w, r);
        vm.expectRevert(IPocoHub.OrderConsumed.selector);
        vm.prank(bob);
        hub.sponsorMatchOrders(a, d, w, r);
        assertAccount(bob, 1000, 0);
        assertAccount(alice, WALLET - 2 * TASK_PRICE, 2 * TASK_PRICE);
    }

    function test_manage_presignsAndCloses() public {
        IPocoHub.RequestOrder memory r = requestOrder(5);
        bytes32 hash = hashOf(r);
        vm.expectEmit(address(hub));
        emit IPocoHub.SignedRequestOrder(hash);
        vm.prank(alice);
        hub.manageRequestOrder(IPocoHub.RequestOrderOperation(r, IPocoHub.OrderOperation.SIGN, ""));
        assertEq(hub.viewPresigned(hash), alice, "presigned");
        assertTrue(hub.verifyPresignature(alice, hash), "presignature");
        assertTrue(hub.verifyPresignatureOrSignature(alice, hash, ""), "either");
        assertTrue(!hub.verifyPresignature(address(0), "x"), "nobody");
        hub.matchOrders(signed(appOrder()), signed(datasetOrder()), signed(poolOrder()), r);

        IPocoHub.AppOrder memory a = appOrder();
        vm.expectEmit(address(hub));
        emit IPocoHub.ClosedAppOrder(hashOf(a));
        vm.prank(dev);
        hub.manageAppOrder(IPocoHub.AppOrderOperation(a, IPocoHub.OrderOperation.CLOSE, ""));
        assertEq(hub.viewConsumed(hashOf(a)), 1000, "consumed");
        r.salt = "another";
        refuses(r, abi.encodeWithSelector(IPocoHub.OrderConsumed.selector));
        // To presign it again does not open it.
        vm.prank(dev);
        hub.manageAppOrder(IPocoHub.AppOrderOperation(a, IPocoHub.OrderOperation.SIGN, ""));
        refuses(r, abi.encodeWithSelector(IPocoHub.OrderConsumed.selector));
    }

    function test_manage_everyKind() public {
        (IPocoHub.DatasetOrder memory d, IPocoHub.WorkerpoolOrder memory w) = (datasetOrder(), poolOrder());
        vm.expectEmit(address(hub));
        emit IPocoHub.SignedDatasetOrder(hashOf(d));
        vm.prank(scientist);
        hub.manageDatasetOrder(IPocoHub.DatasetOrderOperation(d, IPocoHub.OrderOperation.SIGN, ""));
        vm.expectEmit(address(hub));
        emit IPocoHub.ClosedDatasetOrder(hashOf(d));
        vm.prank(scientist);
        hub.manageDatasetOrder(IPocoHub.DatasetOrderOperation(d, IPocoHub.OrderOperation.CLOSE, ""));
        vm.expectEmit(address(hub));
        emit IPocoHub.SignedWorkerpoolOrder(hashOf(w));
        vm.prank(pool);
        hub.manageWorkerpoolOrder(IPocoHub.WorkerpoolOrderOperation(w, IPocoHub.OrderOperation.SIGN, ""));
        vm.expectEmit(address(hub));
        emit IPocoHub.ClosedWorkerpoolOrder(hashOf(w));
        vm.prank(pool);
        hub.manageWorkerpoolOrder(IPocoHub.WorkerpoolOrderOperation(w, IPocoHub.OrderOperation.CLOSE, ""));
    }

    function test_manage_bySignedOperation() public {
        IPocoHub.AppOrder memory a = appOrder();
        bytes32 type_ = keccak256(bytes(string.concat("AppOrderOperation(AppOrder order,uint256 operation)", APP_TYPE)));
        bytes32 hash = typed(abi.encode(type_, keccak256(encoded(a)), 1));
        IPocoHub.AppOrderOperation memory o =
            IPocoHub.AppOrderOperation(a, IPocoHub.OrderOperation.CLOSE, signAs("dev", hash));
        o.operation = IPocoHub.OrderOperation.SIGN;
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.NotOwner.selector, stranger, dev));
        vm.prank(stranger);
        hub.manageAppOrder(o);
        o.operation = IPocoHub.OrderOperation.CLOSE;
        vm.prank(stranger);
        hub.manageAppOrder(o);
        assertEq(hub.viewConsumed(hashOf(a)), 1000, "closed");

        IPocoHub.RequestOrder memory r = requestOrder(5);
        type_ = keccak256(
            bytes(string.concat("RequestOrderOperation(RequestOrder order,uint256 operation)", REQUEST_TYPE))
        );
        bytes memory sign = signAs("alice", typed(abi.encode(type_, keccak256(encoded(r)), 1)));
        hub.manageRequestOrder(IPocoHub.RequestOrderOperation(r, IPocoHub.OrderOperation.CLOSE, sign));
        IPocoHub.DatasetOrder memory d = datasetOrder();
        type_ = keccak256(
            bytes(string.concat("DatasetOrderOperation(DatasetOrder order,uint256 operation)", DATASET_TYPE))
        );
        sign = signAs("scientist", typed(abi.encode(type_, keccak256(encoded(d)), 1)));
        hub.manageDatasetOrder(IPocoHub.DatasetOrderOperation(d, IPocoHub.OrderOperation.CLOSE, sign));
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        type_ = keccak256(
            bytes(string.concat("WorkerpoolOrderOperation(WorkerpoolOrder order,uint256 operation)", POOL_TYPE))
        );
        sign = signAs("pool", typed(abi.encode(type_, keccak256(encoded(w)), 1)));
        hub.manageWorkerpoolOrder(IPocoHub.WorkerpoolOrderOperation(w, IPocoHub.OrderOperation.CLOSE, sign));
    }

    function test_settle_paysOwnersAsOfTheDeal() public {
        bytes32 dealid = matched(10);
        vm.prank(dev);
        apps.transferFrom(dev, stranger, uint160(app));
        bytes32 taskid = taskOf(dealid, 7);
        vm.expectEmit(address(hub));
        emit IPocoHub.TaskFinalize(taskid, RESULTS);
        settle(dealid, 7);
        assertAccount(dev, 5, 0);
        assertAccount(scientist, 3, 0);
        assertAccount(pool, 20, 0);
        assertAccount(alice, WALLET - 10 * TASK_PRICE, 9 * TASK_PRICE);
        assertAccount(stranger, 0, 0);

        IPocoHub.Task memory task = hub.viewTask(taskid);
        assertEq(abi.encode(task.status, task.dealid, task.idx), abi.encode(3, dealid, 7), "task");
        assertEq(task.timeref, 300, "timeref");
        assertEq(task.contributionDeadline, block.timestamp + 2100, "contribution deadline");
        assertEq(task.revealDeadline, block.timestamp + 2700, "reveal deadline");
        assertEq(task.finalDeadline, block.timestamp + 3000, "final deadline");
        assertEq(task.results, RESULTS, "results");
        assertEq(task.resultsCallback, "callback", "callback bytes");
        assertEq(task.resultsTimestamp, block.timestamp, "timestamp");
        assertEq(task.resultDigest, keccak256(abi.encode(keccak256(RESULTS), keccak256("callback"))), "digest");
        assertEq(hub.resultFor(taskid), "callback", "pulled");
    }

    function test_settle_onceOnly() public {
        bytes32 dealid = matched(2);
        settle(dealid, 0);
        settle(dealid, 0);
        assertAccount(pool, 20, 0);
        vm.prank(pool);
        hub.declineTasks(dealid, one(0));
        assertAccount(alice, WALLET - 2 * TASK_PRICE, TASK_PRICE);
        vm.warp(block.timestamp + 3000);
        bytes32 taskid = taskOf(dealid, 0);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.TaskNotOpen.selector, taskid, IPocoHub.TaskStatus.COMPLETED));
        hub.claim(taskid);
    }

    function test_settle_wholeBagAtOnce() public {
        bytes32 dealid = matched(20);
        IPocoHub.TaskReport[] memory all = new IPocoHub.TaskReport[](20);
        for (uint256 i = 0; i < 20; ++i) {
            all[i] = IPocoHub.TaskReport(i, RESULTS, "", "");
        }
        vm.prank(pool);
        hub.settleTasks(dealid, all);
        assertAccount(alice, WALLET - 20 * TASK_PRICE, 0);
        assertAccount(pool, 400, 0);
    }

    function test_settle_revertsIf_notThePoolOrLateOrTooLong() public {
        bytes32 dealid = matched(2);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.NotOwner.selector, stranger, pool));
        vm.prank(stranger);
        hub.settleTasks(dealid, reports(0, ""));
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.NotOwner.selector, stranger, pool));
        vm.prank(stranger);
        hub.declineTasks(dealid, one(0));
        IPocoHub.TaskReport[] memory long = reports(0, "");
        long[0].results = new bytes(8193);
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.ResultTooLong.selector, 8193));
        hub.settleTasks(dealid, long);
        long[0] = IPocoHub.TaskReport(0, RESULTS, new bytes(8193), "");
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.ResultTooLong.selector, 8193));
        hub.settleTasks(dealid, long);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.DealUnknown.selector, bytes32("none")));
        hub.settleTasks("none", long);
        long[0] = IPocoHub.TaskReport(1, new bytes(8192), new bytes(8192), "");
        hub.settleTasks(dealid, long);
        vm.warp(block.timestamp + 2999);
        hub.settleTasks(dealid, reports(0, ""));
        vm.warp(block.timestamp + 1);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.DeadlinePassed.selector, block.timestamp));
        hub.settleTasks(dealid, reports(0, ""));
        vm.stopPrank();
    }

    function test_claim_refundsWhatIsLate() public {
        bytes32 dealid = matched(3);
        bytes32 taskid = hub.initialize(dealid, 0);
        assertTask(dealid, 0, IPocoHub.TaskStatus.ACTIVE);
        assertTask(dealid, 1, IPocoHub.TaskStatus.UNSET);
        uint256 deadline = block.timestamp + 3000;
        vm.warp(deadline - 1);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.DeadlineNotPassed.selector, deadline));
        hub.claim(taskid);
        vm.warp(deadline);
        vm.expectEmit(address(hub));
        emit IPocoHub.TaskClaimed(taskid);
        hub.claim(taskid);
        assertTask(dealid, 0, IPocoHub.TaskStatus.FAILED);

        bytes32[] memory deals = new bytes32[](2);
        uint256[] memory indexes = new uint256[](2);
        (deals[0], deals[1], indexes[0], indexes[1]) = (dealid, dealid, 1, 2);
        hub.initializeAndClaimArray(deals, indexes);
        assertAccount(alice, WALLET, 0);
        // What has ended is passed over, what is unknown is not.
        hub.initializeAndClaimArray(deals, indexes);
        bytes32[] memory claimed = new bytes32[](1);
        claimed[0] = taskOf(dealid, 2);
        hub.claimArray(claimed);
        assertAccount(alice, WALLET, 0);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.TaskKnown.selector, claimed[0]));
        hub.initialize(dealid, 2);
        claimed[0] = "none";
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.TaskNotOpen.selector, claimed[0], IPocoHub.TaskStatus.UNSET));
        hub.claimArray(claimed);
        claimed[0] = taskOf(dealid, 2);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.ArraysDiffer.selector, 2, 1));
        hub.initializeAndClaimArray(deals, one(1));
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.TaskNotOpen.selector, claimed[0], IPocoHub.TaskStatus.FAILED));
        hub.resultFor(claimed[0]);
    }

    function test_claimArray_refundsSeveral() public {
        bytes32 dealid = matched(2);
        bytes32[] memory tasks = new bytes32[](2);
        (tasks[0], tasks[1]) = (hub.initialize(dealid, 0), hub.initialize(dealid, 1));
        vm.warp(block.timestamp + 3000);
        hub.claimArray(tasks);
        assertAccount(alice, WALLET, 0);
    }

    function test_decline_refundsEarly() public {
        bytes32 dealid = matched(3);
        uint256[] memory indexes = new uint256[](2);
        (indexes[0], indexes[1]) = (2, 0);
        vm.expectEmit(address(hub));
        emit IPocoHub.TaskDeclined(taskOf(dealid, 2));
        vm.prank(pool);
        hub.declineTasks(dealid, indexes);
        assertAccount(alice, WALLET - TASK_PRICE, TASK_PRICE);
        assertTask(dealid, 2, IPocoHub.TaskStatus.FAILED);
        settle(dealid, 2);
        assertAccount(pool, 0, 0);
    }

    function test_trust_needsSignaturesOfBondedWorkers() public {
        uint256[8] memory trusts = [uint256(0), 1, 2, 3, 4, 5, 16, 17];
        uint256[8] memory needed = [uint256(0), 0, 1, 2, 2, 3, 4, 5];
        for (uint256 i = 0; i < 8; ++i) {
            assertEq(hub.signaturesFor(trusts[i]), needed[i], "signatures");
        }
        IPocoHub.RequestOrder memory r = requestOrder(2);
        r.trust = 3;
        bytes32 dealid = matched(r);
        bytes memory proof = signatures(dealid, 0, r.params);
        bytes memory why = abi.encodeWithSelector(IPocoHub.SignaturesRefused.selector, taskOf(dealid, 0));
        vm.startPrank(pool);
        vm.expectRevert(why);
        hub.settleTasks(dealid, reports(0, ""));
        vm.expectRevert(why);
        hub.settleTasks(dealid, reports(0, proof));
        vm.stopPrank();
        bond("worker 1");
        bond("worker 2");
        IPocoHub.TaskReport[] memory moved = reports(0, proof);
        moved[0].results = "elsewhere";
        vm.startPrank(pool);
        vm.expectRevert(why);
        hub.settleTasks(dealid, moved);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.SignaturesRefused.selector, taskOf(dealid, 1)));
        hub.settleTasks(dealid, reports(1, proof));
        hub.settleTasks(dealid, reports(0, proof));
        vm.stopPrank();
        assertTask(dealid, 0, IPocoHub.TaskStatus.COMPLETED);
    }

    /// @dev PoCo's free attack: with an own app, an own pool and price 0, self-made tasks earned two workers a score, and
    /// then one arbitrary digest closed a trust-3 deal of somebody else. Here no number of tasks earns any weight: what
    /// counts is a bond, and it is lost by the first contradiction.
    function test_attack_farmedReputationIsWorthNothing() public {
        (IPocoHub.AppOrder memory a, IPocoHub.DatasetOrder memory none) = (appOrder(), datasetOrder());
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        (a.appprice, w.workerpoolprice, none.datasetprice) = (0, 0, 0);
        IPocoHub.RequestOrder memory farm = requestOrder(12);
        farm.salt = "farm";
        bytes32 farmed = hub.matchOrders(signed(a), signed(none), signed(w), signed(farm));
        for (uint256 i = 0; i < 12; ++i) {
            settle(farmed, i);
        }
        IPocoHub.RequestOrder memory victim = requestOrder(1);
        victim.trust = 3;
        bytes32 dealid = matched(victim);
        bytes memory proof = signatures(dealid, 0, victim.params);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.SignaturesRefused.selector, taskOf(dealid, 0)));
        vm.prank(pool);
        hub.settleTasks(dealid, reports(0, proof));
    }

    /// @dev Two deals that differ in nothing but their place in one request: what was signed for one is no good for the other.
    function test_attack_signaturesOfOneDealSettleNoOther() public {
        bond("worker 1");
        bond("worker 2");
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        w.volume = 1;
        IPocoHub.RequestOrder memory r = requestOrder(2);
        r.trust = 3;
        bytes32 first = matchedWith(signed(w), r);
        w.salt = "another";
        bytes32 second = matchedWith(signed(w), r);
        bytes memory proof = signatures(first, 0, r.params);
        vm.startPrank(pool);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.SignaturesRefused.selector, taskOf(second, 1)));
        hub.settleTasks(second, reports(1, proof));
        hub.settleTasks(first, reports(0, proof));
        vm.stopPrank();
    }

    function matchedWith(IPocoHub.WorkerpoolOrder memory w, IPocoHub.RequestOrder memory r) private returns (bytes32) {
        return hub.matchOrders(signed(appOrder()), signed(datasetOrder()), w, signed(r));
    }

    /// @dev Orders that are equal, salt included, are one order: signed twice, its volume is there once.
    function test_attack_equalSaltsShareOneVolume() public {
        IPocoHub.RequestOrder memory r = requestOrder(1);
        matched(r);
        IPocoHub.RequestOrder memory twin = requestOrder(1);
        twin.sign = "";
        refuses(twin, abi.encodeWithSelector(IPocoHub.OrderConsumed.selector));
        assertAccount(alice, WALLET - TASK_PRICE, TASK_PRICE);
    }

    /// @dev A callback that settles its own task again, declines it, or claims it, gets nothing for it.
    function test_attack_aCallbackThatComesBackIntoTheHub() public {
        HubReenterer callback = new HubReenterer(hub);
        vm.prank(pool);
        pools.transferFrom(pool, address(callback), uint160(workerpool));
        IPocoHub.RequestOrder memory r = requestOrder(1);
        r.callback = address(callback);
        IPocoHub.WorkerpoolOrder memory w = poolOrder();
        callback.sell(IPocoHub.WorkerpoolOrderOperation(w, IPocoHub.OrderOperation.SIGN, ""));
        bytes32 dealid = matchedWith(w, r);
        callback.settle(dealid);
        assertTrue(callback.refused(), "it came back");
        assertTask(dealid, 0, IPocoHub.TaskStatus.COMPLETED);
        assertAccount(address(callback), 20, 0);
        assertAccount(alice, WALLET - TASK_PRICE, 0);
    }

    function test_trust_withoutACourtIsThePoolsWord() public {
        hub = new PocoHub(address(token), apps, datasets, pools, ICourt(address(0)));
        deposit(alice, 1000);
        settle(matched(1), 0);
        IPocoHub.RequestOrder memory r = requestOrder(1);
        r.trust = 2;
        refuses(r, abi.encodeWithSelector(IPocoHub.TrustNotOffered.selector, 2, 1));
    }

    function test_callback_isDeliveredAndSurvived() public {
        address[4] memory callbacks =
            [address(new Recorder()), address(new Reverter(300)), address(new Looper()), address(new Bomb(true))];
        for (uint256 i = 0; i < 4; ++i) {
            IPocoHub.RequestOrder memory r = requestOrder(1);
            (r.callback, r.salt) = (callbacks[i], bytes32(i));
            bytes32 dealid = matched(r);
            settle(dealid, 0);
            assertTask(dealid, 0, IPocoHub.TaskStatus.COMPLETED);
            if (i > 0) continue;
            assertEq(Recorder(callbacks[0]).id(), taskOf(dealid, 0), "id");
            assertEq(Recorder(callbacks[0]).result(), "callback", "result");
        }
        assertAccount(pool, 80, 0);
    }

    function test_categories_areAddedByTheDeployerOnly() public {
        assertEq(hub.countCategory(), 5, "categories");
        assertEq(hub.viewCategory(4).workClockTimeRef, 36_000, "XL");
        assertEq(hub.createCategory("XXL", "a day", 86_400), 5, "id");
        assertEq(bytes(hub.viewCategory(5).name), "XXL", "name");
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.CategoryUnknown.selector, 6));
        hub.viewCategory(6);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.NotOwner.selector, stranger, address(this)));
        vm.prank(stranger);
        hub.createCategory("x", "y", 1);
    }

    function test_accounts_moveLikeTokens() public {
        vm.startPrank(alice);
        hub.transfer(bob, 10);
        hub.approve(stranger, 25);
        vm.stopPrank();
        assertEq(hub.allowance(alice, stranger), 25, "allowance");
        vm.startPrank(stranger);
        hub.transferFrom(alice, bob, 20);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.AllowanceTooLow.selector, alice, stranger, 5, 6));
        hub.transferFrom(alice, bob, 6);
        vm.stopPrank();
        assertEq(hub.balanceOf(bob), 30, "bob");
        vm.startPrank(bob);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.StakeTooLow.selector, bob, 30, 31));
        hub.transfer(alice, 31);
        vm.expectRevert(IPocoHub.ZeroAddress.selector);
        hub.transfer(address(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.StakeTooLow.selector, bob, 30, 31));
        hub.withdraw(31);
        vm.expectRevert(abi.encodeWithSelector(IPocoHub.InvalidReceiver.selector, address(hub)));
        hub.withdrawTo(1, address(hub));
        hub.withdrawTo(10, stranger);
        hub.withdraw(20);
        vm.stopPrank();
        assertEq(token.balanceOf(stranger), 10, "stranger's wallet");
        assertEq(token.balanceOf(bob), 20, "bob's wallet");
        token.approve(address(hub), 100);
        hub.deposit(50);
        vm.expectRevert(IPocoHub.ZeroAddress.selector);
        hub.depositFor(50, address(0));
        hub.transfer(address(this), 50);
        assertAccount(address(this), 50, 0);
    }

    function test_views_ofNothingAreEmpty() public view {
        assertEq(hub.viewDeal("none").app.pointer, address(0), "deal");
        assertEq(uint256(hub.viewTask("none").dealid), 0, "task");
        assertEq(hub.token(), address(token), "token");
        assertEq(hub.appregistry(), address(apps), "apps");
        assertEq(hub.datasetregistry(), address(datasets), "datasets");
        assertEq(hub.workerpoolregistry(), address(pools), "pools");
        assertEq(hub.final_deadline_ratio(), 10, "ratio");
        assertEq(hub.owner(), address(this), "owner");
        IPocoHub.EIP712Domain memory domain = hub.domain();
        assertEq(domain.chainId, block.chainid, "chain");
        assertEq(domain.verifyingContract, address(hub), "hub");
    }

    function bond(string memory name) private {
        address worker = actor(name);
        token.transfer(worker, 1000);
        vm.startPrank(worker);
        token.approveAndCall(address(court), 1000, "");
        court.bond(pool);
        vm.stopPrank();
    }

    function signatures(bytes32 dealid, uint256 idx, string memory params) private returns (bytes memory) {
        ICourt.Statement memory said = ICourt.Statement(
            taskOf(dealid, idx),
            keccak256(bytes(params)),
            keccak256(abi.encode(keccak256(RESULTS), keccak256("callback")))
        );
        bytes32 hash = court.statementHash(said);
        (bytes memory one_, bytes memory two) = (signAs("worker 1", hash), signAs("worker 2", hash));
        return actor("worker 1") < actor("worker 2") ? bytes.concat(one_, two) : bytes.concat(two, one_);
    }

    function refuses(IPocoHub.RequestOrder memory r, bytes memory why) private {
        refuses(appOrder(), datasetOrder(), poolOrder(), r, why);
    }

    function refuses(
        IPocoHub.AppOrder memory a,
        IPocoHub.DatasetOrder memory d,
        IPocoHub.WorkerpoolOrder memory w,
        IPocoHub.RequestOrder memory r,
        bytes memory why
    ) private {
        (a, d, w, r) = (signed(a), signed(d), signed(w), signed(r));
        vm.expectRevert(why);
        hub.matchOrders(a, d, w, r);
    }

    function notSigned(bytes32 hash, address signer) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IPocoHub.NotSigned.selector, hash, signer);
    }

    function one(uint256 index) private pure returns (uint256[] memory indexes) {
        indexes = new uint256[](1);
        indexes[0] = index;
    }
}
