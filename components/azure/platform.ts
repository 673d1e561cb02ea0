import { Provider } from "@pulumi/azure-native/provider.js";
import { ResourceGroup } from "@pulumi/azure-native/resources/resourceGroup.js";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import type { BlobStore } from "../blobStore.ts";
import type { ClusterAccess } from "../cluster.ts";
import { PublicAddress, type PublicAddressArgs } from "./address.ts";
import { BackupStorage, type BackupStorageArgs } from "./backupStorage.ts";
import { AksCluster, type AksSettings } from "./cluster.ts";
import { WorkloadIdentities } from "./identities.ts";
import type { ManagedHost } from "./managed.ts";
import { AzureNetwork } from "./network.ts";
import { AzureObservability, type BudgetSettings } from "./observability.ts";
import { Registry } from "./registry.ts";
import { blobRoles, grant } from "./roles.ts";
import { clusterName } from "./schema.ts";
import type { AzureAccess } from "./scope.ts";
import { Vault } from "./vault.ts";

/** Networks that are created, in CIDR notation. */
export interface AzureRanges {
  readonly vnet: string;
  readonly nodes: string;
  readonly endpoints: string;
  readonly pods: string;
  readonly services: string;
}

/** An existing cluster, as far as Azure's resources must know it. */
export interface ExistingCluster {
  /** OIDC issuer, which vouches for its service accounts. */
  readonly oidcIssuerUrl: string;
  /** Subnet of its network for private endpoints. */
  readonly endpointSubnetId: string;
}

export interface AzurePlatformArgs extends AzureAccess, Pick<PublicAddressArgs, "hosts"> {
  readonly subscriptionId: string;
  /** Entra tenant that vault, cluster and identities belong to. */
  readonly tenantId: string;
  /** Region, such as `japaneast`. */
  readonly location: string;
  /** First part of names that must be unique in the world. */
  readonly prefix: string;
  readonly cluster: "create" | "existing";
  readonly existing?: ExistingCluster | undefined;
  readonly ranges: AzureRanges;
  readonly aks: AksSettings;
  readonly registry: { readonly create: boolean; readonly untaggedDays: number };
  readonly backups: Pick<
    BackupStorageArgs,
    "redundancy" | "immutableDays" | "immutabilityLocked" | "retentionDays"
  >;
  readonly logRetentionDays: number;
  readonly budget?: BudgetSettings | undefined;
  readonly dnsZone?: PublicAddressArgs["dnsZone"] | undefined;
}

/** The Azure side of a production stack: network, cluster, registry, vault, backup storage, identities, logs, address. */
export class AzurePlatform extends pulumi.ComponentResource {
  /** Bound to the subscription and tenant; default providers are off. */
  readonly provider: Provider;
  readonly resourceGroupName: pulumi.Output<string>;
  readonly vaultId: pulumi.Output<string>;
  readonly vaultName: pulumi.Output<string>;
  readonly vaultUri: pulumi.Output<string>;
  readonly vaultNames: pulumi.Resource;
  readonly tenantId: string;
  readonly identities: WorkloadIdentities;
  /** Where backups are kept. */
  readonly backups: BlobStore;
  /** What managed services are made with. */
  readonly managed: ManagedHost;
  /** How to reach the cluster that was created; absent when it existed. */
  readonly cluster?: ClusterAccess;
  /** Annotations of the edge's Service; none on an existing cluster, whose identity may not be allowed the address. */
  readonly edgeAnnotations: Readonly<Record<string, pulumi.Input<string>>>;

