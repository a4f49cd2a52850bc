// Measures the gas of whole transactions on anvil and writes gas.json, or with --check compares it.
// Everything is pinned (accounts, time, hard fork), so equal code gives equal numbers: a change is a change of code.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js";
import { Point, candidate, encodeParams, encodeResult } from "../test/vectors/vanity.mjs";
import { binaryOf, root } from "./forge.mjs";

const ORDER = "(bytes32,address,address,uint32,uint64,uint96,uint64,uint256,bytes)";
const REQUEST = "bytes32,uint64,uint256,address,uint32,bytes";
const PERMIT = "(uint256,uint256,uint8,bytes32,bytes32)";
const REQUESTED = ["Requested", "BagRequested"].map((name) => cast("sig-event", `${name}(bytes32,bytes32,address,${ORDER})`));
const ZERO = "0x" + "0".repeat(40);
const RLC = 10n ** 9n;
const UNIT_PRICE = RLC / 1000n;
const PRICE = 100n * UNIT_PRICE;
const START = 1_800_000_000;
const DURATION = 3_600;

const anvil = spawn(binaryOf("anvil"), ["--port", "0", "--hardfork", "prague", "--timestamp", String(START)], {
  stdio: ["ignore", "pipe", "inherit"],
});
const url = await listening(anvil);
let now = START;
const gas = {};
try {
  await measure();
} finally {
  anvil.kill();
  await once(anvil, "exit");
}

const numbers = join(root, "gas.json");
const readme = join(root, "README.md");
const outputs = [[numbers, JSON.stringify(gas, null, 2) + "\n"], [readme, withTable(readFileSync(readme, "utf8"))]];
if (!process.argv.includes("--check")) {
  for (const [path, text] of outputs) writeFileSync(path, text);
} else if (outputs.some(([path, text]) => readFileSync(path, "utf8") !== text)) {
  const before = JSON.parse(readFileSync(numbers, "utf8"));
  for (const name of new Set([...Object.keys(before), ...Object.keys(gas)])) {
    if (before[name] !== gas[name]) console.error(`${name}: ${before[name]} in gas.json, ${gas[name]} measured`);
  }
  console.error("gas.json or the table in README.md differs from what was measured");
  console.error("\nhint: npm run gas, and say in the commit why it changed");
  process.exit(1);
}

/// What the same costs elsewhere: [what, name in gas.json, iExec's PoCo v6.2 on Arbitrum, iExec's oracle of 2017]. Theirs
/// were measured with the production byte code and the same params, on anvil.
function peers() {
  return [
    ["register an app", "createApp", 626_831],
    ["make a deal", "matchOrders", 689_129],
    ["make a deal with a dataset", "matchOrders with dataset", 812_996],
    ["a task from order to pay, one worker, by iExec's tools", "hub: whole life of a task", 1_709_000, 317_000],
    ["a task from order to pay, one worker", "whole life, quorum of 1", 1_709_000, 317_000],
    ["a task from order to pay, five workers agree", "whole life, quorum of 5", 3_262_000],
    ["a task of a bag of 10, by iExec's tools", "hub: bag of 10, per task", 1_036_000],
    ["a task of a bag of 1,000", "bag of 1000 by root, per task"],
    ["take money out", "withdraw", 59_498],
  ];
}

/// The same numbers for people, between marks in README.md.
function withTable(page) {
  const rows = Object.entries(gas).map(([name, used]) => `| ${name} | ${used.toLocaleString("en")} |`);
  const table = ["| transaction | gas |", "| --- | ---: |", ...rows].join("\n");
  const number = (used) => (used ? used.toLocaleString("en") : "");
  const factor = (ours, theirs) => (theirs ? `${(theirs / ours).toFixed(1)} ×` : "");
  const lines = peers().map(([what, name, poco, oracle]) =>
    `| ${what} | ${number(gas[name])} | ${number(poco)} | ${factor(gas[name], poco)} | ${number(oracle)} |`);
  const comparison = ["| | gristmill | PoCo v6.2 | | 2017 |", "| --- | ---: | ---: | ---: | ---: |", ...lines].join("\n");
  const between = (text, mark, content) =>
    text.replace(new RegExp(`(<!-- ${mark} -->\n)[^]*(\n<!-- /${mark} -->)`), (_, from, to) => from + content + to);
  return between(between(page, "gas", table), "peers", comparison);
}

