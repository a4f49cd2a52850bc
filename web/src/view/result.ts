/** The address and its key: made here, from what the chain says, and shown only when two derivations agree. */
import { app, changed, forget, keep, searchOf } from "../app";
import { bytesOf, fromHex, type Hex, numberOf, toHex } from "../bytes";
import type { Search } from "../keep";
import { finishedKeyFile, halfKeyName } from "../key";
import { Problem } from "../problem";
import { type Answer, type Combined, combine, pointOf, ResultMismatch, unpackResult } from "../vanity/result";
import type { Params } from "../vanity/params";
import type { OrderState } from "../watch";
import { announce, byId, confirmed, download, el, renderWhen, showProblem } from "./dom";
import { keyFileInput } from "./key-file";
import { patternOf } from "./order";
import { addressLine, hideKeys, isSaved, keyControls } from "./owned-address";

let announced = "";

export function mountResult(container: HTMLElement, order: Hex): void {
  hideKeys();
  announced = announced === order ? order : "";
  container.append(el("div", { id: "result-slot" }), el("div", { role: "alert", id: "result-problem" }));
}

interface Finished extends Combined {
  answer: Answer;
  params: Params;
  order: Hex;
  pattern: string;
  result: Hex;
}

export function showResult(_container: HTMLElement, state: OrderState): void {
  const { settlement, params, placed } = state;
  if (!settlement || !params || !placed) return;
  const search = searchOf(toHex(params.publicKey));
  const pattern = patternOf(state);
  const slot = byId("result-slot");
  if (!search) {
    renderWhen(slot, ["key", params.publicKey], () => [askForKey(state, params, pattern)]);
    return;
  }
  if (!search.halfKey) return;
  try {
    const finished = finish(state, params, search, pattern);
    if (!finished) return;
    renderWhen(slot, ["address", finished.address, search.publicKey], () => [panel(finished, search)]);
    showProblem(byId("result-problem"), null);
    remember(search, finished);
  } catch (error) {
    const why = error instanceof ResultMismatch || error instanceof RangeError ? error.message : String(error);
    const hint =
      "Do not use anything from this order. Keep your half of the key and the order's number, and tell the pool's operator.";
    showProblem(byId("result-problem"), new Problem("The result does not fit, so nothing is shown.", why, hint));
  }
}

/** Null until the shop's stored answer has been read; an order whose delivery failed is finished from the event. */
function finish(state: OrderState, params: Params, search: Search, pattern: string): Finished | null {
  const { settlement, answer, id } = state;
  if (!settlement || (!answer && !settlement.callbackFailed)) return null;
  const fromEvent = unpackResult(fromHex(settlement.result));
  const used = answer ?? fromEvent;
  if (
    toHex(used.worker) !== toHex(fromEvent.worker) ||
    used.index !== fromEvent.index ||
    used.image !== fromEvent.image
  ) {
    throw new ResultMismatch("The shop has stored another answer than the market has announced.");
  }
  const combined = combine(fromHex(id), params, numberOf(fromHex(search.halfKey)), used);
  const q = pointOf(params.publicKey, combined.offset);
  if (q.x !== fromEvent.q.x || q.y !== fromEvent.q.y) {
    throw new ResultMismatch("The point in the market's event is not the one that the offset gives.");
  }
  if (!combined.address.startsWith(pattern)) {
    throw new ResultMismatch(`The address ${combined.address} does not start with ${pattern}.`);
  }
  return { ...combined, answer: used, params, order: id, pattern, result: settlement.result };
}

function remember(search: Search, { address, order }: Finished): void {
  if (search.address !== address) {
    keep({ ...search, address });
    queueMicrotask(changed);
  }
  if (announced !== order) announce(`Your address is ready: ${address}`);
  announced = order;
}

function panel(finished: Finished, search: Search): HTMLElement {
  const { address, pattern, privateKey, order } = finished;
  const file = finishedKeyFile(pattern, address, privateKey, order);
  const owned = { suffix: "", beginning: pattern, address, privateKey, file };
  return el(
    "div",
    { class: "panel result" },
    el("h2", { id: "result-title" }, "Your address"),
    addressLine(owned),
    el(
      "p",
      { class: "state good" },
      "Derived twice in this browser, from the private key and from the public points, and both agree. The contract has checked it, too.",
    ),
    ...keyControls(owned),
    el(
      "p",
      { class: "help" },
      "To use it, import or sweep the private key (wallet import format) in a Bitcoin wallet of your choice. The address is a classic one: P2PKH, compressed key.",
    ),
    checkIt(finished),
    el(
      "p",
      { class: "help" },
      "The key stays in this browser until you delete it. ",
      el(
        "button",
        { type: "button", class: "button quiet", id: "delete-result", click: () => void remove(search) },
        "Delete the key from this browser",
      ),
    ),
  );
}

