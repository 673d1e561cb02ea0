import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { labels } from "../podDefaults.ts";
import { secretsVolume, type SecretMountArgs, type SecretStore, type StoredSecret } from "./secretStore.ts";

/** Keeps secrets as Kubernetes Secrets, one per workload, so that a pod can read no other workload's. */
export class KubernetesSecretStore extends pulumi.ComponentResource implements SecretStore {
  constructor(name: string, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:secrets:KubernetesSecretStore", name, {}, opts);
    this.registerOutputs();
  }

  generate(name: string, length = 32): StoredSecret {
    const password = new random.RandomPassword(name, { length, special: false }, { parent: this });
    return { name, value: password.result };
  }

  keep(name: string, value?: pulumi.Input<string>): StoredSecret {
    if (value === undefined) return { name };
    return { name, value: pulumi.secret(value) };
  }

  mount(name: string, { namespace, files }: SecretMountArgs): k8s.types.input.core.v1.Volume {
    const secretName = `${name}-secrets`;
    const stringData = Object.entries(files).map(([file, { name: secret, value }]) => {
      if (!value) throw new Error(`secret "${secret}" has no value to mount as ${file}`);
      return [file, value] as const;
    });
    const secret = new k8s.core.v1.Secret(
      secretName,
      {
        metadata: { name: secretName, namespace, labels: labels(name, "secrets") },
        stringData: Object.fromEntries(stringData),
      },
      { parent: this },
    );
    return { name: secretsVolume, secret: { secretName: secret.metadata.name, defaultMode: 0o440 } };
  }
}