  constructor(name: string, args: AzurePlatformArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:AzurePlatform", name, {}, opts);
    const { subscriptionId, tenantId, location, prefix, access, allowlist } = args;
    this.provider = new Provider("azure", { subscriptionId, tenantId, location }, { parent: this });
    const child = { parent: this, provider: this.provider };

    const group = new ResourceGroup(name, { location }, { ...child, protect: true, retainOnDelete: true });
    const resourceGroupName = group.name;
    const scope = { resourceGroupName, location, subscriptionId };
    // A deleted vault keeps its name for its retention period, so the name must be new each time.
    const suffix = new random.RandomString(
      "vault-suffix",
      { length: 8, special: false, upper: false },
      { parent: this },
    ).result;

    const created = args.cluster === "create";
    const network = new AzureNetwork(
      "azure-network",
      { ...scope, place: args.existing ?? args.ranges },
      child,
    );
    const vault = new Vault(
      "vault",
      { ...scope, access, allowlist, tenantId, network, vaultName: pulumi.interpolate`${prefix}-${suffix}` },
      child,
    );
    const accountName = pulumi.interpolate`${prefix}${suffix}`;
    const storage = new BackupStorage(
      "backups",
      { ...scope, access, allowlist, ...args.backups, vault, network, accountName },
      child,
    );
    const logs = new AzureObservability(
      "azure-observability",
      { ...scope, logRetentionDays: args.logRetentionDays },
      child,
    );
    logs.log("vault", vault.id, { groups: ["audit", "allLogs"] });
    logs.log("backups", pulumi.interpolate`${storage.accountId}/blobServices/default`, {
      categories: ["StorageRead", "StorageWrite", "StorageDelete"],
    });
    const registry = args.registry.create
      ? new Registry(
          "registry",
          {
            ...scope,
            access,
            allowlist,
            network,
            registryName: accountName,
            untaggedDays: args.registry.untaggedDays,
          },
          child,
        )
      : undefined;
    if (registry)
      logs.log("registry", registry.id, {
        categories: ["ContainerRegistryRepositoryEvents", "ContainerRegistryLoginEvents"],
      });

    const address = created
      ? new PublicAddress(
          "edge-address",
          { ...scope, hosts: args.hosts, ...(args.dnsZone && { dnsZone: args.dnsZone }) },
          child,
        )
      : undefined;
    const cluster =
      network.nodesSubnetId && network.vnetId
        ? new AksCluster(
            clusterName(prefix, pulumi.getStack()),
            {
              ...scope,
              ...args.aks,
              tenantId,
              authorizedNetworks: allowlist,
              nodesSubnetId: network.nodesSubnetId,
              vnetId: network.vnetId,
              podCidr: args.ranges.pods,
              serviceCidr: args.ranges.services,
            },
            child,
          )
        : undefined;
    if (cluster) {
      logs.log("cluster", cluster.id, { categories: ["kube-audit-admin", "guard", "kube-apiserver"] });
      const mayPull =
        registry &&
        grant(
          "cluster-registry",
          { principalId: cluster.kubeletPrincipalId, role: "acrPull", scope: registry.id, subscriptionId },
          child,
        );
      const mayUseAddress =
        address &&
        grant(
          "cluster-address",
          {
            principalId: cluster.principalId,
            role: "networkContributor",
            scope: address.id,
            subscriptionId,
          },
          child,
        );
      this.cluster = {
        kubeconfig: cluster.kubeconfig,
        clusterIdentifier: cluster.id,
        // The first pods find where to run, what they pull from and are reached by.
        dependsOn: [cluster.userPool, mayPull, mayUseAddress, registry?.privateNames].filter(
          (one) => one !== undefined,
        ),
      };
    }
    if (args.budget)
      logs.watchCost(args.budget, [resourceGroupName, ...(cluster ? [cluster.nodeResourceGroup] : [])]);
    this.identities = new WorkloadIdentities(
      "identities",
      { ...scope, oidcIssuerUrl: cluster?.oidcIssuerUrl ?? args.existing?.oidcIssuerUrl ?? "" },
      child,
    );

    this.managed = {
      ...scope,
      provider: this.provider,
      network,
      logs,
      uniqueName: (part) => pulumi.interpolate`${prefix}-${part}-${suffix}`,
    };
    this.resourceGroupName = resourceGroupName;
    this.vaultId = vault.id;
    this.vaultName = vault.name;
    this.vaultUri = vault.uri;
    this.vaultNames = vault.privateNames;
    this.tenantId = tenantId;
    this.edgeAnnotations = address?.serviceAnnotations ?? {};
    this.backups = {
      endpoint: storage.endpoint,
      container: storage.container.name,
      immutableDays: args.backups.immutableDays,
      access: {
        kind: "workloadIdentity",
        clientId: (workload, namespace) => {
          const role = blobRoles[workload];
          if (!role) throw new Error(`workload "${workload}" has no role on the backups; see azure/roles.ts`);
          const clientId = this.identities.clientId(workload, namespace);
          this.identities.grant(workload, role, "backups", storage.container.id);
          return clientId;
        },
      },
    };
    this.registerOutputs({ resourceGroupName, vaultName: this.vaultName });
  }
}
