/**
 * The page in a real browser, against a running pool.
 *
 *   PAGE_URL=http://127.0.0.1:PORT/ node test/e2e.mjs
 *
 * RPC_URL   node of the chain (default: the pool's own /rpc); must be a development chain
 * CHROMIUM  the browser (default /usr/bin/chromium)
 * VANITY    the `vanity` program, if the commands that the page shows are to be tried with it
 * PATTERN   what is ordered (default 1LoVE); SHOTS: folder for screenshots (default: a new temporary one)
 * HARDER    ordered where a search must last for some seconds (default 1LoVEa), by two workers
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createPublicClient, http, parseAbi } from "viem";
import { byKeyboard, focusedId, openBrowser, press, shoot, tabTo, trustNothing, watchPage } from "./browser.mjs";
import { importedBy, quoteOf } from "./independent.mjs";
import { newWallet } from "./wallet.mjs";

const PAGE_URL = process.env.PAGE_URL;
if (!PAGE_URL) {
  process.stderr.write(
    "error: PAGE_URL is not set\n\nhint: start a pool (gristmill dev) and give its page: PAGE_URL=http://127.0.0.1:PORT/\n",
  );
  process.exit(2);
}
const RPC_URL = process.env.RPC_URL ?? new URL("rpc", PAGE_URL).href;
const PATTERN = process.env.PATTERN ?? "1LoVE";
const HARDER = process.env.HARDER ?? "1LoVEa";
const SHOTS = process.env.SHOTS ?? mkdtempSync(join(tmpdir(), "gristmill-page-"));
const SEARCH_MS = 120_000;
const NEAR_MISS_MS = 60_000;
const HARDER_SEARCH_MS = 300_000;
const ORDERS_MAX = 8;
const PHONE = { width: 375, height: 812 };
const DESKTOP = { width: 1280, height: 900 };

const chain = createPublicClient({ transport: http(RPC_URL) });
let browser;
let pool;

/** Runs a command as the page shows it. */
function inShell(command, folder) {
  const script = `vanity() { "$VANITY" "$@"; }; ${command}`;
  return execFileSync("bash", ["-c", script], { cwd: folder, encoding: "utf8" }).trim();
}

before(async () => {
  browser = await openBrowser();
  pool = await (await fetch(new URL("api/pool", PAGE_URL))).json();
  process.stderr.write(`screenshots: ${SHOTS}\n`);
});
after(() => browser.close());

test("without scripts the page says what is missing and what to do", async () => {
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: PHONE });
  const page = await context.newPage();
  await page.goto(PAGE_URL);
  assert.match(await page.textContent("main"), /needs JavaScript/);
  assert.match(await page.textContent("main"), /gristmill vanity order/);
  await shoot(page, SHOTS, "no-scripts");
  await context.close();
});

