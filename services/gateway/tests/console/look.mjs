// Looks at the console of a running suite in a browser, and fails where it is not as it should be:
// `node look.mjs ADMIN HTTP TOKEN FOLDER`. Screenshots, light and dark, wide and narrow, are put into
// the folder, to be looked at. See `look`, which starts a suite for it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [admin, http, token, folder] = process.argv.slice(2);
if (!folder) {
  console.error("usage: node look.mjs ADMIN HTTP TOKEN FOLDER");
  process.exit(2);
}
const axe = createRequire(import.meta.url)("axe-core");

const SOON = 30_000;
const FOUL = "<img src=x onerror=\"document.title='foul'\">";
/** Without the rest of it, the browser asks its maker's servers for this and that at every start. */
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Reads and writes through the gateway until it is stopped. */
function traffic() {
  let on = true;
  const ids = Array.from({ length: 40 }, (_, n) => `product-${String(n).padStart(6, "0")}`);
  const one = (n) => ids[Math.floor(ids.length * ((n * 7919) % 1000) / 1000 * ((n * 104729) % 1000) / 1000)];
  const run = async () => {
    for (let n = 0; on; n += 1) {
      const at = `${http}/v1/products/${one(n)}`;
      const change = { method: "PATCH", body: JSON.stringify({ stock: n % 100 }) };
      await fetch(at, n % 25 === 0 ? change : {}).then((answer) => answer.arrayBuffer(), () => {});
      await fetch(`${http}/products/${one(n + 1)}`).then((answer) => answer.arrayBuffer(), () => {});
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const running = run();
  return async () => {
    on = false;
    await running;
  };
}

/** A page of the console that notes whatever is not as it should be. */
async function open(browser, { scheme = "light", width = 1400, height = 900 } = {}) {
  const context = await browser.newContext({
    colorScheme: scheme, viewport: { width, height }, reducedMotion: "reduce",
  });
  const page = await context.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) wrong.push(message.text());
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(admin).origin) wrong.push(`it asks ${request.url()}`);
  });
  await page.goto(`${admin}/console`);
  return { page, wrong, close: () => context.close() };
}

/** Waits until something on the page is so. */
const until = (page, what, so, arg) => page.waitForFunction(so, arg, { timeout: SOON }).catch(() => {
  throw new Error(`it never came: ${what}`);
});

async function show(page, text) {
  await page.locator("#who summary").click();
  await page.locator("#token").fill(text);
  await page.locator("#token-form button[type=submit]").click();
  await page.locator("#who summary").click();
}

const hasKeys = () => document.querySelector("#hot-table button.key") !== null;
const reads = () => Number(document.querySelector("#summary dd")?.textContent.replace(/\D/g, "")) > 0;

