/** Searches candidates of one order until one fits. Slow, simple, and limited so that a person can watch it. */
import { parentPort, workerData } from "node:worker_threads";
import { secp256k1 } from "@noble/curves/secp256k1";
import { ripemd160 } from "@noble/hashes/legacy";
import { sha256 } from "@noble/hashes/sha2";
import { keccak_256 } from "@noble/hashes/sha3";

const { order, worker, params, rateMax } = workerData;
const { ProjectivePoint: Point, CURVE } = secp256k1;
const BETA = 0x7ae96a2b657c07106e64479eac3434e99cf0497512f58995c1396c28719501een;
const BATCH = 256;

const bytes = (hex) => Buffer.from(hex.slice(2), "hex");
const number = (buffer) => BigInt(`0x${Buffer.from(buffer).toString("hex")}`);
const hex = (value, length) => value.toString(16).padStart(2 * length, "0");

const packed = bytes(params);
const ranges = [];
for (let at = 33; at < packed.length; at += 40) {
  ranges.push([packed.subarray(at, at + 20), packed.subarray(at + 20, at + 40)]);
}
const fits = (hash) => ranges.some(([lo, hi]) => Buffer.compare(lo, hash) <= 0 && Buffer.compare(hash, hi) <= 0);

const base = number(keccak_256(Buffer.concat([bytes(order), bytes(worker)]))) % CURVE.n;
const step = Point.BASE;
let point = Point.fromHex(packed.subarray(0, 33)).add(Point.BASE.multiply(base));
let done = 0;
const startedAt = Date.now();
let reportedAt = 0;

const report = (result) => {
  reportedAt = Date.now();
  parentPort.postMessage({ done, rate: (done * 1000) / Math.max(1, reportedAt - startedAt), result });
};

function tryImages({ x, y }, index) {
  const key = Buffer.alloc(33);
  for (let image = 0; image < 6; image++) {
    if (image % 2 === 0) Buffer.from(hex((BETA ** BigInt(image >> 1) * x) % CURVE.Fp.ORDER, 32), "hex").copy(key, 1);
    key[0] = 2 + (image % 2);
    done++;
    if (fits(ripemd160(sha256(key))))
      return `${worker}${hex(BigInt(index), 8)}${hex(BigInt(image), 1)}${hex(x, 32)}${hex(y, 32)}`;
  }
  return null;
}

search: for (let index = 0; ; index += BATCH) {
  const batch = [];
  for (let at = 0; at < BATCH; at++) {
    batch.push(point);
    point = point.add(step);
  }
  const affine = Point.normalizeZ(batch);
  for (let at = 0; at < BATCH; at++) {
    const result = tryImages(affine[at].toAffine(), index + at);
    if (result) {
      report(result);
      break search;
    }
  }
  const ahead = (done * 1000) / rateMax - (Date.now() - startedAt);
  if (ahead > 5) await new Promise((resolve) => setTimeout(resolve, ahead));
  if (Date.now() - reportedAt > 700) report(null);
}
