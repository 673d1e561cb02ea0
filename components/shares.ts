import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { labels } from "./podDefaults.ts";
import { inEveryPod } from "./podFields.ts";
import { namespaceNames, type NamespaceName, type Namespaces } from "./types.ts";

export interface ClusterSharesArgs {
  readonly namespaces: Namespaces;
  /** PriorityClasses that the cluster has, by the namespace whose pods are of it. */
  readonly priorityClasses: Readonly<Partial<Record<NamespaceName, string>>>;
  /** What all pods of a namespace may ask for at most, as in a ResourceQuota's `hard`. */
  readonly quotas: Readonly<Partial<Record<NamespaceName, Readonly<Record<string, string>>>>>;
}

const name = "share";

/** Namespaces are named as their roles. */
function isRole(namespace: string): namespace is NamespaceName {
  return namespaceNames.some((role) => role === namespace);
}

/** The stack's share of a cluster that is not its alone: what it may take, and whose pods go first when there is too little. */
export class ClusterShares extends pulumi.ComponentResource {
  /** For whoever makes pods: gives them the priority of their namespace. */
  readonly transformations: pulumi.ResourceTransformation[];

  constructor(resourceName: string, args: ClusterSharesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:cluster:ClusterShares", resourceName, {}, opts);
    const { namespaces, priorityClasses, quotas } = args;
    for (const [role, hard] of Object.entries(quotas)) {
      const namespace = namespaces[role as NamespaceName];
      if (namespace === undefined) continue;
      new k8s.core.v1.ResourceQuota(
        `${role}-${name}`,
        { metadata: { name, namespace, labels: labels(name, "quota") }, spec: { hard } },
        { parent: this },
      );
    }
    const ofNamespace = (namespace: pulumi.Input<string>) => ({
      priorityClassName: pulumi
        .output(namespace)
        .apply((known): string | undefined => (isRole(known) ? priorityClasses[known] : undefined)),
    });
    this.transformations = Object.keys(priorityClasses).length > 0 ? [inEveryPod(ofNamespace)] : [];
    this.registerOutputs();
  }
}
