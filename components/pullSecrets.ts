import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { labels } from "./podDefaults";
import type { Namespaces } from "./types";

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
    this.transformations = names.length > 0 ? [pullWith(names)] : [];
    this.registerOutputs();
  }
}

const podsOfJobs = ["spec", "jobTemplate", "spec", "template", "spec"];
const podsOfAllElse = ["spec", "template", "spec"];

/** Names the secrets in every pod that a resource makes. */
function pullWith(names: readonly string[]): pulumi.ResourceTransformation {
  const imagePullSecrets = names.map((secret) => ({ name: secret }));
  return ({ type, props, opts }: pulumi.ResourceTransformationArgs) => {
    if (!/^kubernetes:(apps|batch)\//.test(type)) return undefined;
    const path = type.endsWith(":CronJob") ? podsOfJobs : podsOfAllElse;
    return { props: within(props, path, imagePullSecrets) as pulumi.Inputs, opts };
  };
}

function within(value: pulumi.Input<unknown>, path: readonly string[], imagePullSecrets: unknown): unknown {
  const [key, ...rest] = path;
  const set = (object: unknown): Record<string, unknown> => {
    const known = object as Record<string, unknown>;
    return key === undefined
      ? { ...known, imagePullSecrets }
      : { ...known, [key]: within(known[key], rest, imagePullSecrets) };
  };
  return pulumi.Output.isInstance(value) ? value.apply(set) : set(value);
}
