/** Sets of 160-bit hashes as sorted, disjoint, inclusive ranges. */

export interface Range {
  lo: bigint;
  hi: bigint;
}

export const HASHES = 1n << 160n;

/** Sorts, and joins what touches: equal sets become equal lists. */
export function union(ranges: Range[]): Range[] {
  const merged: Range[] = [];
  for (const range of ranges.toSorted((a, b) => (a.lo < b.lo ? -1 : a.lo > b.lo ? 1 : 0))) {
    const last = merged.at(-1);
    if (last && range.lo <= last.hi + 1n) last.hi = range.hi > last.hi ? range.hi : last.hi;
    else merged.push({ ...range });
  }
  return merged;
}

export function widthOf(ranges: Range[]): bigint {
  return ranges.reduce((sum, { lo, hi }) => sum + hi - lo + 1n, 0n);
}

export function contains(ranges: Range[], hash: bigint): boolean {
  return ranges.some(({ lo, hi }) => lo <= hash && hash <= hi);
}

/** Expected number of candidates per match: exact to the last bit of a double. */
export function difficultyOf(ranges: Range[]): number {
  const fractionBits = 64n;
  return Number((HASHES << fractionBits) / widthOf(ranges)) / 2 ** Number(fractionBits);
}
