// Breaks the contracts in one place at a time, in a copy, and asks that some test notices. Names the survivors.
// Takes minutes, so it is for whoever touches a guard or a test: `npm run mutants`, or `npm run mutants -- Verifier`.
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
  ["Market", "(status == Status.Open || status == Status.Cancelling) && block.timestamp <= _lastSecond(id, order)", "true"],
  ["Market", "(status == Status.Open || status == Status.Cancelling) && block.timestamp", "block.timestamp"],
  ["Market", "(status == Status.Open || status == Status.Cancelling) && block.timestamp <= _lastSecond(id, order)", "status == Status.Open || status == Status.Cancelling"],
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
  ["Market", "price * offer.poolFeeBps / BPS", "(price * offer.poolFeeBps + BPS - 1) / BPS"],
  ["Market", "_credit(_providerOf(offer), paid.provider);", "_credit(offer.pool, paid.provider);"],
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
  ["Market", " && state.cancelUntil < order.deadline", ""],
  ["Market", "        details.nonce = BAG;\n        _priceStanding(details, priceMax);\n        _debit", "        _priceStanding(details, priceMax);\n        _debit"],
  ["BatchProof", "keccak256(abi.encode(index, keccak256(result)))", "keccak256(abi.encode(keccak256(result)))"],

  ["VanityParams", "params.length < KEY_BYTES + RANGE_BYTES || ", "params.length < KEY_BYTES || "],
  ["VanityParams", " || (params.length - KEY_BYTES) % RANGE_BYTES != 0", ""],
  ["VanityParams", "count <= MAX_RANGES ? count : 0", "count"],
  ["VanityParams", "MAX_RANGES = 32", "MAX_RANGES = 31"],

  ["VanityVerifier", "if (result.length != RESULT_BYTES) return false;", ""],
  ["VanityVerifier", "resultWorker != worker || ", ""],
  ["VanityVerifier", " || image > 5", ""],
  ["VanityVerifier", "abi.encodePacked(order, worker)", "abi.encodePacked(order)"],
  ["VanityVerifier", "abi.encodePacked(order, worker)", "abi.encodePacked(worker)"],
  ["VanityVerifier", "if (!_isSum(params.keyPrefix(), params.keyX(), offset, x, y)) return false;", ""],
  ["VanityVerifier", "uint8(25 + keyPrefix)", "uint8(27)"],
  ["VanityVerifier", "abi.encodePacked(x, y)", "abi.encodePacked(x, x)"],
  ["VanityVerifier", "mulmod(x, BETA_SQUARED, P)", "mulmod(x, BETA, P)"],
  ["VanityVerifier", "2 + (image & 1)", "2"],
  ["VanityVerifier", "lo <= hash &&", "lo < hash &&"],
  ["VanityVerifier", "hash <= hi", "hash < hi"],
  ["VanityVerifier", "i < count; ++i", "i < 1; ++i"],

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
  const { status, stdout } = spawnSync(binaryOf("forge"), ["test", "--fail-fast"], {
    cwd: scratch,
    encoding: "utf8",
    env: { ...process.env, FOUNDRY_INVARIANT_RUNS: "16", FOUNDRY_FUZZ_RUNS: "64" },
  });
  // A mutant that is no program proves nothing.
  if (!stdout.includes("Suite result")) return "INVALID";
  return status === 0 ? "SURVIVED" : "killed";
}
