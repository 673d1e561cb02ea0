import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runLanes } from "../../local/tests.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "groundwork-lanes-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const step = (title: string, script: string) => ({ title, command: ["sh", "-c", script], directory: folder });
const marks = (): Promise<string> => readFile(join(folder, "marks"), "utf8");

test("steps of a lane follow one another, lanes run beside each other", async () => {
  // Each waits for the other's mark, so one after the other they would not end.
  const meets = (own: string, other: string) =>
    step(own, `echo >${own}; while [ ! -e ${other} ]; do sleep 0.05; done; echo ${own} >>marks`);
  const last = step("last", "echo last >>marks");
  expect(await runLanes([[meets("a", "b"), last], [meets("b", "a")]])).toBe(0);
  const lines = (await marks()).trimEnd().split("\n");
  expect(lines.sort()).toEqual(["a", "b", "last"]);
});

test("the first step that fails ends the others with all that they started, and gives the status", async () => {
  const waiting = step("waiting", "(sleep 1; echo late >>marks) & echo >there; wait");
  const failing = step("failing", "while [ ! -e there ]; do sleep 0.05; done; exit 7");
  const never = step("never", "echo never >>marks");
  expect(await runLanes([[failing], [waiting, never]])).toBe(7);
  await sleep(1500);
  await expect(marks()).rejects.toThrow("ENOENT");
});

test("the status is that of the step that failed, in whatever lane it was", async () => {
  const waiting = step("waiting", "echo >there; sleep 300");
  const failing = step("failing", "while [ ! -e there ]; do sleep 0.05; done; exit 7");
  expect(await runLanes([[waiting], [failing]])).toBe(7);
});

test("what does not end when it is told to is killed", async () => {
  const deaf = step("deaf", "trap '' TERM; echo >there; while :; do sleep 0.1; done");
  const failing = step("failing", "while [ ! -e there ]; do sleep 0.05; done; exit 3");
  expect(await runLanes([[failing], [deaf]])).toBe(3);
}, 30_000);
