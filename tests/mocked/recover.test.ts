/** What a run finds of one that was killed. Pulumi is a stand-in, and no cluster is asked. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Cluster } from "../../local/cluster.ts";
import { projectName, stackFile, projectDirectory, type Engine } from "../../local/stack.ts";
import { down, pulumiUp } from "../../local/up.ts";

vi.mock("../../local/node/node.ts", () => ({
  nodeStatus: () => Promise.reject(new Error("a cluster was looked for")),
}));

const pulumi = `#!/bin/sh
if [ "$1" = hold ]; then echo holding; read -r _; exit; fi
echo "$1 $2" >>"$(dirname "$0")/calls"
[ "$1" != stack ] || echo '{"deployment":{}}'
`;
const cluster: Cluster = {
  kind: "kind",
  kubeconfig: "/none",
  context: "none",
  loopbackSources: [],
  apiServerCidrs: [],
};

let directory: string;
let engine: Engine;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-recover-"));
  const path = join(directory, "pulumi");
  await writeFile(path, pulumi, { mode: 0o755 });
  const env = { ...process.env, PULUMI_BACKEND_URL: pathToFileURL(directory).href };
  engine = { pulumi: path, env, project: directory };
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

async function lockedBy(pid: number): Promise<void> {
  const locks = join(directory, ".pulumi/locks/organization", projectName, "dev");
  await mkdir(locks, { recursive: true });
  await writeFile(join(locks, "a.json"), JSON.stringify({ pid, hostname: hostname() }));
}
const calls = async (): Promise<string[]> =>
  (await readFile(join(directory, "calls"), "utf8")).trim().split("\n");

describe("every up, also those of `make rotate` and `make dev`", () => {
  test("releases the lock of one that was killed", async () => {
    const dead = spawn("true");
    await once(dead, "close");
    await lockedBy(dead.pid ?? 0);
    await pulumiUp({ engine, cluster });
    expect(await calls()).toEqual(["cancel --yes", "stack export", "up --yes"]);
  });

  test("also where another program has the number of the one that was killed by now", async () => {
    await lockedBy(process.pid);
    await pulumiUp({ engine, cluster });
    expect(await calls()).toContain("cancel --yes");
  });

  test("leaves it to one that still runs", async () => {
    const alive = spawn(engine.pulumi, ["hold"]);
    await once(alive.stdout, "data");
    await lockedBy(alive.pid ?? 0);
    await expect(pulumiUp({ engine, cluster })).rejects.toThrow(`Process ${alive.pid}`);
    alive.stdin.end();
    await once(alive, "close");
  });
});

test("a `make down` after an `up` that never came to make the stack has nothing to do", async () => {
  vi.stubEnv("GROUNDWORK_CACHE", directory);
  vi.stubEnv("KUBECONFIG", join(directory, "none"));
  await mkdir(projectDirectory(), { recursive: true });
  await writeFile(stackFile("dev"), "config: {}");
  await expect(down()).resolves.toBeUndefined();
});
