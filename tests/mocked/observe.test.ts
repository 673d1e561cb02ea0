import { expect, test, vi } from "vitest";
import * as cluster from "../../local/cluster.ts";
import { showLogs } from "../../local/observe.ts";

vi.mock(import("../../local/cluster.ts"), async (original) => ({
  ...(await original()),
  currentCluster: () => Promise.resolve({ kind: "node", kubeconfig: "", context: "" } as cluster.Cluster),
  kubectl: vi.fn<typeof cluster.kubectl>((_, args) =>
    args.includes("app") ? Promise.reject(new Error("no answer")) : Promise.resolve(`log of ${args[2]}\n`),
  ),
}));

test("logs go on after a container that has none yet, and after a namespace that does not answer", async () => {
  const printed: string[] = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => printed.push(String(text)) > 0);
  const status = await showLogs();
  vi.restoreAllMocks();
  expect(printed.join("")).toBe("log of edge\nlog of data\nlog of monitoring\nlog of node-agents\n");
  expect(status).toBe(1);
  for (const [, args] of vi.mocked(cluster.kubectl).mock.calls) expect(args).toContain("--ignore-errors");
});
