/** The pages in a browser, on a real server with the sample model. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { Browser, Page, Route } from "playwright-core";
import { launchBrowser, openPage, withoutBrowser } from "./browser.ts";
import { withoutSample } from "./sample-model.ts";
import { TestServer } from "./server.ts";

const key = "a-key-for-tests";
const story = "Continue this story: The captain looked at the sea, and";

/** Answers of the sample model that are long enough to be stopped; 0 temperature makes them the same each time. */
async function configure(page: Page, settings: Record<string, string>): Promise<void> {
  await page.click("#show-settings");
  for (const [name, value] of Object.entries(settings)) await page.fill(`#setting-${name}`, value);
  await page.click("#settings-form .primary");
}

async function send(page: Page, text: string): Promise<void> {
  await page.fill("#input", text);
  await page.keyboard.press("Enter");
}

/** Waits until the last answer is complete; returns its text. */
async function answered(page: Page): Promise<string> {
  await page.waitForSelector(".answer:last-child[aria-busy=false]");
  return page.locator(".answer .prose").last().innerText();
}

const count = (page: Page, selector: string) => page.locator(selector).count();

describe("the pages in a browser", { skip: withoutBrowser || withoutSample }, () => {
  let browser: Browser;
  let server: TestServer;

  before(async () => {
    [browser, server] = await Promise.all([launchBrowser(), TestServer.start()]);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  it("streams an answer, tells its numbers, and keeps it over a reload", async () => {
    const { page, faults } = await openPage(browser, server.url, "/");
    await page.waitForSelector("#model option", { state: "attached" });
    await configure(page, { max_tokens: "200", temperature: "0", seed: "1" });
    await page.evaluate(`
      seen = new Set();
      new MutationObserver(() => seen.add(document.querySelector(".prose")?.textContent)).observe(
        document.getElementById("messages"),
        { childList: true, subtree: true },
      );`);
    await send(page, story);
    const text = await answered(page);
    assert.ok(text.length > 40, text);
    const steps = await page.evaluate<number>("seen.size");
    assert.ok(steps > 3, `the answer grew in ${steps} steps`);
    const stats = await page.locator(".stats").innerText();
    assert.match(stats, /tokens\/s.*TTFT.*prompt.*cached.*200 generated/s);
    assert.match(await page.locator("#announcer").innerText(), /^Answer complete, 200 tokens\.$/);

    await page.reload();
    assert.equal(await page.locator(".bubble").innerText(), story);
    assert.equal(await answered(page), text);
    assert.equal(await count(page, ".conversation"), 1);

    await page.click(".regenerate");
    assert.ok((await answered(page)).length > 0);
    assert.equal(await count(page, ".answer"), 1);
    assert.deepEqual(faults, []);
  });

  it("stops with Escape, and the server with it", async () => {
    const { page, faults } = await openPage(browser, server.url, "/");
    await page.waitForSelector("#model option", { state: "attached" });
    await configure(page, { temperature: "0" });
    // The sample model is quick: on a busy machine it may be done before the key reaches the page.
    for (let attempt = 0, notice = ""; notice !== "Stopped."; attempt += 1) {
      assert.ok(attempt < 5, notice);
      await page.keyboard.press("Control+k");
      await send(page, story);
      await page.locator(".answer .prose", { hasText: /\w/ }).waitFor();
      await page.keyboard.press("Escape");
      await answered(page);
      notice = (await page.locator(".answer .notice").textContent()) ?? "";
    }
    await server.until(({ requests }) => requests.live.length === 0);
    assert.deepEqual(faults, []);
  });

  it("edits the last message, opens a new chat, and manages conversations by the keyboard", async () => {
    const { page, faults } = await openPage(browser, server.url, "/");
    await page.waitForSelector("#model option", { state: "attached" });
    await configure(page, { max_tokens: "4", temperature: "0" });
    await send(page, "First question");
    await answered(page);
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Control+a");
    await page.keyboard.type("Another question");
    await page.keyboard.press("Enter");
    await page.locator(".bubble", { hasText: /^Another question$/ }).waitFor();
    await answered(page);
    assert.equal(await count(page, ".message"), 2);

    await page.keyboard.press("Control+k");
    await page.waitForSelector("#welcome:not([hidden])");
    await page.keyboard.type("Second");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("line");
    await page.keyboard.press("Enter");
    await answered(page);
    assert.equal(await page.locator(".bubble").innerText(), "Second\nline");
    assert.equal(await count(page, ".conversation"), 2);

    await page.keyboard.press("?");
    await page.waitForSelector("#help[open]");
    await page.keyboard.press("Escape");
    await page.waitForSelector("#help:not([open])", { state: "attached" });

    await page.locator(".conversation-title").first().click();
    assert.equal(await page.locator(".bubble").innerText(), "Second\nline");

    const first = page.locator(".conversation").last();
    await first.hover();
    await first.getByLabel(/^Rename/).click();
    await page.keyboard.type("Renamed");
    await page.keyboard.press("Enter");
    await page.getByText("Renamed", { exact: true }).waitFor();
    const exporting = page.waitForEvent("download");
    await first.hover();
    await first.getByLabel(/^Export/).click();
    const exported = JSON.parse(readFileSync(await (await exporting).path(), "utf8"));
    assert.equal(exported.conversations[0].title, "Renamed");
    assert.equal(exported.conversations[0].messages[0].content, "Another question");
    await first.getByLabel(/^Delete/).click();
    await first.getByText("Delete?").click();
    await page.locator(".conversation").nth(1).waitFor({ state: "detached" });
    assert.equal(await count(page, ".conversation"), 1);
    assert.deepEqual(faults, []);
  });

  it("is dark where the system is, and as its reader chooses", async () => {
    const { page, faults } = await openPage(browser, server.url, "/", { colorScheme: "dark" });
    const brightness = () =>
      page.evaluate<number>("Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])");
    assert.ok((await brightness()) < 60);
    await page.click("#theme");
    assert.equal(await page.getAttribute("#theme", "aria-label"), "Theme: light");
    assert.ok((await brightness()) > 200);
    await page.reload();
    assert.ok((await brightness()) > 200);
    await page.click("#theme");
    await page.click("#theme");
    assert.ok((await brightness()) < 60);
    assert.deepEqual(faults, []);
  });

  it("shows what a model writes as text, whatever it is", async () => {
    const { page, faults } = await openPage(browser, server.url, "/");
    await page.waitForSelector("#model option", { state: "attached" });
    const evil = '<img src=x onerror="alert(1)"> [x](javascript:alert(1)) <script>alert(1)</script> **bold**';
    await page.route("**/v1/chat/completions", (route) =>
      stream(route, [{ choices: [{ delta: { content: evil }, finish_reason: "stop" }] }, "[DONE]"]),
    );
    await send(page, "x");
    await answered(page);
    assert.equal(await count(page, ".prose img, .prose script, .prose a"), 0);
    assert.equal(await page.locator(".prose").innerText(), evil.replaceAll("**", ""));
    assert.deepEqual(faults, []);
  });

  it("shows errors with the next step, also in the middle of an answer, and waits while a model loads", async () => {
    const { page } = await openPage(browser, server.url, "/");
    await page.waitForSelector("#model option", { state: "attached" });
    await send(page, "Too much. ".repeat(1000));
    await answered(page);
    const refused = await page.locator(".failure").last().innerText();
    assert.match(refused, /tokens[\s\S]*Next: [\s\S]*HTTP 400/);

    const error = { message: "The engine ended.", code: "engine_lost", next: "Send it again." };
    await page.route("**/v1/chat/completions", (route) =>
      stream(route, [{ choices: [{ delta: { content: "Half an" } }] }, { error }]),
    );
    await send(page, "Break");
    assert.equal(await answered(page), "Half an");
    assert.match(
      await page.locator(".failure").last().innerText(),
      /The engine ended\.\s+Next: Send it again\./,
    );
    await page.unroute("**/v1/chat/completions");

    await page.route("**/v1/chat/completions", (route) =>
      stream(route, [{ choices: [{ delta: { content: "Half of it" } }] }]),
    );
    await send(page, "Cut");
    assert.equal(await answered(page), "Half of it");
    assert.match(await page.locator(".failure").last().innerText(), /cut off/);
    await page.unroute("**/v1/chat/completions");

    let refusals = 0;
    await page.route("**/v1/chat/completions", (route) => {
      refusals += 1;
      if (refusals > 1)
        return stream(route, [{ choices: [{ delta: { content: "Here" }, finish_reason: "stop" }] }]);
      const body = JSON.stringify({ error: { message: "Loading.", code: "model_loading", next: "Wait." } });
      return route.fulfill({ status: 503, headers: { "retry-after": "1" }, body });
    });
    await send(page, "Wait");
    await page.getByText("The model is loading.").waitFor();
    await page.getByText("Here", { exact: true }).waitFor();
    assert.equal(refusals, 2);
  });

  it("fits a phone", async () => {
    for (const path of ["/", "/dashboard"]) {
      const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
      const { page, faults } = await openPage(browser, server.url, path, phone);
      const width = await page.evaluate<number>("document.documentElement.scrollWidth");
      assert.ok(width <= 360, `${path} is ${width} wide`);
      if (path === "/") {
        await page.tap("#menu");
        await page.waitForSelector(".menu-open #new-chat");
        await page.tap("#new-chat");
        await page.waitForSelector("body:not(.menu-open)");
      }
      assert.deepEqual(faults, []);
    }
  });

  it("shows live requests, memory and models on the dashboard, and unloads one", async () => {
    const { page, faults } = await openPage(browser, server.url, "/dashboard");
    const gone = new AbortController();
    const body = { model: "sample", prompt: story, max_tokens: 400, stream: true, ignore_eos: true };
    // A reader that does not read holds its request.
    const requests = [1, 2].map(() =>
      server.post("/v1/completions", body, { signal: gone.signal }).catch(() => undefined),
    );
    await page.locator("#requests tr").first().waitFor();
    assert.match(
      await page.locator("#requests").innerText(),
      /^sample\s+completions\s+\w+\s+\d+ s\s+\d+\s+\d+/,
    );
    gone.abort();
    await Promise.all(requests);
    await page.waitForSelector("#no-requests:not([hidden])");
    assert.ok((await count(page, ".uplot canvas")) >= 4);
    assert.match(await page.locator("#memory-rows").innerText(), /all models[\s\S]*sample[\s\S]*resident/);
    assert.equal(await page.locator(".model .state").innerText(), "ready");

    await server.until(({ models }) => models[0]?.running === 0);
    await page.getByText("Unload", { exact: true }).click();
    await page.getByText("Really unload?").click();
    await page.locator('.model .state[data-state="unloaded"]').waitFor();
    assert.deepEqual(faults, []);
  });

  it("says when the server is away, and goes on when it is back", async () => {
    const { page } = await openPage(browser, server.url, "/dashboard");
    await page.locator(".model").waitFor();
    await page.route("**/api/status", (route) => route.abort());
    await page.getByText("The server cannot be reached.").waitFor();
    await page.unroute("**/api/status");
    await page.waitForSelector("#away[hidden]", { state: "attached" });
    assert.equal(await page.locator("#state").innerText(), "ready");
  });

  it("asks for the API key where the server wants one", async () => {
    const locked = await TestServer.start({ apiKeys: [key] }, { until: "listening" });
    try {
      const { page } = await openPage(browser, locked.url, "/");
      await page.fill("#api-key", "wrong");
      await page.keyboard.press("Enter");
      await page.locator("dialog p", { hasText: "another" }).waitFor();
      await page.fill("#api-key", key);
      await page.keyboard.press("Enter");
      await page.waitForSelector("#model option", { state: "attached" });
      await page.goto(`${locked.url}/dashboard`);
      await page.locator(".model").waitFor();
    } finally {
      await locked.close();
    }
  });
});

/** Answers with a stream of events in the server's place. */
function stream(route: Route, events: readonly (object | string)[]): Promise<void> {
  const data = events.map((event) => (typeof event === "string" ? event : JSON.stringify(event)));
  return route.fulfill({
    contentType: "text/event-stream",
    body: data.map((text) => `data: ${text}\n\n`).join(""),
  });
}
