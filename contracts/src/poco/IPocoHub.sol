// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title The market as iExec's SDK and CLI know it
/// @notice Orders of four kinds (app, dataset, pool, request) are signed off chain by their owners and matched by
/// anybody into a deal: a bag of tasks for which the payer's money is locked. Names, structs and events that the SDK sees
/// are iExec's. How a task ends is gristmill's: the pool's owner hands in its result in one transaction, with as many
/// signatures of bonded workers as the order's `trust` asks for.
///
/// Differences that a requester can notice: pools lock no stake and lose none for being late; a task can be refunded
/// early, when the pool declines it; tags are matched as always but demand no enclave of the chain's knowledge; apps,
/// datasets and pools are enumerable by owner only.
interface IPocoHub {
    struct AppOrder {
        address app;
        uint256 appprice;
        uint256 volume;
        bytes32 tag;
        address datasetrestrict;
        address workerpoolrestrict;
        address requesterrestrict;
        bytes32 salt;
        bytes sign;
    }

    struct DatasetOrder {
        address dataset;
        uint256 datasetprice;
        uint256 volume;
        bytes32 tag;
        address apprestrict;
        address workerpoolrestrict;
        address requesterrestrict;
        bytes32 salt;
        bytes sign;
    }

    struct WorkerpoolOrder {
        address workerpool;
        uint256 workerpoolprice;
        uint256 volume;
        bytes32 tag;
        uint256 category;
        uint256 trust;
        address apprestrict;
        address datasetrestrict;
        address requesterrestrict;
        bytes32 salt;
        bytes sign;
    }

    struct RequestOrder {
        address app;
        uint256 appmaxprice;
        address dataset;
        uint256 datasetmaxprice;
        address workerpool;
        uint256 workerpoolmaxprice;
        address requester;
        uint256 volume;
        bytes32 tag;
        uint256 category;
        uint256 trust;
        address beneficiary;
        address callback;
        string params;
        bytes32 salt;
        bytes sign;
    }

    enum OrderOperation {
        SIGN,
        CLOSE
    }

    struct AppOrderOperation {
        AppOrder order;
        OrderOperation operation;
        bytes sign;
    }

    struct DatasetOrderOperation {
        DatasetOrder order;
        OrderOperation operation;
        bytes sign;
    }

    struct WorkerpoolOrderOperation {
        WorkerpoolOrder order;
        OrderOperation operation;
        bytes sign;
    }

    struct RequestOrderOperation {
        RequestOrder order;
        OrderOperation operation;
        bytes sign;
    }

    struct EIP712Domain {
        string name;
        string version;
        uint256 chainId;
        address verifyingContract;
    }

    struct Account {
        uint256 stake;
        uint256 locked;
    }

    struct Category {
        string name;
        string description;
        uint256 workClockTimeRef;
    }

    struct Resource {
        address pointer;
        address owner;
        uint256 price;
    }

    struct Deal {
        Resource app;
        Resource dataset;
        Resource workerpool;
        uint256 trust;
        uint256 category;
        bytes32 tag;
        address requester;
        address beneficiary;
        address callback;
        string params;
        uint256 startTime;
        uint256 botFirst;
        uint256 botSize;
        uint256 workerStake;
        uint256 schedulerRewardRatio;
        address sponsor;
    }

    enum TaskStatus {
        UNSET,
        ACTIVE,
        REVEALING,
        COMPLETED,
        FAILED
    }

    struct Task {
        TaskStatus status;
        bytes32 dealid;
        uint256 idx;
        uint256 timeref;
        uint256 contributionDeadline;
        uint256 revealDeadline;
        uint256 finalDeadline;
        bytes32 consensusValue;
        uint256 revealCounter;
        uint256 winnerCounter;
        address[] contributors;
        bytes32 resultDigest;
        bytes results;
        uint256 resultsTimestamp;
        bytes resultsCallback;
    }

