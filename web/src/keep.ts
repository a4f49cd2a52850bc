/**
 * What this browser keeps: the requester's half keys and the orders made with them. Nothing here is ever sent.
 *
 * One entry of localStorage per key, so that two open tabs cannot overwrite each other's.
 */
import type { Hex } from "./bytes";

export interface Payment {
  chainId: number;
  shop: Hex;
  market: Hex;
  requester: Hex;
  startedAt: number;
  /** Absent between asking the wallet and its answer. */
  tx?: Hex;
  /** Absent until the transaction is in a block. */
  order?: Hex;
}

/** A near miss that the user took: with the half key, enough to make its key again. */
export interface Taken {
  order: Hex;
  record: Hex;
  address: string;
}

export interface Search {
  version: 1;
  publicKey: Hex;
  halfKey: Hex;
  pattern: string;
  createdAt: number;
  /** The user has a copy outside this browser. */
  saved: boolean;
  payment?: Payment;
  address?: string;
  /** The latest is the closest. */
  taken?: Taken[];
}

const PREFIX = "gristmill/search/";

/** Used where a browser refuses to store anything: then a reload forgets, and the page says so. */
const forgetful = new Map<string, string>();

interface Shelf {
  get(name: string): string | null;
  set(name: string, value: string): void;
  remove(name: string): void;
  names(): string[];
}

const lasting: Shelf = {
  get: (name) => localStorage.getItem(name),
  set: (name, value) => localStorage.setItem(name, value),
  remove: (name) => localStorage.removeItem(name),
  names: () => Object.keys(localStorage),
};

const passing: Shelf = {
  get: (name) => forgetful.get(name) ?? null,
  set: (name, value) => void forgetful.set(name, value),
  remove: (name) => void forgetful.delete(name),
  names: () => [...forgetful.keys()],
};

export const isLasting = ((): boolean => {
  try {
    localStorage.setItem("gristmill/probe", "1");
    localStorage.removeItem("gristmill/probe");
    return true;
  } catch {
    return false;
  }
})();

const shelf = isLasting ? lasting : passing;

export function keptSearches(): Search[] {
  const entries = shelf.names().filter((name) => name.startsWith(PREFIX));
  return entries.flatMap((name) => parse(shelf.get(name))).sort((a, b) => b.createdAt - a.createdAt);
}

function parse(text: string | null): Search[] {
  try {
    const search = JSON.parse(text ?? "") as Search;
    return search.version === 1 && typeof search.halfKey === "string" ? [search] : [];
  } catch {
    return [];
  }
}

export function keepSearch(search: Search): void {
  shelf.set(PREFIX + search.publicKey, JSON.stringify(search));
}

export function forgetSearch(publicKey: Hex): void {
  shelf.remove(PREFIX + publicKey);
}

/** Small settings: which wallet was used, the play-money key of a development chain. */
export function keptNote(name: string): string | null {
  return shelf.get(`gristmill/note/${name}`);
}

export function keepNote(name: string, value: string | null): void {
  if (value === null) shelf.remove(`gristmill/note/${name}`);
  else shelf.set(`gristmill/note/${name}`, value);
}

/** Another tab has changed something. */
export function onChangeElsewhere(action: () => void): void {
  window.addEventListener("storage", (event) => {
    if (event.key === null || event.key.startsWith(PREFIX)) action();
  });
}