test("phone, keyboard only, own wallet: order, progress, result", async () => {
  const context = await browser.newContext({
    viewport: PHONE,
    deviceScaleFactor: 2,
    reducedMotion: "reduce",
    acceptDownloads: true,
  });
  const page = await context.newPage();
  const seen = watchPage(page, PAGE_URL);
  const wallet = await newWallet(page, RPC_URL, pool.chain.chain_id);
  await page.goto(PAGE_URL);
  await page.waitForSelector("#order-wallet-test\\.gristmill\\.wallet");
  await trustNothing(page, "order form");

  // An impossible pattern, and the way out of it.
  await byKeyboard(page, "pattern", "1Hello");
  await page.waitForSelector("#take-nearest");
  assert.match(
    await page.textContent("#pattern-status"),
    /No address starts with “1Hello”.*Character 4 is “l”.*Nearest that exists: 1HeLLo/s,
  );
  await shoot(page, SHOTS, "phone-impossible");
  await press(page, "take-nearest");
  assert.equal(await page.inputValue("#pattern"), "1HeLLo");
  assert.equal(await focusedId(page), "pattern");

  await page.keyboard.press("Control+A");
  await page.keyboard.type(PATTERN);
  const price = await quoteOf(chain, pool.chain, PATTERN);
  await page.waitForFunction((text) => document.querySelector("#quote-price")?.textContent?.startsWith(text), price);
  assert.equal(await page.isDisabled("#pay"), true);
  assert.match(await page.textContent("#pay-state"), /make your half of the key; connect a wallet/);

  // The key: paying stays locked until it is saved.
  await press(page, "make-key");
  assert.equal(await focusedId(page), "save-key");
  assert.match(await page.textContent("#key-state"), /Not saved yet/);
  const [file] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
  const halfKey = readFileSync(await file.path(), "utf8").match(/^0x[0-9a-f]{64}$/m)[0];
  seen.secrets.push(halfKey.slice(2));
  assert.match(await page.textContent("#key-state"), /You have a copy/);

  // The wallet: on another chain, unknown to it, and empty.
  await press(page, "order-wallet-test.gristmill.wallet");
  await page.waitForSelector("#switch-chain");
  assert.match(await page.textContent("#wallet-slot"), /Your wallet is on chain 1; this shop is on chain/);
  assert.match(await page.textContent("#pay-state"), /switch the wallet/);
  await press(page, "switch-chain");
  await page.waitForSelector("#switch-chain", { state: "detached" });
  assert.equal(wallet.added?.chainId, `0x${pool.chain.chain_id.toString(16)}`);
  await page.waitForFunction(() =>
    /get enough RLC.*get some ether/.test(document.querySelector("#pay-state").textContent),
  );
  await press(page, "tap");
  await page.waitForFunction(() => !document.querySelector("#pay").disabled, null, { timeout: 60_000 });
  await shoot(page, SHOTS, "phone-ready");
  await trustNothing(page, "order form, ready");

  // A refusal in the wallet costs nothing and loses nothing.
  wallet.rejects = true;
  await press(page, "pay");
  await page.waitForSelector("#pay-problem .problem");
  assert.match(await page.textContent("#pay-problem"), /You declined it in your wallet.*Nothing was paid/s);
  await shoot(page, SHOTS, "phone-rejected");
  wallet.rejects = false;

  assert.equal(await focusedId(page), "pay", "the focus stays where the user was");
  await page.keyboard.press("Enter");
  await page.waitForURL(/#order\/0x[0-9a-f]{64}$/);
  assert.equal(wallet.sent.length, 1, "one transaction");
  await page.waitForFunction(() => document.activeElement.id === "search-title");
  await page.waitForSelector('[data-stage="ordered"].done');
  await shoot(page, SHOTS, "phone-progress");
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector(".turning")).animationName), "none");

  // A reload in the middle loses nothing.
  await page.reload();
  const address = await page.getAttribute("#address", "data-address", { timeout: SEARCH_MS });
  assert.ok(address.startsWith(PATTERN), address);
  assert.match(await page.textContent("#stages"), /Checked by the contract, and paid/);
  await page.waitForSelector('[data-stage="delivered"].done');
  assert.equal(await page.isVisible("#wif-box"), false);

  await press(page, "show-wif");
  const wif = await page.textContent("#wif");
  seen.secrets.push(wif);
  assert.equal(importedBy(wif), address, "the shown key owns the shown address");
  await page.keyboard.press("Enter");
  await tabTo(page, "save-result");
  const [saved] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
  assert.ok(readFileSync(await saved.path(), "utf8").includes(wif));
  await shoot(page, SHOTS, "phone-result");
  await trustNothing(page, "result");
  await page.emulateMedia({ media: "print" });
  await shoot(page, SHOTS, "print");

  seen.expectClean();
  await context.close();
});

