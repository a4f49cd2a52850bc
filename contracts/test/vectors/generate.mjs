// Writes vanity.json beside itself, or with --check compares it with what it would write.
import { sha256 } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesToHex, concatBytes, utf8ToBytes } from "@noble/hashes/utils.js";
import { strict as assert } from "node:assert";
import { readFileSync, writeFileSync } from "node:fs";
import { Point, bytesOf, candidate, encodeParams, encodeResult, hash160, imageKey, numberOf } from "./vanity.mjs";

const hex = (bytes) => "0x" + bytesToHex(bytes);
const seeded = (label) => sha256(utf8ToBytes("gristmill vanity vector: " + label));

const vectors = [];
for (const parity of [2, 3]) {
  for (const [i, index] of [0n, 1n, 0xdeadbeefn, 2n ** 64n - 1n].entries()) {
    for (const image of [0, 1, 2, 3, 4, 5]) vectors.push(vector(parity, i, index, image));
  }
}
const text = JSON.stringify({ count: vectors.length, vectors }, null, 2) + "\n";

const ethereum = JSON.stringify({ count: vectors.length, vectors: vectors.map(asEthereum) }, null, 2) + "\n";

for (const [name, content] of [["vanity.json", text], ["ethereum.json", ethereum]]) {
  const path = new URL(name, import.meta.url);
  if (!process.argv.includes("--check")) {
    writeFileSync(path, content);
  } else if (readFileSync(path, "utf8") !== content) {
    console.error(`test/vectors/${name} differs from what generate.mjs writes`);
    process.exit(1);
  }
}

/// The same find, wanted for its Ethereum address.
function asEthereum({ order, worker, params, result, image, privateKey }) {
  const point = Point.BASE.multiply(BigInt(privateKey)).toBytes(false).slice(1);
  const address = numberOf(keccak_256(point).slice(12));
  const publicKey = Buffer.from(params.slice(2, 68), "hex");
  return { order, worker, params: hex(encodeParams(publicKey, [[address, address]])), result, image, privateKey, address: hex(bytesOf(address, 20)) };
}

function vector(parity, i, index, image) {
  const secret = secretWithParity(parity, i);
  const publicKey = Point.BASE.multiply(secret).toBytes(true);
  const order = seeded(`order ${i}`);
  const worker = seeded(`worker ${i}`).slice(0, 20);
  const { offset, sum, hashes } = candidate(publicKey, order, worker, index);

  // The way a wallet sees it: from the private key up. Nothing of the images' algebra is used here.
  const privateKey = imageKey(secret, offset, image);
  const wallet = Point.BASE.multiply(privateKey).toBytes(true);
  assert.equal(numberOf(hash160(wallet)), hashes[image]);
  assert.equal(wallet[0], 2 + (image & 1));

  return {
    order: hex(order),
    worker: hex(worker),
    params: hex(encodeParams(publicKey, [[hashes[image], hashes[image]]])),
    result: hex(encodeResult(worker, index, image, sum)),
    index: index.toString(),
    image,
    secret: hex(bytesOf(secret, 32)),
    offset: hex(bytesOf(offset, 32)),
    privateKey: hex(bytesOf(privateKey, 32)),
    hash160: hex(bytesOf(hashes[image], 20)),
    address: p2pkh(hashes[image]),
  };
}

function secretWithParity(parity, i) {
  for (let attempt = 0; ; attempt++) {
    const secret = numberOf(seeded(`secret ${parity} ${i} ${attempt}`));
    if (Point.BASE.multiply(secret).toBytes(true)[0] === parity) return secret;
  }
}

function p2pkh(hash) {
  const payload = concatBytes(Uint8Array.of(0), bytesOf(hash, 20));
  const bytes = concatBytes(payload, sha256(sha256(payload)).slice(0, 4));
  const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  let text = "";
  for (let value = numberOf(bytes); value > 0n; value /= 58n) text = digits[Number(value % 58n)] + text;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros) + text;
}
