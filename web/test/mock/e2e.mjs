/** The browser test against the development pool, and the stories that need a pool which misbehaves on command. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openBrowser, shoot, trustNothing, watchPage } from "../browser.mjs";
import { importedBy } from "../independent.mjs";
import { startMockPool } from "./pool.mjs";

const SHOTS = process.env.SHOTS ?? mkdtempSync(join(tmpdir(), "gristmill-mock-"));
let browser;
let mock;

before(async () => {
  mock = await startMockPool({ anvilPort: 18_645, duration: 3_600 });
  browser = await openBrowser();
  process.stderr.write(`screenshots: ${SHOTS}\n`);
});
after(async () => {
  await browser.close();
  mock.stop();
});

async function order(page, pattern) {
  await page.goto(mock.url);
  await page.click("#order-wallet-demo");
  await page.fill("#pattern", pattern);
  await page.click("#make-key");
  await page.click("#save-key");
  await page.waitForFunction(() => !document.querySelector("#pay").disabled, null, { timeout: 60_000 });
  await page.click("#pay");
  await page.waitForURL(/#order\//);
}

const rpc = async (method, params = []) => {
  const response = await fetch(mock.rpc, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  return (await response.json()).result;
};

/** The deadline is judged by the chain's clock and by the page's: it passes on both. */
async function passDeadline(page) {
  await rpc("evm_increaseTime", [4_000]);
  await rpc("evm_mine");
  const { timestamp } = await rpc("eth_getBlockByNumber", ["latest", false]);
  await page.clock.install({ time: Number(timestamp) * 1_000 });
}

test("a long search: live odds, a lost connection, and the way back", async () => {
  for (const [name, viewport, colorScheme] of [
    ["phone", { width: 375, height: 812 }, "dark"],
    ["desktop", { width: 1280, height: 900 }, "light"],
  ]) {
    const context = await browser.newContext({ viewport, colorScheme });
    const page = await context.newPage();
    await order(page, "1LoVEr");
    await page.waitForSelector("#millstone.busy", { timeout: 60_000 });
    await page.waitForTimeout(6_000);
    const before = await page.textContent("#search-facts");
    assert.match(before, /keys\/s/);
    await shoot(page, SHOTS, `${name}-searching`);
    await trustNothing(page, `${name} search`);
    mock.control.down = true;
    mock.server.closeAllConnections();
    await page.waitForFunction(() =>
      /not reached at the moment/.test(document.querySelector("#link-text").textContent),
    );
    await page.waitForSelector("#problems .problem", { timeout: 30_000 });
    await shoot(page, SHOTS, `${name}-lost`);
    mock.control.down = false;
    await page.waitForFunction(
      () => /Live from the pool/.test(document.querySelector("#link-text").textContent),
      null,
      { timeout: 30_000 },
    );
    await context.close();
  }
});

test("an order past its deadline is refunded to the account, and withdrawn", async () => {
  const context = await browser.newContext({ viewport: { width: 375, height: 812 } });
  const page = await context.newPage();
  const seen = watchPage(page, mock.url);
  await order(page, "1LoVErs");
  await page.waitForSelector('[data-stage="ordered"].done');
  await passDeadline(page);
  await page.reload();
  await page.waitForSelector("#refund-button", { timeout: 60_000 });
  await shoot(page, SHOTS, "phone-overdue");
  await page.click("#refund-button");
  await page.waitForSelector("#withdraw", { timeout: 60_000 });
  await shoot(page, SHOTS, "phone-refunded");
  await trustNothing(page, "refund");
  await page.click("#withdraw");
  await page.waitForFunction(() =>
    /Nothing is left in your account/.test(document.querySelector("#refund").textContent),
  );
  assert.match(await page.textContent("#stages"), /Given back/);
  seen.expectClean();
  await context.close();
});

test("a near miss that does not fit is not shown; one that fits outlives the order, and another browser can take it", async () => {
  mock.jobs.forEach((job) => job.stop());
  mock.control.lies = true;
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, acceptDownloads: true });
  const page = await context.newPage();
  const seen = watchPage(page, mock.url);
  const [half] = await Promise.all([page.waitForEvent("download"), order(page, "1LoVErs")]);
  await page.click("#take-closest", { timeout: 60_000 });
  await page.waitForSelector("#near-problem .problem");
  assert.match(
    await page.textContent("#near-problem"),
    /does not fit, so nothing is shown.*The pool has shown 1.*Do not use it/s,
  );
  assert.equal(await page.isVisible("#near-taken section"), false);
  await shoot(page, SHOTS, "phone-near-miss-false");
  await trustNothing(page, "false near miss");

  mock.control.lies = false;
  await page.waitForFunction(
    (text) => document.querySelector("#address-closest").dataset.address !== text,
    await page.getAttribute("#address-closest", "data-address"),
  );
  await page.click("#take-closest");
  const taken = await page.getAttribute("#address-near-1", "data-address");
  assert.equal(await page.isVisible("#near-problem .problem"), false);

  await passDeadline(page);
  await page.reload();
  await page.waitForSelector("#refund-button", { timeout: 60_000 });
  await page.click("#refund-button");
  await page.waitForSelector("#withdraw", { timeout: 60_000 });
  assert.equal(await page.getAttribute("#address-near-1", "data-address"), taken);
  await shoot(page, SHOTS, "phone-near-miss-refunded");
  await trustNothing(page, "near miss, refunded");

  const second = await browser.newContext({ viewport: { width: 390, height: 844 } });
  const other = await second.newPage();
  await other.goto(page.url());
  await other.click("#near-offer summary");
  await shoot(other, SHOTS, "phone-near-miss-elsewhere");
  await trustNothing(other, "near miss elsewhere");
  await other.setInputFiles("#key-file", await half.path());
  await other.click("#take-closest");
  await other.waitForSelector("#address-near-1");
  await other.click("#show-wif-near-1");
  assert.equal(
    importedBy(await other.textContent("#wif-near-1")),
    await other.getAttribute("#address-near-1", "data-address"),
  );
  seen.expectClean();
  await context.close();
  await second.close();
});

test("an order that the pool declines says why, and the money comes back", async () => {
  mock.control.declines = true;
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  await order(page, "1LoVErs");
  await page.waitForSelector('[data-stage="refunded"]', { timeout: 60_000 });
  assert.match(await page.textContent("#refund"), /declined the order: no worker of this pool may run it/);
  await page.waitForSelector("#withdraw");
  await shoot(page, SHOTS, "desktop-declined");
  await context.close();
  mock.control.declines = false;
});

test("the browser test of the real pool passes here, too", async () => {
  const env = { ...process.env, PAGE_URL: mock.url, PATTERN: "1Lo", HARDER: "", SHOTS };
  const child = spawn(process.execPath, [new URL("../e2e.mjs", import.meta.url).pathname], { env, stdio: "inherit" });
  assert.equal(await new Promise((resolve) => child.on("exit", resolve)), 0);
});
