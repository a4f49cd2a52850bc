/**
 * Odds of a search without memory: there is no "percent done", only the chance of having found one by now, and how
 * long it takes until that chance is 50 % or 95 %.
 */

/** Chance of at least one match among `candidates` tries. */
export function chanceFound(difficulty: number, candidates: number): number {
  if (candidates <= 0) return 0;
  if (difficulty <= 1) return 1;
  return -Math.expm1(candidates * Math.log1p(-1 / difficulty));
}

/** How many tries give this chance (0..1) of at least one match. */
export function candidatesFor(difficulty: number, chance: number): number {
  if (difficulty <= 1) return 1;
  return Math.log1p(-chance) / Math.log1p(-1 / difficulty);
}

/** Seconds until the chance, counted from the first try, at a steady rate. */
export function secondsFor(difficulty: number, chance: number, ratePerS: number): number {
  return candidatesFor(difficulty, chance) / ratePerS;
}
