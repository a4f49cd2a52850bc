/** The order: pattern, key, payment. */
import {
  app,
  disconnect,
  forget,
  getPlayMoney,
  keyIsSaved,
  knownRate,
  makeKey,
  obstacles,
  pay,
  switchToShopChain,
  typePattern,
  walletOffers,
} from "../app";
import { type Impossible, type Pattern, withinReach } from "../bitcoin/pattern";
import { DEMO_ID } from "../chain/wallet";
import { duration, ether, exactly, inWords, percent, rlc, short } from "../format";
import { isLasting, type Search } from "../keep";
import { halfKeyFile, halfKeyName } from "../key";
import { chanceFound, secondsFor } from "../odds";
import {
  announce,
  byId,
  confirmed,
  copyButton,
  download,
  el,
  renderWhen,
  setAttribute,
  setText,
  showProblem,
} from "./dom";
import { walletChoice } from "./wallet-choice";

const ADDRESS_LENGTH = 34;

export function mountOrderForm(onOrdered: (order: `0x${string}`) => void): void {
  const form = byId<HTMLFormElement>("order-form");
  const input = byId<HTMLInputElement>("pattern");
  input.value = app.pattern.text;
  input.addEventListener("input", () => typePattern(input.value));
  byId("wallet-step").append(el("div", { id: "wallet-slot" }), el("div", { role: "alert", id: "wallet-problem" }));
  byId("pay-step").append(
    el("button", {
      type: "submit",
      class: "button primary pay",
      id: "pay",
      disabled: true,
      "aria-describedby": "pay-state",
    }),
    el("p", { id: "pay-state", class: "help", role: "status" }),
    el("div", { role: "alert", id: "pay-problem" }),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    // Enter in the pattern's field is not a wish to pay.
    if ((event as SubmitEvent).submitter?.id !== "pay") return;
    const order = await pay();
    if (!order) return;
    input.value = "";
    onOrdered(order);
  });
}

export function showOrderForm(): void {
  showPattern();
  showKey();
  showWallet();
  showPayment();
}

// Pattern

function showPattern(): void {
  const { pattern, priceProblem } = app;
  const input = byId<HTMLInputElement>("pattern");
  // A pattern that was kept from the last visit, or taken from a suggestion.
  if (input.value.trim() !== pattern.text && document.activeElement !== input) input.value = pattern.text;
  input.toggleAttribute("aria-invalid", false);
  if (pattern.kind === "impossible") input.setAttribute("aria-invalid", "true");
  showPreview();
  const status = byId("pattern-status");
  renderWhen(status, [pattern.kind, pattern.text, priceProblem?.why], () =>
    pattern.kind === "impossible"
      ? [impossible(pattern)]
      : priceProblem
        ? [el("p", {}, `${priceProblem.why} ${priceProblem.hint}`)]
        : [],
  );
  byId("quote").hidden = pattern.kind !== "possible";
  if (pattern.kind === "possible") showQuote(pattern);
  showReach(pattern.kind === "possible" ? pattern.text : "");
}

function showPreview(): void {
  const { pattern } = app;
  const text = pattern.kind === "possible" ? pattern.text : "";
  renderWhen(byId("preview"), text, () => [
    text && el("span", { class: "fixed" }, text),
    text && el("span", { class: "open" }, "·".repeat(Math.max(0, ADDRESS_LENGTH - text.length))),
  ]);
}

function impossible({ text, reason, nearest }: Impossible): HTMLElement {
  return el(
    "div",
    { class: "problem" },
    el("p", {}, el("strong", {}, `No address starts with “${text}”.`)),
    el("p", {}, reason),
    nearest &&
      el(
        "p",
        { class: "hint" },
        "Nearest that exists: ",
        el(
          "button",
          { type: "button", class: "button small", id: "take-nearest", click: () => takeInstead(nearest) },
          nearest,
        ),
      ),
  );
}

function takeInstead(text: string): void {
  const input = byId<HTMLInputElement>("pattern");
  input.value = text;
  input.focus();
  typePattern(text);
}

