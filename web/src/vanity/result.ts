/**
 * Result of an order, and the key that the requester makes from it.
 *
 * A worker searches points Q = P + k·G, where P = a·G is the requester's half and k is bound to one worker of one
 * order. Three images of each point (its endomorphism powers), each with two signs, are tried: the key of the match is
 * ±λ^e·(a + k), which only the owner of a can compute.
 */
import { secp256k1 } from "@noble/curves/secp256k1";
import { keccak_256 } from "@noble/hashes/sha3";
import { addressOf, addressOfPrivateKey, hash160, publicKeyOf } from "../bitcoin/address";
import { contains } from "../bitcoin/ranges";
import { bytesOf, concat, numberOf, toHex } from "../bytes";
import type { Params } from "./params";

const { n: N, Fp } = secp256k1.CURVE;
const LAMBDA = 0x5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72n;
const BETA = 0x7ae96a2b657c07106e64479eac3434e99cf0497512f58995c1396c28719501een;
const ANSWER_BYTES = 29;
const RESULT_BYTES = 93;

/** What the shop remembers of a result, and the pool of a near miss: enough to make the key. */
export interface Answer {
  worker: Uint8Array;
  index: bigint;
  image: number;
}

export interface Result extends Answer {
  q: { x: bigint; y: bigint };
}

/** `worker ‖ index ‖ image`: a near miss, and how a result begins. */
export function unpackAnswer(bytes: Uint8Array): Answer {
  if (bytes.length !== ANSWER_BYTES) throw new RangeError(`an answer has ${ANSWER_BYTES} bytes, not ${bytes.length}`);
  return { worker: bytes.slice(0, 20), index: numberOf(bytes.subarray(20, 28)), image: bytes[28] as number };
}

export function unpackResult(bytes: Uint8Array): Result {
  if (bytes.length !== RESULT_BYTES) throw new RangeError(`a result has ${RESULT_BYTES} bytes, not ${bytes.length}`);
  return {
    ...unpackAnswer(bytes.subarray(0, ANSWER_BYTES)),
    q: { x: numberOf(bytes.subarray(29, 61)), y: numberOf(bytes.subarray(61, 93)) },
  };
}

export function packResult({ worker, index, image, q }: Result): Uint8Array {
  return concat(worker, bytesOf(index, 8), Uint8Array.of(image), bytesOf(q.x, 32), bytesOf(q.y, 32));
}

/** The offset that candidate `index` of this worker stands for, in this order. */
export function offsetOf(order: Uint8Array, worker: Uint8Array, index: bigint): bigint {
  const base = numberOf(keccak_256(concat(order, worker))) % N;
  return (base + index) % N;
}

export class ResultMismatch extends Error {}

export interface Combined {
  privateKey: bigint;
  address: string;
  offset: bigint;
}

/** Makes the key of what was ordered: throws unless the address lies in the ordered ranges. */
export function combine(order: Uint8Array, params: Params, halfKey: bigint, answer: Answer): Combined {
  const { hash, ...combined } = combineAny(order, params.publicKey, halfKey, answer);
  if (!contains(params.ranges, numberOf(hash))) {
    throw new ResultMismatch(`The address ${combined.address} is not what was ordered.`);
  }
  return combined;
}

/** Makes the key of a near miss: throws unless its address is the one that the pool has shown. */
export function combineNear(
  order: Uint8Array,
  publicKey: Uint8Array,
  halfKey: bigint,
  answer: Answer,
  shown: string,
): Combined {
  const { hash: _, ...combined } = combineAny(order, publicKey, halfKey, answer);
  if (combined.address !== shown) {
    throw new ResultMismatch(`The pool has shown ${shown}, but its answer gives ${combined.address}.`);
  }
  return combined;
}

/**
 * Makes the key and re-derives its address along two paths that share nothing but the hash functions: from the
 * private key, and from the public points alone, as the contract does. Throws unless both give the same address.
 */
function combineAny(
  order: Uint8Array,
  publicKey: Uint8Array,
  halfKey: bigint,
  answer: Answer,
): Combined & { hash: Uint8Array } {
  if (toHex(publicKeyOf(halfKey)) !== toHex(publicKey)) {
    throw new ResultMismatch("This key is not the one that the order was made with.");
  }
  if (answer.image > 5) throw new ResultMismatch("The answer names an image of the point that does not exist.");
  const power = answer.image >> 1;
  const odd = (answer.image & 1) === 1;
  const offset = offsetOf(order, answer.worker, answer.index);
  const sum = (halfKey + offset) % N;
  if (offset === 0n || sum === 0n) throw new ResultMismatch("The answer's offset is not a valid one.");

  const turned = (LAMBDA ** BigInt(power) * sum) % N;
  const privateKey = isOdd(turned) === odd ? turned : N - turned;
  const address = addressOfPrivateKey(privateKey);

  const hash = hashOfImage(pointOf(publicKey, offset), power, odd);
  if (addressOf(hash) !== address) {
    throw new ResultMismatch("The private key and the public points give different addresses.");
  }
  return { privateKey, address, offset, hash };
}

/** Q = P + k·G */
export function pointOf(publicKey: Uint8Array, offset: bigint): { x: bigint; y: bigint } {
  const { ProjectivePoint } = secp256k1;
  const { x, y } = ProjectivePoint.fromHex(publicKey).add(ProjectivePoint.BASE.multiply(offset)).toAffine();
  return { x, y };
}

/** hash160 of an image of a point: (β^e·x, with the prefix that says which y is meant). */
export function hashOfImage(q: { x: bigint }, power: number, odd: boolean): Uint8Array {
  const x = (BETA ** BigInt(power) * q.x) % Fp.ORDER;
  return hash160(concat(Uint8Array.of(odd ? 0x03 : 0x02), bytesOf(x, 32)));
}

function isOdd(privateKey: bigint): boolean {
  return publicKeyOf(privateKey)[0] === 0x03;
}
