import * as keyvault from "@pulumi/azure-native/keyvault";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { labels } from "../podDefaults";
import { secretsVolume, type SecretMountArgs, type SecretStore, type StoredSecret } from "./secretStore";

export interface KeyVaultSecretStoreArgs {
  /** Resource group of the vault. */
  readonly resourceGroupName: pulumi.Input<string>;
  /** Name of the vault. */
  readonly vaultName: pulumi.Input<string>;
  /** Entra tenant of the vault. */
  readonly tenantId: pulumi.Input<string>;
  /** Client id of the managed identity that the pods' service account is federated with. */
  readonly clientId: pulumi.Input<string>;
}

/** Keeps secrets in Azure Key Vault; the Secrets Store CSI driver mounts them, so they never pass through etcd. */
export class KeyVaultSecretStore extends pulumi.ComponentResource implements SecretStore {
  constructor(
    name: string,
    private readonly args: KeyVaultSecretStoreArgs,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("groundwork:secrets:KeyVaultSecretStore", name, {}, opts);
    this.registerOutputs();
  }

  generate(name: string, length = 32): StoredSecret {
    const password = new random.RandomPassword(name, { length, special: false }, { parent: this });
    return this.keep(name, password.result);
  }

  keep(name: string, value?: pulumi.Input<string>): StoredSecret {
    if (value === undefined) return { name };
    const { resourceGroupName, vaultName } = this.args;
    const secretValue = pulumi.secret(value);
    new keyvault.Secret(
      name,
      { resourceGroupName, vaultName, secretName: name, properties: { value: secretValue } },
      { parent: this },
    );
    return { name, value: secretValue };
  }

  mount(name: string, { namespace, files }: SecretMountArgs): k8s.types.input.core.v1.Volume {
    const { vaultName, tenantId, clientId } = this.args;
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
      { parent: this },
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