test("desktop, dark, demo wallet: order to result, history, deleting the key", async () => {
  const context = await browser.newContext({ viewport: DESKTOP, colorScheme: "dark", acceptDownloads: true });
  const page = await context.newPage();
  const seen = watchPage(page, PAGE_URL);
  await page.goto(PAGE_URL);
  await page.click("#order-wallet-demo");
  await page.waitForFunction(() => /RLC/.test(document.querySelector("#wallet-slot dl")?.textContent ?? ""));
  assert.match(await page.textContent("#wallet-slot"), /Play money: this is a development chain/);
  await page.fill("#pattern", PATTERN);
  await page.click("#make-key");
  await page.waitForFunction(
    () => document.querySelector("#pay-state").textContent === "Still to do: save or copy your half of the key.",
    null,
    { timeout: 60_000 },
  );
  assert.equal(await page.isDisabled("#pay"), true, "an unsaved key cannot be paid for");
  await page.click("#save-key");
  await page.waitForFunction(() => !document.querySelector("#pay").disabled);
  await shoot(page, SHOTS, "desktop-order");

  // The same key in a second tab: it must never be good for a second order.
  const tab = await context.newPage();
  await tab.goto(PAGE_URL);
  await tab.waitForSelector("#save-key");
  await trustNothing(page, "dark order form");
  await page.click("#pay");
  await page.waitForURL(/#order\/0x[0-9a-f]{64}$/);
  await tab.waitForSelector("#make-key");
  await tab.close();
  await page.waitForSelector("#plot svg", { timeout: SEARCH_MS });
  await shoot(page, SHOTS, "desktop-progress");

  const address = await page.getAttribute("#address", "data-address", { timeout: SEARCH_MS });
  assert.ok(address.startsWith(PATTERN), address);
  const order = page.url().split("#order/")[1];
  const abi = parseAbi(["function answerOf(bytes32) view returns (bool, address, uint64, uint8)"]);
  const [found, worker, index] = await chain.readContract({
    address: pool.chain.shop,
    abi,
    functionName: "answerOf",
    args: [order],
  });
  assert.ok(found);
  await page.click("#check summary");
  const shown = (await page.textContent("#check")).toLowerCase();
  for (const value of [order, worker, String(index), address]) assert.ok(shown.includes(value.toLowerCase()), value);
  await shoot(page, SHOTS, "desktop-result");
  await trustNothing(page, "dark result");

  await page.waitForFunction((text) => document.querySelector("#orders-list").textContent.includes(text), address);
  await page.click(".brand");
  await page.waitForSelector("#order-view:not([hidden])");
  await page.click(`#orders-list a[href="#order/${order}"]`);
  assert.equal(await page.getAttribute("#address", "data-address"), address, "the history leads back to the result");

  await page.click("#delete-result");
  await page.waitForSelector("dialog[open]");
  assert.equal(await focusedId(page), "confirm-cancel", "the safe answer has the focus");
  await page.keyboard.press("Escape");
  assert.equal(await page.isVisible("#address"), true);
  await page.click("#delete-result");
  await page.click("#confirm-yes");
  await page.waitForSelector("#key-file");
  assert.equal(await page.evaluate(() => JSON.stringify(localStorage).includes("halfKey")), false);
  await shoot(page, SHOTS, "desktop-deleted");

  seen.expectClean();
  await context.close();
});

test("a saved half finishes the order in another browser, and a wrong file is refused", async () => {
  const first = await browser.newContext({ viewport: DESKTOP, acceptDownloads: true });
  const page = await first.newPage();
  await page.goto(PAGE_URL);
  await page.click("#order-wallet-demo");
  await page.fill("#pattern", PATTERN);
  await page.click("#make-key");
  const [file] = await Promise.all([page.waitForEvent("download"), page.click("#save-key")]);
  const half = await file.path();
  await page.waitForFunction(() => !document.querySelector("#pay").disabled, null, { timeout: 60_000 });
  await page.click("#pay");
  const address = await page.getAttribute("#address", "data-address", { timeout: SEARCH_MS });

  await page.click("#check summary");
  const [record] = await Promise.all([page.waitForEvent("download"), page.click("#save-record")]);
  assert.equal(JSON.parse(readFileSync(await record.path(), "utf8")).address, address);
  if (process.env.VANITY) {
    const folder = mkdtempSync(join(tmpdir(), "gristmill-check-"));
    await file.saveAs(join(folder, file.suggestedFilename()));
    await record.saveAs(join(folder, record.suggestedFilename()));
    const [verify, combine] = (await page.locator("#check pre").allTextContents()).filter((text) =>
      text.startsWith("vanity "),
    );
    assert.equal(inShell(verify, folder), `valid: ${address}`);
    assert.equal(inShell(combine, folder), address);
    assert.equal(importedBy(readFileSync(join(folder, `${address}.key`), "utf8").trim()), address);
  }

  const second = await browser.newContext({ viewport: PHONE });
  const other = await second.newPage();
  const seen = watchPage(other, PAGE_URL);
  await other.goto(page.url());
  await other.waitForSelector("#key-file");
  await other.setInputFiles("#key-file", {
    name: "x.txt",
    mimeType: "text/plain",
    buffer: Buffer.from(`${"11".repeat(32)}\n`),
  });
  await other.waitForSelector("#key-file-problem .problem");
  assert.match(await other.textContent("#key-file-problem"), /half of another order/);
  await other.setInputFiles("#key-file", half);
  assert.equal(await other.getAttribute("#address", "data-address", { timeout: 10_000 }), address);
  seen.secrets.push(readFileSync(half, "utf8").match(/^0x([0-9a-f]{64})$/m)[1]);
  seen.expectClean();
  await first.close();
  await second.close();
});

/** Orders with the demo wallet, and is on the order's page. */
async function order(page, pattern) {
  await page.goto(PAGE_URL);
  await page.click("#order-wallet-demo, #disconnect");
  if (await page.isVisible("#order-wallet-demo")) await page.click("#order-wallet-demo");
  await page.fill("#pattern", pattern);
  await page.click("#make-key");
  await page.click("#save-key");
  await page.waitForFunction(() => !document.querySelector("#pay").disabled, null, { timeout: 60_000 });
  await page.click("#pay");
  await page.waitForURL(/#order\/0x[0-9a-f]{64}$/);
}

/** What the tasks of the order that is shown came to. */
async function resultsOf(page) {
  const ask = async (path) => (await fetch(new URL(path, PAGE_URL))).json();
  const { id } = await ask(`api/jobs/by-external/${page.url().split("#order/")[1]}`);
  return ask(`api/jobs/${id}/results`);
}

const isFoundOrOffered = () => {
  const workers = /2 workers now/.test(document.querySelector("#search-facts").textContent);
  const stage = /Searching on 2 workers/.test(document.querySelector('[data-stage="searching"]').textContent);
  return document.querySelector("#address") ?? (workers && stage && document.querySelector("#take-closest"));
};

/** Takes the near miss that is offered, if it still is, and gives the words of the offer. */
async function take(page, name) {
  const timeout = 1_000;
  await shoot(page, SHOTS, name);
  const offered = await page.textContent("#near-title", { timeout });
  await page.focus("#take-closest", { timeout });
  await page.keyboard.press("Enter");
  return offered;
}

test("phone: a near miss is taken while two workers search on", { skip: HARDER === "" }, async () => {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, acceptDownloads: true });
  const page = await context.newPage();
  const seen = watchPage(page, PAGE_URL);

  // One search in three or so is over before a near miss is taken: luck is asked again then.
  let offered = null;
  for (let orders = 1; ; orders++) {
    await order(page, HARDER);
    await page.waitForFunction(isFoundOrOffered, null, { timeout: NEAR_MISS_MS });
    offered = await take(page, `phone-near-miss-${orders}`).catch(() => null);
    if (await page.isVisible("#address-near-1")) break;
    assert.ok(orders < ORDERS_MAX, "no near miss could be taken");
  }
  await page.waitForFunction(() => document.activeElement.id === "near-taken-title");
  const address = await page.getAttribute("#address-near-1", "data-address");
  const beginning = await page.textContent("#address-near-1 .fixed");
  assert.ok(beginning.length >= 2 && HARDER.startsWith(beginning) && address.startsWith(beginning), address);
  // Something closer may have come between reading and taking.
  assert.match(offered, /^1[1-9A-Za-z]+… found\. Take it, and search on\?$/);
  assert.equal(await page.isVisible("#wif-box-near-1"), false, "the key is shown when asked for");
  await press(page, "show-wif-near-1");
  const wif = await page.textContent("#wif-near-1");
  seen.secrets.push(wif);
  assert.equal(importedBy(wif), address, "a wallet takes the near miss's key");
  await tabTo(page, "save-result-near-1");
  const [saved] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
  assert.equal(importedBy(readFileSync(await saved.path(), "utf8").match(/^private key: +(\S+)$/m)[1]), address);
  await shoot(page, SHOTS, "phone-near-miss-taken");
  await trustNothing(page, "near miss, taken");

  // The search went on, and what was taken stays beside what was ordered.
  await page.reload();
  await page.waitForSelector("#address-near-1");
  assert.equal(await page.isVisible("#wif-box-near-1"), false);
  const found = await page.getAttribute("#address", "data-address", { timeout: HARDER_SEARCH_MS });
  assert.ok(found.startsWith(HARDER), found);
  assert.equal(await page.getAttribute("#address-near-1", "data-address"), address);
  const results = await resultsOf(page);
  const work = results.reduce((sum, { usage }) => sum + usage.work_done, 0);
  const tried = Number((await page.textContent("#search-facts")).match(/Addresses tried([\d.]+)\u00a0million/)[1]);
  assert.ok(tried >= work / 1e6 - 0.1, `${tried} million are less than ${work} by ${JSON.stringify(results)}`);
  await shoot(page, SHOTS, "phone-near-miss-found");
  await trustNothing(page, "near miss, found");
  seen.expectClean();
  await context.close();
});

