/** What the page knows, and what the user can do. Views show the first and call the second. */
import { parsePattern } from "./bitcoin/pattern";
import { fromHex, type Hex, toHex } from "./bytes";
import { openTap, orderOf, sendOrder } from "./chain/pay";
import {
  type Balances,
  type Node,
  nodeOf,
  type OrderOfRequester,
  quote,
  readBalances,
  readOrdersOf,
  readTerms,
  type Terms,
} from "./chain/node";
import {
  connectWallet,
  DEMO_ID,
  demoOffer,
  discoverWallets,
  followWallet,
  switchChain,
  type Wallet,
  type WalletOffer,
} from "./chain/wallet";
import { forgetSearch, keepNote, keepSearch, keptNote, keptSearches, onChangeElsewhere, type Search } from "./keep";
import { makeHalfKey } from "./key";
import {
  type AppInfo,
  type ChainInfo,
  getApp,
  getJobs,
  getPool,
  getWorkers,
  type Job,
  type PoolInfo,
  type WorkerInfo,
} from "./pool";
import { explain, Problem } from "./problem";
import { priceOf } from "./price";
import { packParams } from "./vanity/params";

export interface Shop {
  info: ChainInfo;
  node: Node;
  terms: Terms;
}

export interface Price {
  /** Of which pattern this is the price. */
  pattern: string;
  units: bigint;
  price: bigint;
  /** The contract has said so itself; before that it is computed from its terms. */
  confirmed: boolean;
}

export type Busy = "connecting" | "switching" | "tap" | "wallet" | "block" | null;

export const app = {
  pool: null as PoolInfo | null,
  poolProblem: null as Problem | null,
  shop: null as Shop | null,
  workers: [] as WorkerInfo[],
  jobs: [] as Job[],
  searcher: null as AppInfo | null,

  pattern: parsePattern(""),
  price: null as Price | null,
  priceProblem: null as Problem | null,

  /** The key that the next order is made with. */
  draft: null as Search | null,
  searches: keptSearches(),
  ordersOnChain: [] as OrderOfRequester[],

  offers: [] as WalletOffer[],
  wallet: null as Wallet | null,
  balances: null as Balances | null,
  walletProblem: null as Problem | null,
  payProblem: null as Problem | null,
  busy: null as Busy,
};

const listeners: (() => void)[] = [];

export function onChange(listener: () => void): void {
  listeners.push(listener);
}

export function changed(): void {
  for (const listener of listeners) listener();
}

export function start(): void {
  app.draft = app.searches.find(({ payment }) => !payment) ?? null;
  if (app.draft) app.pattern = parsePattern(app.draft.pattern);
  onChangeElsewhere(() => {
    reloadSearches();
    dropUsedDraft();
    changed();
  });
  discoverWallets((offers) => {
    app.offers = offers;
    void reconnect();
    changed();
  });
  void followPool();
}

function reloadSearches(): void {
  app.searches = keptSearches();
}

/** A key is good for one order: another tab may have ordered with this one, or deleted it. */
function dropUsedDraft(): void {
  const kept = app.draft && searchOf(app.draft.publicKey);
  if (app.draft && (!kept || kept.payment)) app.draft = null;
}

// The pool

const POOL_MS = 5_000;
const POOL_RETRY_MS_MAX = 20_000;

async function followPool(): Promise<never> {
  for (let failures = 0; ;) {
    try {
      await lookAtPool();
      failures = 0;
      app.poolProblem = null;
    } catch (error) {
      failures++;
      const why = error instanceof Error ? error.message : String(error);
      const hint =
        "This page tries again by itself. A search that is under way goes on without it, and your key is safe.";
      app.poolProblem = error instanceof Problem ? error : new Problem("The pool cannot be reached.", why, hint);
    }
    changed();
    await untilNext(failures === 0 ? POOL_MS : Math.min(1_000 * 2 ** failures, POOL_RETRY_MS_MAX));
  }
}

