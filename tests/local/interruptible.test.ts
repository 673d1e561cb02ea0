import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { clusterTarget } from "../../local/delivery/target.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-interruptible-"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

/** Waits for a signal, is slow in putting things right, and says that it was done. */
const program = `
import { setTimeout as sleep } from "node:timers/promises";
import { interruptible } from "${join(import.meta.dirname, "../../local/interruptible.ts")}";
await interruptible(async (signal) => {
  process.stdout.write("waiting\\n");
  await sleep(20_000, undefined, { signal }).catch(() => undefined);
  await sleep(500);
  process.stdout.write("put right: " + signal.reason.message);
});`;

test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
  "%s, even twice and without a terminal to write to, lets the work put right what it began",
  async (signal) => {
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program]);
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    await once(child.stdout, "data");
    child.stderr.destroy();
    child.kill(signal);
    setTimeout(() => child.kill(signal), 200);
    expect(await once(child, "close")).toEqual([0, null]);
    expect(output).toBe(`waiting\nput right: it was interrupted (${signal})`);
  },
);

test("what kubectl waits for is not waited for any longer", async () => {
  await writeFile(join(directory, "kubectl"), "#!/bin/sh\nexec sleep 20\n", { mode: 0o755 });
  vi.stubEnv("PATH", `${directory}:/usr/bin:/bin`);
  const { kubectl } = await clusterTarget({ kubeconfig: "config", context: "context" });
  const started = Date.now();
  await expect(kubectl(["rollout", "status"], undefined, AbortSignal.timeout(100))).rejects.toThrow(
    "rollout",
  );
  expect(Date.now() - started).toBeLessThan(5000);
});
