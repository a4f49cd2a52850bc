/**
 * Prefixes of P2PKH addresses as ranges of hashes.
 *
 * An address writes the number hash ‖ checksum (192 bits) in base 58, after a '1' for the version byte and for each
 * leading zero byte of the number. A prefix is one interval of such numbers for each possible length of the address.
 * The checksum shifts an interval's edges by at most one hash, and as it is a function of the hash, even the edges
 * are decided exactly.
 */
import { bytesOf, concat, numberOf } from "../bytes";
import { addressOf } from "./address";
import { checksum, digitOf, VERSION_P2PKH } from "./base58";
import { type Range, union } from "./ranges";

const NUMBER_BYTES = 24;

/** Numbers from `low` up to and not including `end`. */
interface Interval {
  low: bigint;
  end: bigint;
}

/** Empty when no address starts like this; every character must be a Base58 digit and the first a '1'. */
export function rangesOfPrefix(prefix: string): Range[] {
  const digits = Array.from(prefix, digitOf);
  return union(intervalsOf(digits).flatMap(hashesIn));
}

function intervalsOf(digits: number[]): Interval[] {
  const firstNonZero = digits.findIndex((digit) => digit !== 0);
  const ones = firstNonZero < 0 ? digits.length : firstNonZero;
  const zeroBytes = ones - 1;
  if (zeroBytes > NUMBER_BYTES) return [];
  if (ones === digits.length) return [{ low: 0n, end: bytesBelow(NUMBER_BYTES - zeroBytes) }];
  if (zeroBytes === NUMBER_BYTES) return [];

  const space = { low: bytesBelow(NUMBER_BYTES - zeroBytes - 1), end: bytesBelow(NUMBER_BYTES - zeroBytes) };
  let low = digits.slice(ones).reduce((value, digit) => value * 58n + BigInt(digit), 0n);
  let end = low + 1n;
  const found: Interval[] = [];
  for (; low < space.end; low *= 58n, end *= 58n) {
    const cut = { low: low > space.low ? low : space.low, end: end < space.end ? end : space.end };
    if (cut.low < cut.end) found.push(cut);
  }
  return found;
}

/** The first number that does not fit in so many bytes. */
function bytesBelow(bytes: number): bigint {
  return 1n << BigInt(8 * bytes);
}

function hashesIn({ low, end }: Interval): Range[] {
  const inside = (hash: bigint) => {
    const number = withChecksum(hash);
    return low <= number && number < end;
  };
  const first = low >> 32n;
  const last = (end - 1n) >> 32n;
  const lo = inside(first) ? first : first + 1n;
  const hi = inside(last) ? last : last - 1n;
  return lo <= hi ? [{ lo, hi }] : [];
}

function withChecksum(hash: bigint): bigint {
  const payload = concat(Uint8Array.of(VERSION_P2PKH), bytesOf(hash, 20));
  return (hash << 32n) | numberOf(checksum(payload));
}

/** The longest beginning that all addresses of the ranges share: for orders whose pattern only the chain remembers. */
export function prefixOfRanges(ranges: Range[]): string {
  const edges = ranges.flatMap(({ lo, hi }) => [lo, hi]).map((hash) => addressOf(bytesOf(hash, 20)));
  const [first = "", ...others] = edges;
  const differs = [...first].findIndex((character, at) => others.some((other) => other[at] !== character));
  return differs < 0 ? first : first.slice(0, differs);
}