function showQuote({ text, difficulty }: Pattern): void {
  const { price, shop } = app;
  const rate = knownRate();
  tell(text, difficulty);
  facts(
    "quote-difficulty",
    `1 in ${inWords(difficulty)}`,
    difficulty >= 1e6 && difficulty < 1e18 ? `exactly ${exactly(difficulty)}` : "",
  );
  if (price && shop)
    facts("quote-price", rlc(price.price), `${inWords(Number(price.units))} × ${rlc(shop.terms.unitPrice)}`);
  else facts("quote-price", "–", shop ? "" : "the pool is not reached");
  if (rate) {
    const [half, most] = [secondsFor(difficulty, 0.5, rate), secondsFor(difficulty, 0.95, rate)];
    facts(
      "quote-time",
      half < 1 ? duration(half) : `about ${duration(half)}`,
      `19 of 20 within ${duration(most)}, if the whole pool works on it`,
    );
  } else {
    facts("quote-time", "not known yet", shop ? "the pool has not searched lately" : "");
  }
  if (rate && shop) {
    // Never certain, however the rounding falls.
    const chance = Math.min(chanceFound(difficulty, rate * shop.terms.duration), 1 - Number.EPSILON);
    facts("quote-chance", percent(chance), `within ${duration(shop.terms.duration)}; if not, all is refunded`);
  } else if (shop)
    facts("quote-chance", "–", `tried for ${duration(shop.terms.duration)}; if not found, all is refunded`);
  else facts("quote-chance", "–", "");
}

/** Nobody should pay for what this pool will hardly find without being told, and told what it would find. */
function showReach(text: string): void {
  const { shop } = app;
  const candidates = (knownRate() ?? 0) * (shop?.terms.duration ?? 0);
  const reachable = candidates > 0 && text ? withinReach(text, candidates) : null;
  const shorter = reachable && reachable.text !== text ? reachable : null;
  renderWhen(byId("reach"), shorter && [shorter.text, text], () =>
    shorter && shop
      ? [
          el(
            "div",
            { class: "state" },
            el(
              "p",
              {},
              `Most likely not found within ${duration(shop.terms.duration)}: then all is refunded, and what came closest is yours. `,
              `This pool rather finds: `,
              el(
                "button",
                { type: "button", class: "button small", id: "take-reachable", click: () => takeInstead(shorter.text) },
                shorter.text,
              ),
            ),
          ),
        ]
      : [],
  );
}

let told = "";

/** For those who do not see the numbers change: once, when the price is known. */
function tell(text: string, difficulty: number): void {
  if (!app.price?.confirmed || told === text) return;
  told = text;
  announce(`${text} is possible: one address in ${inWords(difficulty)}, for ${rlc(app.price.price)}.`);
}

function facts(id: string, main: string, small: string): void {
  renderWhen(byId(id), [main, small], () => [el("span", {}, main), small && el("small", {}, small)]);
}

// Key

function showKey(): void {
  const { draft, busy } = app;
  renderWhen(byId("key-step"), draft && [draft.publicKey, draft.saved, draft.pattern, busy], () =>
    draft ? madeKey(draft) : noKey(),
  );
}

function noKey(): HTMLElement[] {
  const make = () => {
    makeKey();
    document.getElementById("save-key")?.focus();
  };
  return [el("button", { type: "button", class: "button", id: "make-key", click: make }, "Make my half of the key")];
}

function madeKey(draft: Search): (HTMLElement | false)[] {
  const save = () => {
    download(halfKeyName(draft), halfKeyFile(draft));
    keyIsSaved();
  };
  const remove = async () => {
    if (app.busy) return;
    const yes = await confirmed(
      "Delete this half key?",
      "No order was made with it yet. Copies that you saved stay good.",
      "Delete it",
    );
    if (yes) forget(draft.publicKey);
    (document.getElementById("make-key") ?? document.getElementById("delete-key"))?.focus();
  };
  const place = isLasting
    ? "A copy stays in this browser, so that a reload loses nothing."
    : "This browser keeps nothing: your copy is the only one.";
  return [
    el(
      "p",
      { class: draft.saved ? "state good" : "state", id: "key-state" },
      draft.saved
        ? `You have a copy. ${place}`
        : `Not saved yet. ${place} Paying is possible once you have saved or copied it.`,
    ),
    el(
      "div",
      { class: "row" },
      el(
        "button",
        { type: "button", class: draft.saved ? "button" : "button primary", id: "save-key", click: save },
        "Save as a file",
      ),
      copyButton("copy-key", "Copy the secret half", () => draft.halfKey, keyIsSaved),
      el(
        "button",
        {
          type: "button",
          class: "button quiet",
          id: "delete-key",
          "aria-disabled": app.busy === null ? null : "true",
          click: () => void remove(),
        },
        "Delete",
      ),
    ),
    el(
      "details",
      {},
      el("summary", {}, "Public half, which goes into the order"),
      el("p", {}, el("code", { class: "hex" }, draft.publicKey)),
    ),
  ];
}

