/** Refunds rest in the requester's account at the market until they are withdrawn to the wallet. */
import { app, refreshAccount, type Shop, walletOffers } from "../app";
import { sameAddress } from "../chain/node";
import { sendWithdrawal } from "../chain/pay";
import { rlc, short } from "../format";
import { explain } from "../problem";
import { announce, byId, el, showProblem } from "./dom";
import { walletChoice } from "./wallet-choice";

export function withdrawal(shop: Shop | null, requester: string): HTMLElement {
  const { wallet, balances } = app;
  const waiting = balances?.market ?? 0n;
  if (!wallet || !sameAddress(wallet.address, requester)) {
    const other = `The refund belongs to ${short(requester)}: connect that account to withdraw it.`;
    return el("div", {}, el("p", { class: "state" }, other), ...(wallet ? [] : walletChoice("refund", walletOffers())));
  }
  if (waiting === 0n) return el("p", { class: "state good" }, "Nothing is left in your account at the market.");
  const click = async (event: Event) => {
    const button = event.currentTarget as HTMLButtonElement;
    if (!shop) return;
    button.disabled = true;
    button.textContent = "Waiting for your wallet…";
    try {
      await sendWithdrawal(shop.node, shop.info, wallet, waiting);
      announce(`${rlc(waiting)} withdrawn to your wallet.`);
    } catch (error) {
      showProblem(byId("withdraw-problem"), explain(error, "The withdrawal was not sent."));
      button.textContent = `Withdraw ${rlc(waiting)} to my wallet`;
      button.disabled = false;
    }
    await refreshAccount();
  };
  return el(
    "div",
    {},
    el(
      "button",
      { type: "button", class: "button primary", id: "withdraw", click: (event) => void click(event) },
      `Withdraw ${rlc(waiting)} to my wallet`,
    ),
    el("div", { role: "alert", id: "withdraw-problem" }),
  );
}