test("what cannot be had is told before it is paid for, and a link that leads nowhere says so", async () => {
  const context = await browser.newContext({ viewport: { width: 320, height: 640 }, reducedMotion: "reduce" });
  const page = await context.newPage();
  const seen = watchPage(page, PAGE_URL);
  await page.goto(PAGE_URL);
  await page.fill("#pattern", "1LoVErsAnd");
  await page.waitForSelector("#take-reachable");
  assert.match(await page.textContent("#reach"), /Most likely not found within .*: then all is refunded/);
  await shoot(page, SHOTS, "phone-beyond-reach");
  await trustNothing(page, "beyond reach");
  const reachable = await page.textContent("#take-reachable");
  await press(page, "take-reachable");
  assert.equal(await page.inputValue("#pattern"), reachable);
  assert.ok("1LoVErsAnd".startsWith(reachable), reachable);
  await page.waitForSelector("#take-reachable", { state: "detached" });
  assert.ok(Number((await page.textContent("#quote-chance")).match(/[\d.]+/)[0]) >= 50);

  // The contract counts units in 64 bits.
  await page.fill("#pattern", "1LoVErsAndHaters");
  await page.waitForFunction(() => /No price can be given/.test(document.querySelector("#pattern-status").textContent));
  assert.equal(await page.textContent("#quote-price"), "–");
  assert.equal(await page.textContent("#pay"), "Pay and start");
  await trustNothing(page, "no price");

  for (const [link, said] of [
    ["#order/0x12", /This link names no order/],
    [`#order/0x${"12".repeat(32)}`, /This order is not known/],
  ]) {
    await page.goto(new URL(link, PAGE_URL).href);
    await page.waitForFunction(
      (source) => new RegExp(source).test(document.querySelector("#search-view").textContent),
      said.source,
    );
    await page.waitForFunction(() => document.activeElement.id === "search-title");
    assert.equal(await page.isVisible("#stages"), false, "nothing happened so far");
    await trustNothing(page, link);
  }
  await shoot(page, SHOTS, "phone-unknown-order");
  seen.expectClean();
  await context.close();
});

test("a pool that cannot be reached is told, and forgotten when it is back", async () => {
  const context = await browser.newContext({ viewport: PHONE, colorScheme: "dark" });
  const page = await context.newPage();
  await page.route(/\/api\//, (route) => route.abort());
  await page.goto(PAGE_URL);
  await page.waitForSelector("#problems .problem");
  assert.match(await page.textContent("#problems"), /The pool cannot be reached.*tries again by itself/s);
  await page.fill("#pattern", PATTERN);
  assert.match(await page.textContent("#quote-difficulty"), /^1 in /, "the difficulty needs no pool");
  await shoot(page, SHOTS, "phone-no-pool");
  await page.unroute(/\/api\//);
  await page.waitForSelector("#problems .problem", { state: "detached", timeout: 30_000 });
  await page.waitForFunction(() => /RLC/.test(document.querySelector("#quote-price").textContent));
  await context.close();
});
