/** A headless browser that lets nothing pass: foreign requests, secrets on the wire, console errors, bad markup. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export function openBrowser() {
  const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  const executablePath = process.env.CHROMIUM ?? places.find(existsSync) ?? places[0];
  // In a container Chromium runs as root, where its own sandbox cannot work.
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/** The page asks for the order's job before the pool has made it; browsers log that answer as an error. */
const EXPECTED = /api\/jobs\/by-external\/0x[0-9a-f]{64}$/;
const POLL_MS_MIN = 900;

export function watchPage(page, pageUrl) {
  const { origin } = new URL(pageUrl);
  const problems = [];
  const bodies = [];
  const askedAt = new Map();
  page.on("console", (message) => {
    if (message.type() === "error" && !EXPECTED.test(message.location().url))
      problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`exception: ${error.stack}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && !/^(data|blob):/.test(url.protocol)) problems.push(`request to ${url.href}`);
    bodies.push(`${request.url()} ${request.postData() ?? ""}`.toLowerCase());
    if (!url.pathname.includes("/api/")) return;
    const before = askedAt.get(url.pathname);
    if (before !== undefined && Date.now() - before < POLL_MS_MIN && !url.pathname.endsWith("/events")) {
      problems.push(`${url.pathname} asked again after ${Date.now() - before} ms`);
    }
    askedAt.set(url.pathname, Date.now());
  });
  page.on("framenavigated", () => askedAt.clear());
  return {
    secrets: [],
    expectClean() {
      for (const secret of this.secrets) {
        const leak = bodies.find((body) => body.includes(secret.toLowerCase()));
        assert.equal(leak, undefined, "a secret left the browser");
      }
      assert.ok(bodies.length > 5);
      assert.deepEqual(problems, []);
    },
  };
}

/** Tab, and Tab again, as a person without a mouse does. */
export async function tabTo(page, id) {
  for (let presses = 0; presses < 80; presses++) {
    if ((await focusedId(page)) === id) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`#${id} is not reached by the Tab key`);
}

/** Tabs to a button and presses it, once it can be pressed. */
export async function press(page, id) {
  await page.waitForSelector(`[id="${id}"]:not(:disabled, [aria-disabled="true"])`);
  await tabTo(page, id);
  await page.keyboard.press("Enter");
}

export async function byKeyboard(page, id, text) {
  await tabTo(page, id);
  await page.keyboard.type(text);
}

export function focusedId(page) {
  return page.evaluate(() => document.activeElement?.id ?? "");
}

/** Contrast, names, roles, landmarks; and that nothing is wider than the screen. */
export async function trustNothing(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const found = violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`,
  );
  assert.deepEqual(found, [], where);
  const [needed, given] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert.ok(needed <= given, `${where} is ${needed} px wide on a screen of ${given} px`);
}

export async function shoot(page, folder, name) {
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}
