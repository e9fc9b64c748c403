import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fastify from "fastify";
import { pageUrls, registerPages } from "./pages.ts";

const app = fastify();
registerPages(app);

describe("the pages", () => {
  it("come with their types, and may load nothing from elsewhere", async () => {
    const types = {
      "/": "text/html; charset=utf-8",
      "/dashboard": "text/html; charset=utf-8",
      "/pages/chat/main.ts": "text/javascript; charset=utf-8",
      "/pages/chat/chat.css": "text/css; charset=utf-8",
      "/pages/shared/icon.svg": "image/svg+xml",
      "/pages/vendor/uPlot.esm.js": "text/javascript; charset=utf-8",
      "/pages/vendor/uPlot.min.css": "text/css; charset=utf-8",
    };
    for (const [url, type] of Object.entries(types)) {
      const { statusCode, headers } = await app.inject(url);
      assert.equal(statusCode, 200, url);
      assert.equal(headers["content-type"], type);
      assert.equal(
        headers["content-security-policy"],
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
      );
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal(headers["referrer-policy"], "no-referrer");
      assert.equal(headers["cache-control"], "no-cache");
    }
  });

  it("are sent again only when they changed", async () => {
    const { headers } = await app.inject("/");
    const etag = headers.etag as string;
    assert.match(etag, /^"[\w-]+"$/);
    for (const known of [etag, `W/${etag}`, `"x", ${etag}`, "*"]) {
      const again = await app.inject({ url: "/", headers: { "if-none-match": known } });
      assert.equal(again.statusCode, 304);
      assert.equal(again.body, "");
      assert.equal(again.headers.etag, etag);
    }
    const changed = await app.inject({ url: "/", headers: { "if-none-match": '"x"' } });
    assert.equal(changed.statusCode, 200);
  });

  it("answer HEAD", async () => {
    const { statusCode, body } = await app.inject({ method: "HEAD", url: "/dashboard" });
    assert.deepEqual([statusCode, body], [200, ""]);
  });

  it("have their types blanked out, and nothing else", async () => {
    const { body } = await app.inject("/pages/shared/dom.ts");
    assert.match(body, /export function setText\(node {6}, text {8}\) {7}\{/);
    assert.doesNotMatch(body, /HTMLElementTagNameMap/);
  });

  it("refer to nothing that is not served, and write no script or style into a page", async () => {
    const served = new Set(pageUrls());
    for (const url of served) {
      const { body, statusCode } = await app.inject(url);
      assert.equal(statusCode, 200, url);
      const links = url.startsWith("/pages/") ? imports(body) : references(body);
      for (const link of links)
        assert.ok(served.has(new URL(link, `http://x${url}`).pathname), `${url}: ${link}`);
      if (url.startsWith("/pages/")) continue;
      assert.doesNotMatch(body, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
    }
  });

  it("do not serve tests, declarations, or anything beside their folder", async () => {
    for (const url of [
      "/pages/",
      "/pages/chat/",
      "/pages/chat.html",
      "/pages/tsconfig.json",
      "/pages/chat/sse.test.ts",
      "/pages/vendor/uPlot.esm.d.ts",
      "/pages/../pages.ts",
      "/pages/..%2fpages.ts",
      "/pages/%2e%2e/pages.ts",
      "/pages/chat/../../options.ts",
      "/pages/chat/..%5c..%5coptions.ts",
      "/pages//etc/passwd",
      "/pages/%00",
      "/pages/vendor/../../../../package.json",
      "/pages/__proto__",
      "//dashboard",
    ]) {
      assert.ok([400, 404].includes((await app.inject(url)).statusCode), url);
    }
  });
});

function references(html: string): string[] {
  return [...html.matchAll(/\s(?:src|href)="([^"#]+)"/g)].map((match) => match[1]!);
}

function imports(code: string): string[] {
  return [...code.matchAll(/^(?:import|export)\b[^;]*?from "([^"]+)";/gm)].map((match) => match[1]!);
}
