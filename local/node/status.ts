/** What the node's parts are doing, for people and for waiting. */
import { connect, type Api, type Condition, type KubernetesObject } from "./api.ts";
import { shimPids } from "./containers.ts";
import { nodeName } from "./layout.ts";
import { partNames, type PartName } from "./parts.ts";
import { memoryKiB, runningPid } from "./processes.ts";

export interface PartStatus {
  readonly name: PartName | "container shims";
  /** Undefined when it does not run. */
  readonly pid?: number;
  readonly memoryMiB: number;
}

export interface NodeStatus {
  /** `stopped`: no part runs. `degraded`: some do not, or the node is not Ready. `startNode` mends both. */
  readonly state: "ready" | "degraded" | "stopped";
  readonly parts: readonly PartStatus[];
  /** Of all parts, without the pods. */
  readonly memoryMiB: number;
  /** What Kubernetes calls itself, when it answers. */
  readonly version?: string;
}

interface Node extends KubernetesObject {
  readonly status: { readonly conditions: readonly (Condition & { readonly lastHeartbeatTime: string })[] };
}

export async function nodeStatus(): Promise<NodeStatus> {
  const parts = await Promise.all(partNames.map(partStatus));
  const shims = await Promise.all((await shimPids()).map(memoryKiB));
  const shimMemory = shims.reduce<number>((sum, one) => sum + (one ?? 0), 0) / 1024;
  const all = [...parts, { name: "container shims", memoryMiB: Math.round(shimMemory) } as const];
  const memoryMiB = all.reduce((sum, part) => sum + part.memoryMiB, 0);
  if (parts.every((part) => part.pid === undefined)) return { state: "stopped", parts: all, memoryMiB };
  const answer = await askNode();
  const isReady = answer.ready && parts.every((part) => part.pid !== undefined);
  const version = answer.version === undefined ? {} : { version: answer.version };
  return { state: isReady ? "ready" : "degraded", parts: all, memoryMiB, ...version };
}

async function askNode(): Promise<{ ready: boolean; version?: string }> {
  try {
    const api = await connect("admin");
    const { gitVersion } = await api.get<{ gitVersion: string }>("/version");
    return { ready: await isNodeReady(api), version: gitVersion };
  } catch {
    return { ready: false };
  }
}

async function partStatus(name: PartName): Promise<PartStatus> {
  const pid = await runningPid(name);
  if (pid === undefined) return { name, memoryMiB: 0 };
  return { name, pid, memoryMiB: Math.round(((await memoryKiB(pid)) ?? 0) / 1024) };
}

/** Ready by the kubelet's own word; with `since` (milliseconds), by a word that is no older than that. */
export async function isNodeReady(api: Api, since?: number): Promise<boolean> {
  const node = await api.get<Node>(`/api/v1/nodes/${nodeName}`);
  const ready = node.status.conditions.find((condition) => condition.type === "Ready");
  if (ready?.status !== "True") return false;
  // Heartbeats are written in whole seconds.
  return since === undefined || Date.parse(ready.lastHeartbeatTime) >= Math.floor(since / 1000) * 1000;
}
