import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { keepChoices, resumeChoices } from "../../local/choices.ts";
import { stateDirectory } from "../../local/stack.ts";

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "groundwork-choices-"));
  vi.stubEnv("GROUNDWORK_CACHE", cache);
  vi.stubEnv("HA", undefined);
  vi.stubEnv("LOGS", undefined);
  await mkdir(stateDirectory(), { recursive: true });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true });
});

test("what an up was asked for holds for what comes after it, until the next up", async () => {
  vi.stubEnv("HA", "1");
  await keepChoices();
  vi.stubEnv("HA", undefined);
  await resumeChoices();
  expect([process.env["HA"], process.env["LOGS"]]).toEqual(["1", ""]);
  vi.stubEnv("HA", undefined);
  await keepChoices();
  await resumeChoices();
  expect(process.env["HA"]).toBe("");
});

test("a command that says otherwise is heeded", async () => {
  vi.stubEnv("HA", "1");
  await keepChoices();
  vi.stubEnv("HA", "0");
  await resumeChoices();
  expect(process.env["HA"]).toBe("0");
});

test("a run that is killed while it keeps them leaves those of before", async () => {
  vi.stubEnv("HA", "1");
  await keepChoices();
  const before = await open(join(stateDirectory(), "choices.json"));
  vi.stubEnv("HA", "0");
  await keepChoices();
  // The file of before is as it was: it was not written over.
  expect(JSON.parse(await before.readFile("utf8"))).toMatchObject({ HA: "1" });
  await before.close();
});

test("nothing was ever asked for", async () => {
  await resumeChoices();
  expect(process.env["HA"]).toBe("");
});
