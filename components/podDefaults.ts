import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import type { Resources } from "./types.ts";

type Labels = Record<string, string>;

/** The one unprivileged user and group that every container of the stack runs as. */
export const runAsId = 10001;

/** Where a pod's secrets are mounted, one file per secret, whichever store they come from. */
export const secretsPath = "/run/secrets/groundwork";

/** What selects a workload's pods; the other labels may change between versions. */
export function selector(name: string): Labels {
  return { "app.kubernetes.io/name": name };
}

/** Labels that every object of a workload carries. */
export function labels(name: string, component: string): Labels {
  return {
    ...selector(name),
    "app.kubernetes.io/component": component,
    "app.kubernetes.io/part-of": "groundwork",
    "app.kubernetes.io/managed-by": "pulumi",
  };
}

/** Pod fields under which the `restricted` Pod Security Standard admits a pod; no API token unless asked for. */
export const restrictedPod = {
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  securityContext: {
    runAsNonRoot: true,
    runAsUser: runAsId,
    runAsGroup: runAsId,
    fsGroup: runAsId,
    fsGroupChangePolicy: "OnRootMismatch",
    seccompProfile: { type: "RuntimeDefault" },
  },
} satisfies Partial<k8s.types.input.core.v1.PodSpec>;

/** Container fields that go with `restrictedPod`. */
export const restrictedContainer = {
  securityContext: {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  },
  // Why a container ended is in its pod's status, where `up` and `kubectl describe` show it.
  terminationMessagePolicy: "FallbackToLogsOnError",
} satisfies Partial<k8s.types.input.core.v1.Container>;

/** Requests and limits: memory is reserved in full, CPU may use what is idle. */
export function resources({ cpuMillis, memoryMiB }: Resources): k8s.types.input.core.v1.ResourceRequirements {
  return {
    requests: { cpu: `${cpuMillis}m`, memory: `${memoryMiB}Mi` },
    limits: { memory: `${memoryMiB}Mi` },
  };
}

/** A service account for the pods of one workload, without an API token: identities of a cloud are bound to it by name. */
export function serviceAccount(
  parent: pulumi.Resource,
  name: string,
  namespace: pulumi.Input<string>,
): pulumi.Output<string> {
  const account = new k8s.core.v1.ServiceAccount(
    name,
    {
      metadata: { name, namespace, labels: labels(name, "service-account") },
      automountServiceAccountToken: false,
    },
    { parent },
  );
  return account.metadata.name;
}

/** A writable directory for a container whose root file system is read-only. */
export function scratch(
  name: string,
  mountPath: string,
  sizeMiB = 64,
): { volume: k8s.types.input.core.v1.Volume; mount: k8s.types.input.core.v1.VolumeMount } {
  return { volume: { name, emptyDir: { sizeLimit: `${sizeMiB}Mi` } }, mount: { name, mountPath } };
}

/** Keeps replicas on different nodes and zones where there are any, without blocking a one-node cluster. */
export function spread(name: string): k8s.types.input.core.v1.TopologySpreadConstraint[] {
  return ["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map((topologyKey) => ({
    topologyKey,
    maxSkew: 1,
    whenUnsatisfiable: "ScheduleAnyway",
    labelSelector: { matchLabels: selector(name) },
  }));
}

/** Keeps a workload's pods off each other's nodes: always, or only where there is another node to take. */
export function apart(name: string, always: boolean): k8s.types.input.core.v1.Affinity {
  const term = { topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: selector(name) } };
  return {
    podAntiAffinity: always
      ? { requiredDuringSchedulingIgnoredDuringExecution: [term] }
      : { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: term }] },
  };
}

/** DNS name of a Service from any namespace. */
export function serviceHost(
  service: pulumi.Input<string>,
  namespace: pulumi.Input<string>,
): pulumi.Output<string> {
  return pulumi.interpolate`${service}.${namespace}.svc.cluster.local`;
}

/** The other way round: which Service a host of `serviceHost` is, for objects that name it. */
export function serviceOf(host: pulumi.Input<string>): {
  readonly name: pulumi.Output<string>;
  readonly namespace: pulumi.Output<string>;
} {
  const parts = pulumi.output(host).apply(serviceParts);
  return { name: parts.name, namespace: parts.namespace };
}

/** @throws {Error} for a host that is no Service of this cluster. */
export function serviceParts(host: string): { readonly name: string; readonly namespace: string } {
  const [, name, namespace] = /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc\.cluster\.local$/.exec(host) ?? [];
  if (name === undefined || namespace === undefined)
    throw new Error(`${JSON.stringify(host)} is no Service of this cluster`);
  return { name, namespace };
}

/** On a Job: the next `up` runs it anew where it failed, and does not wait again for what has ended. */
export const replacedWhenFailed = { "pulumi.com/replaceUnready": "true" };