    /// @notice One task's end.
    /// @param idx Its index in the request order: from the deal's botFirst on.
    /// @param results What the requester fetches: JSON {storage, location}. At most MAX_RESULT_BYTES.
    /// @param resultsCallback What the requester's contract is given. At most MAX_RESULT_BYTES.
    /// @param proof Signatures of bonded workers, as many as `signaturesFor(trust)`: see `Statements`.
    struct TaskReport {
        uint256 idx;
        bytes results;
        bytes resultsCallback;
        bytes proof;
    }

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event Lock(address owner, uint256 amount);
    event Unlock(address owner, uint256 amount);
    event Seize(address owner, uint256 amount, bytes32 ref);
    event Reward(address owner, uint256 amount, bytes32 ref);
    event CreateCategory(uint256 catid, string name, string description, uint256 workClockTimeRef);
    event SignedAppOrder(bytes32 appHash);
    event SignedDatasetOrder(bytes32 datasetHash);
    event SignedWorkerpoolOrder(bytes32 workerpoolHash);
    event SignedRequestOrder(bytes32 requestHash);
    event ClosedAppOrder(bytes32 appHash);
    event ClosedDatasetOrder(bytes32 datasetHash);
    event ClosedWorkerpoolOrder(bytes32 workerpoolHash);
    event ClosedRequestOrder(bytes32 requestHash);
    event SchedulerNotice(address indexed workerpool, bytes32 dealid);
    event OrdersMatched(
        bytes32 dealid,
        bytes32 appHash,
        bytes32 datasetHash,
        bytes32 workerpoolHash,
        bytes32 requestHash,
        uint256 volume
    );
    event DealSponsored(bytes32 dealId, address sponsor);
    event TaskInitialize(bytes32 indexed taskid, address indexed workerpool);
    event TaskFinalize(bytes32 indexed taskid, bytes results);
    event TaskClaimed(bytes32 indexed taskid);
    /// @notice The pool has given a task back before its deadline. `TaskClaimed` follows.
    event TaskDeclined(bytes32 indexed taskid);
    event CallbackFailed(bytes32 indexed taskid, bytes reason);

    error ZeroAddress();
    error NotToken(address caller);
    error InvalidReceiver(address to);
    error StakeTooLow(address account, uint256 stake, uint256 needed);
    error AllowanceTooLow(address owner, address spender, uint256 allowance, uint256 needed);
    error UnknownCall(bytes4 selector);
    error NotOwner(address caller, address owner);
    error CategoryUnknown(uint256 category);
    error CategoryMismatch(uint256 requested, uint256 offered);
    /// @notice The pool offers less trust than is asked for, or this hub has no court to enforce it.
    error TrustNotOffered(uint256 requested, uint256 offered);
    error PriceAboveMax(address asset, uint256 price, uint256 priceMax);
    error PriceTooLarge(uint256 price);
    error TagNotOffered(bytes32 tag, bytes32 offered);
    /// @notice The orders are for different assets.
    error AssetMismatch(address asset, address other);
    /// @notice An order is restricted to another asset or account.
    error Restricted(address restriction, address account);
    error NotRegistered(address asset);
    /// @notice The order is neither signed nor presigned by this account.
    error NotSigned(bytes32 orderHash, address signer);
    error OrderConsumed();
    error ParamsTooLong(uint256 length);
    error DealUnknown(bytes32 dealid);
    error IndexNotInDeal(uint256 idx, uint256 first, uint256 size);
    error TaskNotOpen(bytes32 taskid, TaskStatus status);
    error TaskKnown(bytes32 taskid);
    error DeadlinePassed(uint256 deadline);
    error DeadlineNotPassed(uint256 deadline);
    error ResultTooLong(uint256 length);
    error SignaturesRefused(bytes32 taskid);
    error ArraysDiffer(uint256 one, uint256 other);

    /// @notice Pulls `amount` from the caller's wallet into its stake.
    function deposit(uint256 amount) external returns (bool);

    function depositFor(uint256 amount, address target) external returns (bool);

    function withdraw(uint256 amount) external returns (bool);

    function withdrawTo(uint256 amount, address target) external returns (bool);

    /// @notice `RLC.approveAndCall(hub, amount, data)`: deposits `amount`; if `data` is a call of `matchOrders`, makes it.
    function receiveApproval(address sender, uint256 amount, address token, bytes calldata data) external returns (bool);

