import { AgentPool } from "@pulumi/azure-native/containerservice/agentPool.js";
import { listManagedClusterUserCredentialsOutput } from "@pulumi/azure-native/containerservice/listManagedClusterUserCredentials.js";
import { MaintenanceConfiguration } from "@pulumi/azure-native/containerservice/maintenanceConfiguration.js";
import { ManagedCluster } from "@pulumi/azure-native/containerservice/managedCluster.js";
import { UserAssignedIdentity } from "@pulumi/azure-native/managedidentity/userAssignedIdentity.js";
import * as pulumi from "@pulumi/pulumi";
import { createHash } from "node:crypto";

import { addressInside } from "./cidr.ts";
import { grant } from "./roles.ts";
import type { AzureScope } from "./scope.ts";

/** One pool of nodes. */
export interface NodePool {
  /** Virtual machine size, such as `Standard_D4s_v5`. */
  readonly vmSize: string;
  readonly minNodes: number;
  readonly maxNodes: number;
}

/** What can be chosen of a cluster; each is a key of `groundwork:azure.aks`. */
export interface AksSettings {
  /** Minor version that runs, such as `1.36`: AKS takes no older one, and patches come by the upgrade channel. */
  readonly kubernetesVersion: string;
  readonly systemPool: NodePool;
  readonly userPool: NodePool;
  /** Availability zones of the nodes. */
  readonly zones: readonly string[];
  /** Object ids of the Entra groups that administer the cluster. */
  readonly adminGroupIds: readonly string[];
  readonly upgradeChannel: "patch" | "stable";
  /** Weekly window for upgrades of the cluster and of the nodes' operating system. */
  readonly maintenance: { readonly day: string; readonly startTime: string; readonly utcOffset: string };
}

export interface AksClusterArgs extends AzureScope, AksSettings {
  readonly tenantId: string;
  /** Public networks that reach the API server, beside the cluster's own address. */
  readonly authorizedNetworks: readonly string[];
  readonly nodesSubnetId: pulumi.Input<string>;
  readonly vnetId: pulumi.Input<string>;
  /** Overlay network of the pods. */
  readonly podCidr: string;
  /** Network of Services. */
  readonly serviceCidr: string;
}

/**
 * Fields of a pool that the autoscaler and the upgrade channel own. None is asked for, since what is asked for once is sent with
 * every change; and what a refresh reads of them is no drift.
 */
const ownedByAzure = ["count", "orchestratorVersion"];

/** AKS: Entra identities only, Cilium enforcing network policies, nodes in three zones, upgrades in a weekly window. */
export class AksCluster extends pulumi.ComponentResource {
  readonly id: pulumi.Output<string>;
  readonly oidcIssuerUrl: pulumi.Output<string>;
  /** Secret; signs in through `kubelogin` as whoever runs Pulumi, since there are no local accounts. */
  readonly kubeconfig: pulumi.Output<string>;
  /** Object id of the identity that nodes pull images with. */
  readonly kubeletPrincipalId: pulumi.Output<string>;
  /** Name of AKS' own resource group: nodes, disks, volumes and load balancer. */
  readonly nodeResourceGroup: pulumi.Output<string>;
  /** Where pods run. */
  readonly userPool: pulumi.Resource;
  /** Object id of the identity that makes load balancers. */
  readonly principalId: pulumi.Output<string>;

