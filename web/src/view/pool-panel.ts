/** Who grinds here: workers, jobs, rates. */
import { app, knownRate } from "../app";
import { count, inWords, rate, rlc, short } from "../format";
import { isFinal, type Job, type WorkerInfo } from "../pool";
import { byId, el, renderWhen, setText } from "./dom";

const SHOWN_MAX = 8;

export function showPool(): void {
  const { pool, poolProblem, workers, jobs, shop } = app;
  const state = byId("pool-state");
  state.classList.toggle("lost", poolProblem !== null);
  state.classList.toggle("live", pool !== null && poolProblem === null);
  setText(state, poolProblem ? "Pool not reached" : pool ? online(workers) : "Asking the pool…");
  const perSecond = knownRate();
  renderWhen(byId("pool-panel"), [pool, workers, jobs, shop?.terms, perSecond && rate(perSecond)], () => {
    if (!pool) return [el("p", { class: "help" }, "The pool has not answered yet.")];
    return [
      el(
        "dl",
        { class: "facts" },
        fact("Workers", `${count(workers.filter(({ connected }) => connected).length)} online`),
        fact(
          "Busy",
          `${count(sum(workers, ({ running }) => running))} of ${count(sum(workers, ({ slots, connected }) => (connected ? slots : 0)))} slots`,
        ),
        fact("All slots together", perSecond ? rate(perSecond) : "not measured yet"),
        shop &&
          fact("Unit price", `${rlc(shop.terms.unitPrice)} for ${inWords(Number(shop.terms.unitCandidates))} tries`),
      ),
      workers.length > 0 && workerTable(workers),
      jobs.length > 0 && jobTable(jobs),
      el(
        "p",
        { class: "help" },
        `gristmill ${pool.version}${pool.chain ? `, chain ${pool.chain.chainId}${pool.chain.dev ? " (development)" : ""}` : ", without a chain"}`,
      ),
    ];
  });
}

function online(workers: WorkerInfo[]): string {
  const connected = workers.filter((worker) => worker.connected).length;
  if (connected === 0) return "No worker online";
  return `${connected} ${connected === 1 ? "worker" : "workers"} online`;
}

function sum<T>(list: T[], value: (item: T) => number): number {
  return list.reduce((total, item) => total + value(item), 0);
}

function fact(name: string, value: string): HTMLElement {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

function workerTable(workers: WorkerInfo[]): HTMLElement {
  const busiest = workers.toSorted(
    (a, b) => Number(b.connected) - Number(a.connected) || b.running - a.running || b.certified - a.certified,
  );
  const rows = busiest
    .slice(0, SHOWN_MAX)
    .map(({ id, name, connected, running, slots, certified, rejected }) =>
      el(
        "tr",
        {},
        el("th", { scope: "row", title: id }, name || short(id)),
        el("td", {}, connected ? `${running} of ${slots}` : "away"),
        el("td", {}, rejected > 0 ? `${count(certified)}, ${count(rejected)} refused` : count(certified)),
      ),
    );
  return table(`Workers${more(workers.length)}`, ["Worker", "Busy", "Results"], rows);
}

function jobTable(jobs: Job[]): HTMLElement {
  const newest = jobs.toSorted((a, b) => Number(isFinal(a.state)) - Number(isFinal(b.state)) || b.id - a.id);
  const rows = newest
    .slice(0, SHOWN_MAX)
    .map((job) =>
      el(
        "tr",
        {},
        el(
          "th",
          { scope: "row" },
          job.external_id?.startsWith("0x")
            ? el("a", { href: `#order/${job.external_id}` }, `Job ${job.id}`)
            : `Job ${job.id}`,
        ),
        el("td", {}, job.state),
        el("td", {}, job.state === "running" ? rate(job.progress.rate_per_s) : `${inWords(job.progress.done)} tried`),
      ),
    );
  return table(`Jobs${more(jobs.length)}`, ["Job", "State", "Work"], rows);
}

function more(total: number): string {
  return total > SHOWN_MAX ? `, ${SHOWN_MAX} of ${count(total)}` : "";
}

function table(caption: string, heads: string[], rows: HTMLElement[]): HTMLElement {
  return el(
    "table",
    {},
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rows),
  );
}
