/** One order: how the search goes, and in the end the address. */
import { app, refreshAccount, searchOf, type Shop, walletOffers } from "../app";
import { OrderStatus } from "../abi";
import { prefixOfRanges } from "../bitcoin/prefix";
import { difficultyOf } from "../bitcoin/ranges";
import { type Hex, toHex } from "../bytes";
import { sendRefund } from "../chain/pay";
import { count, duration, inWords, percent, rate, rlc, when } from "../format";
import { secondsFor } from "../odds";
import { inOneSentence, type PlotModel, plotModel } from "../plot-model";
import { foundIn, isFinal } from "../pool";
import { explain, Problem } from "../problem";
import { type OrderState, type OrderWatch, watchOrder } from "../watch";
import { announce, byId, el, renderWhen, setAttribute, setText, showProblem, svg } from "./dom";
import { type Fate, mountNearMisses, showNearMisses } from "./near-miss";
import { drawPlot } from "./plot";
import { mountResult, showResult } from "./result";
import { stageItem, stagesOf } from "./stages";
import { walletChoice } from "./wallet-choice";
import { withdrawal } from "./withdrawal";

let watch: OrderWatch | null = null;
let spoken = "";
let refunding = false;
let refundSeen = "";
let refundProblem: Problem | null = null;

export function openSearch(shop: Shop, order: Hex): void {
  if (watch?.state.id === order) return;
  closeSearch();
  build();
  mountResult(byId("result"), order);
  mountNearMisses(byId("near"));
  const readerOf = () => (app.wallet?.chainId === shop.info.chainId ? app.wallet.reader : shop.node);
  watch = watchOrder(shop.info, shop.node, readerOf, order, showSearch);
  showSearch();
}

export function closeSearch(): void {
  watch?.stop();
  watch = null;
  spoken = "";
  refundProblem = null;
  refunding = false;
  byId("search-view").replaceChildren();
}

function build(): void {
  byId("search-view").replaceChildren(
    el("h1", { id: "search-title", tabindex: "-1" }),
    el("div", { role: "alert", id: "search-problem" }),
    el("div", { id: "result" }),
    el("div", { id: "refund" }),
    el(
      "div",
      { class: "mill", id: "mill" },
      millstone(),
      el(
        "div",
        { class: "odds" },
        el("p", { id: "odds-big", class: "big" }),
        el("p", { id: "odds-text" }),
        el("p", { id: "link-text", class: "help", role: "status" }),
      ),
    ),
    el("div", { id: "near" }),
    el("dl", { class: "facts", id: "search-facts" }),
    el(
      "figure",
      { id: "plot-figure", "aria-labelledby": "plot-caption" },
      el("div", { id: "plot" }),
      el("figcaption", { id: "plot-caption" }),
      el("details", {}, el("summary", {}, "The plot as a table"), el("div", { id: "plot-table" })),
    ),
    el("h2", { id: "stages-title" }, "What happened so far"),
    el("ol", { class: "stages", id: "stages" }),
    el("p", { class: "help", id: "order-number" }),
  );
  new ResizeObserver(() => watch && showPlot(watch.state)).observe(byId("plot"));
}

const RING = 2 * Math.PI * 54;

/** Turns while machines search; the ring around it is the chance of having found one by now. */
function millstone(): SVGElement {
  const turning = svg("g", { class: "turning" }, svg("use", { href: "#stone", x: -44, y: -44, width: 88, height: 88 }));
  return svg(
    "svg",
    { class: "millstone", viewBox: "-60 -60 120 120", "aria-hidden": "true", focusable: "false", id: "millstone" },
    svg("circle", { class: "ring", r: 54 }),
    svg("circle", {
      class: "ring-chance",
      id: "ring",
      r: 54,
      transform: "rotate(-90)",
      "stroke-dasharray": `0 ${RING}`,
    }),
    turning,
  );
}

