import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { loadEngine } from "../src/engine/load.ts";
import type { DeviceInfo } from "../src/ggml/library.ts";
import { writeSyntheticModel } from "../src/model/synth.ts";
import { deviceCells, devicePrompts, deviceTails } from "./device-prompts.ts";
import { hasCode } from "./has-code.ts";
import { PeerModel } from "./parity-peer.ts";
import { samplePath, withoutSample } from "./sample-model.ts";
import { stowage } from "./stowage.ts";
import { tinyShapes } from "./tiny-model.ts";

/**
 * A graphics card, or else a driver that computes on the processor, which is listed only when it is named. Mesa's (22.3)
 * ends processes now and then; see docs/devices.md.
 */
const environments = [{}, { GGML_VK_VISIBLE_DEVICES: "0" }];
const tries = 2;

const found = environments
  .map((env) => ({ env, device: devicesWith(env).find(({ name }) => name.startsWith("Vulkan")) }))
  .find(({ device }) => device !== undefined);
const withoutDevice = found ? false : "there is no Vulkan device here, not even a driver in software";

function devicesWith(env: Record<string, string>): DeviceInfo[] {
  const { stdout } = stowage(["devices", "--json"], undefined, env);
  return JSON.parse(stdout || "[]") as DeviceInfo[];
}

describe("layers on a device", { skip: withoutDevice }, () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "stowage-device-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  const heads = { layers: 3, width: 128, heads: 2, kvHeads: 1, feedForwardWidth: 256, expertWidth: 64 };
  for (const [name, family, layers] of [
    ["a dense model", "llama", 3],
    ["a mixture of experts", "qwen3moe", 3],
    ["a dense model with two layers on the processor", "llama", 1],
    ["a mixture of experts with two layers on the processor", "qwen3moe", 1],
  ] as const) {
    test(`${name} gives libllama's logits`, async () => {
      const path = join(folder, `${family}.gguf`);
      await writeSyntheticModel(path, { ...tinyShapes[family]!, ...heads, type: "F32", seed: 7 });
      const logits = onDevice(path, [`${layers}`], join(folder, `${family}-${layers}`));
      assert.ok(logits, `the driver ended the process in each of ${tries} tries`);
      const expected = await fromLlama(path, deviceTails);
      assert.equal(logits.length, expected.length);
      let worst = 0;
      let most = 0;
      for (let at = 0; at < expected.length; at++) {
        worst = Math.max(worst, Math.abs(logits[at]! - expected[at]!));
        most = Math.max(most, Math.abs(expected[at]!));
      }
      // The device's sums are in another order, and its keys and values are F16 as libllama's are.
      assert.ok(worst < 0.02 * most, `${worst} apart, of ${most}`);
    });
  }

  test("a budget for experts is refused beside a device, and more layers than there are", async () => {
    const path = join(folder, "refused.gguf");
    await writeSyntheticModel(path, { ...tinyShapes.qwen3moe!, type: "F32", seed: 7 });
    const device = found!.device!.name;
    await assert.rejects(loadEngine(path, { device, expertMemory: "50%" }), hasCode("device_option"));
    const flags = ["--device", device, "--device-layers", "9"];
    const { status, stderr } = stowage(["run", path, "a", ...flags], undefined, found!.env);
    assert.notEqual(status, 0);
    assert.match(stderr, /deviceLayers/);
  });
});

test("a device that is not there is told from those that are", { skip: withoutSample }, () => {
  const { status, stderr } = stowage(["run", samplePath, "a", "--device", "Abacus7"]);
  assert.notEqual(status, 0);
  assert.match(stderr, /There is no device Abacus7 here/);
});

test("layers for a device need a device", { skip: withoutSample }, async () => {
  await assert.rejects(loadEngine(samplePath, { deviceLayers: 1 }), hasCode("load_option"));
});

/** What the child measured; undefined where the driver ended it each time. */
function onDevice(path: string, how: readonly string[], out: string): Float32Array | undefined {
  const script = join(import.meta.dirname, "device-child.ts");
  for (let left = tries; left > 0; left--) {
    const args = [script, path, found!.device!.name, ...how, out];
    const child = spawnSync(process.execPath, args, {
      encoding: "utf8",
      env: { ...process.env, ...found!.env },
    });
    if (child.status === 0) return new Float32Array(new Uint8Array(readFileSync(out)).buffer);
    assert.notEqual(child.signal, null, child.stderr);
  }
  return undefined;
}

async function fromLlama(path: string, tails: readonly number[]): Promise<number[]> {
  const peer = await PeerModel.load(path, deviceCells);
  try {
    const bySequence: Float32Array[][] = [];
    for (const prompt of devicePrompts) {
      peer.begin();
      const rows: Float32Array[] = [];
      for (const tokens of [prompt, ...tails.map((token) => [token])]) rows.push(await peer.next(tokens));
      bySequence.push(rows);
    }
    peer.begin();
    const kept = [...devicePrompts[0]!, ...tails].slice(0, -1);
    const copied = await peer.next([...kept, 9]);
    const steps = bySequence[0]!.flatMap((_, step) => bySequence.flatMap((rows) => [...rows[step]!]));
    return [...steps, ...copied];
  } finally {
    peer.dispose();
  }
}
