import { UserAssignedIdentity } from "@pulumi/azure-native/managedidentity/userAssignedIdentity.js";
import { BlobContainer } from "@pulumi/azure-native/storage/blobContainer.js";
import { BlobServiceProperties } from "@pulumi/azure-native/storage/blobServiceProperties.js";
import { EncryptionScope } from "@pulumi/azure-native/storage/encryptionScope.js";
import { ManagementPolicy } from "@pulumi/azure-native/storage/managementPolicy.js";
import { StorageAccount } from "@pulumi/azure-native/storage/storageAccount.js";
import { DefaultAction } from "@pulumi/azure-native/types/enums/storage/index.js";
import * as pulumi from "@pulumi/pulumi";

import type { AzureNetwork } from "./network.ts";
import { grant } from "./roles.ts";
import { withoutHostLength, type AzureAccess, type AzureScope } from "./scope.ts";
import type { Vault } from "./vault.ts";

export interface BackupStorageArgs extends AzureScope, AzureAccess {
  /** Globally unique, 3 to 24 lower-case letters and digits. */
  readonly accountName: pulumi.Input<string>;
  /** Copies: `ZRS` in three zones of the region, `GZRS` in another region, too. */
  readonly redundancy: "ZRS" | "GZRS";
  /** Days during which nobody can change or delete a blob. */
  readonly immutableDays: number;
  /** Whether the policy can no more be shortened or removed, by anyone. Cannot be undone. */
  readonly immutabilityLocked: boolean;
  /** Days after which versions are gone for good that were deleted or overwritten; more than `immutableDays`. */
  readonly retentionDays: number;
  readonly vault: Vault;
  readonly network: AzureNetwork;
}

/** Where backups are kept: encrypted with our key, unchangeable for their first days, closed to the public. */
export class BackupStorage extends pulumi.ComponentResource {
  readonly accountId: pulumi.Output<string>;
  /** URL of the blob service. */
  readonly endpoint: pulumi.Output<string>;
  readonly container: BlobContainer;

  constructor(name: string, args: BackupStorageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:BackupStorage", name, {}, opts);
    const { resourceGroupName, location, subscriptionId, vault } = args;
    const child = { parent: this };
    const kept = { ...child, protect: true, retainOnDelete: true };

    // The account is created encrypted, so who it is must exist and hold the role on the key before it does.
    const identity = new UserAssignedIdentity("backup-storage", { resourceGroupName, location }, kept);
    const mayUseKey = grant(
      "backup-storage-key",
      {
        principalId: identity.principalId,
        role: "keyVaultCryptoServiceEncryptionUser",
        scope: pulumi.interpolate`${vault.id}/keys/${vault.backupKey.name}`,
        subscriptionId,
      },
      { ...kept, dependsOn: [vault.backupKey] },
    );
    const account = new StorageAccount(
      name,
      {
        accountName: args.accountName,
        resourceGroupName,
        location,
        kind: "StorageV2",
        sku: { name: `Standard_${args.redundancy}` },
        allowBlobPublicAccess: false,
        allowSharedKeyAccess: false,
        allowCrossTenantReplication: false,
        enableHttpsTrafficOnly: true,
        minimumTlsVersion: "TLS1_2",
        publicNetworkAccess: args.access === "private" ? "Disabled" : "Enabled",
        networkRuleSet: {
          defaultAction: DefaultAction.Deny,
          // Storage's own lifecycle rules come as a service of Azure, too.
          bypass: "AzureServices",
          ipRules:
            args.access === "private"
              ? []
              : args.allowlist.map((cidr) => ({ iPAddressOrRange: withoutHostLength(cidr) })),
        },
        identity: { type: "UserAssigned", userAssignedIdentities: [identity.id] },
        encryption: {
          keySource: "Microsoft.Keyvault",
          // No version: storage follows the key's rotation.
          keyVaultProperties: { keyName: vault.backupKey.name, keyVaultUri: vault.uri },
          encryptionIdentity: { encryptionUserAssignedIdentity: identity.id },
          requireInfrastructureEncryption: true,
        },
        immutableStorageWithVersioning: {
          enabled: true,
          immutabilityPolicy: {
            immutabilityPeriodSinceCreationInDays: args.immutableDays,
            allowProtectedAppendWrites: false,
            state: args.immutabilityLocked ? "Locked" : "Unlocked",
          },
        },
      },
      // A role holds minutes after it was given; what is waited for beside it lets most of them pass.
      { ...kept, dependsOn: [mayUseKey, vault.privateNames] },
    );
    const ofAccount = { accountName: account.name, resourceGroupName };
    const service = new BlobServiceProperties(
      "backup-blobs",
      {
        ...ofAccount,
        blobServicesName: "default",
        isVersioningEnabled: true,
        deleteRetentionPolicy: { enabled: true, days: 14 },
        containerDeleteRetentionPolicy: { enabled: true, days: 14 },
      },
      kept,
    );
    const scope = new EncryptionScope(
      "backup-scope",
      {
        ...ofAccount,
        encryptionScopeName: "backups",
        source: "Microsoft.KeyVault",
        state: "Enabled",
        keyVaultProperties: { keyUri: pulumi.interpolate`${vault.uri}/keys/${vault.backupKey.name}` },
        requireInfrastructureEncryption: true,
      },
      kept,
    );
    this.container = new BlobContainer(
      "dumps",
      {
        ...ofAccount,
        containerName: "backups",
        publicAccess: "None",
        defaultEncryptionScope: scope.name,
        denyEncryptionScopeOverride: true,
      },
      { ...kept, dependsOn: [service] },
    );
    // Only what the backups' own retention has deleted: it alone knows the newest verified one, which must stay.
    const after = args.retentionDays;
    const lifecycle = new ManagementPolicy(
      "backup-lifecycle",
      {
        ...ofAccount,
        managementPolicyName: "default",
        policy: {
          rules: [
            {
              name: "delete-old-backups",
              type: "Lifecycle",
              enabled: true,
              definition: {
                filters: { blobTypes: ["blockBlob"] },
                actions: {
                  version: { delete: { daysAfterCreationGreaterThan: after } },
                  snapshot: { delete: { daysAfterCreationGreaterThan: after } },
                },
              },
            },
          ],
        },
      },
      { ...child, dependsOn: [service] },
    );
    // Azure refuses an endpoint for an account that something else is being done to.
    args.network.privateEndpoint("blob", account.id, "blob", [service, scope, this.container, lifecycle]);
    this.accountId = account.id;
    this.endpoint = pulumi.interpolate`https://${account.name}.blob.core.windows.net`;
    this.registerOutputs({ endpoint: this.endpoint });
  }
}
