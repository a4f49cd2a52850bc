/** Ties the page together: which view is shown, and when it is drawn again. */
import { app, changed, onChange, start } from "./app";
import { isHex } from "viem";
import type { Hex } from "./bytes";
import { byId, el, renderWhen, showProblem } from "./view/dom";
import { mountOrderForm, showOrderForm } from "./view/order-form";
import { showOrders } from "./view/orders";
import { showPool } from "./view/pool-panel";
import { closeSearch, openSearch, showSearch } from "./view/order";

function orderInAddress(): Hex | null {
  const order = location.hash.match(/^#order\/(0x[0-9a-f]{64})$/i)?.[1];
  return isHex(order) ? (order.toLowerCase() as Hex) : null;
}

function isOrderLink(): boolean {
  return location.hash.startsWith("#order/");
}

function showView(): void {
  const order = orderInAddress();
  byId("order-view").hidden = isOrderLink();
  byId("search-view").hidden = !isOrderLink();
  if (order && app.shop) openSearch(app.shop, order);
  if (order && !app.shop) renderWhen(byId("search-view"), app.pool, waitForPool);
  if (!order) closeSearch();
  if (!order) document.title = "gristmill";
  if (!order && isOrderLink() && !document.getElementById("broken-link"))
    byId("search-view").replaceChildren(...brokenLink());
}

function brokenLink(): HTMLElement[] {
  const hint =
    "The number of an order is 0x and 64 digits: copy the whole link. Your own orders are listed on this page.";
  return [
    el("h1", { id: "search-title", tabindex: "-1" }, "This link names no order"),
    el("p", { id: "broken-link" }, hint),
  ];
}

/** The order's page before the chain can be asked. */
function waitForPool(): HTMLElement[] {
  const text = app.pool ? "This pool works without a chain: it has no paid orders." : "Waiting for the pool…";
  return [el("h1", { id: "search-title", tabindex: "-1" }, "Looking for the order"), el("p", {}, text)];
}

function draw(): void {
  showView();
  showProblem(byId("problems"), app.poolProblem);
  if (orderInAddress()) showSearch();
  else showOrderForm();
  showOrders();
  showPool();
}

/** The heading of the new view gets the focus, so that keyboard and screen reader follow. */
function moveTo(heading: string): void {
  draw();
  const element = document.getElementById(heading);
  element?.focus({ preventScroll: true });
  element?.closest("section")?.scrollIntoView();
  window.scrollTo({ top: 0 });
}

window.addEventListener("hashchange", () => moveTo(isOrderLink() ? "search-title" : "order-title"));

/** Links within the page move the focus only: the address keeps naming the order that is shown. */
for (const [link, target] of [
  ["#orders", "orders-title"],
  ["#pool", "pool-title"],
  ["#main", "main"],
] as const) {
  document.querySelector(`a[href="${link}"]`)?.addEventListener("click", (event) => {
    event.preventDefault();
    byId(target).focus({ preventScroll: true });
    byId(target).scrollIntoView();
  });
}

byId("waiting").remove();
mountOrderForm((order) => {
  location.hash = `#order/${order}`;
});
onChange(draw);
start();
changed();