async function lookAtPool(): Promise<void> {
  app.pool = await getPool();
  const { chain } = app.pool;
  // Another chain or other contracts behind the same address: begin afresh, everything worth keeping is kept.
  if (app.shop && !isSameChain(app.shop.info, chain)) location.reload();
  if (chain && !app.shop) {
    const node = nodeOf(chain);
    try {
      app.shop = { info: chain, node, terms: await readTerms(node, chain) };
    } catch (error) {
      throw explain(error, "The shop's contracts could not be read.");
    }
    void reconnect();
    void refreshPrice();
    void recoverOrders();
  }
  const searcher = app.shop ? getApp(app.shop.info.app) : null;
  [app.workers, app.jobs, app.searcher] = await Promise.all([getWorkers(), getJobs(), searcher]);
}

function isSameChain(a: ChainInfo, b: ChainInfo | null): boolean {
  return b !== null && a.chainId === b.chainId && a.shop === b.shop && a.market === b.market && a.token === b.token;
}

/** A page in the background asks for nothing. */
function untilNext(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const next = () => {
      if (document.visibilityState === "hidden") {
        document.addEventListener("visibilitychange", next, { once: true });
      } else {
        window.removeEventListener("online", now);
        resolve();
      }
    };
    const timer = window.setTimeout(next, ms);
    const now = () => {
      window.clearTimeout(timer);
      next();
    };
    window.addEventListener("online", now, { once: true });
  });
}

const RECENT_JOBS = 10;

/** Candidates per second of the whole pool, as far as it was measured; until then, what searches came to lately. */
export function knownRate(): number | null {
  const { slot_rate_per_s: slotRate, slots } = app.searcher ?? { slot_rate_per_s: null, slots: 0 };
  if (slotRate && slots) return slotRate * slots;
  const recent = app.jobs.toSorted((a, b) => b.id - a.id).slice(0, RECENT_JOBS);
  return Math.max(0, ...recent.map(rateOf)) || null;
}

/** Too low for a search that is over, since the time counts the waiting too: the best of a few is nearest to the truth. */
function rateOf({ progress, created_at_ms, finished_at_ms }: Job): number {
  if (finished_at_ms === null) return progress.rate_per_s;
  return (progress.done * 1000) / Math.max(1, finished_at_ms - created_at_ms);
}

// The pattern and its price

export function typePattern(text: string): void {
  app.pattern = parsePattern(text);
  if (app.draft && app.draft.pattern !== app.pattern.text) keepDraft({ ...app.draft, pattern: app.pattern.text });
  app.payProblem = null;
  void refreshPrice();
  changed();
}

/** The generator: a quote depends on the ranges only, so it needs no key. */
const ANY_KEY = fromHex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
const TYPING_MS = 250;
let priceTimer: number | undefined;

/** Computed at once from the contract's terms, then asked from the contract, whose word counts. */
async function refreshPrice(): Promise<void> {
  window.clearTimeout(priceTimer);
  const { pattern, shop } = app;
  app.price = null;
  app.priceProblem = null;
  if (pattern.kind !== "possible" || !shop) return;
  app.price = { pattern: pattern.text, ...priceOf(pattern.ranges, shop.terms), confirmed: false };
  changed();
  const params = toHex(packParams({ publicKey: ANY_KEY, ranges: pattern.ranges }));
  priceTimer = window.setTimeout(async () => {
    try {
      const quoted = await quote(shop.node, shop.info.shop, params);
      if (app.pattern === pattern) app.price = { pattern: pattern.text, ...quoted, confirmed: true };
    } catch (error) {
      if (app.pattern === pattern) {
        app.price = null;
        app.priceProblem = explain(error, "The price could not be asked.");
      }
    }
    changed();
  }, TYPING_MS);
}

// The key

export function makeKey(): void {
  keepDraft({ version: 1, ...makeHalfKey(), pattern: app.pattern.text, createdAt: Date.now(), saved: false });
  changed();
}

export function keyIsSaved(): void {
  if (app.draft && !app.draft.saved) keepDraft({ ...app.draft, saved: true });
  changed();
}

function keepDraft(draft: Search): void {
  keep(draft);
  app.draft = draft;
}

export function keep(search: Search): void {
  keepSearch(search);
  reloadSearches();
}

