/** What the shop's contract charges, computed as it computes it, so that the form can tell while the user types. */
import { HASHES, type Range, widthOf } from "./bitcoin/ranges";

export interface Tariff {
  unitPrice: bigint;
  unitCandidates: bigint;
  minUnits: bigint;
}

export function priceOf(
  ranges: Range[],
  { unitPrice, unitCandidates, minUnits }: Tariff,
): { units: bigint; price: bigint } {
  const difficulty = HASHES / widthOf(ranges);
  const needed = (difficulty + unitCandidates - 1n) / unitCandidates;
  const units = needed > minUnits ? needed : minUnits;
  return { units, price: units * unitPrice };
}
