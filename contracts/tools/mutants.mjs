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

  ["Market", "if (msg.sender != terms.pool) revert NotPool(msg.sender, terms.pool);", ""],
  ["Market", "if (terms.provider == address(0)) revert ZeroAddress();", ""],
  ["Market", "if (terms.verifier.code.length == 0) revert VerifierMissing(terms.verifier);", ""],
  ["Market", "if (feesBps > BPS) revert FeesTooHigh(feesBps);", ""],
  ["Market", "terms.duration == 0 || ", ""],
  ["Market", " || terms.duration > MAX_DURATION", ""],
  ["Market", "if (_offers[offer].active) revert OfferAlreadyActive(offer);", ""],
  ["Market", "if (!stored.active) revert OfferNotActive(offer);", ""],
  ["Market", "if (msg.sender != stored.pool) revert NotPool(msg.sender, stored.pool);", ""],
  ["Market", "stored.active = false;", ""],
  ["Market", "_permit(Permit(amount, deadline, v, r, s));", ""],
  [
    "Market",
    "try IERC20Permit(address(TOKEN))\n            .permit(msg.sender, address(this), permit.value, permit.deadline, permit.v, permit.r, permit.s) {}\n            catch {}",
    "IERC20Permit(address(TOKEN)).permit(msg.sender, address(this), permit.value, permit.deadline, permit.v, permit.r, permit.s);",
  ],
  ["Market", "if (msg.sender != address(TOKEN)) revert NotToken(msg.sender);", ""],
  ["Market", "return _deposit(from, amount);", "return;"],
  ["Market", "        _requireOpen(id);\n        StoredOffer", "        StoredOffer"],
  ["Market", "        _requireOpen(id);\n        address pool", "        address pool"],
  ["Market", "        _requireOpen(id);\n        if (block", "        if (block"],
  ["Market", "if (msg.sender != offer.pool) revert NotPool(msg.sender, offer.pool);", ""],
  ["Market", "if (block.timestamp > order.deadline) revert DeadlinePassed(order.deadline);", ""],
  ["Market", "if (block.timestamp > order.deadline)", "if (block.timestamp >= order.deadline)"],
  ["Market", "if (worker == address(0)) revert ZeroAddress();", ""],
  ["Market", "if (result.length > MAX_RESULT_BYTES) revert ResultTooLong(result.length);", ""],
  ["Market", "if (!IVerifier(offer.verifier).verify(id, worker, order.params, result)) revert ResultRefused(id);", ""],
  ["Market", "verify(id, worker, order.params, result)", "verify(id, order.requester, order.params, result)"],
  ["Market", "        _statuses[id] = Status.Settled;\n", ""],
  [
    "Market",
    "        _statuses[id] = Status.Settled;\n        _pay(id, order.price, offer, worker, result);\n" +
      "        if (order.callback != address(0)) _callBack(id, order.callback, order.callbackGas, result);\n",
    "        if (order.callback != address(0)) _callBack(id, order.callback, order.callbackGas, result);\n" +
      "        _statuses[id] = Status.Settled;\n        _pay(id, order.price, offer, worker, result);\n",
  ],
  ["Market", "        if (msg.sender != pool) revert NotPool(msg.sender, pool);\n", ""],
  ["Market", "if (reason.length > MAX_REASON_BYTES) revert ReasonTooLong(reason.length);", ""],
  ["Market", "if (block.timestamp <= order.deadline) revert DeadlineNotPassed(order.deadline);", ""],
  ["Market", "if (block.timestamp <= order.deadline)", "if (block.timestamp < order.deadline)"],
  ["Market", "if (!offer.active) revert OfferNotActive(details.offer);", ""],
  ["Market", "if (details.units == 0) revert ZeroUnits();", ""],
  ["Market", "if (details.params.length > MAX_PARAMS_BYTES) revert ParamsTooLong(details.params.length);", ""],
  ["Market", "if (details.callbackGas > MAX_CALLBACK_GAS) revert CallbackGasTooHigh(details.callbackGas);", ""],
  ["Market", "if (price > priceMax) revert PriceAboveMax(price, priceMax);", ""],
  ["Market", "if (price > type(uint96).max) revert PriceTooLarge(price);", ""],
  ["Market", "if (requester == address(0)) revert ZeroAddress();", ""],
  ["Market", "while (_statuses[id] != Status.None)", "while (_statuses[id] == Status.Open)"],
  ["Market", "if (++details.nonce == MAX_ALIKE) revert TooManyAlike(id);", "++details.nonce;"],
  ["Market", "uint64(uint160(terms.provider))", "0"],
  ["Market", "uint96(uint160(terms.provider) >> 64)", "0"],
  ["Market", "        _debit(msg.sender, details.price);\n        return _open(details, msg.sender);", "        return _open(details, msg.sender);"],
  ["Market", "        _debit(msg.sender, details.price);\n        return _open(details, requester);", "        return _open(details, requester);"],
  ["Market", "        order = _open(details, requester);\n        TOKEN.safeTransferFrom(msg.sender, address(this), details.price);", "        order = _open(details, requester);"],
  ["Market", "        order = _open(details, msg.sender);\n        TOKEN.safeTransferFrom(msg.sender, address(this), details.price);", "        order = _open(details, msg.sender);"],
  ["Market", "        TOKEN.safeTransferFrom(from, address(this), details.price);\n", ""],
  ["Market", "price - poolPaid - providerPaid", "price - poolPaid"],
  ["Market", "price * offer.poolFeeBps / BPS", "(price * offer.poolFeeBps + BPS - 1) / BPS"],
  ["Market", "_credit(_providerOf(offer), providerPaid);", "_credit(offer.pool, providerPaid);"],
  ["Market", "if (gasleft() < callbackGas + callbackGas / 63 + CALLBACK_OVERHEAD) revert CallbackStarved(callbackGas);", ""],
  ["Market", "callbackGas + callbackGas / 63 + CALLBACK_OVERHEAD", "callbackGas + CALLBACK_OVERHEAD"],
  ["Market", "callbackGas + callbackGas / 63 + CALLBACK_OVERHEAD", "callbackGas + callbackGas / 63"],
  ["Market", "success := call(callbackGas,", "success := call(gas(),"],
  ["Market", "length < MAX_REASON_BYTES ? length : MAX_REASON_BYTES", "length"],
  ["Market", "if (success) return;", "require(success);"],
  ["Market", "        _statuses[id] = Status.Refunded;\n", ""],
  ["Market", "_credit(order.requester, order.price);", "_credit(msg.sender, order.price);"],
  ["Market", "        _credit(account, amount);\n        TOKEN", "        TOKEN"],
  ["Market", "        TOKEN.safeTransferFrom(account, address(this), amount);\n", ""],
  ["Market", "        _debit(msg.sender, amount);\n", ""],
  ["Market", "if (to == address(this)) revert InvalidReceiver(to);", ""],

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
