// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Pay of workers by voucher
/// @notice A pool pays a worker by signing, as often as it likes and at no cost, a cumulative sum: "until today I owe
/// you so much in all". The newest voucher replaces all earlier ones. Whoever has one may hand it in at any time, for the
/// worker; the tokens go to the worker's wallet, which so needs no gas and no account here.
///
/// What covers vouchers, and what that is worth:
///
/// - A **reserve** belongs to one pool and one worker. Nothing but that worker's vouchers can be paid from it, so a
///   voucher is certain to be paid as far as `cumulative - cashed <= reserved`, whatever the pool signs or does besides.
///   The pool can take it back only EXIT_DELAY after it has said so in public (`ReleaseStarted`), and until then, and
///   until it really does, the worker can cash.
/// - A **lock** belongs to one pool and covers all its workers, first come, first served. A pool that disappears, or
///   wants out, cannot take it along for EXIT_DELAY, so who cashes in time is paid. But a pool that means to cheat can
///   sign to itself, and vouchers of the others then find less: rely on it for no more than you would lend the pool.
///
/// A worker checks a voucher without a transaction: the signature, `cumulative` against what it has earned, and
/// `coverOf(pool, worker)`. It asks for a reserve when the uncovered part exceeds what it would lend, and cashes when
/// `reservedUntil` or `lockedUntil` is no longer 0 and comes near.
interface IVouchers {
    /// @notice EIP-712 type `Voucher(address pool,address worker,uint256 cumulative)`, in the domain of this contract
    /// and chain.
    /// @param cumulative All that the pool has ever owed the worker, in nRLC.
    /// @param signature The pool's: 65 bytes, or what the pool's contract accepts (EIP-1271).
    struct Voucher {
        address pool;
        address worker;
        uint256 cumulative;
        bytes signature;
    }

    /// @param cashed Paid on the worker's vouchers so far.
    /// @param reserved Only this worker's.
    /// @param reservedUntil When the pool may take the reserve back; 0 while it has not announced to.
    /// @param locked For all workers of the pool.
    /// @param leaving How much of the lock the pool may take back at `lockedUntil`; 0 while it has not announced to.
    struct Cover {
        uint256 cashed;
        uint256 reserved;
        uint256 reservedUntil;
        uint256 locked;
        uint256 leaving;
        uint256 lockedUntil;
    }

    event Locked(address indexed pool, uint256 amount);
    event UnlockStarted(address indexed pool, uint256 amount, uint256 until);
    event Unlocked(address indexed pool, uint256 amount);
    event Reserved(address indexed pool, address indexed worker, uint256 amount);
    event ReleaseStarted(address indexed pool, address indexed worker, uint256 until);
    event Released(address indexed pool, address indexed worker, uint256 amount);
    /// @param amount What was paid now. Less than was due if the cover was too low: the rest stays due.
    event Cashed(address indexed pool, address indexed worker, uint256 amount);

    error BadVoucher(uint256 index);
    error NothingToUnlock(address pool);
    error NothingToRelease(address pool, address worker);
    error TooEarly(uint256 until);

    /// @notice Moves `amount` from the caller's account into its lock.
    function lock(uint256 amount) external;

    /// @notice Announces that the caller will take `amount` out of its lock. Replaces an earlier announcement; 0 revokes.
    function startUnlock(uint256 amount) external;

    /// @notice Moves what was announced EXIT_DELAY ago, as far as it is still there, to the caller's account.
    function finishUnlock() external;

    /// @notice Moves `amount` from the caller's account into the reserve of a worker, and revokes its release.
    function reserve(address worker, uint256 amount) external;

    /// @notice Announces that the caller will take a worker's reserve back.
    function startRelease(address worker) external;

    /// @notice Moves the reserve, announced EXIT_DELAY ago, to the caller's account.
    function finishRelease(address worker) external;

    /// @notice Pays what is due on each voucher, from reserve first and lock second, to the worker's wallet. Anybody may
    /// call. A voucher on which nothing is due, or nothing left to pay it, is passed over.
    function cash(Voucher[] calldata vouchers) external;

    /// @notice What covers vouchers of a pool to a worker.
    function coverOf(address pool, address worker) external view returns (Cover memory);

    /// @notice What the pool signs.
    function voucherHash(address pool, address worker, uint256 cumulative) external view returns (bytes32);
}
