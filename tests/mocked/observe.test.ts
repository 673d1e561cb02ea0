import { afterEach, describe, expect, test, vi } from "vitest";
import * as cluster from "../../local/cluster.ts";
import { forward, showLogs } from "../../local/observe.ts";
import { UserError } from "../../local/system.ts";

/** What kubectl prints, or throws. */
const answer = vi.hoisted(() => vi.fn<(args: readonly string[]) => string>());
vi.mock(import("../../local/cluster.ts"), async (original) => ({
  ...(await original()),
  currentCluster: () => Promise.resolve({ kind: "node", kubeconfig: "", context: "" } as cluster.Cluster),
  kubectlProgram: () => Promise.resolve("/bin/false"),
  kubectl: async (_, args) => Promise.resolve(answer(args)),
}));
/** Whatever of this machine has a port. */
const taken = vi.hoisted(() => new Set<number>());
vi.mock(import("../../local/node/network.ts"), async (original) => ({
  ...(await original()),
  requireFreePort: (what, _, port) =>
    taken.has(port) ? Promise.reject(new Error(`${what} needs ${port}`)) : Promise.resolve(),
}));
afterEach(() => {
  vi.restoreAllMocks();
  taken.clear();
});

describe("logs", () => {
  test("go on after a container that has none yet, and after a namespace that does not answer", async () => {
    const printed: string[] = [];
    vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push(String(text)) > 0);
    answer.mockImplementation((args) => {
      expect(args).toContain("--ignore-errors");
      if (args.includes("app")) throw new Error("no answer");
      return `log of ${args[2] ?? ""}\n`;
    });
    const status = await showLogs();
    vi.restoreAllMocks();
    expect(printed.join("")).toBe("log of edge\nlog of data\nlog of monitoring\nlog of node-agents\n");
    expect(status).toBe(1);
  });

  test("of a workload that is none are refused with the names of those that are", async () => {
    answer.mockImplementation(([verb]) => (verb === "get" ? "worker app app" : ""));
    await expect(showLogs("typo")).rejects.toThrow(
      new UserError('APP is "typo" and may be app, worker, or none for all.'),
    );
    expect(await showLogs("worker")).toBe(0);
  });

  test("are not silently none where no stack is", async () => {
    answer.mockReturnValue("");
    await expect(showLogs()).rejects.toThrow("No pod of the dev stack is there. `make up` brings");
  });
});

describe("web interfaces", () => {
  test("are not silently none where no stack is", async () => {
    answer.mockReturnValue("");
    await expect(forward()).rejects.toThrow("No web interface of the dev stack is there. `make up` brings");
  });

  test("are not announced at a port that somebody else has", async () => {
    answer.mockReturnValue("service/alertmanager\nservice/prometheus\n");
    const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    taken.add(9090);
    await expect(forward()).rejects.toThrow("prometheus needs 9090");
    expect(said).not.toHaveBeenCalled();
  });

  test("whose forward ends are a failure", async () => {
    answer.mockReturnValue("service/prometheus\n");
    expect(await forward()).toBe(1);
  });
});
