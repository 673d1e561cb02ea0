/** What happens to pods on any day: new versions, moved and deleted pods, a new configuration; and some that die. */
import { setTimeout as sleep } from "node:timers/promises";
import type { V1Pod } from "@kubernetes/client-node";
import { expect } from "vitest";
import { kubectl, kubectlWith, readyPods, stackPods, waitFor, workloadOf } from "../cluster/support.ts";
import { duringJobs } from "./jobs.ts";
import { kill } from "./node.ts";
import { duringWrites, type Outcome } from "./writes.ts";

type Workload = "app" | "edge" | "worker";

const namespaces: Readonly<Record<Workload, string>> = { app: "app", edge: "edge", worker: "app" };

/** A new generation of the pods, as a new version brings it. */
export const rolledOut = (workload: "app" | "edge") => (): Promise<Outcome> =>
  duringWrites(async () => {
    const deployment = [`--namespace=${namespaces[workload]}`, `deployment/${workload}`];
    await kubectl("rollout", "restart", ...deployment);
    await kubectl("rollout", "status", ...deployment, "--timeout=110s");
  });

/** Every pod is asked to go, one after the other, as for the maintenance of its node. */
export const evicted = (workload: "app" | "edge") => (): Promise<Outcome> =>
  duringWrites(async () => {
    const namespace = namespaces[workload];
    for (const { metadata } of await podsOf(workload)) {
      const name = metadata?.name ?? "";
      const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace } };
      const path = `/api/v1/namespaces/${namespace}/pods/${name}/eviction`;
      // Refused for as long as the disruption budget has no pod to spare.
      await waitFor(`the eviction of ${name}`, 60, () =>
        kubectlWith(JSON.stringify(eviction), "create", "--raw", path, "--filename=-"),
      );
      await replaced(workload, [metadata?.uid ?? ""]);
    }
  });

/** nginx reads its configuration anew, five times. */
export function edgeReloaded(): Promise<Outcome> {
  const nginx = ["nginx", "-e", "stderr", "-c", "/etc/groundwork/nginx/nginx.conf", "-s", "reload"];
  return duringWrites(async () => {
    for (let reload = 0; reload < 5; reload += 1) {
      await kubectl("exec", "--namespace=edge", "deploy/edge", "--", ...nginx);
      await sleep(1000);
    }
  });
}

/** One pod loses its power; who was not answered asks again. */
export const killed = (workload: "app" | "worker") => (): Promise<Outcome> =>
  duringJobs(async () => {
    const [pod] = await podsOf(workload);
    await kill(namespaces[workload], pod?.metadata?.name ?? "");
    await replaced(workload, [pod?.metadata?.uid ?? ""]);
  });

export async function podsOf(workload: Workload): Promise<V1Pod[]> {
  return (await stackPods()).filter((pod) => workloadOf(pod) === workload);
}

/** Waits until these are gone and as many are ready as there were. */
async function replaced(workload: Workload, gone: readonly string[]): Promise<void> {
  const count = (await podsOf(workload)).length;
  await waitFor(`other pods of ${workload}`, 90, async () => {
    const ready = await readyPods(workload);
    expect(ready.filter((uid) => gone.includes(uid))).toEqual([]);
    expect(ready.length).toBeGreaterThanOrEqual(count);
  });
}
