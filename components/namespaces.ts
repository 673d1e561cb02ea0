import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { labels } from "./podDefaults.ts";
import type { NamespaceName, Namespaces } from "./types.ts";

export interface StackNamespacesArgs {
  /** Whether anything must see its node, which the standard does not allow: it gets a namespace of its own. */
  readonly nodeAgents: boolean;
  /** Refuses to delete the namespaces that hold volumes: they would take the volumes along, whatever those say. */
  readonly retainData?: boolean;
}

/** The stack's namespaces, each enforcing the `restricted` Pod Security Standard but for `node-agents`. */
export class StackNamespaces extends pulumi.ComponentResource {
  readonly names: Namespaces;

  constructor(name: string, args: StackNamespacesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:cluster:StackNamespaces", name, {}, opts);
    const create = (namespace: NamespaceName, enforced = "restricted"): pulumi.Output<string> =>
      new k8s.core.v1.Namespace(
        namespace,
        {
          metadata: {
            name: namespace,
            labels: {
              ...labels(namespace, "namespace"),
              "pod-security.kubernetes.io/enforce": enforced,
              "pod-security.kubernetes.io/warn": enforced,
              "pod-security.kubernetes.io/audit": "restricted",
            },
          },
        },
        { parent: this, protect: args.retainData === true && holdsVolumes.includes(namespace) },
      ).metadata.name;
    this.names = {
      edge: create("edge"),
      app: create("app"),
      data: create("data"),
      monitoring: create("monitoring"),
      // Mounting a directory of the node is privileged in the standard's eyes; policy/exceptions.ts says who may.
      ...(args.nodeAgents && { "node-agents": create("node-agents", "privileged") }),
    };
    this.registerOutputs({ names: this.names });
  }
}

const holdsVolumes: readonly NamespaceName[] = ["data", "monitoring"];
