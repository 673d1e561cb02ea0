/** kind's cluster in every state that an interrupted, a stopped or a rebooted machine leaves it in; kind and Docker are stand-ins. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ensureCluster, removeCluster } from "../../local/cluster.ts";
import { projectName, stateDirectory } from "../../local/stack.ts";

const node = vi.hoisted(() => ({ state: "stopped", started: 0, remove: () => Promise.resolve() }));
vi.mock("../../local/node/node.ts", () => ({
  contextName: "groundwork-node",
  kubeconfigPath: () => "/node.kubeconfig",
  nodeStatus: () => Promise.resolve({ state: node.state }),
  removeNode: () => node.remove(),
  startNode: () => Promise.resolve((node.started += 1)),
}));
/** Whatever of this machine has the edge's ports. */
const taken = vi.hoisted(() => new Set<number>());
vi.mock("../../local/node/network.ts", () => ({
  requireFreePort: (what: string, _: string, port: number) =>
    taken.has(port) ? Promise.reject(new Error(`${what} needs ${port}`)) : Promise.resolve(),
}));

let directory: string;
const inDirectory = (name: string): string => join(directory, name);
/** A file of the stand-ins' world: what is there is the case. */
const set = (name: string): Promise<void> => writeFile(inDirectory(name), "");

/** What was asked of both, without the long options. */
async function calls(): Promise<string[]> {
  const text = await readFile(inDirectory("calls"), "utf8").catch(() => "");
  return text.split("\n").filter(Boolean);
}

const log = 'echo "$(basename "$0") $1 $2" >>calls';
const docker = `#!/bin/sh
cd "$(dirname "$0")"
${log}
case $1 in
  info) test ! -e docker-is-away ;;
  start) test -e listed && touch running ;;
  exec) test -e asked-once || { touch asked-once; exit 1; } ;;
  rm) rm -f listed half-made running ;;
esac
`;
const kind = `#!/bin/sh
cd "$(dirname "$0")"
${log}
case $1 in
  get) test ! -e listed || echo groundwork ;;
  create) cat >config; touch listed; test ! -e reason || { cat reason >&2; exit 1; }; touch running ;;
  export) test -e running && test ! -e half-made ;;
esac
`;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "groundwork-kind-"));
  vi.stubEnv("GROUNDWORK_CACHE", inDirectory("cache"));
  vi.stubEnv("KUBECONFIG", inDirectory("nothing"));
  vi.stubEnv("PATH", `${directory}:/usr/bin:/bin`);
  await mkdir(join(stateDirectory(), ".pulumi/stacks", projectName), { recursive: true });
  await writeFile(inDirectory("docker"), docker, { mode: 0o755 });
  await writeFile(inDirectory("kind"), kind, { mode: 0o755 });
  Object.assign(node, { state: "stopped", started: 0 });
  taken.clear();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

const stackWasMade = (): Promise<void> =>
  writeFile(join(stateDirectory(), ".pulumi/stacks", projectName, "dev.json"), "{}");

/** As after a `make up`. */
const wasChosen = (kind: string): Promise<void> =>
  writeFile(inDirectory("cache/cluster.json"), JSON.stringify({ kind }));

