// The vanity protocol a second time, on curve arithmetic and hashes that share nothing with the contracts.
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { ripemd160 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { concatBytes, hexToBytes } from "@noble/hashes/utils.js";

export const { Point } = secp256k1;
const n = Point.CURVE().n;
const p = Point.CURVE().p;

/// Cube roots of one, mod p and mod n, that belong together: LAMBDA·(x, y) = (BETA·x, y).
const BETA = 0x7ae96a2b657c07106e64479eac3434e99cf0497512f58995c1396c28719501een;
const LAMBDA = 0x5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72n;

export const mod = (value, modulus) => ((value % modulus) + modulus) % modulus;
export const bytesOf = (value, length) => hexToBytes(value.toString(16).padStart(2 * length, "0"));
export const numberOf = (bytes) => BigInt("0x" + Buffer.from(bytes).toString("hex"));
export const hash160 = (bytes) => ripemd160(sha256(bytes));

export function base(order, worker) {
  return mod(numberOf(keccak_256(concatBytes(order, worker))), n);
}

/// Params for a public key (compressed) and [lo, hi] pairs of numbers.
export function encodeParams(publicKey, ranges) {
  return concatBytes(publicKey, ...ranges.flatMap(([lo, hi]) => [bytesOf(lo, 20), bytesOf(hi, 20)]));
}

export function encodeResult(worker, index, image, sum) {
  return concatBytes(worker, bytesOf(index, 8), bytesOf(BigInt(image), 1), sum.toBytes(false).slice(1));
}

/// What `index` of this order and worker stands for: the point, and the hash160 of each of its six images.
export function candidate(publicKey, order, worker, index) {
  const offset = mod(base(order, worker) + index, n);
  const sum = Point.fromBytes(publicKey).add(Point.BASE.multiply(offset));
  const hashes = [0, 1, 2, 3, 4, 5].map((image) => {
    const x = mod(sum.x * BETA ** BigInt(image >> 1), p);
    return numberOf(hash160(concatBytes(Uint8Array.of(2 + (image & 1)), bytesOf(x, 32))));
  });
  return { offset, sum, hashes };
}

/// The private key behind an image, as the requester makes it from its own and the offset.
export function imageKey(secret, offset, image) {
  const key = mod(LAMBDA ** BigInt(image >> 1) * (secret + offset), n);
  const isOdd = (Point.BASE.multiply(key).y & 1n) === 1n;
  return isOdd === ((image & 1) === 1) ? key : n - key;
}