export function showSearch(): void {
  if (!watch || !app.shop) return;
  const { state } = watch;
  const phase = phaseOf(state);
  showTitle(state, phase);
  for (const part of ["search-facts", "stages-title", "stages"]) byId(part).hidden = phase === "looking";
  // A pool that is not reached is told at the top already, and the chain is asked through it.
  showProblem(byId("search-problem"), app.poolProblem ? null : state.problem);
  noticeRefund(state);
  showStages(state);
  showOdds(state, phase);
  showFacts(state, phase);
  showPlot(state);
  showRefund(state, phase);
  showResult(byId("result"), state);
  showNearMisses(state, patternOf(state), FATES[phase] ?? "open");
  renderWhen(byId("order-number"), state.id, () => ["Order ", el("code", { class: "hex whole" }, state.id)]);
}

type Phase = "looking" | "waiting" | "searching" | "checking" | "settled" | "refunded" | "overdue" | "stopped";

const FATES: Partial<Record<Phase, Fate>> = {
  checking: "found",
  settled: "found",
  refunded: "given up",
  overdue: "given up",
  stopped: "given up",
};

function phaseOf({ placed, status, settlement, job, overdue }: OrderState): Phase {
  if (settlement) return "settled";
  if (status === OrderStatus.Refunded) return "refunded";
  if (overdue) return "overdue";
  if (!placed) return "looking";
  if (job && foundIn(job)) return "checking";
  if (job && isFinal(job.state) && job.state !== "done") return "stopped";
  return job && (job.state === "running" || job.progress.done > 0) ? "searching" : "waiting";
}

export function patternOf(state: OrderState): string {
  const { params } = state;
  if (!params) return "";
  return searchOf(toHex(params.publicKey))?.pattern || prefixOfRanges(params.ranges);
}

const TITLES: Record<Phase, (pattern: string) => string> = {
  looking: () => "Looking for the order",
  waiting: (pattern) => `Waiting for the mill: ${pattern}`,
  searching: (pattern) => `Searching for ${pattern}`,
  checking: (pattern) => `Found ${pattern}, now being checked`,
  settled: (pattern) => `Found: ${pattern}`,
  refunded: (pattern) => `Not found: ${pattern}`,
  overdue: (pattern) => `Not found in time: ${pattern}`,
  stopped: (pattern) => `Stopped: ${pattern}`,
};

function showTitle(state: OrderState, phase: Phase): void {
  const title = TITLES[phase](patternOf(state));
  setText(byId("search-title"), title);
  if (title !== spoken) announce(title);
  spoken = title;
  const chance = phase === "searching" ? `${percent(modelOf(state).now.chance)} · ` : "";
  document.title = `${chance}${title} · gristmill`;
}

function showStages(state: OrderState): void {
  const explorer = app.shop?.info.explorer ?? null;
  const others = app.jobs.filter((job) => job.state === "running" && job.id !== state.job?.id).length;
  const stages = stagesOf(state, others);
  renderWhen(byId("stages"), stages, () => stages.map((stage) => stageItem(stage, explorer)));
}

function modelOf(state: OrderState): PlotModel {
  const { params } = state;
  const difficulty = params ? difficultyOf(params.ranges) : 1;
  return plotModel(difficulty, sampledUntilNow(state), rateOf(state));
}

/** A pool that has not reported for longer may not be searching. */
const AHEAD_S_MAX = 5;

/** Between two reports the search goes on: the last sample is drawn forward at the reported rate. */
function sampledUntilNow(state: OrderState) {
  const { samples, elapsed, job } = state;
  const last = samples.at(-1);
  if (!last || !job || isOver(state) || foundIn(job) || elapsed <= last.at) return samples;
  const ahead = Math.min(elapsed - last.at, AHEAD_S_MAX);
  return [...samples, { at: elapsed, done: last.done + ahead * job.progress.rate_per_s }];
}

function rateOf({ job, elapsed }: OrderState): number {
  if (!job) return 0;
  if (job.progress.rate_per_s > 0) return job.progress.rate_per_s;
  return isFinal(job.state) && elapsed > 0 ? job.progress.done / elapsed : 0;
}

function isOver({ settlement, refund, job }: OrderState): boolean {
  return settlement !== null || refund !== null || (job !== null && isFinal(job.state));
}

