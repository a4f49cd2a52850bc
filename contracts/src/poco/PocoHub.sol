// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Callbacks} from "../Callbacks.sol";
import {Signatures} from "../Signatures.sol";
import {Statements} from "../Statements.sol";
import {ICourt} from "../interfaces/ICourt.sol";
import {DealRecord} from "./DealRecord.sol";
import {IPocoHub} from "./IPocoHub.sol";
import {PocoAccounts} from "./PocoAccounts.sol";
import {PocoOrders} from "./PocoOrders.sol";
import {Registry} from "./Registries.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @dev A group of accounts (ERC-734): what an order can be restricted to instead of one address.
interface IGroup {
    function keyHasPurpose(bytes32 key, uint256 purpose) external view returns (bool);
}

/// @title The market as iExec's SDK and CLI know it
/// @dev Shares the rules of money with `Market`, but no money: what goes wrong here cannot reach there. No re-entrancy
/// guard, for the same reason as there: books are finished before anybody is called.
contract PocoHub is PocoAccounts, EIP712 {
    using PocoOrders for *;

    /// @dev Two words; the rest of a finished task is code.
    struct StoredTask {
        bytes32 dealid;
        address record;
        uint48 idx;
        TaskStatus status;
    }

    /// @dev The orders' hashes and signers while they are matched.
    struct Matching {
        bytes32 app;
        bytes32 dataset;
        bytes32 workerpool;
        bytes32 request;
        uint256 volume;
        uint256 consumed;
    }

    uint256 public constant MAX_PARAMS_BYTES = 4096;
    uint256 public constant MAX_RESULT_BYTES = 8192;
    /// @notice Gas that a callback is guaranteed, and limited to.
    uint256 public constant callbackgas = 200_000;
    uint256 public constant contribution_deadline_ratio = 7;
    uint256 public constant reveal_deadline_ratio = 2;
    uint256 public constant final_deadline_ratio = 10;
    uint256 private constant GROUP_MEMBER = 4;
    bytes32 private constant TEE = bytes32(uint256(1));
    /// @dev Which enclave a dataset was made for says nothing about the deal.
    bytes32 private constant TEE_FRAMEWORKS = bytes32(uint256(0xe));

    address public immutable owner = msg.sender;
    Registry private immutable APPS;
    Registry private immutable DATASETS;
    Registry private immutable POOLS;
    ICourt private immutable COURT;
    bytes32 private immutable COURT_DOMAIN;

    Category[] private _categories;
    mapping(bytes32 orderHash => uint256) private _consumed;
    mapping(bytes32 orderHash => address) private _presigned;
    mapping(bytes32 dealid => address) private _deals;
    mapping(bytes32 taskid => StoredTask) private _tasks;

    /// @param court Where workers who sign have their bonds; zero if this hub offers no more trust than the pool's word.
    constructor(address token_, Registry apps, Registry datasets, Registry pools, ICourt court)
        PocoAccounts(token_)
        EIP712("iExecODB", "5.0.0")
    {
        (APPS, DATASETS, POOLS, COURT) = (apps, datasets, pools, court);
        if (address(court) != address(0)) COURT_DOMAIN = court.domainSeparator();
        _categories.push(Category("XS", "5 minutes", 300));
        _categories.push(Category("S", "20 minutes", 1200));
        _categories.push(Category("M", "1 hour", 3600));
        _categories.push(Category("L", "3 hours", 10_800));
        _categories.push(Category("XL", "10 hours", 36_000));
    }

    /// @inheritdoc IPocoHub
    function receiveApproval(address sender, uint256 amount, address, bytes calldata data) external returns (bool) {
        if (msg.sender != address(TOKEN)) revert NotToken(msg.sender);
        _deposit(sender, sender, amount);
        if (data.length == 0) return true;
        bytes4 selector = bytes4(data[:4]);
        if (selector != this.matchOrders.selector) revert UnknownCall(selector);
        // `matchOrders` asks for no sender: whoever signed the request pays.
        Address.functionDelegateCall(address(this), data);
        return true;
    }

    /// @inheritdoc IPocoHub
    function createCategory(string calldata name, string calldata description, uint256 workClockTimeRef)
        external
        returns (uint256 category)
    {
        if (msg.sender != owner) revert NotOwner(msg.sender, owner);
        category = _categories.length;
        _categories.push(Category(name, description, workClockTimeRef));
        emit CreateCategory(category, name, description, workClockTimeRef);
    }

    /// @inheritdoc IPocoHub
    function manageAppOrder(AppOrderOperation calldata o) external {
        address signer = APPS.ownerOf(uint160(o.order.app));
        bytes32 hash = _hashTypedDataV4(o.order.hash());
        _manage(signer, hash, o.order.volume, o.operation, o.hash(), o.sign);
        if (o.operation == OrderOperation.SIGN) emit SignedAppOrder(hash);
        else emit ClosedAppOrder(hash);
    }

    /// @inheritdoc IPocoHub
    function manageDatasetOrder(DatasetOrderOperation calldata o) external {
        address signer = DATASETS.ownerOf(uint160(o.order.dataset));
        bytes32 hash = _hashTypedDataV4(o.order.hash());
        _manage(signer, hash, o.order.volume, o.operation, o.hash(), o.sign);
        if (o.operation == OrderOperation.SIGN) emit SignedDatasetOrder(hash);
        else emit ClosedDatasetOrder(hash);
    }

    /// @inheritdoc IPocoHub
    function manageWorkerpoolOrder(WorkerpoolOrderOperation calldata o) external {
        address signer = POOLS.ownerOf(uint160(o.order.workerpool));
        bytes32 hash = _hashTypedDataV4(o.order.hash());
        _manage(signer, hash, o.order.volume, o.operation, o.hash(), o.sign);
        if (o.operation == OrderOperation.SIGN) emit SignedWorkerpoolOrder(hash);
        else emit ClosedWorkerpoolOrder(hash);
    }

    /// @inheritdoc IPocoHub
    function manageRequestOrder(RequestOrderOperation calldata o) external {
        bytes32 hash = _hashTypedDataV4(o.order.hash());
        _manage(o.order.requester, hash, o.order.volume, o.operation, o.hash(), o.sign);
        if (o.operation == OrderOperation.SIGN) emit SignedRequestOrder(hash);
        else emit ClosedRequestOrder(hash);
    }

    /// @inheritdoc IPocoHub
    function matchOrders(
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder
    ) external returns (bytes32) {
        return _match(apporder, datasetorder, workerpoolorder, requestorder, requestorder.requester);
    }

    /// @inheritdoc IPocoHub
    function sponsorMatchOrders(
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder
    ) external returns (bytes32 dealid) {
        dealid = _match(apporder, datasetorder, workerpoolorder, requestorder, msg.sender);
        emit DealSponsored(dealid, msg.sender);
    }

    /// @inheritdoc IPocoHub
    function initialize(bytes32 dealid, uint256 idx) external returns (bytes32 taskid) {
        Deal memory deal = _deal(dealid);
        taskid = keccak256(abi.encode(dealid, idx));
        if (_tasks[taskid].status != TaskStatus.UNSET) revert TaskKnown(taskid);
        _open(dealid, deal, idx);
        emit TaskInitialize(taskid, deal.workerpool.pointer);
    }

    /// @inheritdoc IPocoHub
    function settleTasks(bytes32 dealid, TaskReport[] calldata reports) external {
        Deal memory deal = _deal(dealid);
        if (msg.sender != deal.workerpool.owner) revert NotOwner(msg.sender, deal.workerpool.owner);
        uint256 deadline = _deadline(deal);
        if (block.timestamp >= deadline) revert DeadlinePassed(deadline);
        for (uint256 i = 0; i < reports.length; ++i) {
            bytes32 taskid = _open(dealid, deal, reports[i].idx);
            if (taskid != 0) _settle(taskid, deal, reports[i]);
        }
    }

    /// @inheritdoc IPocoHub
    function declineTasks(bytes32 dealid, uint256[] calldata indexes) external {
        Deal memory deal = _deal(dealid);
        if (msg.sender != deal.workerpool.owner) revert NotOwner(msg.sender, deal.workerpool.owner);
        for (uint256 i = 0; i < indexes.length; ++i) {
            bytes32 taskid = _open(dealid, deal, indexes[i]);
            if (taskid == 0) continue;
            emit TaskDeclined(taskid);
            _refund(taskid, deal);
        }
    }

    /// @inheritdoc IPocoHub
    function claim(bytes32 taskid) external {
        _claim(taskid);
    }

    /// @inheritdoc IPocoHub
    function claimArray(bytes32[] calldata taskids) external returns (bool) {
        for (uint256 i = 0; i < taskids.length; ++i) {
            if (_tasks[taskids[i]].status <= TaskStatus.ACTIVE) _claim(taskids[i]);
        }
        return true;
    }

    /// @inheritdoc IPocoHub
    function initializeAndClaimArray(bytes32[] calldata dealids, uint256[] calldata indexes) external returns (bool) {
        if (dealids.length != indexes.length) revert ArraysDiffer(dealids.length, indexes.length);
        for (uint256 i = 0; i < dealids.length; ++i) {
            bytes32 taskid = _open(dealids[i], _deal(dealids[i]), indexes[i]);
            if (taskid != 0) _claim(taskid);
        }
        return true;
    }

    /// @inheritdoc IPocoHub
    function viewConsumed(bytes32 orderHash) external view returns (uint256) {
        return _consumed[orderHash];
    }

    /// @inheritdoc IPocoHub
    function viewPresigned(bytes32 orderHash) external view returns (address) {
        return _presigned[orderHash];
    }

    /// @inheritdoc IPocoHub
    function verifySignature(address account, bytes32 hash, bytes calldata signature) external view returns (bool) {
        return Signatures.isBy(account, hash, signature);
    }

    /// @inheritdoc IPocoHub
    function verifyPresignature(address account, bytes32 hash) external view returns (bool) {
        return account != address(0) && _presigned[hash] == account;
    }

    /// @inheritdoc IPocoHub
    function verifyPresignatureOrSignature(address account, bytes32 hash, bytes calldata signature)
        external
        view
        returns (bool)
    {
        return _isSigned(account, hash, signature);
    }

    /// @inheritdoc IPocoHub
    function viewDeal(bytes32 dealid) external view returns (Deal memory deal) {
        if (_deals[dealid] != address(0)) deal = DealRecord.read(_deals[dealid]);
    }

    /// @inheritdoc IPocoHub
    function viewTask(bytes32 taskid) external view returns (Task memory task) {
        StoredTask storage stored = _tasks[taskid];
        if (stored.status == TaskStatus.UNSET) return task;
        Deal memory deal = DealRecord.read(_deals[stored.dealid]);
        (task.status, task.dealid, task.idx) = (stored.status, stored.dealid, stored.idx);
        task.timeref = _categories[deal.category].workClockTimeRef;
        task.contributionDeadline = deal.startTime + contribution_deadline_ratio * task.timeref;
        task.revealDeadline = deal.startTime + (contribution_deadline_ratio + reveal_deadline_ratio) * task.timeref;
        task.finalDeadline = _deadline(deal);
        if (stored.status != TaskStatus.COMPLETED) return task;
        (task.resultsTimestamp, task.results, task.resultsCallback) = DealRecord.readTask(stored.record);
        task.resultDigest = _digest(task.results, task.resultsCallback);
        task.consensusValue = task.resultDigest;
    }

    /// @inheritdoc IPocoHub
    function resultFor(bytes32 taskid) external view returns (bytes memory resultsCallback) {
        StoredTask storage stored = _tasks[taskid];
        if (stored.status != TaskStatus.COMPLETED) revert TaskNotOpen(taskid, stored.status);
        (,, resultsCallback) = DealRecord.readTask(stored.record);
    }

    /// @inheritdoc IPocoHub
    function viewCategory(uint256 category) external view returns (Category memory) {
        if (category >= _categories.length) revert CategoryUnknown(category);
        return _categories[category];
    }

    /// @inheritdoc IPocoHub
    function countCategory() external view returns (uint256) {
        return _categories.length;
    }

    /// @inheritdoc IPocoHub
    function domain() external view returns (EIP712Domain memory) {
        return EIP712Domain("iExecODB", "5.0.0", block.chainid, address(this));
    }

    /// @inheritdoc IPocoHub
    function appregistry() external view returns (address) {
        return address(APPS);
    }

    /// @inheritdoc IPocoHub
    function datasetregistry() external view returns (address) {
        return address(DATASETS);
    }

    /// @inheritdoc IPocoHub
    function workerpoolregistry() external view returns (address) {
        return address(POOLS);
    }

    /// @inheritdoc IPocoHub
    function signaturesFor(uint256 trust) public pure returns (uint256) {
        return Math.log2(trust, Math.Rounding.Ceil);
    }

    function _manage(
        address signer,
        bytes32 hash,
        uint256 volume,
        OrderOperation operation,
        bytes32 operationHash,
        bytes calldata sign
    ) internal {
        if (msg.sender != signer && !Signatures.isBy(signer, _hashTypedDataV4(operationHash), sign)) {
            revert NotOwner(msg.sender, signer);
        }
        if (operation == OrderOperation.SIGN) _presigned[hash] = signer;
        else _consumed[hash] = volume;
    }

    function _match(
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder,
        address sponsor
    ) internal returns (bytes32 dealid) {
        _checkTerms(apporder, datasetorder, workerpoolorder, requestorder);
        _checkRestrictions(apporder, datasetorder, workerpoolorder, requestorder);
        Deal memory deal;
        _setParties(deal, apporder, datasetorder, workerpoolorder, requestorder, sponsor);
        Matching memory matching = _authorize(deal, apporder, datasetorder, workerpoolorder, requestorder);
        _consume(matching, apporder, datasetorder, workerpoolorder, requestorder);

        dealid = keccak256(abi.encodePacked(matching.request, matching.consumed));
        deal.tag = apporder.tag | (datasetorder.tag & ~TEE_FRAMEWORKS) | requestorder.tag;
        deal.trust = requestorder.trust;
        deal.category = requestorder.category;
        deal.params = requestorder.params;
        (deal.startTime, deal.botFirst, deal.botSize) = (block.timestamp, matching.consumed, matching.volume);
        _deals[dealid] = DealRecord.write(deal);
        _lock(sponsor, _taskPrice(deal) * matching.volume);
        emit SchedulerNotice(workerpoolorder.workerpool, dealid);
        emit OrdersMatched(
            dealid, matching.app, matching.dataset, matching.workerpool, matching.request, matching.volume
        );
    }

    function _checkTerms(
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder
    ) internal view {
        if (requestorder.category != workerpoolorder.category) {
            revert CategoryMismatch(requestorder.category, workerpoolorder.category);
        }
        if (requestorder.category >= _categories.length) revert CategoryUnknown(requestorder.category);
        uint256 trust = address(COURT) == address(0) ? Math.min(1, workerpoolorder.trust) : workerpoolorder.trust;
        if (requestorder.trust > trust || requestorder.trust > type(uint64).max) {
            revert TrustNotOffered(requestorder.trust, trust);
        }
        _checkPrice(apporder.app, apporder.appprice, requestorder.appmaxprice);
        _checkPrice(datasetorder.dataset, datasetorder.datasetprice, requestorder.datasetmaxprice);
        _checkPrice(workerpoolorder.workerpool, workerpoolorder.workerpoolprice, requestorder.workerpoolmaxprice);

        bytes32 tag = apporder.tag | (datasetorder.tag & ~TEE_FRAMEWORKS) | requestorder.tag;
        if (tag & ~workerpoolorder.tag != 0) revert TagNotOffered(tag, workerpoolorder.tag);
        if (tag & ~apporder.tag & TEE != 0) revert TagNotOffered(tag, apporder.tag);
        if (bytes(requestorder.params).length > MAX_PARAMS_BYTES) {
            revert ParamsTooLong(bytes(requestorder.params).length);
        }
    }

    function _checkPrice(address asset, uint256 price, uint256 priceMax) internal pure {
        if (price > priceMax) revert PriceAboveMax(asset, price, priceMax);
        if (price > type(uint96).max) revert PriceTooLarge(price);
    }

    function _checkRestrictions(
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder
    ) internal view {
        (address app, address dataset) = (apporder.app, datasetorder.dataset);
        (address pool, address requester) = (workerpoolorder.workerpool, requestorder.requester);
        if (requestorder.app != app) revert AssetMismatch(requestorder.app, app);
        if (requestorder.dataset != dataset) revert AssetMismatch(requestorder.dataset, dataset);
        _restrict(requestorder.workerpool, pool);
        _restrict(apporder.datasetrestrict, dataset);
        _restrict(apporder.workerpoolrestrict, pool);
        _restrict(apporder.requesterrestrict, requester);
        _restrict(workerpoolorder.apprestrict, app);
        _restrict(workerpoolorder.datasetrestrict, dataset);
        _restrict(workerpoolorder.requesterrestrict, requester);
        if (dataset == address(0)) return;
        _restrict(datasetorder.apprestrict, app);
        _restrict(datasetorder.workerpoolrestrict, pool);
        _restrict(datasetorder.requesterrestrict, requester);
    }

    function _restrict(address restriction, address account) internal view {
        if (restriction == address(0) || restriction == account) return;
        if (restriction.code.length > 0) {
            bytes32 key = bytes32(uint256(uint160(account)));
            try IGroup(restriction).keyHasPurpose(key, GROUP_MEMBER) returns (bool isMember) {
                if (isMember) return;
            } catch {}
        }
        revert Restricted(restriction, account);
    }

    function _setParties(
        Deal memory deal,
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder,
        address sponsor
    ) internal view {
        deal.app = _resource(APPS, apporder.app, apporder.appprice);
        if (datasetorder.dataset != address(0)) {
            deal.dataset = _resource(DATASETS, datasetorder.dataset, datasetorder.datasetprice);
        }
        deal.workerpool = _resource(POOLS, workerpoolorder.workerpool, workerpoolorder.workerpoolprice);
        deal.requester = requestorder.requester;
        deal.beneficiary = requestorder.beneficiary;
        deal.callback = requestorder.callback;
        deal.sponsor = sponsor;
    }

    function _resource(Registry registry, address asset, uint256 price) internal view returns (Resource memory) {
        if (!registry.isRegistered(asset)) revert NotRegistered(asset);
        return Resource(asset, registry.ownerOf(uint160(asset)), price);
    }

    function _authorize(
        Deal memory deal,
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder
    ) internal view returns (Matching memory matching) {
        matching.app = _authorized(deal.app.owner, apporder.hash(), apporder.sign);
        if (deal.dataset.pointer != address(0)) {
            matching.dataset = _authorized(deal.dataset.owner, datasetorder.hash(), datasetorder.sign);
        }
        matching.workerpool = _authorized(deal.workerpool.owner, workerpoolorder.hash(), workerpoolorder.sign);
        matching.request = _authorized(deal.requester, requestorder.hash(), requestorder.sign);
    }

    function _authorized(address signer, bytes32 structHash, bytes calldata sign) internal view returns (bytes32 hash) {
        hash = _hashTypedDataV4(structHash);
        if (!_isSigned(signer, hash, sign)) revert NotSigned(hash, signer);
    }

    function _isSigned(address signer, bytes32 hash, bytes calldata sign) internal view returns (bool) {
        return Signatures.isBy(signer, hash, sign) || (signer != address(0) && _presigned[hash] == signer);
    }

    /// @dev As many tasks as all orders have left.
    function _consume(
        Matching memory matching,
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder
    ) internal {
        (bytes32 dataset, uint256 consumed) = (matching.dataset, _consumed[matching.request]);
        uint256 volume = Math.saturatingSub(requestorder.volume, consumed);
        volume = Math.min(volume, Math.saturatingSub(apporder.volume, _consumed[matching.app]));
        volume = Math.min(volume, Math.saturatingSub(workerpoolorder.volume, _consumed[matching.workerpool]));
        if (dataset != 0) volume = Math.min(volume, Math.saturatingSub(datasetorder.volume, _consumed[dataset]));
        // What a deal's record has room for.
        if (volume == 0 || consumed + volume > type(uint48).max) revert OrderConsumed();
        (matching.volume, matching.consumed) = (volume, consumed);
        _consumed[matching.request] = consumed + volume;
        _consumed[matching.app] += volume;
        _consumed[matching.workerpool] += volume;
        if (dataset != 0) _consumed[dataset] += volume;
    }

    /// @dev Makes sure that a task is there.
    /// @return taskid Its id, or 0 if it has ended.
    function _open(bytes32 dealid, Deal memory deal, uint256 idx) internal returns (bytes32 taskid) {
        if (idx < deal.botFirst || idx - deal.botFirst >= deal.botSize) {
            revert IndexNotInDeal(idx, deal.botFirst, deal.botSize);
        }
        taskid = keccak256(abi.encode(dealid, idx));
        TaskStatus status = _tasks[taskid].status;
        if (status == TaskStatus.ACTIVE) return taskid;
        if (status != TaskStatus.UNSET) return 0;
        // forge-lint: disable-next-line(unsafe-typecast)
        _tasks[taskid] = StoredTask(dealid, address(0), uint48(idx), TaskStatus.ACTIVE); // fits: in the deal
    }

    function _settle(bytes32 taskid, Deal memory deal, TaskReport calldata report) internal {
        if (report.results.length > MAX_RESULT_BYTES) revert ResultTooLong(report.results.length);
        if (report.resultsCallback.length > MAX_RESULT_BYTES) revert ResultTooLong(report.resultsCallback.length);
        _checkSignatures(taskid, deal, report);

        StoredTask storage stored = _tasks[taskid];
        stored.record = DealRecord.writeTask(report.results, report.resultsCallback);
        stored.status = TaskStatus.COMPLETED;
        _seize(deal.sponsor, _taskPrice(deal), taskid);
        _reward(deal.app.owner, deal.app.price, taskid);
        _reward(deal.dataset.owner, deal.dataset.price, taskid);
        _reward(deal.workerpool.owner, deal.workerpool.price, taskid);
        emit TaskFinalize(taskid, report.results);
        if (deal.callback == address(0)) return;
        (bool success, bytes memory reason) =
            Callbacks.deliver(taskid, deal.callback, callbackgas, report.resultsCallback);
        if (!success) emit CallbackFailed(taskid, reason);
    }

    function _checkSignatures(bytes32 taskid, Deal memory deal, TaskReport calldata report) internal view {
        uint256 count = signaturesFor(deal.trust);
        if (count == 0) return;
        bytes32 inputs = keccak256(bytes(deal.params));
        bytes32 digest = _digest(report.results, report.resultsCallback);
        if (!Statements.areSigned(COURT, COURT_DOMAIN, taskid, inputs, digest, count, report.proof)) {
            revert SignaturesRefused(taskid);
        }
    }

    function _claim(bytes32 taskid) internal {
        StoredTask storage stored = _tasks[taskid];
        if (stored.status != TaskStatus.ACTIVE) revert TaskNotOpen(taskid, stored.status);
        Deal memory deal = _deal(stored.dealid);
        uint256 deadline = _deadline(deal);
        if (block.timestamp < deadline) revert DeadlineNotPassed(deadline);
        _refund(taskid, deal);
    }

    function _refund(bytes32 taskid, Deal memory deal) internal {
        _tasks[taskid].status = TaskStatus.FAILED;
        _unlock(deal.sponsor, _taskPrice(deal));
        emit TaskClaimed(taskid);
    }

    function _deal(bytes32 dealid) internal view returns (Deal memory) {
        if (_deals[dealid] == address(0)) revert DealUnknown(dealid);
        return DealRecord.read(_deals[dealid]);
    }

    /// @dev From this second on a task can be refunded, and no longer be settled.
    function _deadline(Deal memory deal) internal view returns (uint256) {
        return deal.startTime + final_deadline_ratio * _categories[deal.category].workClockTimeRef;
    }

    function _taskPrice(Deal memory deal) internal pure returns (uint256) {
        return deal.app.price + deal.dataset.price + deal.workerpool.price;
    }

    /// @dev What workers sign: where the result is, and what the contract receives.
    function _digest(bytes memory results, bytes memory resultsCallback) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256(results), keccak256(resultsCallback)));
    }
}
