/** Orders of this browser, and of the connected account as the chain has them. */
import { app, forget } from "../app";
import { prefixOfRanges } from "../bitcoin/prefix";
import { fromHex, type Hex } from "../bytes";
import { rlc, when } from "../format";
import type { Search } from "../keep";
import { unpackParams } from "../vanity/params";
import { byId, confirmed, el, renderWhen } from "./dom";

const SHOWN_MAX = 50;

interface Row {
  order: Hex | null;
  pattern: string;
  detail: string;
  search: Search | null;
}

export function showOrders(): void {
  const rows = rowsOf().slice(0, SHOWN_MAX);
  const current = location.hash;
  renderWhen(byId("orders-list"), [rows.map(({ order, pattern, detail }) => [order, pattern, detail]), current], () =>
    rows.length > 0
      ? [el("ul", { class: "orders" }, ...rows.map((row) => item(row, current)))]
      : [el("p", { class: "help" }, "None yet. Orders of this browser appear here, and those of a connected account.")],
  );
}

function rowsOf(): Row[] {
  const ours = app.searches.filter(({ payment }) => payment).map(rowOfSearch);
  const known = new Set(ours.map(({ order }) => order));
  const others = app.ordersOnChain.filter(({ id }) => !known.has(id)).reverse();
  const unused = app.searches.filter(({ payment, publicKey }) => !payment && publicKey !== app.draft?.publicKey);
  return [
    ...ours,
    ...others.map(({ id, params, price }) => ({
      order: id,
      pattern: patternOf(params),
      detail: `${rlc(price)}; made elsewhere, key not in this browser`,
      search: null,
    })),
    ...unused.map((search) => ({
      order: null,
      pattern: search.pattern || "unused key",
      detail: "never ordered",
      search,
    })),
  ];
}

function rowOfSearch(search: Search): Row {
  const { payment, pattern, address, taken, createdAt } = search;
  const elsewhere =
    payment && app.shop && payment.chainId !== app.shop.info.chainId ? ` on chain ${payment.chainId}` : "";
  const near = taken?.at(-1);
  const open = near ? `taken on the way: ${near.address}` : "paid; open it to follow";
  const state = address ?? (payment?.order ? open : "waiting for the chain");
  return { order: payment?.order ?? null, pattern, detail: `${when(createdAt)}${elsewhere}: ${state}`, search };
}

function patternOf(params: Hex): string {
  try {
    return prefixOfRanges(unpackParams(fromHex(params)).ranges);
  } catch {
    return "another kind of order";
  }
}

function item({ order, pattern, detail, search }: Row, current: string): HTMLElement {
  const href = `#order/${order}`;
  const name = el("span", { class: "pattern" }, pattern);
  return el(
    "li",
    {},
    order ? el("a", { href, "aria-current": href === current ? "page" : null }, name) : name,
    el("span", { class: "detail" }, detail),
    search &&
      !order &&
      el(
        "button",
        {
          type: "button",
          class: "button quiet",
          id: `forget-${search.publicKey.slice(0, 12)}`,
          click: () => void remove(search),
        },
        "Delete the key",
      ),
  );
}

async function remove(search: Search): Promise<void> {
  const text = search.payment
    ? "Its payment may still arrive on the chain. Without this key nothing found could be used."
    : "No order was made with it.";
  if (await confirmed("Delete this key?", text, "Delete it")) forget(search.publicKey);
  byId("orders-title").focus();
}
