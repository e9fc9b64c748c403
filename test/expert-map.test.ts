/** The map of experts on the dashboard: a real server, a real browser, the sample model with half of its experts. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { Experts } from "../src/server/schemas/experts.ts";
import { launchBrowser, openPage, withoutBrowser } from "./browser.ts";
import { withoutSample } from "./sample-model.ts";
import { steadyOffered, TestServer } from "./server.ts";

const prompt = "Continue this story: The captain looked at the sea, and";

/** The colour in the middle of each cell of the map, row by row. @param cell its side, CSS pixels */
function coloursOf(page: Page, layers: number, experts: number): Promise<string[][]> {
  return page.evaluate<string[][]>(`(() => {
    const canvas = document.querySelector(".map canvas");
    const scale = canvas.width / canvas.clientWidth;
    const cell = (canvas.clientHeight - 18) / ${layers};
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const at = (offset, index) => Math.floor((offset + (index + 0.5) * cell - 1) * scale);
    return Array.from({ length: ${layers} }, (_, layer) =>
      Array.from({ length: ${experts} }, (_, expert) => {
        const pixel = 4 * (at(18, layer) * canvas.width + at(30, expert));
        return data.slice(pixel, pixel + 4).join();
      }));
  })()`);
}

describe("the map of experts", { skip: withoutBrowser || withoutSample }, () => {
  let browser: Browser;
  let server: TestServer;

  before(async () => {
    const models = [{ ...steadyOffered, expertMemory: "50%" }];
    [browser, server] = await Promise.all([launchBrowser(), TestServer.start({ models })]);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  const ask = (max_tokens: number) =>
    server.post("/v1/completions", { model: "sample", prompt, max_tokens, ignore_eos: true });
  const experts = async () => (await (await server.get("/api/models/sample/experts")).json()) as Experts;

  it("tells what the server's API tells, in cells, in words and as a table, and only to who looks", async () => {
    // So low that the map is not in view.
    const { page, faults } = await openPage(browser, server.url, "/dashboard", {
      viewport: { width: 1280, height: 300 },
    });
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url().slice(server.url.length)));
    await page.locator(".experts").waitFor();
    await (await ask(60)).text();
    await server.until(({ models }) => models[0]!.running === 0);
    const seen = asked.filter((path) => path === "/api/status").length;
    while (asked.filter((path) => path === "/api/status").length < seen + 2) await page.waitForTimeout(50);
    assert.ok(!asked.includes("/api/models/sample/experts"), "nobody looks");

    await page.locator(".map").scrollIntoViewIfNeeded();
    // What is read ahead may still come when the answer has ended.
    let settled = await experts();
    while (settled.states.reading > 0) settled = await experts();
    const { states, layers, slots, totals, by_policy } = settled;
    const label = `${states.in_use} in use, ${states.present} there, ${states.ahead} read ahead, ${states.reading} being read, ${states.absent} absent`;
    await page.locator(`.map canvas[aria-label*="${label}"]`).waitFor();
    assert.ok(states.present > 48 && states.present <= slots && slots === 96);
    assert.equal(states.absent + states.present + states.ahead, 192);
    assert.equal(states.in_use, 0, "nothing runs");
    const [legend] = await page.locator(".map-legend").allInnerTexts();
    assert.match(legend!, new RegExp(`there\\s+${states.present}\\s.*absent\\s+${states.absent}\\s`, "s"));

    const colours = await coloursOf(page, layers.length, 32);
    const colourOf = (letter: string, heat: string) =>
      new Set(
        layers.flatMap((layer, row) =>
          colours[row]!.filter((_, index) => layer.states[index] === letter && layer.heat[index] === heat),
        ),
      );
    const present = [..."0123456789"].flatMap((heat) => [...colourOf("p", heat)]);
    const absent = colourOf(".", "0");
    assert.equal(absent.size, 1);
    assert.ok(!present.some((colour) => absent.has(colour)), "who is there looks otherwise");
    assert.ok(new Set(present).size > 2, "and the hotter the stronger");

    await page.click(".layers summary");
    const rows = await page.locator(".layers tbody tr").allInnerTexts();
    assert.deepEqual(
      rows.map((row) => row.split(/\s+/).slice(0, 6).map(Number)),
      layers.map(({ layer, states }) => [
        layer,
        ...["u", "p", "a", "r", "."].map((letter) => states.split(letter).length - 1),
      ]),
    );
    const wanted = totals.hits + totals.late + totals.misses;
    assert.match(
      (await page.locator(".bar-title").allInnerTexts()).join(),
      new RegExp(`^${wanted.toLocaleString("en")} experts were wanted`),
    );
    assert.equal(await page.locator(".policies tbody tr").count(), by_policy.length);
    assert.match(
      await page.locator(".experts .card-head").innerText(),
      /96 of 192 experts; evicts by composite/,
    );

    await page.locator(".map canvas").focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowRight"]) await page.keyboard.press(key);
    assert.match(await page.locator(".readout").innerText(), /^Layer 1, expert 1: (there|absent) /);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("shows what is in use while a chat runs", async () => {
    const { page, faults } = await openPage(browser, server.url, "/dashboard", { colorScheme: "dark" });
    await page.locator(".map").scrollIntoViewIfNeeded();
    let on = true;
    const talk = (async () => {
      while (on) await (await ask(200)).text();
    })();
    try {
      await page.locator('.map canvas[aria-label*=" in use"]:not([aria-label*=" 0 in use"])').waitFor();
    } finally {
      on = false;
      await talk;
    }
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("fits a phone, and goes with the model", async () => {
    const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };
    const { page, faults } = await openPage(browser, server.url, "/dashboard", phone);
    await page.locator(".map").scrollIntoViewIfNeeded();
    await page.locator(".map canvas[aria-label]").waitFor();
    const width = await page.evaluate<number>("document.documentElement.scrollWidth");
    assert.ok(width <= 360, `${width} wide`);
    const cut = await page.evaluate<number>(
      "document.querySelector('.map-frame').scrollWidth - document.querySelector('.map-frame').clientWidth",
    );
    assert.equal(cut, 0, "the whole map is in view");
    assert.deepEqual(faults, []);
    assert.equal((await server.post("/api/models/unload", { model: "sample" })).status, 200);
    await page.locator(".experts").waitFor({ state: "detached" });
    const { status } = await server.get("/api/models/sample/experts");
    assert.equal(status, 404);
  });
});
