/** An address that belongs to the user, with its key: to see, copy and save. The key is shown when asked for. */
import { wifOf } from "../bitcoin/address";
import { byId, copyButton, download, el } from "./dom";

export interface OwnedAddress {
  /** Ends the ids of its elements, as several may be shown. */
  suffix: string;
  /** The part that was wished for. */
  beginning: string;
  address: string;
  privateKey: bigint;
  /** What is saved. */
  file: string;
}

const shown = new Set<string>();
const saved = new Set<string>();

/** Nothing stays on the screen for whoever comes to the next page. */
export function hideKeys(): void {
  shown.clear();
}

export function isSaved(address: string): boolean {
  return saved.has(address);
}

export function addressLine({ suffix, beginning, address }: Pick<OwnedAddress, "suffix" | "beginning" | "address">) {
  return el(
    "p",
    { class: "address", id: `address${suffix}`, "data-address": address },
    el("span", { class: "fixed" }, beginning),
    address.slice(beginning.length),
  );
}

export function keyControls(owned: OwnedAddress): HTMLElement[] {
  const { suffix, address, privateKey, file } = owned;
  const [boxId, buttonId] = [`wif-box${suffix}`, `show-wif${suffix}`];
  const label = () => (shown.has(address) ? "Hide the private key" : "Show the private key");
  const toggle = () => {
    if (!shown.delete(address)) shown.add(address);
    byId(boxId).hidden = !shown.has(address);
    byId(buttonId).setAttribute("aria-expanded", String(shown.has(address)));
    byId(buttonId).textContent = label();
  };
  const save = () => {
    download(`${address}.txt`, file);
    saved.add(address);
  };
  return [
    el(
      "div",
      { class: "row" },
      el(
        "button",
        { type: "button", class: "button primary", id: `save-result${suffix}`, click: save },
        "Save address and key",
      ),
      copyButton(`copy-address${suffix}`, "Copy the address", () => address),
      el(
        "button",
        {
          type: "button",
          class: "button",
          id: buttonId,
          "aria-expanded": String(shown.has(address)),
          "aria-controls": boxId,
          click: toggle,
        },
        label(),
      ),
    ),
    el(
      "div",
      { id: boxId, class: "secret", hidden: !shown.has(address) },
      el("p", {}, "Whoever sees this can spend what the address holds:"),
      el("p", {}, el("code", { class: "hex whole", id: `wif${suffix}` }, wifOf(privateKey))),
      copyButton(`copy-wif${suffix}`, "Copy the private key", () => wifOf(privateKey)),
    ),
  ];
}
