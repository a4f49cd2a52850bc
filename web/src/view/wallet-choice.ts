/** Buttons for the wallets of this browser, wherever one is needed. */
import { app, connect } from "../app";
import type { WalletOffer } from "../chain/wallet";
import { el } from "./dom";

export function walletChoice(place: string, offers: WalletOffer[]): HTMLElement[] {
  const none = "No wallet was found in this browser. Install one as a browser extension, then reload this page.";
  return [
    el("p", {}, offers.length > 0 ? "Connect a wallet of this browser:" : none),
    el("div", { class: "row" }, ...offers.map((offer) => walletButton(place, offer))),
  ];
}

function walletButton(place: string, offer: WalletOffer): HTMLElement {
  const click = async () => {
    await connect(offer);
    (document.getElementById("switch-chain") ?? document.getElementById("disconnect"))?.focus();
  };
  return el(
    "button",
    {
      type: "button",
      class: "button",
      id: `${place}-wallet-${offer.id}`,
      "aria-disabled": app.busy === null ? null : "true",
      click: () => void click(),
    },
    offer.icon && el("img", { src: offer.icon, alt: "", width: 20, height: 20 }),
    offer.name,
  );
}
