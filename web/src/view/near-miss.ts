/** Near misses: an address that has some of the letters is the requester's for the taking, and the search goes on. */
import { changed, keep, searchOf } from "../app";
import { beginningOf, lettersShared } from "../bitcoin/pattern";
import { fromHex, numberOf, toHex } from "../bytes";
import type { Search, Taken } from "../keep";
import { nearMissFile, SHARED_HALF } from "../key";
import type { NearMiss } from "../pool";
import { Problem } from "../problem";
import { combineNear, unpackAnswer } from "../vanity/result";
import type { OrderState } from "../watch";
import { announce, byId, el, renderWhen, showProblem } from "./dom";
import { keyFileInput } from "./key-file";
import { addressLine, keyControls } from "./owned-address";

/** The first letter is every address's. */
const LETTERS_MIN = 2;

let problem: Problem | null = null;
let announced = "";

export function mountNearMisses(container: HTMLElement): void {
  problem = null;
  announced = "";
  container.append(
    el("div", { id: "near-offer" }),
    el("div", { role: "alert", id: "near-problem" }),
    el("div", { id: "near-taken" }),
  );
}

export type Fate = "open" | "found" | "given up";

export function showNearMisses(state: OrderState, pattern: string, fate: Fate): void {
  const { params, job } = state;
  if (!params) return;
  const search = searchOf(toHex(params.publicKey));
  const taken = (search?.taken ?? []).filter(({ order }) => order === state.id);
  const closest = job?.closest && fate !== "found" && isOffered(job.closest, taken, pattern) ? job.closest : null;
  renderWhen(byId("near-offer"), closest && [closest, fate, search?.publicKey], () =>
    closest ? [offer(state, closest, pattern, search, fate)] : [],
  );
  renderWhen(byId("near-taken"), [taken, pattern], () =>
    search && taken.length > 0 ? [ownedPanel(taken, search, pattern)] : [],
  );
  showProblem(byId("near-problem"), problem);
  if (closest && closest.text !== announced) announce(`${beginningOf(closest.text, pattern)}… found. ${outlook(fate)}`);
  announced = closest?.text ?? announced;
}

function isOffered({ text, record }: NearMiss, taken: Taken[], pattern: string): boolean {
  return lettersShared(text, pattern) >= LETTERS_MIN && !taken.some((each) => each.record === record);
}

function outlook(fate: Fate): string {
  return fate === "open" ? "Take it, and search on?" : "Take it?";
}

function offer(
  state: OrderState,
  closest: NearMiss,
  pattern: string,
  search: Search | undefined,
  fate: Fate,
): HTMLElement {
  const beginning = beginningOf(closest.text, pattern);
  const letters = lettersShared(closest.text, pattern);
  const going = fate === "open" ? "The search goes on either way." : "What you paid comes back all the same.";
  return el(
    "section",
    { class: "panel near", "aria-labelledby": "near-title" },
    el("h2", { id: "near-title" }, `${beginning}… found. ${outlook(fate)}`),
    addressLine({ suffix: "-closest", beginning: pattern.slice(0, letters), address: closest.text }),
    el(
      "p",
      {},
      `${letters} of ${pattern.length} letters: the closest so far. If you like it, it is yours and costs nothing. ${going}`,
    ),
    search
      ? el(
          "button",
          { type: "button", class: "button", id: "take-closest", click: () => take(state, closest) },
          fate === "open" ? `Take ${beginning}…, search on` : `Take ${beginning}…`,
        )
      : el(
          "details",
          {},
          el("summary", {}, "Take it with your half of the key, which this browser does not have"),
          el("p", {}, "Open the file that you saved when ordering; it is not sent anywhere."),
          state.params && keyFileInput(state, toHex(state.params.publicKey), pattern),
        ),
  );
}

function take(state: OrderState, { text, record }: NearMiss): void {
  const search = state.params && searchOf(toHex(state.params.publicKey));
  if (!search) return;
  try {
    makeKey(search, { order: state.id, record, address: text });
    problem = null;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const hint = "Do not use it. Your half of the key stays good, and the search is not touched by this.";
    problem = new Problem("This near miss does not fit, so nothing is shown.", why, hint);
    changed();
    return;
  }
  keep({ ...search, taken: [...(search.taken ?? []), { order: state.id, record, address: text }] });
  changed();
  announce(`Taken: ${text}`);
  document.getElementById("near-taken-title")?.focus();
}

function makeKey({ publicKey, halfKey }: Search, { order, record, address }: Taken): bigint {
  const half = numberOf(fromHex(halfKey));
  return combineNear(fromHex(order), fromHex(publicKey), half, unpackAnswer(fromHex(record)), address).privateKey;
}

function ownedPanel(taken: Taken[], search: Search, pattern: string): HTMLElement {
  return el(
    "section",
    { class: "panel", "aria-labelledby": "near-taken-title" },
    el("h2", { id: "near-taken-title", tabindex: "-1" }, "Taken on the way"),
    ...taken.toReversed().flatMap((each, at) => owned(each, search, pattern, `-near-${taken.length - at}`)),
    el("p", { class: "help" }, SHARED_HALF),
  );
}

function owned(taken: Taken, search: Search, pattern: string, suffix: string): HTMLElement[] {
  const { address, order } = taken;
  const privateKey = makeKey(search, taken);
  const beginning = pattern.slice(0, lettersShared(address, pattern));
  const file = nearMissFile(beginning, address, privateKey, order);
  return [
    addressLine({ suffix, beginning, address }),
    ...keyControls({ suffix, beginning, address, privateKey, file }),
  ];
}
