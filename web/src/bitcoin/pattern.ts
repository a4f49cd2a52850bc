/** What the user typed: either a pattern that some address has, or the reason why none does and what comes nearest. */
import { ALPHABET, digitOf } from "./base58";
import { chanceFound } from "../odds";
import { rangesOfPrefix } from "./prefix";
import { difficultyOf, type Range } from "./ranges";

export interface Pattern {
  kind: "possible";
  text: string;
  ranges: Range[];
  difficulty: number;
}

export interface Impossible {
  kind: "impossible";
  text: string;
  reason: string;
  nearest: string | null;
}

/** Nothing to search for yet. */
export interface Unfinished {
  kind: "unfinished";
  text: string;
}

const TEXT_LENGTH_MAX = 64;

export function parsePattern(typed: string): Pattern | Impossible | Unfinished {
  const text = typed.trim();
  if (text === "" || text === "1") return { kind: "unfinished", text };
  const reason = impossibleBecause(text);
  if (reason !== null) return { kind: "impossible", text, reason, nearest: nearestTo(text) };
  const ranges = rangesOfPrefix(text);
  return { kind: "possible", text, ranges, difficulty: difficultyOf(ranges) };
}

function impossibleBecause(text: string): string | null {
  if (text.length > TEXT_LENGTH_MAX) return "It is longer than any address.";
  if (/^bc1/i.test(text)) return "Addresses that start with bc1 are of another kind, which this pool does not search.";
  if (text.startsWith("3")) return "Addresses that start with 3 are of another kind, which this pool does not search.";
  if (!text.startsWith("1")) return "Every address of this kind starts with 1.";
  const characters = [...text];
  const at = characters.findIndex((character) => digitOf(character) < 0);
  if (at >= 0) return missingCharacter(characters[at] ?? "", at + 1);
  if (rangesOfPrefix(text).length > 0) return null;
  return `The letters are fine, but no address goes further than “${longestBeginning(text)}” this way.`;
}

function missingCharacter(character: string, position: number): string {
  const reason = /[0OIl]/.test(character)
    ? "addresses leave out 0, O, I and l, which look alike"
    : "addresses have only plain letters and digits";
  return `Character ${position} is “${character}”: ${reason}.`;
}

function exists(prefix: string): boolean {
  return [...prefix].every((character) => digitOf(character) >= 0) && rangesOfPrefix(prefix).length > 0;
}

function longestBeginning(text: string): string {
  let length = text.length;
  while (length > 1 && !exists(text.slice(0, length))) length--;
  return text.slice(0, length);
}

/** Keeps what can be kept and replaces each character that cannot. */
export function nearestTo(typed: string): string | null {
  let nearest = "1";
  for (const wanted of wordOf(typed)) {
    const next = alternatives(wanted).find((character) => exists(nearest + character));
    if (next === undefined) break;
    nearest += next;
  }
  return nearest === typed || nearest === "1" ? null : nearest;
}

/** Letters without accents, and without the start that every address has. */
function wordOf(typed: string): string {
  const plain = typed
    .normalize("NFKD")
    .replace(/[^0-9A-Za-z]/g, "")
    .slice(0, TEXT_LENGTH_MAX);
  return plain.replace(/^(bc1q?|1|3)/i, "");
}

/** The character itself, its other case, its look-alike, then the rest of the alphabet by distance. */
function alternatives(wanted: string): string[] {
  const lower = wanted.toLowerCase();
  const otherCase = wanted === lower ? wanted.toUpperCase() : lower;
  const byDistance = [...ALPHABET].sort((a, b) => distance(a, wanted) - distance(b, wanted));
  return [wanted, otherCase, LOOK_ALIKES[wanted] ?? wanted, ...byDistance];
}

function distance(a: string, b: string): number {
  return Math.abs(a.charCodeAt(0) - b.charCodeAt(0));
}

const LOOK_ALIKES: Record<string, string> = { "0": "o", O: "o", I: "i", "1": "i", l: "L", i: "L", b: "6" };

/** The longest beginning of a pattern that so many tries find at least every second time. */
export function withinReach(text: string, candidates: number): Pattern | null {
  for (let length = text.length; length > 1; length--) {
    const shorter = parsePattern(text.slice(0, length));
    if (shorter.kind === "possible" && chanceFound(shorter.difficulty, candidates) >= 0.5) return shorter;
  }
  return null;
}

/** How much of the pattern an address has, from the first letter on. */
export function lettersShared(address: string, pattern: string): number {
  const differs = [...pattern].findIndex((letter, at) => address[at] !== letter);
  return differs < 0 ? pattern.length : differs;
}

/** What fits and the letter that does not: "1LoVEx" in a search for 1LoVErs. */
export function beginningOf(address: string, pattern: string): string {
  return address.slice(0, lettersShared(address, pattern) + 1);
}
