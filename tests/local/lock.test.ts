import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { identify, withLock } from "../../local/lock.ts";

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "groundwork-lock-"));
  vi.stubEnv("GROUNDWORK_CACHE", cache);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true });
});

test("a second run is refused while the first holds the lock, and told who that is", async () => {
  await withLock("stack", async () => {
    await expect(withLock("stack", () => Promise.resolve())).rejects.toThrow(
      new RegExp(`"stack" lock: process ${process.pid} `),
    );
  });
});

test("the lock is free again after a run, also after one that failed", async () => {
  await expect(withLock("stack", () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  await expect(withLock("stack", () => Promise.resolve("done"))).resolves.toBe("done");
});

test("locks of different names do not wait for each other", async () => {
  await expect(withLock("stack", () => withLock("node", () => Promise.resolve("both")))).resolves.toBe(
    "both",
  );
});

test("a lock outlives its dead holder only until the next run", async () => {
  const child = spawn("true");
  const pid = child.pid ?? 0;
  await new Promise((resolve) => child.once("close", resolve));
  await withLock("stack", async () => {
    const file = join(cache, "locks", "stack.json");
    const holder = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
    await writeFile(file, JSON.stringify({ ...holder, pid, started: "an earlier boot/1" }));
    await expect(withLock("stack", () => Promise.resolve("taken over"))).resolves.toBe("taken over");
  });
});

test("a lock that a loss of power has emptied is nobody's", async () => {
  await withLock("stack", async () => {
    await writeFile(join(cache, "locks", "stack.json"), "");
    await expect(withLock("stack", () => Promise.resolve("taken over"))).resolves.toBe("taken over");
  });
});

test("a process with a recycled pid is another process", async () => {
  const me = await identify(process.pid);
  expect(me?.pid).toBe(process.pid);
  expect((await identify(process.ppid))?.started).not.toBe(me?.started);
});