async function measure() {
  const [deployer, pool, provider, worker, alice, bob, carol, stranger] = await rpc("eth_accounts");
  const secret = 0x1234567890abcdefn;
  // One hash in sixteen is wanted: a range as wide as that of a first letter or two.
  const ranges = [[0x40n << 152n, (0x50n << 152n) - 1n]];
  const params = encodeParams(Point.BASE.multiply(secret).toBytes(true), ranges);

  const token = await deploy("RLC", deployer, "(address)", deployer);
  const market = await deploy("Market", deployer, "(address)", token);
  const MARKET_DOMAIN = { name: "gristmill market", version: "1", chainId: 31337, verifyingContract: market };
  const verifier = await deploy("VanityVerifier", deployer);
  const terms = (judge) =>
    `(${pool},${provider},0x${"ab".repeat(32)},${judge},${UNIT_PRICE},500,1000,${DURATION})`;
  const offer = await publish(terms(verifier), "publishOffer");
  const shop = await deploy("VanityShop", deployer, "(address,bytes32,uint64,uint64)", market, offer, 1_000_000, 100);
  // Accepts whatever it is shown: what the market itself costs.
  const yes = await create(deployer, "0x6760015f5260205ff35f5260086018f3");
  const lenient = await publish(terms(yes));

  for (const account of [alice, bob, carol, pool, worker]) {
    await send(deployer, token, "transfer(address,uint256)", account, 10_000n * RLC);
  }
  // What comes first writes words that were zero; what people pay is mostly the second.
  await send(alice, token, "approve(address,uint256)", market, 1_000n * RLC);
  await measured("deposit, first", alice, market, "deposit(uint256)", 100n * RLC);
  await measured("deposit", alice, market, "deposit(uint256)", 100n * RLC);
  await measured("withdraw", alice, market, "withdraw(uint256)", RLC);
  await measured("depositWithPermit", carol, market, "depositWithPermit(uint256,uint256,uint8,bytes32,bytes32)",
    100n * RLC, ...(await permit(carol, 100n * RLC)));

  const plain = [100, PRICE, ZERO, 0, hex(params)];
  const request = (name, from, offered) =>
    measured(name, from, market, `request(${REQUEST})`, offered, ...plain);
  const requestByCall = (name, from) =>
    measured(name, from, token, "approveAndCall(address,uint256,bytes)", market, PRICE, encode(`f(${REQUEST})`, offer, ...plain));
  const orderByCall = (name, from) =>
    measured(name, from, token, "approveAndCall(address,uint256,bytes)", shop, PRICE, encode("f(bytes)", hex(params)));

  const first = await request(null, alice, offer);
  const fromAccount = await request("request from account", alice, offer);
  const byCall = await requestByCall("request by approveAndCall", bob);
  await measured("requestWithPermit", bob, market, `requestWithPermit(${REQUEST},${PERMIT})`, offer, ...plain,
    `(${[PRICE, ...(await permit(bob, PRICE))]})`);
  const atShop = await orderByCall("order at shop by approveAndCall", carol);

  await settle("settle vanity, first of pool, provider and worker", first);
  await settle("settle vanity", fromAccount);
  await settle("settle vanity to a new worker", byCall, deployer);
  await settle("settle vanity with callback", atShop);
  await settle("settle with a verifier that accepts all", await request(null, alice, lenient));
  gas["vanity verifier on top of settlement"] = gas["settle vanity"] - gas["settle with a verifier that accepts all"];

  await settleMany();
  await bags();
  await vouchers();
  await signedTerms();
  await quorums();

  await measured("decline", pool, market, `decline(${ORDER},bytes)`, (await request(null, alice, offer)).tuple, hex(Buffer.from("no worker")));
  const late = await request(null, alice, offer);
  now += DURATION;
  await measured("refund", bob, market, `refund(${ORDER})`, late.tuple);
  gas["whole life: request from account + settle vanity"] = gas["request from account"] + gas["settle vanity"];
  gas["whole life: request by approveAndCall + settle vanity"] = gas["request by approveAndCall"] + gas["settle vanity"];
  gas["whole life: order at shop + settle vanity with callback"] =
    gas["order at shop by approveAndCall"] + gas["settle vanity with callback"];

  await poco();

  async function settleMany() {
    const all = [];
    for (let i = 0; i < 50; i++) {
      const order = await request(null, alice, offer);
      const result = search(secret, hexToBytes(order.id.slice(2)), hexToBytes(worker.slice(2)), ranges);
      all.push(`(${order.tuple},${worker},${hex(result)},0x)`);
    }
    await measured("settleMany, 50 vanity orders", pool, market, `settleMany((${ORDER},address,bytes,bytes)[])`, `[${all}]`);
    gas["settleMany of 50, per order"] = Math.ceil(gas["settleMany, 50 vanity orders"] / 50);
  }

  async function bags() {
    const bagOf = (count, name) => measured(name, alice, market, `requestBag(${REQUEST})`, lenient, count, RLC * 10n, ...plain.slice(2));
    await settleBatch(null, await bagOf(10), 10);
    const small = await bagOf(100, "request bag of 100");
    const big = await bagOf(1000, "request bag of 1000");
    await settleBatch("settle bag of 100 by root", small, 100);
    await settleBatch("settle bag of 1000 by root", big, 1000);
    const listed = await bagOf(100);
    const results = Array(100).fill(`(${worker},0x${"cd".repeat(32)},0x)`);
    await measured("settle bag of 100 by list", pool, market, `settleTasks(${ORDER},(address,bytes,bytes)[])`, listed.tuple, `[${results}]`);
    for (const count of [100, 1000]) {
      const whole = gas[`request bag of ${count}`] + gas[`settle bag of ${count} by root`];
      gas[`bag of ${count} by root, per task`] = Math.ceil(whole / count);
    }
    gas["bag of 100 by list, per task"] = Math.ceil((gas["request bag of 100"] + gas["settle bag of 100 by list"]) / 100);
  }

  async function settleBatch(name, bag, count) {
    const signature = `settleBatch(${ORDER},address,uint256,uint256,bytes32,bytes)`;
    await measured(name, pool, market, signature, bag.tuple, pool, count, 0, "0x" + "cd".repeat(32), "0x" + "ef".repeat(65));
  }

  async function vouchers() {
    await send(pool, token, "approve(address,uint256)", market, 1_000n * RLC);
    await send(pool, market, "deposit(uint256)", 100n * RLC);
    await measured("lock for vouchers, first", pool, market, "lock(uint256)", RLC);
    await measured("lock for vouchers", pool, market, "lock(uint256)", RLC);
    await measured("reserve for a worker, first", pool, market, "reserve(address,uint256)", bob, RLC);
    await measured("reserve for a worker", pool, market, "reserve(address,uint256)", bob, RLC);
    await cash("cash voucher, first of a worker with an empty wallet", [[stranger, 1000n]]);
    await cash("cash voucher, first", [[worker, 1000n]]);
    await cash("cash voucher", [[worker, 2000n]]);
    await cash("cash voucher from reserve", [[bob, 1000n]]);
    await cash(null, [[alice, 1000n], [carol, 1000n]]);
    const people = [worker, bob, alice, carol, stranger];
    await cash("cash 5 vouchers", people.map((to) => [to, 5000n]));
    gas["cash 5 vouchers, each"] = Math.ceil(gas["cash 5 vouchers"] / 5);
  }

  async function quorums() {
    const rules = `(${market},3600,1800,7200,3600,${RLC},${RLC},10)`;
    const court = await deploy("Court", deployer, "((address,uint64,uint64,uint64,uint64,uint96,uint96,uint96))", rules);
    const signers = [bob, alice, carol, worker, stranger].sort();
    for (const signer of signers) {
      await send(deployer, token, "transfer(address,uint256)", signer, 10n * RLC);
      await send(signer, token, "approveAndCall(address,uint256,bytes)", court, 2n * RLC, "0x");
    }
    await measured("bond a worker, first", signers[0], court, "bond(address)", pool);
    for (const signer of signers.slice(1)) await send(signer, court, "bond(address)", pool);
    for (const count of [1, 5]) {
      const quorum = await deploy("Quorum", deployer, "(address,uint256)", court, count);
      const judged = await publish(terms(quorum));
      const order = await request(`request, quorum of ${count}`, alice, judged);
      // As long as the results in the measurements of PoCo.
      const result = "0x" + "cd".repeat(87);
      const message = { order: order.id, inputs: cast("keccak", hex(params)), result: cast("keccak", result) };
      const domain = { name: "gristmill court", version: "1", chainId: 31337, verifyingContract: court };
      let proof = "0x";
      for (const signer of signers.slice(0, count)) {
        proof += (await signTyped(signer, domain, { Statement: "bytes32 order,bytes32 inputs,bytes32 result" }, message)).slice(2);
      }
      await measured(`settle, quorum of ${count}`, pool, market, `settleWithProof(${ORDER},address,bytes,bytes)`, order.tuple, pool, result, proof);
      gas[`whole life, quorum of ${count}`] = gas[`request, quorum of ${count}`] + gas[`settle, quorum of ${count}`];
    }
    const order = await request(null, alice, await publish(terms(court).replace(`${DURATION})`, "86400)")));
    await send(pool, token, "approveAndCall(address,uint256,bytes)", court, 100n * RLC, "0x");
    await measured("propose to the court", pool, court, `propose(${ORDER},uint256,address,bytes)`, order.tuple, 0, pool, "0x" + "cd".repeat(100));
    await measured("challenge", alice, court, "challenge(bytes32)", order.id);
  }

  async function poco() {
    const [apps, datasets, pools] = [await deploy("AppRegistry", deployer), await deploy("DatasetRegistry", deployer), await deploy("WorkerpoolRegistry", deployer)];
    const hub = await deploy("PocoHub", deployer, "(address,address,address,address,address)", token, apps, datasets, pools, ZERO);
    const hash = "0x" + "ab".repeat(32);
    const image = hex(Buffer.from("registry.example.org/someone/some-app:1.0.0"));
    const entry = async (name, registry, ...call) => "0x" + (await measured(name, bob, registry, ...call)).logs.at(-1).topics[3].slice(26);
    const appOf = (name, label) => entry(label, apps, "createApp(address,string,string,bytes,bytes32,bytes)", provider, name, "DOCKER", image, hash, "0x");
    await appOf("another-app", "createApp, first of its owner");
    const app = await appOf("my-app", "createApp");
    const dataset = await entry("createDataset", datasets, "createDataset(address,string,bytes,bytes32)", provider, "my-data", image, hash);
    const workerpool = await entry("createWorkerpool", pools, "createWorkerpool(address,string)", pool, "a pool");
    await send(alice, token, "approveAndCall(address,uint256,bytes)", hub, 10n * RLC, "0x");
    await measured("hub: deposit", alice, token, "approveAndCall(address,uint256,bytes)", hub, 10n * RLC, "0x");
    await measured("hub: withdraw", alice, hub, "withdraw(uint256)", RLC);
    const none = "0x" + "00".repeat(32);
    const restrict = "address workerpoolrestrict,address requesterrestrict,bytes32 salt";
    const TYPES = {
      AppOrder: `address app,uint256 appprice,uint256 volume,bytes32 tag,address datasetrestrict,${restrict}`,
      DatasetOrder: `address dataset,uint256 datasetprice,uint256 volume,bytes32 tag,address apprestrict,${restrict}`,
      WorkerpoolOrder: "address workerpool,uint256 workerpoolprice,uint256 volume,bytes32 tag,uint256 category,uint256 trust,address apprestrict,address datasetrestrict,address requesterrestrict,bytes32 salt",
      RequestOrder: "address app,uint256 appmaxprice,address dataset,uint256 datasetmaxprice,address workerpool,uint256 workerpoolmaxprice,address requester,uint256 volume,bytes32 tag,uint256 category,uint256 trust,address beneficiary,address callback,string params,bytes32 salt",
    };
    const tuples = Object.entries(TYPES).map(([, fields]) => `(${fields.split(",").map((field) => field.split(" ")[0])},bytes)`);
    const domain = { name: "iExecODB", version: "5.0.0", chainId: 31337, verifyingContract: hub };
    let salts = 1n;
    const order = async (kind, signer, ...values) => {
      const names = TYPES[kind].split(",").map((field) => field.split(" ")[1]);
      const all = [...values, "0x" + (salts++ * 0x0123456789abcdef0123456789abcdefn).toString(16).padStart(64, "7").slice(-64)];
      const message = Object.fromEntries(names.map((name, i) => [name, String(all[i])]));
      return `(${all},${signer ? await signTyped(signer, domain, { [kind]: TYPES[kind] }, message) : "0x"})`;
    };
    const matchOrders = async (name, volume, withData) => {
      const data = withData ? dataset : ZERO;
      const orders = [
        await order("AppOrder", provider, app, 1000, 1000, none, ZERO, ZERO, ZERO),
        await order("DatasetOrder", withData && provider, data, 0, withData ? 1000 : 0, none, ZERO, ZERO, ZERO),
        await order("WorkerpoolOrder", pool, workerpool, 1000, 1000, none, 0, 0, ZERO, ZERO, ZERO),
        await order("RequestOrder", alice, app, 1000, data, 0, workerpool, 1000, alice, volume, none, 0, 0, alice, ZERO, "x".repeat(64)),
      ];
      const receipt = await measured(name, alice, hub, `matchOrders(${tuples})`, ...orders);
      return receipt.logs.at(-1).data.slice(0, 66);
    };
    const report = (i) => `(${i},${hex(Buffer.from('{"storage":"ipfs","location":"/ipfs/QmVmKFQSW7JcE8qzqLkgXP2YkfE3cKWGEKPdHVUw3NRKBT"}'))},0x,0x)`;
    const settleOf = (name, deal, indexes) =>
      measured(name, pool, hub, "settleTasks(bytes32,(uint256,bytes,bytes,bytes)[])", deal, `[${indexes.map(report)}]`);
    await settleOf(null, await matchOrders(null, 1, false), [0]);
    const single = await matchOrders("matchOrders", 1, false);
    await settleOf("hub: settle a task", single, [0]);
    await matchOrders("matchOrders with dataset", 1, true);
    const bag = await matchOrders("matchOrders, bag of 10", 10, false);
    await settleOf("hub: settle 10 tasks", bag, [...Array(10).keys()]);
    const late = await matchOrders(null, 1, false);
    now += 3600;
    await measured("hub: initialize and claim", bob, hub, "initializeAndClaimArray(bytes32[],uint256[])", `[${late}]`, "[0]");
    gas["hub: whole life of a task"] = gas.matchOrders + gas["hub: settle a task"];
    gas["hub: bag of 10, per task"] = Math.ceil((gas["matchOrders, bag of 10"] + gas["hub: settle 10 tasks"]) / 10);
  }

  async function cash(name, owed) {
    const list = [];
    for (const [to, cumulative] of owed) {
      const message = { pool, worker: to, cumulative: String(cumulative) };
      const signature = await signTyped(pool, MARKET_DOMAIN, { Voucher: "address pool,address worker,uint256 cumulative" }, message);
      list.push(`(${pool},${to},${cumulative},${signature})`);
    }
    await measured(name, bob, market, "cash((address,address,uint256,bytes)[])", `[${list}]`);
  }

  async function signedTerms() {
    const OFFER = "address pool,address provider,bytes32 app,address verifier,uint96 unitPrice,uint16 poolFeeBps,uint16 providerFeeBps,uint32 duration";
    const offered = {
      pool, provider, app: "0x" + "ab".repeat(32), verifier, unitPrice: String(UNIT_PRICE + 1n), poolFeeBps: 500,
      providerFeeBps: 1000, duration: DURATION,
    };
    const salt = "0x" + "11".repeat(32);
    const validUntil = START * 2;
    const signed = { terms: offered, requester: ZERO, units: 1_000_000, validUntil, salt };
    const signature = await signTyped(pool, MARKET_DOMAIN, {
      SignedOffer: "Offer terms,address requester,uint64 units,uint64 validUntil,bytes32 salt", Offer: OFFER,
    }, signed);
    const tuple = `((${Object.values(offered)}),${ZERO},1000000,${validUntil},${salt})`;
    const call = "requestSigned(((address,address,bytes32,address,uint96,uint16,uint16,uint32),address,uint64,uint64,bytes32),bytes,uint64,uint256,address,uint32,bytes)";
    await measured("requestSigned, first under the offer", alice, market, call, tuple, signature, ...plain.with(1, 2n * PRICE));
    await measured("requestSigned", alice, market, call, tuple, signature, ...plain.with(1, 2n * PRICE));

    const request = {
      requester: alice, relayer: ZERO, tip: "0", offer, units: 100, bag: false, priceMax: String(PRICE), callback: ZERO,
      callbackGas: 0, validUntil, salt, params: hex(params),
    };
    const REQUEST_TYPE = "address requester,address relayer,uint96 tip,bytes32 offer,uint64 units,bool bag,uint96 priceMax,address callback,uint32 callbackGas,uint64 validUntil,bytes32 salt,bytes params";
    const consent = await signTyped(alice, MARKET_DOMAIN, { SignedRequest: REQUEST_TYPE }, request);
    await measured("relay", bob, market, "relay((address,address,uint96,bytes32,uint64,bool,uint96,address,uint32,uint64,bytes32,bytes),bytes)",
      `(${Object.values(request)})`, consent);
  }

  async function settle(name, order, by = worker) {
    const result = search(secret, hexToBytes(order.id.slice(2)), hexToBytes(by.slice(2)), ranges);
    await measured(name, pool, market, `settle(${ORDER},address,bytes)`, order.tuple, by, hex(result));
  }

  async function publish(tuple, name) {
    const receipt = await measured(name, pool, market, "publishOffer((address,address,bytes32,address,uint96,uint16,uint16,uint32))", tuple);
    return receipt.logs.at(-1).topics[1];
  }

  async function permit(owner, value) {
    const nonce = await rpc("eth_call", { to: token, data: calldata("nonces(address)", owner) }, "latest");
    const deadline = START * 2;
    const signature = await signTyped(owner, { name: "RLC", version: "1", chainId: 31337, verifyingContract: token }, {
      Permit: "address owner,address spender,uint256 value,uint256 nonce,uint256 deadline",
    }, { owner, spender: market, value: String(value), nonce, deadline: String(deadline) });
    return [deadline, parseInt(signature.slice(130), 16), signature.slice(0, 66), "0x" + signature.slice(66, 130)];
  }
}