async function remove(search: Search): Promise<void> {
  const addresses = [search.address, ...(search.taken ?? []).map(({ address }) => address)];
  const unsaved = addresses.filter((address) => address && !isSaved(address)).join(" and ");
  const text = unsaved
    ? `You have not saved the finished key of ${unsaved} in this visit. Without it, or your saved half, the address and what it holds are lost for ever.`
    : "You saved what was found and its key in this visit. Without that file the address is lost.";
  if (await confirmed("Delete the key from this browser?", text, "Delete it")) {
    forget(search.publicKey);
    byId("search-title").focus();
  } else byId("delete-result").focus();
}

// Check it yourself

function checkIt(finished: Finished): HTMLElement {
  const { params, answer, offset, order, result, address, pattern } = finished;
  const info = app.shop?.info;
  const packed = app.shop ? packedParams(params) : "";
  const value = (name: string, text: string) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, el("code", { class: "hex whole" }, text)));
  const command = (text: string) => el("pre", {}, el("code", {}, text));
  const raised = ["⁰", "¹", "²"][answer.image >> 1];
  return el(
    "details",
    { id: "check" },
    el("summary", {}, "Check it yourself"),
    el("p", {}, "Everything here except your half of the key is public. Anybody can repeat these steps:"),
    el(
      "ol",
      {},
      el(
        "li",
        {},
        "The offset k is keccak256(order ‖ worker) mod n, plus the index. So it is bound to this order and this worker.",
      ),
      el("li", {}, "Q = P + k·G on secp256k1, where P is your public half."),
      el(
        "li",
        {},
        `x = β${raised}·Qx mod p, with the prefix ${answer.image & 1 ? "03" : "02"}: the public key of the address.`,
      ),
      el("li", {}, "RIPEMD-160(SHA-256(public key)), as Base58Check with version 0, is the address."),
      el(
        "li",
        {},
        `Your private key is ±λ${raised}·(a + k) mod n, where a is your half; the sign is the one that gives the prefix above.`,
      ),
    ),
    el(
      "dl",
      { class: "values" },
      value("Order", order),
      value("Worker", toHex(answer.worker)),
      value("Index", String(answer.index)),
      value("Image", String(answer.image)),
      value("P, your public half", toHex(params.publicKey)),
      value("k", toHex(bytesOf(offset, 32))),
      value("Address", address),
    ),
    el("p", {}, "What the shop's contract has stored, from any node of the chain:"),
    command(
      `cast call ${info?.shop} \\\n  'answerOf(bytes32)(bool,address,uint64,uint8)' \\\n  ${order} --rpc-url ${info?.rpcUrl}`,
    ),
    el("p", {}, "The whole check, by the same program that the workers run:"),
    command(`vanity verify --order ${order} \\\n  --params ${packed} \\\n  --result ${result}`),
    el("p", {}, "And the key once more from your saved half, without any browser:"),
    command(
      `vanity combine ${recordName(pattern)} \\\n  --key <(grep -v '^#' ${halfKeyName({ pattern, publicKey: toHex(params.publicKey) })})`,
    ),
    el(
      "button",
      {
        type: "button",
        class: "button",
        id: "save-record",
        click: () => download(recordName(pattern), record(finished)),
      },
      `Save ${recordName(pattern)}`,
    ),
  );
}

function packedParams({ publicKey, ranges }: Params): Hex {
  const edges = ranges.flatMap(({ lo, hi }) => [bytesOf(lo, 20), bytesOf(hi, 20)]);
  return toHex(Uint8Array.from([publicKey, ...edges].flatMap((part) => [...part])));
}

function recordName(pattern: string): string {
  return `record-${pattern}.json`;
}

/** What `vanity verify` and `vanity combine` read. Nothing in it is secret. The index may exceed what JSON.stringify can. */
function record({ pattern, address, params, offset, answer, order }: Finished): string {
  const bare = (hex: Hex) => hex.slice(2);
  const fields = {
    format: "vanity-record/1",
    kind: "p2pkh",
    pattern,
    address,
    public_key: bare(toHex(params.publicKey)),
    offset: bare(toHex(bytesOf(offset, 32))),
    image: answer.image,
  };
  const part = `{"order":"${bare(order)}","worker":"${bare(toHex(answer.worker))}","index":${answer.index}}`;
  return `${JSON.stringify(fields).slice(0, -1)},"order":${part}}\n`;
}

// A browser that does not have the key

function askForKey(state: OrderState, params: Params, pattern: string): HTMLElement {
  return el(
    "div",
    { class: "panel" },
    el("h2", {}, "Found, and this browser does not have your half of the key"),
    el(
      "p",
      {},
      "The address is made from the answer on the chain and the half that you saved when ordering. Open that file here; it is not sent anywhere.",
    ),
    keyFileInput(state, toHex(params.publicKey), pattern),
  );
}
