import { Key } from "@pulumi/azure-native/keyvault/key.js";
import { Vault as KeyVault } from "@pulumi/azure-native/keyvault/vault.js";
import type { PrivateDnsZoneGroup } from "@pulumi/azure-native/network/privateDnsZoneGroup.js";
import * as pulumi from "@pulumi/pulumi";

import type { AzureNetwork } from "./network.ts";
import type { AzureAccess, AzureScope } from "./scope.ts";

export interface VaultArgs extends AzureScope, AzureAccess {
  /** Entra tenant whose roles rule the vault. */
  readonly tenantId: string;
  /** Globally unique, 3 to 24 letters, digits and hyphens. */
  readonly vaultName: pulumi.Input<string>;
  readonly network: AzureNetwork;
}

/** The Key Vault: ruled by roles, protected from purging, closed to the public, with the key that backups are encrypted with. */
export class Vault extends pulumi.ComponentResource {
  readonly id: pulumi.Output<string>;
  readonly name: pulumi.Output<string>;
  readonly uri: pulumi.Output<string>;
  /** Key that encrypts the backup storage; versions follow its rotation policy. */
  readonly backupKey: Key;
  /** With it the network's pods and nodes reach the vault. */
  readonly privateNames: PrivateDnsZoneGroup;

  constructor(name: string, args: VaultArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:Vault", name, {}, opts);
    const { resourceGroupName, location, tenantId, access, allowlist } = args;
    const kept = { parent: this, protect: true, retainOnDelete: true };
    const vault = new KeyVault(
      name,
      {
        vaultName: args.vaultName,
        resourceGroupName,
        location,
        properties: {
          tenantId,
          sku: { family: "A", name: "standard" },
          enableRbacAuthorization: true,
          enablePurgeProtection: true,
          enableSoftDelete: true,
          softDeleteRetentionInDays: 90,
          publicNetworkAccess: access === "private" ? "disabled" : "enabled",
          networkAcls: {
            // Storage reads the backup key as a trusted service.
            bypass: "AzureServices",
            defaultAction: "Deny",
            ipRules: access === "private" ? [] : allowlist.map((value) => ({ value })),
          },
        },
      },
      kept,
    );
    this.backupKey = new Key(
      "backup-key",
      {
        resourceGroupName,
        vaultName: vault.name,
        keyName: "backups",
        properties: {
          kty: "RSA",
          keySize: 3072,
          keyOps: ["wrapKey", "unwrapKey"],
          rotationPolicy: {
            lifetimeActions: [{ action: { type: "rotate" }, trigger: { timeAfterCreate: "P365D" } }],
          },
        },
      },
      kept,
    );
    this.privateNames = args.network.privateEndpoint("vault", vault.id);
    this.id = vault.id;
    this.name = vault.name;
    this.uri = pulumi.interpolate`https://${vault.name}.vault.azure.net`;
    this.registerOutputs({ name: this.name });
  }
}
