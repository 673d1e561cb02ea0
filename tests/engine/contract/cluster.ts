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
const objects = KubernetesObjectApi.makeApiClient(config);
export const core = config.makeApiClient(CoreV1Api);

function unique(prefix: string): string {
  return `${prefix}-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
}

/** An object as one would write it in a file. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

/** Creates an object as somebody else would, not as Pulumi. */
export async function create(manifest: Manifest): Promise<void> {
  await objects.create(manifest);
}

/** Merges fields into an object as somebody else would, not as Pulumi. */
export async function edit(manifest: Manifest): Promise<void> {
  const object = manifest as KubernetesObject;
  await objects.patch(object, undefined, undefined, "someone-else", undefined, PatchStrategy.MergePatch);
}

/** A namespace of the test's own; removed in the background when the test is done. */
export async function createNamespace(): Promise<string> {
  const name = unique("contract");
  await create({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
  return name;
}

export async function removeNamespace(name: string): Promise<void> {
  await core.deleteNamespace({ name });
}

export async function eventually<T>(
  look: () => Promise<T | undefined>,
  timeoutMilliseconds = 20_000,
): Promise<T> {
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

/** Says what a kubelet would say of the pod. */
export async function setStatus(pod: V1Pod, status: object): Promise<void> {
  const name = pod.metadata?.name ?? "";
  const namespace = pod.metadata?.namespace ?? "";
  const body = [{ op: "add", path: "/status", value: status }];
  await core.patchNamespacedPodStatus({ name, namespace, body });
}

export const readyStatus = { phase: "Running", conditions: [{ type: "Ready", status: "True" }] };

export const imagePullStatus = {
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