/// EIP-712: `types` as "type name,type name", the first of them is what is signed.
function signTyped(signer, domain, types, message) {
  const fields = (text) => text.split(",").map((field) => ({ type: field.split(" ")[0], name: field.split(" ")[1] }));
  const all = { EIP712Domain: "string name,string version,uint256 chainId,address verifyingContract", ...types };
  return rpc("eth_signTypedData_v4", signer, {
    domain,
    primaryType: Object.keys(types)[0],
    types: Object.fromEntries(Object.entries(all).map(([name, text]) => [name, fields(text)])),
    message,
  });
}

/// The first candidate that is wanted, as a worker would send it.
function search(secret, order, worker, ranges) {
  const publicKey = Point.BASE.multiply(secret).toBytes(true);
  for (let index = 0n; ; index++) {
    const { sum, hashes } = candidate(publicKey, order, worker, index);
    const image = hashes.findIndex((hash) => ranges.some(([lo, hi]) => lo <= hash && hash <= hi));
    if (image >= 0) return encodeResult(worker, index, image, sum);
  }
}

async function deploy(name, from, signature, ...args) {
  const { bytecode } = JSON.parse(readFileSync(join(root, "artifacts", `${name}.json`)));
  const constructor = signature ? encode("f" + signature, ...args).slice(2) : "";
  return create(from, bytecode + constructor, `deploy ${name}`);
}

