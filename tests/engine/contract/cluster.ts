/** The cluster that the contract is checked on, and what the tests do to it behind the engine's back. */
import {
  CoreV1Api,
  KubeConfig,
  KubernetesObjectApi,
  PatchStrategy,
  type KubernetesObject,
  type V1Pod,
} from "@kubernetes/client-node";
import { setTimeout as sleep } from "node:timers/promises";

const config = new KubeConfig();
config.loadFromDefault();
export const objects = KubernetesObjectApi.makeApiClient(config);
export const core = config.makeApiClient(CoreV1Api);

export function unique(prefix: string): string {
  return `${prefix}-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
}

/** A namespace of the test's own; removed in the background when the test is done. */
export async function createNamespace(): Promise<string> {
  const name = unique("contract");
  await core.createNamespace({ body: { metadata: { name } } });
  return name;
}

export async function removeNamespace(name: string): Promise<void> {
  await core.deleteNamespace({ name });
}

/** Changes an object as somebody else would, not as Pulumi. */
export async function edit(object: KubernetesObject): Promise<void> {
  await objects.patch(object, undefined, undefined, "someone-else", undefined, PatchStrategy.MergePatch);
}

export async function eventually<T>(look: () => Promise<T | undefined>, timeoutMilliseconds = 20_000): Promise<T> {
  const deadline = Date.now() + timeoutMilliseconds;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error("what was waited for did not come");
    await sleep(100);
  }
}

/** The pod behind a workload whose scheduler does not exist: it stays as the test says it is. */
export async function podOf(namespace: string, label: string): Promise<V1Pod> {
  return await eventually(async () => {
    const { items } = await core.listNamespacedPod({ namespace, labelSelector: `app=${label}` });
    return items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)[0];
  });
}

export async function setStatus(pod: V1Pod, status: V1Pod["status"]): Promise<void> {
  const { name = "", namespace = "" } = pod.metadata ?? {};
  const fresh = await core.readNamespacedPod({ name, namespace });
  await core.replaceNamespacedPodStatus({ name, namespace, body: { ...fresh, ...(status && { status }) } });
}

export const readyStatus: NonNullable<V1Pod["status"]> = {
  phase: "Running",
  conditions: [{ type: "Ready", status: "True" }],
};

export const imagePullStatus: NonNullable<V1Pod["status"]> = {
  phase: "Pending",
  containerStatuses: [
    {
      name: "main",
      image: "no.such/image:1",
      imageID: "",
      ready: false,
      restartCount: 0,
      state: { waiting: { reason: "ImagePullBackOff", message: "Back-off pulling image no.such/image:1" } },
    },
  ],
};
