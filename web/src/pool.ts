/** The pool's HTTP API: what it says about itself, its workers and jobs, and live events of one job. */
import { type Address, isAddress, isHex } from "viem";
import type { Hex } from "./bytes";

export interface PoolInfo {
  name: string;
  version: string;
  chain: ChainInfo | null;
}

export interface ChainInfo {
  chainId: number;
  rpcUrl: string;
  /** Play money: the page may hand it out. */
  dev: boolean;
  market: Address;
  token: Address;
  shop: Address;
  explorer: string | null;
  /** The block that the market came in: no event is older. */
  marketBlock: bigint;
  /** The program that searches. */
  app: string;
}

/** What the pool has measured of an app. */
export interface AppInfo {
  slot_rate_per_s: number | null;
  slots: number;
}

export type JobState = "queued" | "running" | "done" | "failed" | "cancelled";

export interface Job {
  id: number;
  external_id: string | null;
  labels?: Record<string, string>;
  state: JobState;
  reason: string | null;
  created_at_ms: number;
  finished_at_ms: number | null;
  tasks: { total: number; waiting: number; running: number; pending: number; done: number; failed: number };
  progress: { done: number; rate_per_s: number };
  workers: number;
  /** The best near miss so far. */
  closest?: NearMiss | null;
  results: { task: number; worker: string; answer: string | null; verdict: "pending" | "certified" | "rejected" }[];
}

/** An address that has some of the letters, and where it was met: with the requester's half, that gives its key. */
export interface NearMiss {
  text: string;
  record: Hex;
}

export interface WorkerInfo {
  id: string;
  name: string;
  connected: boolean;
  slots: number;
  running: number;
  certified: number;
  failed: number;
  rejected: number;
}

/** The pool cannot be reached, or answers with something else than the API. */
export class PoolError extends Error {
  constructor(
    message: string,
    readonly status: number | null = null,
  ) {
    super(message);
  }
}

const ANSWER_MS_MAX = 10_000;

