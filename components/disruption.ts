import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";

import { selector } from "./podDefaults.ts";
import type { WorkloadMetadata } from "./types.ts";

/** Lets a node's drain evict one pod of a workload at a time; `metadata` is the workload's own. */
export function allowOneEviction(parent: pulumi.Resource, metadata: WorkloadMetadata): void {
  new k8s.policy.v1.PodDisruptionBudget(
    metadata.name,
    { metadata, spec: { maxUnavailable: 1, selector: { matchLabels: selector(metadata.name) } } },
    { parent },
  );
}
