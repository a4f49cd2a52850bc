/** The life of an order, one line per stage, each with the transaction that proves it. */
import { OrderStatus } from "../abi";
import { inWords, rlc, short, when } from "../format";
import { foundIn } from "../pool";
import type { OrderState } from "../watch";
import { el, hidden } from "./dom";

type Progress = "done" | "now" | "later" | "failed";

export interface Stage {
  id: string;
  progress: Progress;
  title: string;
  detail: string;
  tx: string | null;
}

/** `others`: searches that run at the same time. */
export function stagesOf(state: OrderState, others: number): Stage[] {
  const { placed, job, settlement, refund, status, link } = state;
  const settled = status === OrderStatus.Settled || settlement !== null;
  const refunded = status === OrderStatus.Refunded || refund !== null;
  const found = job && foundIn(job);
  const failed = job?.state === "failed" || job?.state === "cancelled";
  const searching = job !== null && (job.state === "running" || job.workers > 0) && !found && !settled;
  const stage = (id: string, progress: Progress, title: string, detail = "", tx: string | null = null): Stage => ({
    id,
    progress,
    title,
    detail,
    tx,
  });

  const before: Stage[] = [
    placed
      ? stage(
          "ordered",
          "done",
          "Ordered and paid",
          `${rlc(placed.details.price)} locked in the market, ${when(placed.placedAtMs)}`,
          placed.tx,
        )
      : stage("ordered", "now", "Ordered and paid", "looking for it on the chain"),
    job || settled
      ? stage("seen", "done", "Seen by the pool", job ? `its job ${job.id}` : "")
      : stage(
          "seen",
          placed && !refunded ? "now" : "later",
          "Seen by the pool",
          link === "lost" ? "the pool cannot be asked now" : "the pool waits until the block is settled",
        ),
  ];
  if (refunded) {
    const detail = refund?.declinedBecause
      ? `the pool declined: ${refund.declinedBecause}`
      : "the deadline passed without a result";
    return [
      ...before,
      stage(
        "refunded",
        "failed",
        "Given back",
        refund ? `${rlc(refund.amount)} returned; ${detail}` : detail,
        refund?.tx ?? null,
      ),
    ];
  }
  const workers = job?.workers ?? 0;
  const machines = `${workers} ${workers === 1 ? "worker" : "workers"}`;
  return [
    ...before,
    stage(
      "searching",
      found || settled ? "done" : failed ? "failed" : searching ? "now" : "later",
      searching ? `Searching on ${machines}` : "Searching",
      failed
        ? `the pool stopped: ${job?.reason ?? "no reason given"}`
        : job?.state === "queued"
          ? `waiting for a free worker${others > 0 ? `; ${others} other ${others === 1 ? "search takes" : "searches take"} turns with it` : ""}`
          : job && job.progress.done > 0
            ? `${inWords(job.progress.done)} addresses tried`
            : "",
    ),
    stage(
      "found",
      found || settled ? "done" : "later",
      "Found",
      settlement ? `by worker ${short(settlement.worker)}` : found ? `by worker ${short(found.worker)}` : "",
    ),
    settlement
      ? stage("settled", "done", "Checked by the contract, and paid", paidTo(settlement), settlement.tx)
      : stage(
          "settled",
          found || settled ? "now" : "later",
          "Checked by the contract, and paid",
          found ? "the pool sends the result to the chain" : "",
        ),
    settlement?.callbackFailed
      ? stage(
          "delivered",
          "failed",
          "Delivered to the shop",
          "the shop's contract did not take it; the result is good all the same",
          settlement.tx,
        )
      : stage(
          "delivered",
          settlement ? "done" : "later",
          "Delivered to the shop",
          settlement ? "in the same transaction" : "",
          settlement?.tx ?? null,
        ),
  ];
}

function paidTo({
  workerPaid,
  poolPaid,
  providerPaid,
}: {
  workerPaid: bigint;
  poolPaid: bigint;
  providerPaid: bigint;
}): string {
  return `worker ${rlc(workerPaid)}, pool ${rlc(poolPaid)}, app's provider ${rlc(providerPaid)}`;
}

const SPOKEN: Record<Progress, string> = { done: "Done: ", now: "Now: ", later: "Later: ", failed: "Ended: " };

export function stageItem({ id, progress, title, detail, tx }: Stage, explorer: string | null): HTMLElement {
  return el(
    "li",
    { class: `stage ${progress}`, "data-stage": id, "aria-current": progress === "now" ? "step" : null },
    el("span", { class: "title" }, hidden(SPOKEN[progress]), title),
    detail !== "" && el("span", { class: "detail" }, detail),
    tx && transaction(tx, explorer),
  );
}

export function transaction(tx: string, explorer: string | null): HTMLElement {
  const code = el("code", { class: "hex", title: tx }, short(tx));
  const name = explorer
    ? el("a", { href: `${explorer.replace(/\/$/, "")}/tx/${tx}`, rel: "noreferrer noopener", target: "_blank" }, code)
    : el("details", { class: "tx" }, el("summary", {}, code), el("code", { class: "hex whole" }, tx));
  return el("span", { class: "tx-line" }, hidden("Transaction "), name);
}
