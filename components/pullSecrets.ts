import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { labels } from "./podDefaults.ts";
import { inEveryPod } from "./podFields.ts";
import type { Namespaces } from "./types.ts";

export interface PullSecretsArgs {
  readonly namespaces: Namespaces;
  /** Secrets of the kind dockerconfigjson that something else puts into every namespace. */
  readonly names: readonly string[];
  /** Docker's `config.json`, with the registries' credentials; a Secret of it is made in every namespace. */
  readonly credentials?: pulumi.Output<string> | undefined;
}

const name = "registry-credentials";

/** How the nodes sign in to private registries. The kubelet reads a Secret for it: no vault can stand in. */
export class PullSecrets extends pulumi.ComponentResource {
  /** For whoever makes pods: lets all of them pull with these secrets. */
  readonly transformations: pulumi.ResourceTransformation[];

  constructor(resourceName: string, args: PullSecretsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:cluster:PullSecrets", resourceName, {}, opts);
    const { credentials } = args;
    if (credentials) {
      for (const [role, namespace] of Object.entries<pulumi.Output<string>>({ ...args.namespaces })) {
        new k8s.core.v1.Secret(
          `${role}-${name}`,
          {
            metadata: { name, namespace, labels: labels(name, "pull-secret") },
            type: "kubernetes.io/dockerconfigjson",
            stringData: { ".dockerconfigjson": credentials },
          },
          { parent: this },
        );
      }
    }
    const names = [...args.names, ...(credentials ? [name] : [])];
    const imagePullSecrets = names.map((secret) => ({ name: secret }));
    this.transformations = names.length > 0 ? [inEveryPod(() => ({ imagePullSecrets }))] : [];
    this.registerOutputs();
  }
}