/** Below the page's own folder, so that the page also works behind a path of somebody else's server. */
function urlOf(path: string): string {
  return new URL(path.replace(/^\//, ""), document.baseURI).href;
}

async function getJson(path: string): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(urlOf(path), {
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
      headers: { accept: "application/json" },
    });
  } catch {
    throw new PoolError("The pool does not answer.");
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  const said = isObject(body) && typeof body.error === "string" ? body.error : `HTTP ${response.status}`;
  throw new PoolError(`The pool answered with an error: ${said}.`, response.status);
}

export async function getPool(): Promise<PoolInfo> {
  const body = await getJson("api/pool");
  if (!isObject(body)) throw new PoolError("The pool's description of itself is not understood.");
  const { pool, version, chain } = body;
  return { name: String(pool ?? ""), version: String(version ?? ""), chain: isObject(chain) ? chainInfo(chain) : null };
}

function chainInfo(chain: Record<string, unknown>): ChainInfo {
  const address = (name: string): Address => {
    const value = chain[name];
    if (typeof value === "string" && isAddress(value, { strict: false })) return value;
    throw new PoolError(`The pool names no valid address of its ${name}.`);
  };
  const chainId = Number(chain.chain_id);
  if (!Number.isSafeInteger(chainId) || chainId <= 0) throw new PoolError("The pool names no valid chain id.");
  return {
    chainId,
    rpcUrl: urlOf(String(chain.rpc ?? "rpc")),
    dev: chain.dev === true,
    market: address("market"),
    token: address("token"),
    shop: address("shop"),
    app: String(chain.app ?? ""),
    marketBlock: BigInt(Number.isSafeInteger(chain.market_block) ? Number(chain.market_block) : 0),
    explorer: typeof chain.explorer === "string" && chain.explorer.startsWith("https://") ? chain.explorer : null,
  };
}

export async function getWorkers(): Promise<WorkerInfo[]> {
  return listOf(await getJson("api/workers"), "workers") as WorkerInfo[];
}

export async function getJobs(): Promise<Job[]> {
  return listOf(await getJson("api/jobs"), "jobs").filter(isJob);
}

export async function getApp(digest: string): Promise<AppInfo> {
  const body = await getJson(`api/apps/${digest}`);
  if (!isObject(body)) throw new PoolError("What the pool says of its app is not understood.");
  const { slot_rate_per_s: rate, slots } = body;
  return {
    slot_rate_per_s: Number.isFinite(rate) ? Number(rate) : null,
    slots: Number.isSafeInteger(slots) ? Number(slots) : 0,
  };
}

/** Null while the pool does not know the order. */
export async function getJobOf(order: Hex): Promise<Job | null> {
  try {
    const job = await getJson(`api/jobs/by-external/${order}`);
    if (isJob(job)) return job;
  } catch (error) {
    if (error instanceof PoolError && error.status === 404) return null;
    throw error;
  }
  throw new PoolError("The pool's description of the job is not understood.");
}

/** Lists come bare or under their name. */
function listOf(body: unknown, name: string): unknown[] {
  if (Array.isArray(body)) return body;
  if (isObject(body) && Array.isArray(body[name])) return body[name] as unknown[];
  throw new PoolError(`The pool's list of ${name} is not understood.`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isJob(value: unknown): value is Job {
  return (
    isObject(value) &&
    Number.isSafeInteger(value.id) &&
    typeof value.state === "string" &&
    isObject(value.progress) &&
    Number.isFinite(value.progress.done) &&
    Number.isFinite(value.progress.rate_per_s) &&
    isObject(value.tasks) &&
    (value.closest === undefined || value.closest === null || isNearMiss(value.closest)) &&
    Array.isArray(value.results) &&
    value.results.every((result) => isObject(result) && isHex(result.worker))
  );
}

function isNearMiss(value: unknown): value is NearMiss {
  return isObject(value) && typeof value.text === "string" && isHex(value.record);
}

export function isFinal(state: JobState): boolean {
  return state === "done" || state === "failed" || state === "cancelled";
}

/** An answer that nobody has refused. */
export function foundIn({ results }: Job): Job["results"][number] | undefined {
  return results.find(({ answer, verdict }) => answer !== null && verdict !== "rejected");
}

/** `unseen`: reachable, but it does not know the order yet. */
export type Link = "connecting" | "unseen" | "live" | "lost" | "finished";

export interface JobWatch {
  stop(): void;
}

const RETRY_MS_MIN = 1_500;
const RETRY_MS_MAX = 15_000;
/** A running job reports every few seconds; a connection that is silent for longer may be dead without knowing. */
const SILENCE_MS_MAX = 30_000;

/** Follows the job of an order until it is over, across lost connections and pools that restart. */
export function watchJob(order: Hex, onJob: (job: Job) => void, onLink: (link: Link) => void): JobWatch {
  let stopped = false;
  let failures = 0;
  let source: EventSource | null = null;
  let timer: number | undefined;

  const after = (ms: number, action: () => void) => {
    window.clearTimeout(timer);
    timer = window.setTimeout(action, ms);
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const retry = () => {
    close();
    onLink("lost");
    after(Math.min(RETRY_MS_MIN * 2 ** failures++, RETRY_MS_MAX), look);
  };
  const hear = (job: Job) => {
    failures = 0;
    onJob(job);
    if (isFinal(job.state)) stop("finished");
    else after(SILENCE_MS_MAX, look);
  };

  async function look() {
    close();
    try {
      const job = await getJobOf(order);
      if (stopped) return;
      if (job) {
        hear(job);
        if (!stopped) listen(job.id);
      } else {
        failures = 0;
        onLink("unseen");
        after(RETRY_MS_MIN, look);
      }
    } catch {
      if (!stopped) retry();
    }
  }

  function listen(id: number) {
    close();
    source = new EventSource(urlOf(`api/jobs/${id}/events`));
    source.addEventListener("open", () => onLink("live"));
    source.addEventListener("job", (event) => {
      try {
        const job: unknown = JSON.parse((event as MessageEvent<string>).data);
        if (isJob(job)) hear(job);
      } catch {
        retry();
      }
    });
    source.addEventListener("error", retry);
  }

  function stop(link?: Link) {
    stopped = true;
    close();
    window.clearTimeout(timer);
    window.removeEventListener("online", online);
    if (link) onLink(link);
  }
  function online() {
    failures = 0;
    void look();
  }

  window.addEventListener("online", online);
  onLink("connecting");
  void look();
  return { stop: () => stop() };
}
