import { expect, test } from "vitest";

import { readConfig } from "../../components/config.ts";
import { at, ofType } from "./mocks.ts";
import { pods, prod } from "./prodStack.ts";

test("pods are of their namespace's PriorityClass, and it may take what its quota says", async () => {
  const resources = await prod({
    "groundwork:cluster": {
      context: "groundwork-prod",
      priorityClasses: { data: "important", app: "usual" },
      quotas: { app: { "requests.cpu": "8", "limits.memory": "16Gi", pods: "40" } },
    },
  });
  const all = pods(resources);
  expect(new Set(all.map(({ namespace }) => namespace)).size).toBe(5);
  for (const { name, namespace, spec } of all) {
    const wanted = namespace === "data" ? "important" : namespace === "app" ? "usual" : undefined;
    expect(spec.priorityClassName, name).toBe(wanted);
  }
  const [quota, ...others] = ofType(resources, ":ResourceQuota");
  expect(others).toEqual([]);
  expect(at(quota, "metadata.namespace")).toBe("app");
  expect(at(quota, "spec.hard")).toEqual({ "requests.cpu": "8", "limits.memory": "16Gi", pods: "40" });
}, 60_000);

test("without these settings no pod has a priority, and there is no quota", async () => {
  const resources = await prod({});
  expect(ofType(resources, ":ResourceQuota")).toEqual([]);
  for (const { name, spec } of pods(resources)) expect(spec, name).not.toHaveProperty("priorityClassName");
}, 60_000);

test.each<[object, RegExp]>([
  [{ priorityClasses: { apps: "usual" } }, /cluster\.priorityClasses/],
  [{ priorityClasses: { app: "Usual" } }, /must be a Kubernetes name/],
  [{ quotas: { app: { "requests.cpu": "8 cores" } } }, /must be a quantity/],
  [{ quotas: { app: { "requests CPU": "8" } } }, /must be a resource/],
  [
    { quotas: { "node-agents": { pods: "8" } } },
    /quotas\.node-agents: that namespace needs logging\.enabled/,
  ],
])("%j is refused", (settings, message) => {
  const cluster = JSON.stringify({ context: "some", ...settings });
  const { problems } = readConfig({ "groundwork:cluster": cluster }, new Set());
  const found = problems.filter((problem) => problem.includes("groundwork:cluster"));
  expect(found.join("\n")).toMatch(message);
});
