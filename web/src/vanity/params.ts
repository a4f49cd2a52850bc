/** Params of an order: compressed public key of the requester ‖ n × (lo 20 ‖ hi 20), inclusive, sorted, disjoint. */
import { secp256k1 } from "@noble/curves/secp256k1";
import type { Range } from "../bitcoin/ranges";
import { bytesOf, concat, numberOf } from "../bytes";

const KEY_BYTES = 33;
const HASH_BYTES = 20;
const RANGES_MAX = 32;

export interface Params {
  publicKey: Uint8Array;
  ranges: Range[];
}

export function packParams({ publicKey, ranges }: Params): Uint8Array {
  if (publicKey.length !== KEY_BYTES) throw new RangeError("the public key must be compressed");
  if (ranges.length < 1 || ranges.length > RANGES_MAX) throw new RangeError(`between 1 and ${RANGES_MAX} ranges`);
  const packed = ranges.flatMap(({ lo, hi }) => [bytesOf(lo, HASH_BYTES), bytesOf(hi, HASH_BYTES)]);
  return concat(publicKey, ...packed);
}

/** Throws on params that no contract of ours would take. */
export function unpackParams(bytes: Uint8Array): Params {
  const count = (bytes.length - KEY_BYTES) / (2 * HASH_BYTES);
  if (!Number.isInteger(count) || count < 1 || count > RANGES_MAX) throw new RangeError("params have a wrong length");
  const publicKey = bytes.slice(0, KEY_BYTES);
  secp256k1.ProjectivePoint.fromHex(publicKey);
  const hashAt = (index: number) => {
    const start = KEY_BYTES + index * HASH_BYTES;
    return numberOf(bytes.subarray(start, start + HASH_BYTES));
  };
  const ranges = Array.from({ length: count }, (_, index) => ({ lo: hashAt(2 * index), hi: hashAt(2 * index + 1) }));
  ranges.forEach(({ lo, hi }, index) => {
    const before = ranges[index - 1];
    if (lo > hi || (before && lo <= before.hi)) throw new RangeError("ranges must be sorted and disjoint");
  });
  return { publicKey, ranges };
}