const checks = {
  async "numbers are live, and keys are hidden until the token is shown"(browser) {
    const { page, wrong, close } = await open(browser);
    await until(page, "reads each second", reads);
    assert.match(await page.locator("#status").textContent(), /Live: .*Keys are hidden/);
    assert.equal(await page.locator("#hot-table button.key").count(), 0);
    assert.ok(await page.locator("#key").isDisabled());
    await until(page, "an event", () => document.querySelector("#event-table td.whose"));
    assert.doesNotMatch(await page.locator("#event-table").textContent(), /product-0|[0-9a-f]{16}/);
    await show(page, "not-the-token-at-all");
    await until(page, "a refusal", () => document.querySelector("#status").textContent.startsWith("Refused"));
    wrong.length = 0; // The browser tells of the refusals.
    await show(page, token);
    await until(page, "hot keys", hasKeys);
    await until(page, "tags of events", () => /[0-9a-f]{16}/.test(document.querySelector("#event-table").textContent));
    await page.locator("#who summary").click();
    await page.locator("#forget").click();
    await until(page, "no keys", () => document.querySelector("#hot-table button.key") === null);
    assert.deepEqual(wrong, []);
    await close();
  },

  async "a key is looked at and its copies are dropped"(browser) {
    const { page, wrong, close } = await open(browser);
    await show(page, token);
    await until(page, "hot keys", hasKeys);
    await page.locator("#hot-table button.key").first().click();
    await until(page, "copies", () => document.querySelectorAll("#inspect-table tbody th").length > 1);
    await page.locator("#ask-source").check();
    await page.locator("#inspect-form button[type=submit]").click();
    await until(page, "the database", () => /database/.test(document.querySelector("#inspect-table").textContent));
    page.once("dialog", (dialog) => dialog.dismiss());
    await page.locator("#drop").click();
    assert.doesNotMatch(await page.locator("#inspect-told").textContent(), /^Dropped/);
    page.once("dialog", (dialog) => dialog.accept());
    await page.locator("#drop").click();
    await until(page, "that they were dropped", () => /^Dropped/.test(document.querySelector("#inspect-told").textContent));
    assert.deepEqual(wrong, []);
    await close();
  },

  async "nothing is asked while it is paused"(browser) {
    const { page, close } = await open(browser);
    let asked = 0;
    page.on("request", (request) => { asked += request.url().endsWith("/state") ? 1 : 0; });
    await until(page, "numbers", reads);
    await page.locator("#pause").click();
    await page.waitForTimeout(1500);
    const then = asked;
    await page.waitForTimeout(2500);
    assert.equal(asked, then);
    assert.match(await page.locator("#status").textContent(), /^Paused/);
    await page.locator("#pause").click();
    await until(page, "numbers again", () => /^Live/.test(document.querySelector("#status").textContent));
    await close();
  },

  async "a replica that is away is shown, and what comes from elsewhere stays text"(browser) {
    const { page, wrong, close } = await open(browser);
    await page.route("**/console/state", async (route) => {
      const answer = await route.fetch();
      const state = await answer.json();
      state.replicas[0] = { ...state.replicas[0], error: `UNAVAILABLE: ${FOUL}`, keyspaces: [], sources: [] };
      state.replicas[1].sources[0].proven_age_seconds = 3;
      state.hot = [{ keyspace: "products", key: FOUL, reads: 7, replicas: {} }];
      await route.fulfill({ response: answer, json: state });
    });
    await until(page, "a replica that is away", () => /does not answer/.test(document.querySelector("#replica-table").textContent));
    await until(page, "its key as text", (foul) => document.querySelector("#hot-table button.key")?.textContent === foul, FOUL);
    assert.match(await page.locator("#status").textContent(), /but only 7 of 8/);
    assert.match(await page.locator("#replica-table tr.bad").nth(1).textContent(), /past Δ/);
    assert.equal(await page.locator("img").count(), 0);
    assert.equal(await page.title(), "Larder console");
    await page.waitForTimeout(2500);
    await page.screenshot({ path: join(folder, "away.png"), fullPage: true });
    assert.deepEqual(wrong, []);
    await close();
  },
};

for (const scheme of ["light", "dark"]) {
  for (const [width, height] of [[1400, 900], [360, 740]]) {
    checks[`it fits and everybody can use it: ${scheme}, ${width} wide`] = async (browser) => {
      const { page, wrong, close } = await open(browser, { scheme, width, height });
      await show(page, token);
      await until(page, "hot keys", hasKeys);
      await page.locator("#hot-table button.key").first().click();
      await until(page, "copies", () => document.querySelectorAll("#inspect-table tbody th").length > 1);
      await page.waitForTimeout(2500);
      const [inner, whole] = await page.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
      assert.ok(whole <= inner, `it is ${whole} wide`);
      await page.screenshot({ path: join(folder, `${scheme}-${width}.png`), fullPage: true });
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
      assert.deepEqual(told, []);
      assert.deepEqual(wrong, []);
      await close();
    };
  }
}

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: QUIET });
const stop = traffic();
let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check(browser);
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}
await stop();
await browser.close();
process.exit(failed === 0 ? 0 : 1);