describe("kind's cluster", () => {
  test("is made where there is none", async () => {
    expect(await ensureCluster()).toMatchObject({ kind: "kind", context: "kind-groundwork" });
    expect(await calls()).toEqual([
      "docker info ",
      "kind get clusters",
      "kind create cluster",
      "kind export kubeconfig",
    ]);
    expect(await readFile(inDirectory("config"), "utf8")).toContain("hostPort: 30443");
  });

  test("is started and waited for where it was stopped", async () => {
    await set("listed");
    await stackWasMade();
    expect(await ensureCluster()).toMatchObject({ kind: "kind" });
    expect((await calls()).slice(2)).toEqual([
      "docker start groundwork-control-plane",
      "kind export kubeconfig",
      "docker exec groundwork-control-plane",
      "docker exec groundwork-control-plane",
    ]);
  });

  test("is made anew where its making was interrupted, as long as there is nothing on it", async () => {
    await set("listed");
    await set("half-made");
    expect(await ensureCluster()).toMatchObject({ kind: "kind" });
    expect((await calls()).slice(-3)).toEqual([
      "docker rm --force",
      "kind create cluster",
      "kind export kubeconfig",
    ]);
  });

  test("is never removed with a stack on it", async () => {
    await set("listed");
    await set("half-made");
    await stackWasMade();
    await expect(ensureCluster()).rejects.toThrow(/does not come back: [^]*docker logs groundwork/);
    expect(await calls()).not.toContain("docker rm --force");
  });

  test("is not begun where a port of the edge is taken", async () => {
    taken.add(30080);
    await expect(ensureCluster()).rejects.toThrow("kind's cluster needs 30080");
    expect(await calls()).not.toContain("kind create cluster");
  });

  test("that cannot be made is an error with the end of what kind says, and no reason to take another", async () => {
    await writeFile(
      inDirectory("reason"),
      "ERROR: failed to create cluster: command failed\nno space left\n",
    );
    await expect(ensureCluster()).rejects.toThrow(/kind made no cluster: [^]*\nno space left\nMend/);
    expect([(await calls()).at(-1), node.started]).toEqual(["docker rm --force", 0]);
  });

  test("whose image no registry gives is left for the machine's own node", async () => {
    await writeFile(
      inDirectory("reason"),
      'ERROR: failed to create cluster: failed to pull image "kindest/node"',
    );
    expect(await ensureCluster()).toMatchObject({ kind: "node" });
  });

  test("is not left for the machine's own node because kind is missing: what to install is said", async () => {
    await rm(inDirectory("kind"));
    await expect(ensureCluster()).rejects.toThrow("Install kind, or Go");
    expect(node.started).toBe(0);
  });

  test("goes with everything else, also where kind is not there any more", async () => {
    await set("listed");
    await rm(inDirectory("kind"));
    await removeCluster();
    expect(await calls()).toEqual(["docker rm --force"]);
  });

  test("is not forgotten while no Docker answers, by which it could be removed", async () => {
    await wasChosen("kind");
    await set("docker-is-away");
    await expect(removeCluster()).rejects.toThrow(
      /cannot be removed, as no Docker answers here. Start Docker/,
    );
    expect(await readFile(inDirectory("cache/cluster.json"), "utf8")).toContain("kind");
  });
});

test("a node that cannot be removed, for want of root, keeps everything else from being removed", async () => {
  await wasChosen("node");
  await mkdir(inDirectory("cache/cluster"));
  node.remove = () => Promise.reject(new Error("needs root"));
  await expect(removeCluster()).rejects.toThrow("needs root");
  expect(await calls()).toEqual([]);
  expect(await readFile(inDirectory("cache/cluster.json"), "utf8")).toContain("node");
  node.remove = () => Promise.resolve();
});

describe("what was chosen before", () => {
  test("kind: is not left behind because Docker does not run", async () => {
    await wasChosen("kind");
    await set("docker-is-away");
    await expect(ensureCluster()).rejects.toThrow(/on kind's cluster.*Start Docker/);
    expect(node.started).toBe(0);
  });

  test.each([
    ["stopped", "node"],
    ["degraded", undefined],
  ])("the machine's own node, %s: is not left behind because Docker runs now", async (state, before) => {
    node.state = state;
    if (before !== undefined) await wasChosen(before);
    expect(await ensureCluster()).toMatchObject({ kind: "node" });
    expect(node.started).toBe(1);
  });
});

test("the machine's own node is taken where there is no Docker", async () => {
  await set("docker-is-away");
  expect(await ensureCluster()).toMatchObject({ kind: "node" });
});

test("elsewhere than on Linux there is no other than kind's", async () => {
  await set("docker-is-away");
  const { platform } = process;
  Object.defineProperty(process, "platform", { value: "darwin" });
  await expect(ensureCluster()).rejects.toThrow(/Other systems than Linux need kind's cluster. Start Docker/);
  Object.defineProperty(process, "platform", { value: platform });
  expect(node.started).toBe(0);
});

test("a cluster of the stack's own choice that does not answer is not left behind for another", async () => {
  await wasChosen("existing");
  await expect(ensureCluster()).rejects.toThrow("which does not answer now");
  expect([await calls(), node.started]).toEqual([[], 0]);
});