function showOdds(state: OrderState, phase: Phase): void {
  const { chance } = modelOf(state).now;
  const known = state.job !== null && state.job.progress.done > 0;
  const busy = phase === "searching" && state.link !== "lost";
  byId("mill").hidden = !["waiting", "searching", "checking", "stopped"].includes(phase);
  byId("millstone").classList.toggle("busy", busy);
  setAttribute(byId("ring"), "stroke-dasharray", `${(RING * (known ? chance : 0)).toFixed(1)} ${RING.toFixed(1)}`);
  setText(byId("odds-big"), known ? percent(chance).replace("under ", "< ").replace("over ", "> ") : "–");
  setText(byId("odds-text"), oddsInWords(state, phase, known));
  setText(byId("link-text"), linkInWords(state));
}

function oddsInWords(state: OrderState, phase: Phase, known: boolean): string {
  if (!known) return "The chance of having found one is shown here as soon as a worker starts.";
  if (phase !== "searching") return "of searches like this one are over after as many tries.";
  const remaining =
    state.params && rateOf(state) > 0 ? secondsFor(difficultyOf(state.params.ranges), 0.5, rateOf(state)) : null;
  const outlook =
    remaining === null
      ? ""
      : ` A search has no memory: from any moment on, the odds are even within ${duration(remaining)}.`;
  return `is the chance of having found one by now.${outlook}`;
}

function linkInWords({ link, status, job }: OrderState): string {
  if (status === OrderStatus.Settled || status === OrderStatus.Refunded) return "";
  if (link === "lost" || app.poolProblem)
    return "The pool is not reached at the moment; trying again. The search goes on without this page.";
  if (link === "unseen") return "The pool has not taken up the order yet.";
  return job
    ? "Live from the pool. You may close this page and come back: the address waits on the chain."
    : "Asking the pool…";
}

function showFacts(state: OrderState, phase: Phase): void {
  const { job, params, placed } = state;
  const difficulty = params ? difficultyOf(params.ranges) : null;
  const perSecond = rateOf(state);
  const model = modelOf(state);
  const outlook =
    difficulty !== null && perSecond > 0 && phase === "searching" ? secondsFor(difficulty, 0.95, perSecond) : null;
  const rows: [string, string, string][] = [
    [
      "Rate",
      perSecond > 0 ? rate(perSecond) : "–",
      job && job.workers > 0 && phase === "searching"
        ? `${job.workers} ${job.workers === 1 ? "worker" : "workers"} now`
        : "",
    ],
    [
      "Addresses tried",
      job ? inWords(Math.floor(sampledUntilNow(state).at(-1)?.done ?? 0)) : "–",
      difficulty ? `1 in ${inWords(difficulty)} fits` : "",
    ],
    [
      "Time",
      job ? duration(model.now.at) : "–",
      outlook !== null ? `95${"\u00a0"}% within ${duration(outlook)} from now` : "",
    ],
    ["Paid", placed ? rlc(placed.details.price) : "–", paidNote(state, phase)],
  ];
  renderWhen(byId("search-facts"), rows, () =>
    rows.map(([name, value, small]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, el("span", {}, value), small && el("small", {}, small))),
    ),
  );
}

function paidNote({ placed }: OrderState, phase: Phase): string {
  if (!placed || phase === "settled") return "";
  if (phase === "refunded") return "given back";
  if (phase === "overdue") return "refundable now";
  return `refundable after ${when(Number(placed.details.deadline) * 1000)}`;
}

