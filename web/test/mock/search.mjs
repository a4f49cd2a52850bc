/** Searches candidates of one order until one fits. Slow, simple, and limited so that a person can watch it. */
import { parentPort, workerData } from "node:worker_threads";
import { secp256k1 } from "@noble/curves/secp256k1";
import { ripemd160 } from "@noble/hashes/legacy";
import { sha256 } from "@noble/hashes/sha2";
import { keccak_256 } from "@noble/hashes/sha3";
import { payments } from "bitcoinjs-lib";

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

const addressOf = (hash) => payments.p2pkh({ hash }).address;
const shared = (a, b) => [...a].findIndex((letter, at) => b[at] !== letter);
const edges = ranges.flat().map(addressOf);
const wanted = edges[0].slice(
  0,
  Math.min(
    ...edges
      .slice(1)
      .map((edge) => shared(edge, edges[0]))
      .filter((at) => at >= 0),
  ),
);

/** Near misses lie up to a million widths beside what is wanted. */
const isNear = (hash) =>
  ranges.some(([lo, hi]) => {
    const width = 1_000_000n * (number(hi) - number(lo) + 1n);
    return number(hash) >= number(lo) - width && number(hash) <= number(hi) + width;
  });
let closest = null;

function lookAtMiss(hash, place) {
  if (!isNear(hash)) return;
  const text = addressOf(hash);
  const score = shared(wanted, text);
  if (score > (closest?.score ?? 0)) closest = { score, text, record: place };
}

const base = number(keccak_256(Buffer.concat([bytes(order), bytes(worker)]))) % CURVE.n;
const step = Point.BASE;
let point = Point.fromHex(packed.subarray(0, 33)).add(Point.BASE.multiply(base));
let done = 0;
const startedAt = Date.now();
let reportedAt = 0;

const report = (result) => {
  reportedAt = Date.now();
  parentPort.postMessage({ done, rate: (done * 1000) / Math.max(1, reportedAt - startedAt), closest, result });
};

function tryImages({ x, y }, index) {
  const key = Buffer.alloc(33);
  for (let image = 0; image < 6; image++) {
    if (image % 2 === 0) Buffer.from(hex((BETA ** BigInt(image >> 1) * x) % CURVE.Fp.ORDER, 32), "hex").copy(key, 1);
    key[0] = 2 + (image % 2);
    done++;
    const hash = ripemd160(sha256(key));
    const place = `${worker}${hex(BigInt(index), 8)}${hex(BigInt(image), 1)}`;
    if (fits(hash)) return `${place}${hex(x, 32)}${hex(y, 32)}`;
    lookAtMiss(hash, place);
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
