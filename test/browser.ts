/** A browser for tests of the pages: the Chromium that the machine has. */
import { existsSync } from "node:fs";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const candidates = [
  process.env.STOWAGE_CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const path = candidates.find((candidate) => candidate !== undefined && existsSync(candidate));

/** For `skip` of tests that need a browser: false where there is one, else the reason. */
export const withoutBrowser = path === undefined && "there is no Chromium; STOWAGE_CHROMIUM names one";

/** The browser asks nobody anything but what the pages ask. */
const silent = [
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
  "--no-sandbox",
];

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({ ...(path !== undefined && { executablePath: path }), args: silent });
}

/** A page, and what it did that it should not. */
export interface WatchedPage {
  readonly page: Page;
  /** Requests that left the server, errors on the console, and exceptions; also what the policy blocked. */
  readonly faults: string[];
}

/** Opens a page of the server at `url` in a browser that has no memory of others. */
export async function openPage(
  browser: Browser,
  url: string,
  path: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const faults: string[] = [];
  page.on("request", (request) => {
    const isOwn = new URL(request.url()).origin === url || request.url().startsWith("blob:");
    if (!isOwn) faults.push(`asked ${request.url()}`);
  });
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(String(error.stack)));
  await page.goto(url + path);
  return { page, faults };
}
