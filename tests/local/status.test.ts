import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { untilHealthy } from "../../local/pause.ts";
import { readStatus, statusTable, usesColor, type Row } from "../../local/status.ts";

const row = (workload: string, healthy: boolean): Row => ({
  namespace: "app",
  workload,
  ready: healthy ? "1/1" : "0/1",
  state: healthy ? "running" : "pending",
  healthy,
});

describe("colour", () => {
  it.each([
    ["a terminal", {}, true, true],
    ["a pipe or a file", {}, false, false],
    ["NO_COLOR", { NO_COLOR: "1" }, true, false],
    ["an empty NO_COLOR, which says nothing", { NO_COLOR: "" }, true, true],
    ["a dumb terminal", { TERM: "dumb" }, true, false],
  ])("with %s", (_, env, isTerminal, expected) => {
    expect(usesColor(env, isTerminal)).toBe(expected);
  });
});

describe("the table of workloads", () => {
  it("says without colour what is healthy and what is not", () => {
    expect(statusTable([row("app", true), row("worker", false)], false).split("\n")).toEqual([
      "    NAMESPACE  WORKLOAD  READY  STATE",
      "ok  app        app       1/1    running",
      "!!  app        worker    0/1    pending",
      "",
    ]);
  });

  it("has the same words with colour", () => {
    const rows = [row("app", true), row("worker", false)];
    const colored = statusTable(rows, true);
    expect(colored).toContain("\u001b[32mok  app");
    expect(colored).toContain("\u001b[31m!!  app");
    expect(colored.replace(/\u001b\[\d+m/g, "")).toBe(statusTable(rows, false));
  });
});

describe("waiting for a stack that was started again", () => {
  const steps = <T>(...values: T[]) => {
    let next = 0;
    return {
      asked: () => next,
      give: () => Promise.resolve(values[Math.min(next++, values.length - 1)] as T),
    };
  };

  it("goes on until every workload is ready and the edge answers", async () => {
    const rows = steps([row("app", false)], [row("app", true)]);
    const edge = steps(false, false, true);
    await untilHealthy({ read: rows.give, answers: edge.give, deadlineSeconds: 5, pauseSeconds: 0.001 });
    expect(rows.asked()).toBe(4);
    expect(edge.asked()).toBe(3);
  });

  it("bears an API server that does not answer yet", async () => {
    let refusals = 2;
    const read = () =>
      refusals-- > 0 ? Promise.reject(new Error("refused")) : Promise.resolve([row("app", true)]);
    await untilHealthy({
      read,
      answers: () => Promise.resolve(true),
      deadlineSeconds: 5,
      pauseSeconds: 0.001,
    });
    expect(refusals).toBe(-1);
  });

  it("ends at its deadline, and names what is not healthy", async () => {
    const waiting = untilHealthy({
      read: () => Promise.resolve([row("app", true), row("worker", false)]),
      answers: () => Promise.resolve(true),
      deadlineSeconds: 0.01,
      pauseSeconds: 0.001,
    });
    await expect(waiting).rejects.toThrow(/app\/worker.*make up/);
  });

  it("says that nothing is there rather than wait for it", async () => {
    const waiting = untilHealthy({
      read: () => Promise.resolve([]),
      answers: () => Promise.resolve(true),
      deadlineSeconds: 5,
    });
    await expect(waiting).rejects.toThrow(/make up/);
  });
});

describe("every workload of the stack", () => {
  /** An API server that has these DaemonSets in the namespace of the node's agents, and nothing else. */
  async function serving(
    daemonSets: readonly object[],
    work: (kubeconfig: string, stop: () => void) => Promise<void>,
  ): Promise<void> {
    const server = createServer((request, response) => {
      const asked = request.url === "/apis/apps/v1/namespaces/node-agents/daemonsets";
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify({ items: asked ? daemonSets : [] }));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const directory = await mkdtemp(join(tmpdir(), "groundwork-status-"));
    const kubeconfig = join(directory, "kubeconfig");
    const cluster = {
      name: "c",
      cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true },
    };
    const context = { name: "c", context: { cluster: "c", user: "u" } };
    const user = { name: "u", user: {} };
    await writeFile(kubeconfig, JSON.stringify({ clusters: [cluster], contexts: [context], users: [user] }));
    const stop = (): void => {
      server.close();
      server.closeAllConnections();
    };
    try {
      await work(kubeconfig, stop);
    } finally {
      stop();
      await rm(directory, { recursive: true });
    }
  }
  const agent = (status: object) => ({ metadata: { name: "log-agent" }, status });

  it.each([
    ["on every node", { desiredNumberScheduled: 2, numberReady: 2 }, "2/2", true],
    ["missing on a node", { desiredNumberScheduled: 2, numberReady: 1 }, "1/2", false],
    ["not scheduled yet", { desiredNumberScheduled: 0, numberReady: 0 }, "0/1", false],
  ])("counts what runs on every node: %s", async (_, status, ready, healthy) => {
    await serving([agent(status)], async (kubeconfig) => {
      expect(await readStatus(kubeconfig, "c")).toEqual([
        { namespace: "node-agents", workload: "log-agent", ready, state: "running", healthy },
      ]);
    });
  });

  it("says that the cluster does not answer", async () => {
    await serving([], async (kubeconfig, stop) => {
      stop();
      await expect(readStatus(kubeconfig, "c")).rejects.toThrow(
        /^The cluster c does not answer: .*ECONNREFUSED/,
      );
    });
  });
});
