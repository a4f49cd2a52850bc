/** Follows one order on the chain and in the pool. The chain decides; the pool only tells how the search goes. */
import { OrderStatus } from "./abi";
import { type Hex, fromHex } from "./bytes";
import {
  type Node,
  type PlacedOrder,
  type Refund,
  type Settlement,
  latestBlockTime,
  readAnswer,
  readOrder,
  readRefund,
  readSettlement,
  readStatus,
} from "./chain/node";
import { type Sample, thin } from "./plot-model";
import { type ChainInfo, type Job, type Link, watchJob } from "./pool";
import { explain, Problem } from "./problem";
import type { Answer } from "./vanity/result";
import { type Params, unpackParams } from "./vanity/params";

export interface OrderState {
  id: Hex;
  placed: PlacedOrder | null;
  params: Params | null;
  status: OrderStatus | null;
  settlement: Settlement | null;
  /** What the shop has stored, read from the chain. */
  answer: Answer | null;
  refund: Refund | null;
  /** The deadline is over and nobody has settled. */
  overdue: boolean;
  job: Job | null;
  link: Link;
  samples: Sample[];
  /** Seconds since the job began, and whether it still runs. */
  elapsed: number;
  /** Why the chain cannot be read now; it is tried again. */
  problem: Problem | null;
}

const POLL_MS = 3_000;
/** After news from the pool the chain is asked at once, but never more often than this. */
const POLL_MS_MIN = 1_000;
const SAMPLES_MAX = 400;

export interface OrderWatch {
  state: OrderState;
  /** After a refund, say. */
  lookNow(): void;
  stop(): void;
}

/** `readerOf` gives the node that the answer is read through: the user's own, where there is one. */
export function watchOrder(
  info: ChainInfo,
  node: Node,
  readerOf: () => Node,
  id: Hex,
  onChange: () => void,
): OrderWatch {
  const state: OrderState = {
    id,
    placed: null,
    params: null,
    status: null,
    settlement: null,
    answer: null,
    refund: null,
    overdue: false,
    job: null,
    link: "connecting",
    samples: [{ at: 0, done: 0 }],
    elapsed: 0,
    problem: null,
  };
  let stopped = false;
  let lastLookAt = Number.NEGATIVE_INFINITY;
  let looking = false;
  let timer: number | undefined;

  const lookAfter = (ms: number) => {
    window.clearTimeout(timer);
    timer = window.setTimeout(look, ms);
  };
  const lookSoon = () => {
    if (!stopped && !looking && !isOver(state)) lookAfter(Math.max(0, lastLookAt + POLL_MS_MIN - performance.now()));
  };

  async function look() {
    looking = true;
    lastLookAt = performance.now();
    try {
      await readChain(info, node, readerOf(), state);
      state.problem = null;
    } catch (error) {
      state.problem = explain(error, "The order's state could not be read from the chain.");
    }
    looking = false;
    if (stopped) return;
    onChange();
    if (!isOver(state)) lookAfter(POLL_MS);
  }

  const jobs = watchJob(
    id,
    (job) => {
      const news = isNews(state.job, job);
      takeJob(state, job);
      onChange();
      if (news) lookSoon();
    },
    (link) => {
      state.link = link;
      onChange();
    },
  );
  const ticks = window.setInterval(() => {
    if (state.job && state.job.finished_at_ms === null && state.settlement === null) {
      state.elapsed = secondsOf(state.job);
      onChange();
    }
  }, 1_000);

  void look();
  return {
    state,
    lookNow: lookSoon,
    stop() {
      stopped = true;
      jobs.stop();
      window.clearTimeout(timer);
      window.clearInterval(ticks);
    },
  };
}

function isOver({ settlement, refund, answer }: OrderState): boolean {
  return refund !== null || (settlement !== null && (answer !== null || settlement.callbackFailed));
}

async function readChain(info: ChainInfo, node: Node, reader: Node, state: OrderState): Promise<void> {
  if (!state.placed) {
    state.placed = await readOrder(node, info, state.id);
    if (!state.placed) {
      const hint = "Check the link; if you ordered on another chain, open the page of that chain's pool.";
      throw new Problem("This order is not known.", `Chain ${info.chainId} has no order with this number.`, hint);
    }
    state.params = unpackParams(fromHex(state.placed.details.params));
  }
  const { block, details } = state.placed;
  state.status = await readStatus(reader, info, state.id);
  if (state.status === OrderStatus.Settled) {
    state.settlement = await readSettlement(node, info, state.id, block);
    state.answer = await readAnswer(reader, info.shop, state.id);
  } else if (state.status === OrderStatus.Refunded) {
    state.refund = await readRefund(node, info, state.id, block);
  } else if (Date.now() / 1000 > Number(details.deadline)) {
    // A development chain makes no block without a transaction: its clock may lag, this machine's may be wrong.
    state.overdue = (await latestBlockTime(node)) > Number(details.deadline) || info.dev;
  }
}

/** Something that the chain may know more about. */
function isNews(before: Job | null, now: Job): boolean {
  return before?.state !== now.state || before.results.length !== now.results.length;
}

function takeJob(state: OrderState, job: Job): void {
  state.job = job;
  state.elapsed = secondsOf(job);
  const last = state.samples.at(-1);
  const { done } = job.progress;
  // A pool that restarts may count from its last durable state: the odds are told for what it counts now.
  if (last && done < last.done) state.samples = [{ at: 0, done: 0 }];
  if (state.elapsed > (state.samples.at(-1)?.at ?? 0)) state.samples.push({ at: state.elapsed, done });
  state.samples = thin(state.samples, SAMPLES_MAX);
}

function secondsOf({ created_at_ms, finished_at_ms }: Job): number {
  return Math.max(0, ((finished_at_ms ?? Date.now()) - created_at_ms) / 1000);
}