  constructor(name: string, args: AksClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:azure:AksCluster", name, {}, opts);
    const { resourceGroupName, location, subscriptionId } = args;
    const child = { parent: this };
    const identity = new UserAssignedIdentity("cluster", { resourceGroupName, location }, child);
    const mayUseNetwork = grant(
      "cluster-network",
      { principalId: identity.principalId, role: "networkContributor", scope: args.vnetId, subscriptionId },
      child,
    );
    const cluster = new ManagedCluster(
      name,
      {
        resourceGroupName,
        location,
        dnsPrefix: name,
        sku: { name: "Base", tier: "Standard" },
        kubernetesVersion: args.kubernetesVersion,
        identity: { type: "UserAssigned", userAssignedIdentities: [identity.id] },
        enableRBAC: true,
        disableLocalAccounts: true,
        aadProfile: {
          managed: true,
          enableAzureRBAC: true,
          tenantID: args.tenantId,
          adminGroupObjectIDs: [...args.adminGroupIds],
        },
        oidcIssuerProfile: { enabled: true },
        securityProfile: {
          workloadIdentity: { enabled: true },
          imageCleaner: { enabled: true, intervalHours: 168 },
        },
        apiServerAccessProfile: { authorizedIPRanges: [...args.authorizedNetworks], disableRunCommand: true },
        networkProfile: {
          networkPlugin: "azure",
          networkPluginMode: "overlay",
          networkDataplane: "cilium",
          networkPolicy: "cilium",
          podCidr: args.podCidr,
          serviceCidr: args.serviceCidr,
          dnsServiceIP: addressInside(args.serviceCidr, 10),
          loadBalancerSku: "standard",
          outboundType: "loadBalancer",
        },
        addonProfiles: {
          azureKeyvaultSecretsProvider: {
            enabled: true,
            config: { enableSecretRotation: "true", rotationPollInterval: "2m" },
          },
          azurepolicy: { enabled: false },
        },
        autoUpgradeProfile: { upgradeChannel: args.upgradeChannel, nodeOSUpgradeChannel: "NodeImage" },
        agentPoolProfiles: [
          {
            name: "system",
            mode: "System",
            ...pool(args, args.systemPool),
            nodeTaints: ["CriticalAddonsOnly=true:NoSchedule"],
          },
        ],
      },
      {
        ...child,
        dependsOn: [mayUseNetwork],
        protect: true,
        ignoreChanges: ownedByAzure.map((field) => `agentPoolProfiles[0].${field}`),
      },
    );
    const ofCluster = { resourceGroupName, resourceName: cluster.name };
    this.userPool = new AgentPool(
      "user",
      { ...ofCluster, agentPoolName: poolName(args.userPool), mode: "User", ...pool(args, args.userPool) },
      // Pods move from the nodes of the old size to those of the new one: with nodes of neither they would all be down.
      { ...child, deleteBeforeReplace: false, ignoreChanges: ownedByAzure },
    );
    for (const configName of ["aksManagedAutoUpgradeSchedule", "aksManagedNodeOSUpgradeSchedule"]) {
      new MaintenanceConfiguration(
        configName,
        {
          ...ofCluster,
          configName,
          maintenanceWindow: {
            schedule: { weekly: { dayOfWeek: args.maintenance.day, intervalWeeks: 1 } },
            startTime: args.maintenance.startTime,
            utcOffset: args.maintenance.utcOffset,
            durationHours: 4,
          },
        },
        child,
      );
    }
    this.id = cluster.id;
    this.principalId = identity.principalId;
    this.nodeResourceGroup = cluster.nodeResourceGroup.apply((name) =>
      given(name, "its nodes' resource group"),
    );
    this.oidcIssuerUrl = cluster.oidcIssuerProfile.apply((profile) =>
      given(profile?.issuerURL, "the OIDC issuer"),
    );
    this.kubeletPrincipalId = cluster.identityProfile.apply((profile) =>
      given(profile?.["kubeletidentity"]?.objectId, "the kubelet's identity"),
    );
    const { kubeconfigs } = listManagedClusterUserCredentialsOutput({ ...ofCluster, format: "exec" }, child);
    this.kubeconfig = pulumi.secret(
      kubeconfigs.apply(([first]) => Buffer.from(given(first?.value, "a kubeconfig"), "base64").toString()),
    );
    this.registerOutputs({ id: this.id });
  }
}

/** Another one for another size, so that both pools can be there at once; AKS takes 12 characters. */
export function poolName({ vmSize }: Pick<NodePool, "vmSize">): string {
  return `user${createHash("sha256").update(vmSize).digest("hex").slice(0, 8)}`;
}

function pool(args: AksClusterArgs, { vmSize, minNodes, maxNodes }: NodePool) {
  return {
    vmSize,
    enableAutoScaling: true,
    minCount: minNodes,
    maxCount: maxNodes,
    availabilityZones: [...args.zones],
    osType: "Linux",
    osSKU: "AzureLinux",
    type: "VirtualMachineScaleSets",
    vnetSubnetID: args.nodesSubnetId,
    maxPods: 110,
    // Network policies let pods ask CoreDNS alone; a resolver on the node would be given to them by a later version.
    localDNSProfile: { mode: "Disabled" },
    upgradeSettings: { maxSurge: "33%", drainTimeoutInMinutes: 30 },
  };
}

function given(value: string | undefined, what: string): string {
  if (value === undefined) throw new Error(`Azure's answer about the cluster does not have ${what}`);
  return value;
}