export function forget(publicKey: Hex): void {
  forgetSearch(publicKey);
  if (app.draft?.publicKey === publicKey) app.draft = null;
  reloadSearches();
  changed();
}

export function searchOf(publicKey: Hex): Search | undefined {
  return app.searches.find((search) => search.publicKey === publicKey);
}

// The wallet

export function walletOffers(): WalletOffer[] {
  return app.shop?.info.dev ? [...app.offers, demoOffer] : app.offers;
}

const WALLET_NOTE = "wallet";
let unfollow = () => {};

/** Takes up the wallet of the last visit, without asking. */
async function reconnect(): Promise<void> {
  const offer = walletOffers().find(({ id }) => id === keptNote(WALLET_NOTE));
  if (!offer || app.wallet || !app.shop || app.busy) return;
  const wallet = await connectWallet(app.shop.info, offer, true).catch(() => null);
  if (wallet && !app.wallet) setWallet(wallet);
}

export async function connect(offer: WalletOffer): Promise<void> {
  await doing("connecting", "walletProblem", "The wallet was not connected.", async ({ info }) => {
    const wallet = await connectWallet(info, offer);
    if (wallet) setWallet(wallet);
    keepNote(WALLET_NOTE, offer.id);
  });
  if (app.wallet?.offer.id !== DEMO_ID) return;
  await refreshAccount();
  if (app.balances?.rlc === 0n) await getPlayMoney();
}

export function disconnect(): void {
  keepNote(WALLET_NOTE, null);
  setWallet(null);
}

function setWallet(wallet: Wallet | null): void {
  unfollow();
  const isOther = wallet?.address !== app.wallet?.address;
  app.wallet = wallet;
  app.walletProblem = null;
  if (isOther) {
    app.balances = null;
    app.ordersOnChain = [];
  }
  if (wallet && app.shop) unfollow = followWallet(app.shop.info, wallet, setWallet);
  changed();
  void refreshAccount();
}

export async function refreshAccount(): Promise<void> {
  const { shop, wallet } = app;
  if (!shop || !wallet) return;
  try {
    const [balances, orders] = await Promise.all([
      readBalances(shop.node, shop.info, wallet.address),
      readOrdersOf(shop.node, shop.info, wallet.address),
    ]);
    if (app.wallet?.address !== wallet.address) return;
    app.balances = balances;
    app.ordersOnChain = orders;
    adoptOrders(orders);
  } catch (error) {
    app.walletProblem = explain(error, "The account could not be read from the chain.");
  }
  changed();
}

export async function switchToShopChain(): Promise<void> {
  await doing(
    "switching",
    "walletProblem",
    "The wallet did not switch to the shop's chain.",
    async ({ info }, wallet) => {
      setWallet(await switchChain(info, wallet));
    },
  );
}

export async function getPlayMoney(): Promise<void> {
  await doing("tap", "walletProblem", "No play money was given.", async ({ info, node }, wallet) => {
    await openTap(node, info, wallet.address, app.price?.price ?? 0n);
    await refreshAccount();
  });
}

// The order

/** Everything that still stands between the user and paying, in words. */
export function obstacles(): string[] {
  const { pattern, price, priceProblem, shop, draft, wallet, balances } = app;
  return [
    !shop && "the pool is not reached yet",
    shop && !shop.terms.active && "the pool takes no orders now",
    pattern.kind !== "possible" && "choose a beginning that exists",
    pattern.kind === "possible" &&
      shop &&
      !price?.confirmed &&
      (priceProblem ? "choose a beginning that has a price" : "the price is being asked"),
    !draft && "make your half of the key",
    draft && !draft.saved && "save or copy your half of the key",
    !wallet && "connect a wallet",
    wallet && shop && wallet.chainId !== shop.info.chainId && "switch the wallet to the shop's chain",
    wallet && balances && price && balances.rlc < price.price && "get enough RLC into the account",
    wallet && balances && balances.ether === 0n && "get some ether into the account for the network fee",
  ].filter((obstacle): obstacle is string => typeof obstacle === "string");
}