async function create(from, data, name) {
  return (await transact({ from, data }, name)).contractAddress;
}

function send(from, to, signature, ...args) {
  return transact({ from, to, data: calldata(signature, ...args) });
}

/// Sends, books the gas under `name`, and gives back the order if one was requested.
async function measured(name, from, to, signature, ...args) {
  const receipt = await transact({ from, to, data: calldata(signature, ...args) }, name);
  const log = receipt.logs.find(({ topics }) => REQUESTED.includes(topics[0]));
  return Object.assign(receipt, log && { id: log.topics[1], tuple: orderIn(log.data) });
}

async function transact(transaction, name) {
  now += 12;
  await rpc("evm_setNextBlockTimestamp", now);
  const hash = await rpc("eth_sendTransaction", { ...transaction, gas: "0x7a1200" });
  const receipt = await mined(hash);
  if (receipt.status !== "0x1") throw new Error(`${name ?? JSON.stringify(transaction)} reverted`);
  if (name) gas[name] = Number(receipt.gasUsed);
  return receipt;
}

/// anvil answers a transaction before it has mined it.
async function mined(hash) {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(5)) {
    const receipt = await rpc("eth_getTransactionReceipt", hash);
    if (receipt) return receipt;
  }
  throw new Error(`${hash} was not mined in 30 s`);
}

/// The order in a `Requested` event, as cast takes it.
function orderIn(data) {
  const words = data.slice(2).match(/.{64}/g).slice(1);
  const number = (i) => BigInt("0x" + words[i]);
  const address = (i) => "0x" + words[i].slice(24);
  const params = words.slice(10).join("").slice(0, 2 * Number(number(9)));
  return `(0x${words[0]},${address(1)},${address(2)},${[3, 4, 5, 6, 7].map(number)},0x${params})`;
}

function calldata(signature, ...args) {
  return cast("calldata", signature, ...args);
}

function encode(signature, ...args) {
  return cast("abi-encode", signature, ...args);
}

function cast(...args) {
  return execFileSync(binaryOf("cast"), args.map(String), { encoding: "utf8" }).trim();
}

function hex(bytes) {
  return "0x" + bytesToHex(bytes);
}

async function rpc(method, ...params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  const { result, error } = await response.json();
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}

async function listening(child) {
  for await (const line of createInterface({ input: child.stdout })) {
    const found = line.match(/Listening on (\S+)/);
    if (found) {
      child.stdout.resume();
      return `http://${found[1]}`;
    }
  }
  throw new Error("anvil ended before it listened");
}
