import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { labels } from "./podDefaults";
import type { NamespaceName, Namespaces } from "./types";

/** The stack's namespaces, each enforcing the `restricted` Pod Security Standard. */
export class StackNamespaces extends pulumi.ComponentResource {
  readonly names: Namespaces;

  constructor(name: string, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:cluster:StackNamespaces", name, {}, opts);
    const create = (namespace: NamespaceName): pulumi.Output<string> =>
      new k8s.core.v1.Namespace(
        namespace,
        {
          metadata: {
            name: namespace,
            labels: {
              ...labels(namespace, "namespace"),
              "pod-security.kubernetes.io/enforce": "restricted",
              "pod-security.kubernetes.io/warn": "restricted",
              "pod-security.kubernetes.io/audit": "restricted",
            },
          },
        },
        { parent: this },
      ).metadata.name;
    this.names = {
      edge: create("edge"),
      app: create("app"),
      data: create("data"),
      monitoring: create("monitoring"),
    };
    this.registerOutputs({ names: this.names });
  }
}