const TABLE_CHANCES = [0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

function showPlot(state: OrderState): void {
  const figure = byId("plot-figure");
  figure.hidden = state.job === null || state.job.progress.done === 0;
  if (figure.hidden) return;
  const over = isOver(state);
  const model = modelOf(state);
  const width = Math.max(280, byId("plot").clientWidth);
  byId("plot").replaceChildren(drawPlot(model, width, state.settlement !== null));
  setText(byId("plot-caption"), `Chance of having found one, over time. ${inOneSentence(model, over)}`);
  const difficulty = state.params ? difficultyOf(state.params.ranges) : null;
  const perSecond = rateOf(state);
  if (difficulty === null || perSecond <= 0) return;
  const rows = TABLE_CHANCES.map((chance) => [percent(chance), duration(secondsFor(difficulty, chance, perSecond))]);
  renderWhen(byId("plot-table"), rows, () => [
    el(
      "table",
      {},
      el(
        "caption",
        {},
        `Time until a chance is reached, from the start, at ${rate(perSecond)} (${count(perSecond)} a second)`,
      ),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Chance"), el("th", { scope: "col" }, "Time"))),
      el(
        "tbody",
        {},
        ...rows.map(([chance, time]) =>
          el("tr", {}, el("th", { scope: "row" }, chance ?? ""), el("td", {}, time ?? "")),
        ),
      ),
    ),
  ]);
}

// Refund

/** Money has come into the account at the market: look there once. */
function noticeRefund({ id, refund }: OrderState): void {
  if (!refund || refundSeen === id) return;
  refundSeen = id;
  void refreshAccount();
}

function showRefund(state: OrderState, phase: Phase): void {
  const { shop, wallet, balances, offers } = app;
  const key = [
    offers.length,
    phase,
    state.refund,
    wallet?.address,
    wallet?.chainId,
    balances?.market,
    refunding,
    refundProblem?.message,
    app.busy,
  ];
  renderWhen(byId("refund"), key, () => {
    if (phase === "overdue") return [overdue(state)];
    if (phase === "stopped") return [stopped(state)];
    if (phase !== "refunded" || !state.placed) return [];
    return [refunded(state), withdrawal(shop, state.placed.details.requester)];
  });
  const slot = document.getElementById("refund-problem");
  if (slot) showProblem(slot, refundProblem);
}

function overdue(state: OrderState): HTMLElement {
  const needed = walletChoice("refund", walletOffers());
  const price = state.placed ? rlc(state.placed.details.price) : "the price";
  return el(
    "div",
    { class: "panel" },
    el("h2", {}, "The deadline has passed"),
    el(
      "p",
      {},
      `Nothing was delivered in time, so ${price} is yours again. Anybody may trigger the refund; it goes to the account of the one who ordered.`,
    ),
    ...(app.wallet
      ? [
          el(
            "button",
            {
              type: "button",
              class: "button primary",
              id: "refund-button",
              disabled: refunding,
              click: () => void refund(state),
            },
            refunding ? "Refunding…" : `Refund ${price}`,
          ),
        ]
      : needed),
    el("div", { role: "alert", id: "refund-problem" }),
  );
}

function stopped(state: OrderState): HTMLElement {
  const deadline = state.placed ? when(Number(state.placed.details.deadline) * 1000) : "the deadline";
  return el(
    "div",
    { class: "panel" },
    el("h2", {}, "The pool has stopped the search"),
    el(
      "p",
      {},
      `Its reason: ${state.job?.reason ?? "none given"}. It may give the order back at once; if it does not, a refund button appears here after ${deadline}.`,
    ),
  );
}

function refunded({ refund }: OrderState): HTMLElement {
  const amount = refund ? rlc(refund.amount) : "The price";
  const reason = refund?.declinedBecause
    ? `The pool declined the order: ${refund.declinedBecause}.`
    : "The deadline passed without a result.";
  return el(
    "div",
    { class: "panel" },
    el("h2", {}, "You got everything back"),
    el("p", {}, `${reason} ${amount} went to the account of the one who ordered.`),
  );
}

async function refund(state: OrderState): Promise<void> {
  const { shop, wallet } = app;
  if (!shop || !wallet || !state.placed) return;
  refunding = true;
  refundProblem = null;
  showSearch();
  try {
    await sendRefund(shop.node, shop.info, wallet, state.placed.details);
    await refreshAccount();
  } catch (error) {
    refundProblem = explain(error, "The refund was not sent.");
  }
  refunding = false;
  watch?.lookNow();
  showSearch();
}