    function transfer(address to, uint256 amount) external returns (bool);

    function transferFrom(address from, address to, uint256 amount) external returns (bool);

    function approve(address spender, uint256 amount) external returns (bool);

    function createCategory(string calldata name, string calldata description, uint256 workClockTimeRef)
        external
        returns (uint256);

    /// @notice Signs an order on chain, or closes it for good. By the owner, or with its signature under the operation.
    function manageAppOrder(AppOrderOperation calldata operation) external;

    function manageDatasetOrder(DatasetOrderOperation calldata operation) external;

    function manageWorkerpoolOrder(WorkerpoolOrderOperation calldata operation) external;

    function manageRequestOrder(RequestOrderOperation calldata operation) external;

    /// @notice Makes a deal, paid by the requester. Anybody may call: the orders say what their owners agree to.
    /// @return dealid `keccak256(requestHash, units of it consumed before)`.
    function matchOrders(
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder
    ) external returns (bytes32 dealid);

    /// @notice Makes a deal, paid by the caller, who also gets refunds.
    /// @dev Somebody else may match the same orders first; then the requester pays, as it agreed by signing, and the
    /// sponsor nothing.
    function sponsorMatchOrders(
        AppOrder calldata apporder,
        DatasetOrder calldata datasetorder,
        WorkerpoolOrder calldata workerpoolorder,
        RequestOrder calldata requestorder
    ) external returns (bytes32 dealid);

    /// @notice Makes a task visible before its end. Nobody needs to.
    function initialize(bytes32 dealid, uint256 idx) external returns (bytes32 taskid);

    /// @notice Ends tasks with results, pays the owners of app, dataset and pool as they were when the deal was made,
    /// and calls the requester's contract back. By the pool's owner, before the deadline. Tasks that have ended already
    /// are passed over.
    function settleTasks(bytes32 dealid, TaskReport[] calldata reports) external;

    /// @notice Gives tasks back, refunded. By the pool's owner.
    function declineTasks(bytes32 dealid, uint256[] calldata indexes) external;

    /// @notice Refunds a task whose deadline has passed. Anybody may call.
    function claim(bytes32 taskid) external;

    /// @notice Same for several. Tasks that have ended already are passed over, so that nobody can spoil a list by being
    /// faster with one of them.
    function claimArray(bytes32[] calldata taskids) external returns (bool);

    function initializeAndClaimArray(bytes32[] calldata dealids, uint256[] calldata indexes) external returns (bool);

    function viewAccount(address account) external view returns (Account memory);

    function balanceOf(address account) external view returns (uint256);

    function allowance(address account, address spender) external view returns (uint256);

    function viewConsumed(bytes32 orderHash) external view returns (uint256);

    function viewPresigned(bytes32 orderHash) external view returns (address);

    function verifySignature(address account, bytes32 hash, bytes calldata signature) external view returns (bool);

    function verifyPresignature(address account, bytes32 hash) external view returns (bool);

    function verifyPresignatureOrSignature(address account, bytes32 hash, bytes calldata signature)
        external
        view
        returns (bool);

    function viewDeal(bytes32 dealid) external view returns (Deal memory);

    function viewTask(bytes32 taskid) external view returns (Task memory);

    /// @notice A task's callback bytes, for those who would rather ask than be called (ERC-1154).
    function resultFor(bytes32 taskid) external view returns (bytes memory);

    function viewCategory(uint256 category) external view returns (Category memory);

    function countCategory() external view returns (uint256);

    function domain() external view returns (EIP712Domain memory);

    /// @notice Who may add categories, and nothing else.
    function owner() external view returns (address);

    function token() external view returns (address);

    function appregistry() external view returns (address);

    function datasetregistry() external view returns (address);

    function workerpoolregistry() external view returns (address);

    function final_deadline_ratio() external view returns (uint256);

    /// @notice How many bonded workers must sign a result for this trust: 0 for 0 and 1 (the pool is trusted), else the
    /// least n with `trust <= 2^n`, as many fresh workers as iExec's consensus would take.
    function signaturesFor(uint256 trust) external pure returns (uint256);
}
