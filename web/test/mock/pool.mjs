/**
 * A pool for developing the page: a real chain (anvil) with the real contracts, and a stand-in for scheduler, oracle
 * and workers that searches in JavaScript. Not shipped, and not what the project's browser test runs against.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { Worker } from "node:worker_threads";
import { createPublicClient, createWalletClient, decodeEventLog, http, zeroAddress } from "viem";
import { mnemonicToAccount } from "viem/accounts";
import { foundry } from "viem/chains";

const MNEMONIC = "test test test test test test test test test test test junk";
const CHAIN_ID = 71_337;
const contracts = new URL("../../../contracts/", import.meta.url);
const dist = new URL("../../dist/", import.meta.url).pathname;
const artifact = (name) => JSON.parse(readFileSync(new URL(`artifacts/${name}.json`, contracts), "utf8"));

export async function startMockPool({
  port = 0,
  anvilPort = 18_545,
  rateMax = 60_000,
  duration = 600,
  settles = true,
  declines = false,
} = {}) {
  const anvil = await startAnvil(anvilPort);
  const rpc = `http://127.0.0.1:${anvilPort}`;
  const chain = await deploy(rpc, duration);
  const jobs = [];
  const listeners = new Set();
  const control = { down: false, lies: false, settles, declines, rateMax };
  followOrders(chain, jobs, (job) => listeners.forEach((listener) => listener(job)), control);

  const server = createServer((request, response) => {
    if (control.down) return request.socket.destroy();
    answer(request, response, { chain, rpc, jobs, listeners }).catch((error) => {
      response.writeHead(500, { "content-type": "application/json" }).end(JSON.stringify({ error: String(error) }));
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/`;
  const stop = () => {
    server.closeAllConnections();
    server.close();
    anvil.kill();
    jobs.forEach((job) => job.stop());
    clearInterval(chain.timer);
  };
  return { url, rpc: `${url}rpc`, control, server, stop, jobs };
}

async function startAnvil(port) {
  const binary = new URL("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil", contracts).pathname;
  const args = ["--port", String(port), "--chain-id", String(CHAIN_ID), "--mnemonic", MNEMONIC, "--silent"];
  const child = spawn(binary, args, { stdio: "inherit" });
  const client = createPublicClient({ transport: http(`http://127.0.0.1:${port}`) });
  for (const deadline = Date.now() + 15_000; Date.now() < deadline;) {
    if (await client.getChainId().catch(() => null)) return child;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  child.kill();
  throw new Error("anvil did not start");
}

async function deploy(rpc, duration) {
  const definition = { ...foundry, id: CHAIN_ID };
  const operator = mnemonicToAccount(MNEMONIC, { addressIndex: 0 });
  const provider = mnemonicToAccount(MNEMONIC, { addressIndex: 1 });
  const wallet = createWalletClient({ account: operator, chain: definition, transport: http(rpc) });
  const client = createPublicClient({ chain: definition, transport: http(rpc), pollingInterval: 100 });
  const create = async (name, args) => {
    const { abi, bytecode } = artifact(name);
    const hash = await wallet.deployContract({ abi, bytecode, args });
    const { contractAddress } = await client.waitForTransactionReceipt({ hash });
    return { address: contractAddress, abi };
  };
  const token = await create("DevRLC", [operator.address]);
  const market = await create("Market", [token.address]);
  const verifier = await create("VanityVerifier", []);
  const terms = {
    pool: operator.address,
    provider: provider.address,
    app: `0x${"11".repeat(32)}`,
    verifier: verifier.address,
    unitPrice: 2_000_000n,
    poolFeeBps: 1_000,
    providerFeeBps: 500,
    duration,
  };
  const { result: offer, request } = await client.simulateContract({
    ...market,
    functionName: "publishOffer",
    args: [terms],
    account: operator,
  });
  await client.waitForTransactionReceipt({ hash: await wallet.writeContract(request) });
  const shop = await create("VanityShop", [market.address, offer, 1_000_000n, 1n]);
  return { client, wallet, operator, token, market, shop, verifier, offer, terms, chainId: CHAIN_ID };
}

function followOrders(chain, jobs, publish, control) {
  let next = 0n;
  const look = async () => {
    const latest = await chain.client.getBlockNumber({ cacheTime: 0 });
    if (latest < next) return;
    const logs = await chain.client.getContractEvents({
      ...chain.market,
      eventName: "Requested",
      fromBlock: next,
      toBlock: latest,
      strict: true,
    });
    next = latest + 1n;
    for (const { args } of logs)
      jobs.push(startJob(chain, jobs.length + 1, args.order, args.details, publish, control));
  };
  let busy = false;
  chain.timer = setInterval(() => {
    if (busy) return;
    busy = true;
    look()
      .catch(() => {})
      .finally(() => {
        busy = false;
      });
  }, 500);
}

function mistold(closest) {
  return closest && { ...closest, text: `${closest.text.slice(0, -1)}${closest.text.endsWith("a") ? "b" : "a"}` };
}

function startJob(chain, id, order, details, publish, control) {
  const worker = mnemonicToAccount(MNEMONIC, { addressIndex: 7 }).address.toLowerCase();
  const view = {
    id,
    external_id: order,
    app: `b3:${"22".repeat(32)}`,
    labels: {},
    state: "queued",
    reason: null,
    created_at_ms: Date.now(),
    finished_at_ms: null,
    tasks: { total: 1_000_000, waiting: 1_000_000, running: 0, judged: 0, done: 0, failed: 0 },
    progress: { done: 0, rate_per_s: 0 },
    workers: 0,
    results: [],
  };
  const change = (fields) => {
    Object.assign(view, fields);
    publish(view);
  };
  const send = async (functionName, args) => {
    const hash = await chain.wallet.writeContract({ ...chain.market, functionName, args, gas: 1_000_000n });
    return chain.client.waitForTransactionReceipt({ hash });
  };
  let search = null;
  const begin = setTimeout(async () => {
    if (control.declines) {
      change({ state: "failed", reason: "no worker of this pool may run it", finished_at_ms: Date.now() });
      await send("decline", [details, `0x${Buffer.from("no worker of this pool may run it").toString("hex")}`]);
      return;
    }
    search = new Worker(new URL("./search.mjs", import.meta.url), {
      workerData: { order, worker, params: details.params, rateMax: control.rateMax },
    });
    search.on("message", async ({ done, rate, closest, result }) => {
      change({
        state: "running",
        workers: 2,
        closest: control.lies ? mistold(closest) : closest,
        progress: { done, rate_per_s: rate },
      });
      if (!result || !control.settles) return;
      change({ results: [{ task: 3, lease: 9, worker, answer: result, files: [], verdict: "pending" }] });
      await new Promise((resolve) => setTimeout(resolve, 700));
      await send("settle", [details, worker, result]);
      view.results[0].verdict = "certified";
      change({ state: "done", workers: 0, finished_at_ms: Date.now() });
    });
  }, 800);
  return {
    view,
    stop() {
      clearTimeout(begin);
      search?.terminate();
    },
  };
}

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

async function answer(request, response, { chain, rpc, jobs, listeners }) {
  const { pathname } = new URL(request.url, "http://localhost");
  const json = (body, status = 200) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  if (pathname === "/rpc") {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const upstream = await fetch(rpc, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: Buffer.concat(chunks),
    });
    return response.writeHead(upstream.status, { "content-type": "application/json" }).end(await upstream.text());
  }
  if (pathname === "/api/pool") {
    const { market, token, shop, verifier, offer, terms, chainId } = chain;
    const addresses = { market: market.address, token: token.address, shop: shop.address, verifier: verifier.address };
    return json({
      pool: chain.operator.address,
      version: "0.1.0",
      chain: {
        chain_id: chainId,
        rpc: "/rpc",
        dev: true,
        ...addresses,
        offer,
        unit_price: Number(terms.unitPrice),
        unit_candidates: 1_000_000,
        app: "ab".repeat(32),
      },
    });
  }
  if (pathname === "/api/workers") {
    const busy = jobs.some(({ view }) => view.state === "running") ? 1 : 0;
    const worker = (address, name) => ({
      id: address,
      name,
      connected: true,
      slots: 1,
      running: busy,
      certified: 4,
      failed: 0,
      rejected: 0,
    });
    return json([worker(`0x${"a1".repeat(20)}`, "attic"), worker(`0x${"b2".repeat(20)}`, "")]);
  }
  if (pathname === `/api/apps/${"ab".repeat(32)}`) return json({ slot_rate_per_s: 1_600_000, slots: 2 });
  if (pathname === "/api/jobs") return json(jobs.map(({ view }) => view));
  const external = pathname.match(/^\/api\/jobs\/by-external\/(0x[0-9a-f]{64})$/);
  if (external) {
    const job = jobs.find(({ view }) => view.external_id === external[1]);
    return job ? json(job.view) : json({ error: "no job has this external id" }, 404);
  }
  const events = pathname.match(/^\/api\/jobs\/(\d+)\/events$/);
  if (events) {
    const job = jobs[Number(events[1]) - 1];
    if (!job) return json({ error: "no such job" }, 404);
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    const listener = (view) =>
      view.id === job.view.id && response.write(`event: job\ndata: ${JSON.stringify(view)}\n\n`);
    listener(job.view);
    listeners.add(listener);
    return request.on("close", () => listeners.delete(listener));
  }
  const file = normalize(join(dist, pathname === "/" ? "index.html" : pathname));
  if (!file.startsWith(dist)) return json({ error: "not found" }, 404);
  try {
    response
      .writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" })
      .end(readFileSync(file));
  } catch {
    json({ error: "not found" }, 404);
  }
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const mock = await startMockPool({ port: Number(process.env.PORT ?? 4180) });
  process.stdout.write(`${mock.url}\n`);
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => (mock.stop(), process.exit(0)));
}
