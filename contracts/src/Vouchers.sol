// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Ledger} from "./Ledger.sol";
import {Signatures} from "./Signatures.sol";
import {IVouchers} from "./interfaces/IVouchers.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Pay of workers by voucher
abstract contract Vouchers is Ledger, EIP712, IVouchers {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @dev One word each.
    struct Lock {
        uint96 amount;
        uint96 leaving;
        uint64 until;
    }

    struct Line {
        uint96 cashed;
        uint96 reserved;
        uint64 until;
    }

    /// @notice Between saying that cover will go and its going: longer than a worker's owner is on holiday.
    uint256 public constant EXIT_DELAY = 21 days;

    bytes32 private constant VOUCHER = keccak256("Voucher(address pool,address worker,uint256 cumulative)");

    mapping(address pool => Lock) private _locks;
    mapping(address pool => mapping(address worker => Line)) private _lines;

    /// @inheritdoc IVouchers
    function lock(uint256 amount) external {
        _debit(msg.sender, amount);
        _locks[msg.sender].amount += amount.toUint96();
        emit Locked(msg.sender, amount);
    }

    /// @inheritdoc IVouchers
    function startUnlock(uint256 amount) external {
        uint256 until = amount == 0 ? 0 : block.timestamp + EXIT_DELAY;
        Lock storage held = _locks[msg.sender];
        held.leaving = amount.toUint96();
        held.until = until.toUint64();
        emit UnlockStarted(msg.sender, amount, until);
    }

    /// @inheritdoc IVouchers
    function finishUnlock() external {
        Lock storage held = _locks[msg.sender];
        uint256 until = held.until;
        if (until == 0) revert NothingToUnlock(msg.sender);
        if (block.timestamp <= until) revert TooEarly(until);
        uint256 amount = Math.min(held.leaving, held.amount);
        // forge-lint: disable-next-line(unsafe-typecast)
        _locks[msg.sender] = Lock(held.amount - uint96(amount), 0, 0);
        _credit(msg.sender, amount);
        emit Unlocked(msg.sender, amount);
    }

    /// @inheritdoc IVouchers
    function reserve(address worker, uint256 amount) external {
        if (worker == address(0)) revert ZeroAddress();
        _debit(msg.sender, amount);
        Line storage line = _lines[msg.sender][worker];
        line.reserved += amount.toUint96();
        line.until = 0;
        emit Reserved(msg.sender, worker, amount);
    }

    /// @inheritdoc IVouchers
    function startRelease(address worker) external {
        uint256 until = block.timestamp + EXIT_DELAY;
        Line storage line = _lines[msg.sender][worker];
        if (line.reserved == 0) revert NothingToRelease(msg.sender, worker);
        line.until = until.toUint64();
        emit ReleaseStarted(msg.sender, worker, until);
    }

    /// @inheritdoc IVouchers
    function finishRelease(address worker) external {
        Line storage line = _lines[msg.sender][worker];
        uint256 until = line.until;
        if (until == 0) revert NothingToRelease(msg.sender, worker);
        if (block.timestamp <= until) revert TooEarly(until);
        uint256 amount = line.reserved;
        (line.reserved, line.until) = (0, 0);
        _credit(msg.sender, amount);
        emit Released(msg.sender, worker, amount);
    }

    /// @inheritdoc IVouchers
    function cash(Voucher[] calldata vouchers) external {
        for (uint256 i = 0; i < vouchers.length; ++i) {
            Voucher calldata voucher = vouchers[i];
            bytes32 hash = voucherHash(voucher.pool, voucher.worker, voucher.cumulative);
            if (!Signatures.isBy(voucher.pool, hash, voucher.signature)) {
                revert BadVoucher(i);
            }
            _cash(voucher.pool, voucher.worker, voucher.cumulative);
        }
    }

    /// @inheritdoc IVouchers
    function coverOf(address pool, address worker) external view returns (Cover memory) {
        Lock storage held = _locks[pool];
        Line storage line = _lines[pool][worker];
        return Cover(line.cashed, line.reserved, line.until, held.amount, held.leaving, held.until);
    }

    /// @inheritdoc IVouchers
    function voucherHash(address pool, address worker, uint256 cumulative) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER, pool, worker, cumulative)));
    }

    function _cash(address pool, address worker, uint256 cumulative) internal {
        if (worker == address(this)) revert InvalidReceiver(worker);
        Line memory line = _lines[pool][worker];
        if (cumulative <= line.cashed) return;
        uint256 due = cumulative - line.cashed;
        uint256 fromReserve = Math.min(due, line.reserved);
        uint256 fromLock = 0;
        if (fromReserve < due) {
            Lock storage held = _locks[pool];
            fromLock = Math.min(due - fromReserve, held.amount);
            // forge-lint: disable-next-line(unsafe-typecast)
            if (fromLock > 0) held.amount -= uint96(fromLock); // fits: no more than what is there
        }
        uint256 amount = fromReserve + fromLock;
        if (amount == 0) return;

        line.cashed += amount.toUint96();
        // forge-lint: disable-next-line(unsafe-typecast)
        line.reserved -= uint96(fromReserve);
        _lines[pool][worker] = line;
        emit Cashed(pool, worker, amount);
        TOKEN.safeTransfer(worker, amount);
    }
}
