import { Provider } from "@pulumi/azure-native/provider";
import * as authorization from "@pulumi/azure-native/authorization";
import * as keyvault from "@pulumi/azure-native/keyvault";
import * as managedidentity from "@pulumi/azure-native/managedidentity";
import * as resources from "@pulumi/azure-native/resources";
import * as storage from "@pulumi/azure-native/storage";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import type { BlobStore } from "../blobStore";
import { serviceAccounts } from "../namespaces";

export interface AzurePlatformArgs {
  /** Region, such as `japaneast`. */
  readonly location: string;
  /** Entra tenant that vault and identities belong to. */
  readonly tenantId: string;
  /** OIDC issuer of the cluster, which vouches for its service accounts. */
  readonly oidcIssuerUrl: string;
}

/** Fixed ids of Azure's built-in roles. */
const builtInRoles = {
  keyVaultSecretsUser: "4633458b-17de-408a-b874-0445c86b69e6",
  storageBlobDataContributor: "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
} as const;

/** The Azure side of a production stack: vault, backup storage, and the identity that pods reach both with. */
export class AzurePlatform extends pulumi.ComponentResource {
  /** Bound to the region and tenant; default providers are off. */
  readonly provider: Provider;
  readonly resourceGroupName: pulumi.Output<string>;
  readonly vaultName: pulumi.Output<string>;
  readonly tenantId: string;
  readonly clientId: pulumi.Output<string>;
  /** Where backups are kept. */
  readonly backups: BlobStore;

  constructor(name: string, args: AzurePlatformArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:AzurePlatform", name, {}, opts);
    const { location, tenantId } = args;
    this.provider = new Provider("azure", { location, tenantId }, { parent: this });
    const child = { parent: this, provider: this.provider };
    const kept = { ...child, protect: true, retainOnDelete: true };

    const group = new resources.ResourceGroup(name, { location }, kept);
    const resourceGroupName = group.name;
    // A deleted vault keeps its name for its retention period, so the name must be new each time.
    const suffix = new random.RandomString(
      "vault-suffix",
      { length: 8, special: false, upper: false },
      child,
    );
    const vault = new keyvault.Vault(
      "vault",
      {
        vaultName: pulumi.interpolate`groundwork-${suffix.result}`,
        resourceGroupName,
        location,
        properties: {
          tenantId,
          sku: { family: "A", name: "standard" },
          enableRbacAuthorization: true,
          enablePurgeProtection: true,
          enableSoftDelete: true,
          softDeleteRetentionInDays: 90,
          networkAcls: { bypass: "AzureServices", defaultAction: "Deny" },
        },
      },
      kept,
    );
    const account = new storage.StorageAccount(
      "backups",
      {
        accountName: pulumi.interpolate`groundwork${suffix.result}`,
        resourceGroupName,
        location,
        kind: "StorageV2",
        sku: { name: "Standard_ZRS" },
        allowBlobPublicAccess: false,
        allowSharedKeyAccess: false,
        enableHttpsTrafficOnly: true,
        minimumTlsVersion: "TLS1_2",
      },
      kept,
    );
    const container = new storage.BlobContainer(
      "dumps",
      { accountName: account.name, resourceGroupName, containerName: "backups", publicAccess: "None" },
      kept,
    );
    const identity = new managedidentity.UserAssignedIdentity(
      "workloads",
      { resourceGroupName, location },
      child,
    );
    // Azure refuses concurrent writes to the credentials of one identity, so each waits for the one before.
    serviceAccounts.reduce<pulumi.Resource>(
      (previous, serviceAccount) =>
        new managedidentity.FederatedIdentityCredential(
          serviceAccount.replace(":", "-"),
          {
            resourceGroupName,
            resourceName: identity.name,
            federatedIdentityCredentialResourceName: serviceAccount.replace(":", "-"),
            issuer: args.oidcIssuerUrl,
            subject: `system:serviceaccount:${serviceAccount}`,
            audiences: ["api://AzureADTokenExchange"],
          },
          { ...child, dependsOn: [previous] },
        ),
      identity,
    );
    const grant = (role: keyof typeof builtInRoles, scope: pulumi.Output<string>) =>
      new authorization.RoleAssignment(
        role,
        {
          principalId: identity.principalId,
          principalType: "ServicePrincipal",
          roleDefinitionId: `/providers/Microsoft.Authorization/roleDefinitions/${builtInRoles[role]}`,
          scope,
        },
        child,
      );
    grant("keyVaultSecretsUser", vault.id);
    grant("storageBlobDataContributor", account.id);

    this.resourceGroupName = resourceGroupName;
    this.vaultName = vault.name;
    this.tenantId = tenantId;
    this.clientId = identity.clientId;
    this.backups = {
      endpoint: pulumi.interpolate`https://${account.name}.blob.core.windows.net`,
      container: container.name,
      access: { kind: "workloadIdentity", clientId: identity.clientId },
    };
    this.registerOutputs({ resourceGroupName, vaultName: this.vaultName });
  }
}
