// Breaks the contracts in one place at a time, in a copy, and asks that some test notices. Names the survivors.
// Takes hours, so it is for whoever touches a guard or a test: `npm run mutants`, or `npm run mutants -- Court: Court` for
// the mutants whose name contains the first word, against the test contracts that match the second.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binaryOf, root } from "./forge.mjs";

/// [file, text, replacement]: the text must occur exactly once.
const MUTANTS = [
  ["RLC", "_mint(holder, INITIAL_SUPPLY)", "_mint(holder, INITIAL_SUPPLY - 1)"],
  ["RLC", "receiveApproval(msg.sender, amount", "receiveApproval(spender, amount"],
  ["RLC", "return 9;", "return 18;"],
  ["DevRLC", "if (amount > FAUCET_MAX) revert FaucetLimit(amount, FAUCET_MAX);", ""],

  ["Ledger", "_permit(amount, deadline, v, r, s);", ""],
  ["Ledger", "try IERC20Permit(address(TOKEN)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}", "IERC20Permit(address(TOKEN)).permit(msg.sender, address(this), amount, deadline, v, r, s);"],
  ["Ledger", "        _credit(account, amount);\n        TOKEN", "        TOKEN"],
  ["Ledger", "        TOKEN.safeTransferFrom(account, address(this), amount);\n", ""],
  ["Ledger", "        _debit(msg.sender, amount);\n", ""],
  ["Ledger", "if (to == address(this)) revert InvalidReceiver(to);", ""],
  ["Ledger", "if (token_ == address(0)) revert ZeroAddress();", ""],
  ["Ledger", "if (balance < amount) revert AccountTooLow(account, balance, amount);", "if (balance < amount) amount = balance;"],

  ["Vouchers", "        _debit(msg.sender, amount);\n        _locks", "        _locks"],
  ["Vouchers", "        _debit(msg.sender, amount);\n        Line", "        Line"],
  ["Vouchers", "amount == 0 ? 0 : block.timestamp + EXIT_DELAY", "block.timestamp + EXIT_DELAY"],
  ["Vouchers", "amount == 0 ? 0 : block.timestamp + EXIT_DELAY", "amount == 0 ? 0 : block.timestamp"],
  ["Vouchers", "if (until == 0) revert NothingToUnlock(msg.sender);", ""],
  ["Vouchers", "Math.min(held.leaving, held.amount)", "held.amount"],
  ["Vouchers", "if (worker == address(0)) revert ZeroAddress();", ""],
  ["Vouchers", "        line.until = 0;\n", ""],
  ["Vouchers", "if (line.reserved == 0) revert NothingToRelease(msg.sender, worker);", ""],
  ["Vouchers", "        uint256 until = block.timestamp + EXIT_DELAY;\n        Line", "        uint256 until = block.timestamp;\n        Line"],
  ["Vouchers", "if (until == 0) revert NothingToRelease(msg.sender, worker);", ""],
  ["Vouchers", "(line.reserved, line.until) = (0, 0);", "line.reserved = 0;"],
  ["Vouchers", "(line.reserved, line.until) = (0, 0);", "line.until = 0;"],
  ["Vouchers", "revert BadVoucher(i);", "continue;"],
  ["Vouchers", "if (worker == address(this)) revert InvalidReceiver(worker);", ""],
  ["Vouchers", "if (cumulative <= line.cashed) return;", "if (cumulative < line.cashed) return;\n        if (cumulative == 0) return;\n        if (cumulative == line.cashed) line.cashed = 0;"],
  ["Vouchers", "Math.min(due, line.reserved)", "0"],
  ["Vouchers", "held.amount -= uint96(fromLock)", "held.amount -= 0"],
  ["Vouchers", "line.cashed += amount.toUint96();", "line.cashed = cumulative.toUint96();"],
  ["Vouchers", "line.reserved -= uint96(fromReserve);", ""],

  ["Signatures", "if (signer == address(0)) return false;", ""],
  ["Signatures", "if (_recovered(hash, signature) == signer) return true;", "if (_recovered(hash, signature) != address(0)) return true;"],
  ["Signatures", "if (_recovered(hash, signature) == signer) return true;", "if (signature.length > 0) return true;"],
  ["Signatures", "SignatureChecker.isValidERC1271SignatureNowCalldata(signer, hash, signature)", "signature.length == 0"],
  ["Signatures", "if (signature.length == 64) {", "if (false) {"],

  ["Offers", "if (msg.sender != terms.pool) revert NotPool(msg.sender, terms.pool);", ""],
  ["Offers", "if (terms.provider == address(0)) revert ZeroAddress();", ""],
  ["Offers", "if (terms.verifier.code.length == 0) revert VerifierMissing(terms.verifier);", ""],
  ["Offers", "if (feesBps > BPS) revert FeesTooHigh(feesBps);", ""],
  ["Offers", "terms.duration == 0 || ", ""],
  ["Offers", " || terms.duration > MAX_DURATION", ""],
  ["Offers", "if (_offers[offer].active) revert OfferAlreadyActive(offer);", ""],
  ["Offers", "if (!stored.active) revert OfferNotActive(offer);", ""],
  ["Offers", "if (msg.sender != stored.pool) revert NotPool(msg.sender, stored.pool);", ""],
  ["Offers", "stored.active = false;", ""],
  ["Offers", "uint64(uint160(terms.provider))", "0"],
  ["Offers", "uint96(uint160(terms.provider) >> 64)", "0"],
  ["Offers", "if (msg.sender != signed.terms.pool) revert NotPool(msg.sender, signed.terms.pool);", ""],
  ["Offers", "_taken[hash] = type(uint256).max;", ""],
  ["Offers", "if (block.timestamp > signed.validUntil) revert OfferExpired(signed.validUntil);", ""],
  ["Offers", "block.timestamp > signed.validUntil", "block.timestamp >= signed.validUntil"],
  ["Offers", "signed.requester != address(0) && signed.requester != msg.sender", "false"],
  ["Offers", "if (!Signatures.isBy(pool, hash, signature)) revert BadSignature(pool);", ""],
  ["Offers", "taken > signed.units || ", ""],
  ["Offers", "units > signed.units - taken", "units > signed.units"],
  ["Offers", "_taken[hash] = taken + units;", "_taken[hash] = units;"],
  ["Offers", "            _checkTerms(signed.terms);\n", ""],
  ["Offers", "if (_offers[offer].pool == address(0)) {", "{"],
  ["Offers", "            active: false,", "            active: true,"],

  ["Callbacks", "if (gasleft() < callbackGas + callbackGas / 63 + OVERHEAD) revert CallbackStarved(callbackGas);", ""],
  ["Callbacks", "callbackGas + callbackGas / 63 + OVERHEAD", "callbackGas + OVERHEAD"],
  ["Callbacks", "callbackGas + callbackGas / 63 + OVERHEAD", "callbackGas + callbackGas / 63"],
  ["Callbacks", "success := call(callbackGas,", "success := call(gas(),"],
  ["Callbacks", "length < MAX_REASON_BYTES ? length : MAX_REASON_BYTES", "length"],
  ["Callbacks", "if (success) return (true, \"\");", "require(success);"],

  ["Ledger", "if (msg.sender != address(TOKEN)) revert NotToken(msg.sender);", ""],
  ["Ledger", "if (data.length == 0) _deposit(from, amount);", "if (data.length == 0) return;"],
  ["Market", "_permit(permit.value, permit.deadline, permit.v, permit.r, permit.s);", ""],
  ["Market", "if (msg.sender != offer.pool) revert NotPool(msg.sender, offer.pool);", ""],
  ["Market", "if (block.timestamp > last) revert DeadlinePassed(last);", ""],
  ["Market", "if (block.timestamp > last)", "if (block.timestamp >= last)"],
  ["Market", "if (block.timestamp <= last) revert DeadlineNotPassed(last);", ""],
  ["Market", "if (block.timestamp <= last)", "if (block.timestamp < last)"],
  ["Market", "if (result.length > MAX_RESULT_BYTES) revert ResultTooLong(result.length);", ""],
  ["Market", "if (one.result.length > MAX_RESULT_BYTES) revert ResultTooLong(one.result.length);", ""],
  ["Market", "if (!IVerifier(offer.verifier).verify(id, worker, order.params, result)) revert ResultRefused(id);", ""],
  ["Market", "verify(id, worker, order.params, result)", "verify(id, order.requester, order.params, result)"],
  ["Market", "if (!accepted) revert ResultRefused(id);", ""],
  ["Market", "proof.length == 0\n", "proof.length > 0\n"],
  ["Market", "        _states[id].status = Status.Settled;\n", ""],
  ["Market", "        if (status != Status.Open && status != Status.Cancelling) revert NotOpen(id, status);\n", ""],
  ["Market", "if (status != Status.Open && status != Status.Cancelling) return false;", ""],
  ["Market", "        return block.timestamp <= _lastSecond(status, id, order);\n", "        return true;\n"],
  ["Market", "if (reason.length > MAX_REASON_BYTES) revert ReasonTooLong(reason.length);", ""],
  ["Market", "if (!_offers[details.offer].active) revert OfferNotActive(details.offer);", ""],
  ["Market", "if (details.units == 0) revert ZeroUnits();", ""],
  ["Market", "if (details.params.length > MAX_PARAMS_BYTES) revert ParamsTooLong(details.params.length);", ""],
  ["Market", "if (details.callbackGas > MAX_CALLBACK_GAS) revert CallbackGasTooHigh(details.callbackGas);", ""],
  ["Market", "if (price > priceMax) revert PriceAboveMax(price, priceMax);", ""],
  ["Market", "if (price > type(uint96).max) revert PriceTooLarge(price);", ""],
  ["Market", "if (requester == address(0)) revert ZeroAddress();", ""],
  ["Market", "while (_states[id].status != Status.None)", "while (_states[id].status == Status.Open)"],
  ["Market", "if (++details.nonce == tooMany) revert TooManyAlike(id);", "++details.nonce;"],
  ["Market", "        _debit(msg.sender, details.price);\n        return _open(details, requester);", "        return _open(details, requester);"],
  ["Market", "        order = _open(details, requester);\n        TOKEN.safeTransferFrom(msg.sender, address(this), details.price);", "        order = _open(details, requester);"],
  ["Market", "        order = _open(details, msg.sender);\n        TOKEN.safeTransferFrom(msg.sender, address(this), details.price);", "        order = _open(details, msg.sender);"],
  ["Market", "        TOKEN.safeTransferFrom(from, address(this), details.price);\n", ""],
  ["Market", "price - paid.pool - paid.provider", "price - paid.pool"],
  ["Market", "price * poolFeeBps / BPS", "(price * poolFeeBps + BPS - 1) / BPS"],
  ["Market", "_credit(provider, paid.provider);", "_credit(pool, paid.provider);"],
  ["Market", "        state.status = Status.Refunded;\n", ""],
  ["Market", "        _credit(order.requester, amount);\n", "        _credit(msg.sender, amount);\n"],
  ["Market", "done == 0 ? order.price : uint256(order.price) / order.units * (order.units - done)", "order.price"],
  ["Market", "if (signed.relayer != address(0) && signed.relayer != msg.sender) {", "if (false) {"],
  ["Market", "if (block.timestamp > signed.validUntil) revert RequestExpired(signed.validUntil);", ""],
  ["Market", "block.timestamp > signed.validUntil", "block.timestamp >= signed.validUntil"],
  ["Market", "if (_used[hash]) revert RequestUsed(hash);", ""],
  ["Market", "_used[hash] = true;", ""],
  ["Market", "if (!Signatures.isBy(requester, hash, signature)) revert BadSignature(requester);", ""],
  ["Market", "uint256(details.price) + signed.tip", "details.price"],
  ["Market", "        _credit(msg.sender, signed.tip);\n", ""],
  ["Market", "        if (signed.bag) details.nonce = BAG;\n", ""],
  ["Market", "if (order.nonce >= BAG) revert IsABag(id);", ""],
  ["Market", "if (order.nonce < BAG) revert NotABag(id);", ""],
  ["Market", "        if (worker == address(0)) revert ZeroAddress();\n        uint256 first", "        uint256 first"],
  ["Market", "        if (worker == address(0)) revert ZeroAddress();\n        if (result", "        if (result"],
  ["Market", "if (count == 0 || count > left || failed > count) revert BatchSize(count, failed, left);", ""],
  ["Market", "count == 0 || count > left", "count > left"],
  ["Market", " || failed > count", ""],
  ["Market", "state.done = uint64(first + count);", ""],
  ["Market", "state.status = count == left ? Status.Settled : Status.Open;", ""],
  ["Market", "_credit(order.requester, failed * offer.unitPrice);", ""],
  ["Market", "_pay((count - failed) * offer.unitPrice, offer, worker)", "_pay(count * offer.unitPrice, offer, worker)"],
  ["Market", "            _credit(order.requester, offer.unitPrice);\n", ""],
  ["Market", "bytes32 id = taskIdOf(bag, index);", "bytes32 id = bag;"],
  ["Market", "if (msg.sender != order.requester) revert NotRequester(msg.sender, order.requester);", ""],
  ["Market", "if (state.status != Status.Open) revert NotOpen(id, state.status);", ""],
  ["Market", "if (state.kept || state.done > 0) revert WorkStarted(id);", ""],
  ["Market", "state.kept || state.done > 0", "state.kept"],
  ["Market", "if (state.status != Status.Cancelling) revert NotCancelling(id);", ""],
  ["Market", "        if (block.timestamp > state.cancelUntil) revert DeadlinePassed(state.cancelUntil);\n", ""],
  ["Market", "(state.status, state.kept) = (Status.Open, true);", "state.status = Status.Open;"],
  ["Market", "Math.min(_states[id].cancelUntil, order.deadline)", "_states[id].cancelUntil"],
  ["Market", "        details.nonce = BAG;\n        _priceStanding(details, priceMax);\n        _debit", "        _priceStanding(details, priceMax);\n        _debit"],
  ["BatchProof", "keccak256(abi.encode(index, keccak256(result)))", "keccak256(abi.encode(keccak256(result)))"],

  ["VanityParams", "params.length < KEY_BYTES + RANGE_BYTES || ", "params.length < KEY_BYTES || "],
  ["VanityParams", " || (params.length - KEY_BYTES) % RANGE_BYTES != 0", ""],
  ["VanityParams", "count <= MAX_RANGES ? count : 0", "count"],
  ["VanityParams", "MAX_RANGES = 32", "MAX_RANGES = 31"],

  ["VanityProof", "if (result.length != RESULT_BYTES) return false;", ""],
  ["VanityProof", "resultWorker != worker || ", ""],
  ["VanityProof", " || image > 5", ""],
  ["VanityProof", "abi.encodePacked(order, worker)", "abi.encodePacked(order)"],
  ["VanityProof", "abi.encodePacked(order, worker)", "abi.encodePacked(worker)"],
  ["VanityProof", "if (!_isSum(params.keyPrefix(), params.keyX(), offset, x, y)) return false;", ""],
  ["VanityProof", "uint8(25 + keyPrefix)", "uint8(27)"],
  ["VanityProof", "abi.encodePacked(x, y)", "abi.encodePacked(x, x)"],
  ["VanityProof", "mulmod(x, BETA_SQUARED, P)", "mulmod(x, BETA, P)"],
  ["VanityProof", "lo <= hash &&", "lo < hash &&"],
  ["VanityProof", "hash <= hi", "hash < hi"],
  ["VanityProof", "i < count; ++i", "i < 1; ++i"],
  ["VanityVerifier", "2 + (image & 1)", "2"],
  ["EthereumVanityVerifier", "(y & 1) == (image & 1) ? y : P - y", "y"],
  ["PreimageVerifier", "params.length == 32 && ", ""],
  ["PreimageVerifier", " && sha256(result) == bytes32(params[:32])", ""],

  ["TaskBase", "if (!active) revert OfferNotActive(offer);", ""],
  ["TaskBase", "if (msg.sender != address(MARKET)) revert NotMarket(msg.sender);", ""],
  ["TaskBase", "if (task.stage != Stage.Asked) revert NotAsked(id);", ""],
  ["TaskBase", "task.stage != Stage.Asked", "task.stage == Stage.None"],
  ["TaskBase", "requestFromWallet(requester,", "requestFromWallet(payer,"],
  ["TaskBase", "TOKEN.safeTransferFrom(payer, address(this), price);", ""],

  ["VanityShop", "if (unitCandidates == 0 || minUnits == 0) revert ZeroUnits();", ""],
  ["VanityShop", "if (msg.sender != address(TOKEN)) revert NotToken(msg.sender);", ""],
  ["VanityShop", "if (price > priceMax) revert PriceAboveMax(price, priceMax);", ""],
  ["VanityShop", "Math.ceilDiv(difficulty, UNIT_CANDIDATES)", "difficulty / UNIT_CANDIDATES"],
  ["VanityShop", "if (needed > type(uint64).max) revert TooDifficult(difficulty);", ""],
  ["VanityShop", "Math.max(needed, MIN_UNITS)", "needed"],
  ["VanityShop", "if (count == 0) revert ParamsLength(params.length);", ""],
  ["VanityShop", "_checkKey(params.keyPrefix(), params.keyX());", ""],
  ["VanityShop", "if (lo > hi) revert RangeReversed(i);", ""],
  ["VanityShop", "if (lo < floor) revert RangeNotSorted(i);", ""],
  ["VanityShop", "if (lo < floor)", "if (lo <= floor && i > 0)"],
  ["VanityShop", "floor = hi + 1;", "floor = hi;"],
  ["VanityShop", "if (prefix != 2 && prefix != 3) revert KeyPrefix(prefix);", ""],
  ["VanityShop", "revert KeyNotOnCurve(x);", "{}"],
  ["VanityShop", "uint256(bytes32(data[:32])) != 32", "false"],
  ["VanityShop", "data.length < 64 || ", ""],
  ["VanityShop", "if (length > data.length - 64) revert ParamsLength(length);", ""],
  ["VanityShop", "data[64:64 + length]", "data[64:]"],
  ["VanityShop", "_ask(payer, payer, units", "_ask(payer, address(this), units"],

  ["Statements", "if (proof.length != count * SIGNATURE_BYTES) return false;", ""],
  ["Statements", "abi.encode(STATEMENT, order, inputs, result)", "abi.encode(STATEMENT, order, inputs, inputs)"],
  ["Statements", "abi.encode(STATEMENT, order, inputs, result)", "abi.encode(STATEMENT, inputs, inputs, result)"],
  ["Quorum", "if (signatures == 0) revert NoSignatures();", ""],
  ["Quorum", "        return false;\n", "        return true;\n"],

  ["Court", "if (pool == address(0)) revert ZeroAddress();", ""],
  ["Court", "if (_members[msg.sender].seat != 0) revert AlreadyBonded(msg.sender);", ""],
  ["Court", "        _debit(msg.sender, SEAT_BOND);\n", ""],
  ["Court", "if (!isBonded(msg.sender)) revert NotBonded(msg.sender);", ""],
  ["Court", "if (since == 0) revert NotBonded(msg.sender);", ""],
  ["Court", "if (block.timestamp <= since + leaveDelay()) revert TooEarly(since + leaveDelay());", ""],
  ["Court", "if (found.stage != Stage.None) revert WrongStage(id, found.stage);", ""],
  ["Court", "Math.max(BOND_MIN, uint256(BOND_FACTOR) * order.price)", "uint256(BOND_FACTOR) * order.price"],
  ["Court", "        _debit(msg.sender, amount);\n", ""],
  ["Court", "found.claim = keccak256(abi.encode(worker, keccak256(result)));", "found.claim = keccak256(abi.encode(address(0), keccak256(result)));"],
  ["Court", "        if (block.timestamp > found.until) revert TooLate(found.until);\n        _debit(", "        _debit("],
  ["Court", "        _debit(msg.sender, found.bond);\n", ""],
  ["Court", "        if (block.timestamp > found.until) revert TooLate(found.until);\n        if (block.number", "        if (block.number"],
  ["Court", "if (block.number <= found.drawBlock) revert TooEarly(found.drawBlock);", ""],
  ["Court", "% found.seats]", "% _seats.length]"],
  ["Court", "if (found.jurors.length < JURORS) return _close(order, found, Stage.Hung, 0);", ""],
  ["Court", "if (block.timestamp > found.commitUntil) revert TooLate(found.commitUntil);", ""],
  ["Court", "if (!_isJuror(found, msg.sender)) revert NotJuror(msg.sender);", ""],
  ["Court", "if (block.timestamp <= found.commitUntil) revert TooEarly(found.commitUntil);", ""],
  ["Court", "if (block.timestamp > found.revealUntil) revert TooLate(found.revealUntil);", ""],
  ["Court", "abi.encode(order, msg.sender, result, salt)", "abi.encode(order, result, salt)"],
  ["Court", "vote.isOpen || vote.word != sealedVote", "vote.isOpen"],
  ["Court", "if (block.timestamp <= until) revert TooEarly(until);\n        if (stage == Stage.Proposed)", "if (stage == Stage.Proposed)"],
  ["Court", "verdict == found.result ? Stage.Upheld : Stage.Refuted", "Stage.Upheld"],
  ["Court", "one.order != other.order || ", ""],
  ["Court", " || oneHash == otherHash", ""],
  ["Court", "if (!Signatures.isBy(worker, oneHash, oneSignature)) revert NotSignedBy(worker);", ""],
  ["Court", "if (!Signatures.isBy(worker, otherHash, otherSignature)) revert NotSignedBy(worker);", ""],
  ["Court", "verdict == 0 || signed.result == verdict", "verdict == 0"],
  ["Court", "verdict == 0 || signed.result == verdict", "signed.result == verdict"],
  ["Court", "if (!Signatures.isBy(worker, statementHash(signed), signature)) revert NotSignedBy(worker);", ""],
  ["Court", "if (found.claim != keccak256(abi.encode(worker, keccak256(result)))) return false;", ""],
  ["Court", "return block.timestamp > found.until;", "return block.timestamp >= found.until;"],
  ["Court", "stage == Stage.Accepted || stage == Stage.Upheld", "stage != Stage.None"],
  ["Court", "return seat != 0 && leavingSince == 0;", "return seat != 0;"],
  ["Court", "worker <= last || ", ""],
  ["Court", "if (MARKET.statusOf(id) != IMarket.Status.Open) revert OrderNotOpen(id);", ""],
  ["Court", "if (terms.pool != msg.sender) revert NotThePool(msg.sender, terms.pool);", ""],
  ["Court", "if (terms.verifier != address(this)) revert NotJudgedHere(order.offer);", ""],
  ["Court", "if (order.deadline < needed) revert DeadlineTooNear(order.deadline, needed);", ""],
  ["Court", "_mayJudge(worker, found) && !_isJuror(found, worker)", "_mayJudge(worker, found)"],
  ["Court", "member.seat == 0 || ", ""],
  ["Court", " || member.since >= found.challengedAt", ""],
  ["Court", "member.leavingSince != 0 && member.leavingSince < found.challengedAt", "member.leavingSince != 0"],
  ["Court", "member.pool != found.pool && ", ""],
  ["Court", "worker != found.pool && worker", "worker"],
  ["Court", " && worker != found.challenger;", ";"],
  ["Court", "vote.isOpen && vote.word == candidate.word", "vote.word == candidate.word"],
  ["Court", "if (votes >= MAJORITY) return candidate.word;", "if (votes > 1) return candidate.word;"],
  ["Court", "2 * amount - _payJurors(order, found, amount / 2)", "2 * amount"],
  ["Court", "if (stage == Stage.Hung) _credit(found.challenger, amount);", ""],
  ["Court", "if (_members[worker].seat == 0) revert NotBonded(worker);", ""],
  ["Court", "TOKEN.safeTransfer(BURNT, SEAT_BOND - reward);", ""],

  ["poco/Parts", "if (part.length > type(uint16).max) revert PartTooLong(part.length);", ""],
  ["poco/Registries", "if (index >= balanceOf(holder)) revert IndexOutOfRange(holder, index);", ""],
  ["poco/Registries", "if (from == to) return from;", ""],
  ["poco/Registries", "if (from != address(0)) _unlist(from, tokenId, balanceOf(from));", ""],
  ["poco/Registries", "_indexOf[moved] = index;", ""],
  ["poco/PocoAccounts", "if (left < amount) revert AllowanceTooLow(from, msg.sender, left, amount);", "if (left < amount) left = amount;"],
  ["poco/PocoAccounts", "_approve(from, msg.sender, left - amount);", ""],
  ["poco/PocoAccounts", "if (target == address(0)) revert ZeroAddress();", ""],
  ["poco/PocoAccounts", "if (target == address(this)) revert InvalidReceiver(target);", ""],
  ["poco/PocoAccounts", "        TOKEN.safeTransferFrom(from, address(this), amount);\n", ""],
  ["poco/PocoAccounts", "if (to == address(0)) revert ZeroAddress();", ""],
  ["poco/PocoAccounts", "if (stored.stake < amount) revert StakeTooLow(account, stored.stake, amount);", ""],
  ["poco/PocoAccounts", "_accounts[account].locked -= amount.toUint128();", ""],
  ["poco/PocoHub", "if (msg.sender != address(TOKEN)) revert NotToken(msg.sender);", ""],
  ["poco/PocoHub", "if (selector != this.matchOrders.selector) revert UnknownCall(selector);", ""],
  ["poco/PocoHub", "if (msg.sender != owner) revert NotOwner(msg.sender, owner);", ""],
  ["poco/PocoHub", "        if (msg.sender != deal.workerpool.owner) revert NotOwner(msg.sender, deal.workerpool.owner);\n        uint256 deadline", "        uint256 deadline"],
  ["poco/PocoHub", "        if (msg.sender != deal.workerpool.owner) revert NotOwner(msg.sender, deal.workerpool.owner);\n        for", "        for"],
  ["poco/PocoHub", "if (block.timestamp >= deadline) revert DeadlinePassed(deadline);", ""],
  ["poco/PocoHub", "if (block.timestamp >= deadline)", "if (block.timestamp > deadline)"],
  ["poco/PocoHub", "            if (taskid == 0) continue;\n", ""],
  ["poco/PocoHub", "if (taskid != 0) _settle", "_settle"],
  ["poco/PocoHub", "if (dealids.length != indexes.length) revert ArraysDiffer(dealids.length, indexes.length);", ""],
  ["poco/PocoHub", "if (msg.sender != signer && !Signatures.isBy(signer, _hashTypedDataV4(operationHash), sign)) {", "if (false) {"],
  ["poco/PocoHub", "if (requestorder.category != workerpoolorder.category) {", "if (false) {"],
  ["poco/PocoHub", "if (requestorder.category >= _categories.length) revert CategoryUnknown(requestorder.category);", ""],
  ["poco/PocoHub", "requestorder.trust > trust || ", ""],
  ["poco/PocoHub", " || requestorder.trust > type(uint64).max", ""],
  ["poco/PocoHub", "if (price > priceMax) revert PriceAboveMax(asset, price, priceMax);", ""],
  ["poco/PocoHub", "if (price > type(uint96).max) revert PriceTooLarge(price);", ""],
  ["poco/PocoHub", "if (tag & ~workerpoolorder.tag != 0) revert TagNotOffered(tag, workerpoolorder.tag);", ""],
  ["poco/PocoHub", "if (tag & ~apporder.tag & TEE != 0) revert TagNotOffered(tag, apporder.tag);", ""],
  ["poco/PocoHub", "if (requestorder.app != app) revert AssetMismatch(requestorder.app, app);", ""],
  ["poco/PocoHub", "if (requestorder.dataset != dataset) revert AssetMismatch(requestorder.dataset, dataset);", ""],
  ["poco/PocoHub", "_restrict(requestorder.workerpool, pool);", ""],
  ["poco/PocoHub", "_restrict(apporder.datasetrestrict, dataset);", ""],
  ["poco/PocoHub", "_restrict(apporder.workerpoolrestrict, pool);", ""],
  ["poco/PocoHub", "_restrict(apporder.requesterrestrict, requester);", ""],
  ["poco/PocoHub", "_restrict(workerpoolorder.apprestrict, app);", ""],
  ["poco/PocoHub", "_restrict(workerpoolorder.datasetrestrict, dataset);", ""],
  ["poco/PocoHub", "_restrict(workerpoolorder.requesterrestrict, requester);", ""],
  ["poco/PocoHub", "_restrict(datasetorder.apprestrict, app);", ""],
  ["poco/PocoHub", "_restrict(datasetorder.workerpoolrestrict, pool);", ""],
  ["poco/PocoHub", "_restrict(datasetorder.requesterrestrict, requester);", ""],
  ["poco/PocoHub", "if (!registry.isRegistered(asset)) revert NotRegistered(asset);", ""],
  ["poco/PocoHub", "if (!_isSigned(signer, hash, sign)) revert NotSigned(hash, signer);", ""],
  ["poco/PocoHub", "(signer != address(0) && _presigned[hash] == signer)", "_presigned[hash] != address(0)"],
  ["poco/PocoHub", "volume == 0 || consumed + volume", "consumed + volume"],
  ["poco/PocoHub", "_consumed[matching.request] = consumed + volume;", ""],
  ["poco/PocoHub", "_consumed[matching.app] += volume;", ""],
  ["poco/PocoHub", "_consumed[matching.workerpool] += volume;", ""],
  ["poco/PocoHub", "if (dataset != 0) _consumed[dataset] += volume;", ""],
  ["poco/PocoHub", "if (_tasks[taskid].status != TaskStatus.UNSET) revert TaskKnown(taskid);", ""],
  ["poco/PocoHub", "idx < deal.botFirst || ", ""],
  ["poco/PocoHub", " || idx - deal.botFirst >= deal.botSize", ""],
  ["poco/PocoHub", "if (report.results.length > MAX_RESULT_BYTES) revert ResultTooLong(report.results.length);", ""],
  ["poco/PocoHub", "if (report.resultsCallback.length > MAX_RESULT_BYTES) revert ResultTooLong(report.resultsCallback.length);", ""],
  ["poco/PocoHub", "        _checkSignatures(taskid, deal, report);\n", ""],
  ["poco/PocoHub", "if (stored.status != TaskStatus.ACTIVE) revert TaskNotOpen(taskid, stored.status);", ""],
  ["poco/PocoHub", "if (block.timestamp < deadline) revert DeadlineNotPassed(deadline);", ""],
  ["poco/PocoHub", "_unlock(deal.sponsor, _taskPrice(deal));", "_unlock(deal.requester, _taskPrice(deal));"],
  ["poco/PocoHub", "_seize(deal.sponsor, _taskPrice(deal), taskid);", "_seize(deal.requester, _taskPrice(deal), taskid);"],
  ["poco/PocoHub", "abi.encode(keccak256(results), keccak256(resultsCallback))", "abi.encode(keccak256(resultsCallback))"],

  ["examples/Raffle", "if (block.timestamp > SALE_END) revert SaleOver();", ""],
  ["examples/Raffle", "if (block.timestamp <= SALE_END) revert SaleNotOver();", ""],
  ["examples/Raffle", "if (msg.sender != winner) revert NotWinner(msg.sender);", ""],
  ["examples/Raffle", "        pot = 0;\n", ""],
  ["examples/Raffle", "if (ticket >= tickets.length) revert TicketUnknown(ticket);", ""],
  ["examples/Raffle", "if (winner != address(0)) revert AlreadyDrawn();", ""],
  ["examples/Raffle", "if (seed == 0) revert NoSeed();", ""],
  ["examples/PriceFeed", "if (block.timestamp < until) revert TooEarly(until);", ""],
  ["examples/PriceFeed", "time <= updatedAt || ", ""],
  ["examples/PriceFeed", " || time > block.timestamp", ""],
];