// Wallet

function showWallet(): void {
  const { wallet, walletProblem, balances, shop, busy, pool, price } = app;
  const offers = walletOffers();
  const state = [
    offers.map(({ id }) => id),
    wallet?.address,
    wallet?.chainId,
    balances,
    shop?.info.chainId,
    busy,
    pool?.chain,
    price?.price,
  ];
  renderWhen(byId("wallet-slot"), state, () => {
    if (pool && !pool.chain)
      return [
        el(
          "p",
          {},
          "This pool works without a token: nothing can be bought here. Its own users submit jobs from a shell.",
        ),
      ];
    if (!shop) return [el("p", {}, "Wallets can be connected as soon as the pool is reached.")];
    return wallet ? connected() : walletChoice("order", offers);
  });
  showProblem(byId("wallet-problem"), walletProblem);
}

function connected(): (HTMLElement | false | null)[] {
  const { wallet, balances, shop, busy, price } = app;
  if (!wallet || !shop) return [];
  const otherChain = wallet.chainId !== shop.info.chainId;
  const poor = balances !== null && (balances.rlc < (price?.price ?? 1n) || balances.ether === 0n);
  return [
    el(
      "dl",
      { class: "facts wallet" },
      fact("Wallet", wallet.offer.name),
      fact("Account", short(wallet.address), wallet.address),
      fact("To spend", balances ? rlc(balances.rlc) : "…"),
      fact("For the network fee", balances ? ether(balances.ether) : "…"),
    ),
    wallet.offer.id === DEMO_ID &&
      el(
        "p",
        { class: "state play" },
        "Play money: this is a development chain. The RLC and ether here are worth nothing; the Bitcoin address that you get is real.",
      ),
    otherChain &&
      el(
        "p",
        { class: "state" },
        `Your wallet is on chain ${wallet.chainId}; this shop is on chain ${shop.info.chainId}.`,
      ),
    el(
      "div",
      { class: "row" },
      otherChain &&
        action(
          "switch-chain",
          busy === "switching" ? "Waiting for your wallet…" : `Switch to chain ${shop.info.chainId}`,
          switchToShopChain,
        ),
      shop.info.dev &&
        (poor || busy === "tap") &&
        action("tap", busy === "tap" ? "Getting play money…" : "Get play money", getPlayMoney),
      action("disconnect", "Use another wallet", async () => {
        disconnect();
        document.querySelector<HTMLElement>("#wallet-slot button")?.focus();
      }),
    ),
  ];
}

function action(id: string, label: string, click: () => Promise<void>): HTMLElement {
  const act = async () => {
    await click();
    // The button may be gone with what it was for.
    if (document.activeElement === document.body) document.getElementById("disconnect")?.focus();
  };
  return el(
    "button",
    {
      type: "button",
      class: "button",
      id,
      "aria-disabled": app.busy === null ? null : "true",
      click: () => void act(),
    },
    label,
  );
}

function fact(name: string, value: string, title?: string): HTMLElement {
  return el("div", {}, el("dt", {}, name), el("dd", title ? { title } : {}, value));
}

// Payment

function showPayment(): void {
  const { busy, payProblem } = app;
  const missing = obstacles();
  const button = byId<HTMLButtonElement>("pay");
  // While something is under way it keeps the focus: pressing it again does nothing.
  button.disabled = missing.length > 0 && busy === null;
  setAttribute(button, "aria-disabled", busy !== null ? "true" : null);
  setText(button, payLabel());
  setText(byId("pay-state"), paymentState(missing));
  showProblem(byId("pay-problem"), payProblem);
}

function payLabel(): string {
  const { busy, price } = app;
  if (busy === "wallet") return "Waiting for your wallet…";
  if (busy === "block") return "Waiting for the chain…";
  return price ? `Pay ${rlc(price.price)} and start` : "Pay and start";
}

function paymentState(missing: string[]): string {
  const { busy, draft } = app;
  if (busy === "wallet") return "Confirm the payment in your wallet. It is one transaction.";
  if (busy === "block")
    return "Sent. The search starts when the transaction is in a block; you may leave this page meanwhile.";
  if (missing.length > 0) return `Still to do: ${missing.join("; ")}.`;
  return draft
    ? "One transaction. The price is locked in the market and goes back to you if nothing is found in time."
    : "";
}