/** Gives the order's number, or null when it was not placed; then `payProblem` says why. */
export async function pay(): Promise<Hex | null> {
  const { draft, price, pattern } = app;
  if (obstacles().length > 0 || !draft || !price || pattern.kind !== "possible" || price.pattern !== pattern.text)
    return null;
  let order: Hex | null = null;
  await doing("wallet", "payProblem", "The order was not placed.", async ({ info, node }, wallet) => {
    reloadSearches();
    dropUsedDraft();
    if (!app.draft) {
      throw new Problem(
        "The order was not placed.",
        "This key was used or deleted in another tab.",
        "Make a new half of the key.",
      );
    }
    const params = toHex(packParams({ publicKey: fromHex(draft.publicKey), ranges: pattern.ranges }));
    const payment = {
      chainId: info.chainId,
      shop: info.shop,
      market: info.market,
      requester: wallet.address,
      startedAt: Date.now(),
    };
    // Kept before the wallet is asked: if this tab dies meanwhile, the order is found on the chain by its key.
    const search: Search = { ...draft, pattern: pattern.text, payment };
    keep(search);
    let tx: Hex;
    try {
      tx = await sendOrder(node, info, wallet, params, price.price);
    } catch (error) {
      keepDraft(draft);
      throw error;
    }
    app.draft = null;
    const sent: Search = { ...search, payment: { ...payment, tx } };
    keep(sent);
    app.busy = "block";
    changed();
    order = await awaitOrder(sent);
  });
  if (order) {
    app.pattern = parsePattern("");
    app.price = null;
    changed();
  }
  return order;
}

async function awaitOrder(search: Search): Promise<Hex | null> {
  const { shop } = app;
  const { payment } = search;
  if (!shop || !payment?.tx) return null;
  const order = await orderOf(shop.node, shop.info, payment.tx);
  keep({ ...search, payment: { ...payment, order } });
  void refreshAccount();
  changed();
  return order;
}

/** Orders that were sent but not seen in a block when the page was left. */
async function recoverOrders(): Promise<void> {
  const { shop } = app;
  const unseen = app.searches.filter(
    ({ payment }) => payment && !payment.order && payment.chainId === shop?.info.chainId,
  );
  await Promise.all(
    unseen.map((search) => (search.payment?.tx ? awaitOrder(search).catch(() => null) : lookForOrder(search))),
  );
  changed();
}

async function lookForOrder(search: Search): Promise<void> {
  const { shop } = app;
  if (!shop || !search.payment) return;
  adoptOrders(await readOrdersOf(shop.node, shop.info, search.payment.requester).catch(() => []));
  if (!searchOf(search.publicKey)?.payment?.order) restoreDraft(search);
  changed();
}

/** The wallet was asked but nothing came of it: the key is fresh and can be used. */
function restoreDraft({ payment, ...draft }: Search): void {
  if (!payment || app.draft) return;
  keepDraft(draft);
  if (app.pattern.kind === "unfinished") app.pattern = parsePattern(draft.pattern);
}

/** Also finds orders that this browser does not know to have sent: the public half on the chain is proof enough. */
function adoptOrders(orders: OrderOfRequester[]): void {
  const { info } = app.shop ?? {};
  for (const { id, tx, params, requester } of orders) {
    const search = searchOf(params.slice(0, 2 + 66) as Hex);
    if (!info || !search || search.payment?.order) continue;
    const sent = search.payment ?? {
      chainId: info.chainId,
      shop: info.shop,
      market: info.market,
      requester,
      startedAt: Date.now(),
    };
    keep({ ...search, payment: { ...sent, tx, order: id } });
    if (app.draft?.publicKey === search.publicKey) app.draft = null;
  }
}

async function doing(
  busy: Exclude<Busy, null>,
  slot: "walletProblem" | "payProblem",
  what: string,
  action: (shop: Shop, wallet: Wallet) => Promise<void>,
): Promise<void> {
  const { shop, wallet } = app;
  if (!shop || app.busy || (!wallet && busy !== "connecting")) return;
  app.busy = busy;
  app[slot] = null;
  changed();
  try {
    await action(shop, wallet as Wallet);
  } catch (error) {
    app[slot] = explain(error, what);
  } finally {
    app.busy = null;
    changed();
  }
}
