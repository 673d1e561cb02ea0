import { Secret } from "@pulumi/azure-native/keyvault/secret.js";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import type { WorkloadIdentities } from "../azure/identities.ts";
import { labels } from "../podDefaults.ts";
import { secretsVolume, type SecretMountArgs, type SecretStore, type StoredSecret } from "./secretStore.ts";

export interface KeyVaultSecretStoreArgs {
  /** Resource group of the vault. */
  readonly resourceGroupName: pulumi.Input<string>;
  /** Resource id of the vault. */
  readonly vaultId: pulumi.Input<string>;
  /** Name of the vault. */
  readonly vaultName: pulumi.Input<string>;
  /** Where the vault answers, `https://<host>`. */
  readonly vaultUri: pulumi.Output<string>;
  /** Once it is there, the vault's name leads the cluster's nodes to it. */
  readonly vaultNames: pulumi.Resource;
  /** Entra tenant of the vault. */
  readonly tenantId: pulumi.Input<string>;
  /** Who the workloads are to Azure. */
  readonly identities: WorkloadIdentities;
}

/**
 * Keeps secrets in Azure Key Vault; the Secrets Store CSI driver mounts them, so they never pass through etcd. Each
 * workload reads as its own identity, which may read the secrets that it mounts and no other.
 */
export class KeyVaultSecretStore extends pulumi.ComponentResource implements SecretStore {
  readonly url: pulumi.Output<string>;
  readonly #args: KeyVaultSecretStoreArgs;
  readonly #kept = new Map<string, Secret>();

  constructor(name: string, args: KeyVaultSecretStoreArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:secrets:KeyVaultSecretStore", name, {}, opts);
    this.#args = args;
    this.url = args.vaultUri;
    this.registerOutputs();
  }

  generate(name: string, length = 32): StoredSecret {
    const password = new random.RandomPassword(name, { length, special: false }, { parent: this });
    return this.keep(name, password.result);
  }

  keep(name: string, value?: pulumi.Input<string>): StoredSecret {
    if (value === undefined) return { name };
    const { resourceGroupName, vaultName } = this.#args;
    const secretValue = pulumi.secret(value);
    const secret = new Secret(
      name,
      { resourceGroupName, vaultName, secretName: name, properties: { value: secretValue } },
      // One that the configuration gives no more may be kept in the vault from then on.
      { parent: this, retainOnDelete: true },
    );
    this.#kept.set(name, secret);
    return { name, value: secretValue };
  }

  mount(name: string, { namespace, files }: SecretMountArgs): k8s.types.input.core.v1.Volume {
    const { vaultId, vaultName, vaultNames, tenantId, identities } = this.#args;
    const clientId = identities.clientId(name, namespace);
    const secretNames = new Set(Object.values(files).map((secret) => secret.name));
    const granted = [...secretNames].map((secretName) => {
      const kept = this.#kept.get(secretName);
      const scope = pulumi.interpolate`${vaultId}/secrets/${secretName}`;
      return identities.grant(name, "keyVaultSecretsUser", secretName, scope, kept && [kept]);
    });
    const objects = Object.entries(files).map(
      ([file, { name: objectName }]) =>
        `  - |\n    objectName: ${objectName}\n    objectType: secret\n    objectAlias: ${file}`,
    );
    const provider = new k8s.apiextensions.CustomResource(
      `${name}-secrets`,
      {
        apiVersion: "secrets-store.csi.x-k8s.io/v1",
        kind: "SecretProviderClass",
        metadata: { name: `${name}-secrets`, namespace, labels: labels(name, "secrets") },
        spec: {
          provider: "azure",
          parameters: {
            keyvaultName: vaultName,
            tenantId,
            clientID: clientId,
            objects: `array:\n${objects.join("\n")}`,
          },
        },
      },
      // Pods wait for it; a mount that is refused is tried again after longer and longer pauses.
      { parent: this, dependsOn: [identities.credential(name), vaultNames, ...granted] },
    );
    return {
      name: secretsVolume,
      csi: {
        driver: "secrets-store.csi.k8s.io",
        readOnly: true,
        volumeAttributes: { secretProviderClass: provider.metadata.name },
      },
    };
  }
}