// Not here, because no input that anybody can compute tells them apart from the original: the check of the zero
// address and of a zero offset in VanityVerifier (a keccak256 preimage would be needed).

const wanted = process.argv[2] ?? "";
const mutants = MUTANTS.map(locate).filter(({ name }) => name.includes(wanted));
const scratch = mkdtempSync(join(tmpdir(), "gristmill-mutants-"));
const survivors = [];
try {
  copyProject();
  if (outcome() !== "SURVIVED") throw new Error("the tests fail without any mutant");
  for (const { name, file, source } of mutants) {
    const path = join(scratch, file);
    const original = readFileSync(path, "utf8");
    writeFileSync(path, source);
    const end = outcome();
    console.error(`${end.padEnd(8)} ${name}`);
    if (end !== "killed") survivors.push(name);
    writeFileSync(path, original);
  }
} finally {
  rmSync(scratch, { recursive: true });
}
for (const name of survivors) console.log(name);
process.exit(survivors.length > 0 ? 1 : 0);

function locate([contract, text, replacement]) {
  const file = join("src", `${contract}.sol`);
  const short = (code) => code.trim().replace(/\s+/g, " ").slice(0, 80) || "nothing";
  const name = `${contract}: ${short(text)} → ${short(replacement)}`;
  const original = readFileSync(join(root, file), "utf8");
  if (original.split(text).length !== 2) throw new Error(`${name}: the text must occur exactly once`);
  return { name, file, source: original.replace(text, () => replacement) };
}

/// forge refuses imports from outside its root, so OpenZeppelin is copied; Node follows links.
function copyProject() {
  for (const part of ["src", "test", "tools", "foundry.toml", "package.json", join("node_modules", "@openzeppelin")]) {
    cpSync(join(root, part), join(scratch, part), { recursive: true });
  }
  symlinkSync(join(root, "node_modules", "solc"), join(scratch, "node_modules", "solc"));
  mkdirSync(join(scratch, "cache"));
}

function outcome() {
  const tests = process.argv[3] ? ["--match-contract", process.argv[3]] : [];
  const { status, stdout } = spawnSync(binaryOf("forge"), ["test", "--fail-fast", ...tests], {
    cwd: scratch,
    encoding: "utf8",
    env: { ...process.env, FOUNDRY_INVARIANT_RUNS: "16", FOUNDRY_FUZZ_RUNS: "64" },
  });
  // A mutant that is no program proves nothing.
  if (!stdout.includes("Suite result")) return "INVALID";
  return status === 0 ? "SURVIVED" : "killed";
}
