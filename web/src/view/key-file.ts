/** For a browser that does not have the order's half of the key: the saved file brings it. */
import { app, changed, keep } from "../app";
import type { Hex } from "../bytes";
import { readHalfKey } from "../key";
import { Problem } from "../problem";
import type { OrderState } from "../watch";
import { byId, el, showProblem } from "./dom";

export function keyFileInput(state: OrderState, publicKey: Hex, pattern: string): HTMLElement {
  const input = el("input", { type: "file", id: "key-file", accept: ".txt,text/plain" });
  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    if (file) takeKey(await file.text(), state, publicKey, pattern);
  });
  return el(
    "div",
    {},
    el("label", { for: "key-file" }, "File with your half of the key"),
    input,
    el("div", { role: "alert", id: "key-file-problem" }),
  );
}

function takeKey(text: string, state: OrderState, publicKey: Hex, pattern: string): void {
  const { info } = app.shop ?? {};
  if (!info || !state.placed) return;
  try {
    const key = readHalfKey(text.slice(0, 10_000));
    if (key.publicKey !== publicKey) throw new TypeError("It is the half of another order.");
    const { details, placedAtMs: startedAt, tx } = state.placed;
    const { chainId, shop, market } = info;
    const payment = { chainId, shop, market, requester: details.requester, startedAt, tx, order: state.id };
    keep({ version: 1, ...key, pattern, createdAt: startedAt, saved: true, payment });
    changed();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const hint = `The right file names the public half ${publicKey.slice(0, 14)}…`;
    showProblem(byId("key-file-problem"), new Problem("This file cannot be used.", why, hint));
  }
}
