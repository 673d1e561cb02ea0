import { z } from "zod";

const cidr = z.cidrv4("must be an IPv4 network such as 10.64.0.0/16");

const pool = (vmSize: string, minNodes: number, maxNodes: number) =>
  z
    .strictObject({
      vmSize: z
        .string()
        .regex(/^Standard_[A-Z]+\d+[a-z]*(_v\d+)?$/, "must be a VM size such as Standard_D4s_v5")
        .default(vmSize)
        .describe("size of the nodes"),
      minNodes: z.int().min(1).max(1_000).default(minNodes).describe("fewest nodes"),
      maxNodes: z
        .int()
        .min(1)
        .max(1_000)
        .default(maxNodes)
        .describe("most nodes that the autoscaler adds up to"),
    })
    .prefault({});

/** `groundwork:azure`: what a production stack makes in Azure. */
export const azureSchema = z.strictObject({
  subscriptionId: z.guid().describe("subscription; the stack touches no other"),
  tenantId: z.guid().describe("Entra tenant of the subscription"),
  location: z
    .string()
    .regex(/^[a-z]+[a-z0-9]*$/, "must be a region such as japaneast")
    .describe("region of everything that is made"),
  prefix: z
    .string()
    .regex(/^[a-z][a-z0-9]{2,14}$/, "must be 3 to 15 lower-case letters and digits, a letter first")
    .default("groundwork")
    .describe("first part of names that must be unique in the world"),
  cluster: z
    .enum(["create", "existing"])
    .default("existing")
    .describe("create makes an AKS cluster and its network; existing uses cluster.context"),
  existing: z
    .strictObject({
      oidcIssuerUrl: z
        .url({ protocol: /^https$/ })
        .describe("OIDC issuer of the cluster, for workload identity"),
      endpointSubnetId: z
        // Storage lets nobody of its own region in by address.
        .string(
          "missing; the cluster reaches vault and storage by private endpoints, whatever azure.access is; name the subnet for them",
        )
        .regex(
          /^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.Network\/virtualNetworks\/[^/]+\/subnets\/[^/]+$/i,
          "must be the resource id of a subnet (/subscriptions/…/subnets/name)",
        )
        .describe(
          "subnet of the cluster's network for private endpoints, by which it reaches vault and storage",
        ),
    })
    .optional()
    .describe("the existing cluster"),
  access: z
    .enum(["private", "allowlist"])
    .default("private")
    .describe(
      "who reaches vault, storage and registry from outside: nobody, or allowlist; a created cluster needs allowlist",
    ),
  allowlist: z.array(cidr).max(100).default([]).describe("public networks that may, with access: allowlist"),
  ranges: z
    .strictObject({
      vnet: cidr.default("10.64.0.0/16").describe("virtual network"),
      nodes: cidr.default("10.64.0.0/20").describe("subnet of the nodes"),
      endpoints: cidr.default("10.64.16.0/24").describe("subnet of the private endpoints"),
      pods: cidr.default("10.128.0.0/14").describe("overlay of the pods"),
      services: cidr.default("10.96.0.0/16").describe("Services of the cluster"),
    })
    .prefault({})
    .describe("networks of a created cluster"),
  aks: z
    .strictObject({
      kubernetesVersion: z
        .string()
        .regex(/^1\.\d{2}$/, "must be a minor version such as 1.36; patches come by themselves")
        .default("1.36")
        .describe("minor version: a new cluster's first, then the one that `az aks upgrade` has led to"),
      systemPool: pool("Standard_D2s_v5", 3, 5),
      userPool: pool("Standard_D4s_v5", 3, 9),
      zones: z
        .array(z.enum(["1", "2", "3"]))
        .min(1)
        .default(["1", "2", "3"])
        .describe("availability zones of the nodes"),
      adminGroupIds: z.array(z.guid()).default([]).describe("Entra groups that administer the cluster"),
      upgradeChannel: z
        .enum(["patch", "stable"])
        .default("patch")
        .describe("how far upgrades go by themselves"),
      maintenance: z
        .strictObject({
          day: z
            .enum(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"])
            .default("Sunday")
            .describe("day of the week"),
          startTime: z
            .string()
            .regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time such as 02:00")
            .default("02:00")
            .describe("when they begin"),
          utcOffset: z
            .string()
            .regex(/^[+-](0\d|1[0-4]):[0-5]\d$/, "must be an offset such as +09:00")
            .default("+09:00")
            .describe("time zone of startTime"),
        })
        .prefault({})
        .describe("weekly four hours in which upgrades happen"),
    })
    .prefault({})
    .describe("a created cluster"),
  registry: z
    .strictObject({
      create: z.boolean().default(false).describe("whether to make a container registry"),
      untaggedDays: z.int().min(1).max(365).default(30).describe("days that untagged manifests are kept"),
    })
    .prefault({}),
  backups: z
    .strictObject({
      redundancy: z
        .enum(["ZRS", "GZRS"])
        .default("ZRS")
        .describe("copies: in three zones, or in a second region, too"),
      immutableDays: z
        .int()
        .min(30)
        .max(146_000)
        .default(30)
        .describe("days in which no blob can be changed"),
      immutabilityLocked: z
        .boolean()
        .default(false)
        .describe("lock the policy for good: it can then only be lengthened"),
      retentionDays: z
        .int()
        .min(31)
        .max(146_000)
        .default(35)
        .describe("days after which deleted versions are gone for good"),
    })
    .prefault({}),
  logRetentionDays: z.int().min(30).max(730).default(90).describe("days that Log Analytics keeps logs"),
  budget: z
    .strictObject({
      monthlyAmount: z.number().positive().describe("in the subscription's currency"),
      from: z
        .string()
        // Pulumi reads a date without quotes as a time, and hands it on as one.
        .regex(
          /^\d{4}-(0[1-9]|1[0-2])-01( 00:00:00 \+0000 UTC)?$/,
          "must be the first of a month, such as 2027-01-01",
        )
        .describe("month that the budget starts in; Azure makes none with a past one"),
      emails: z.array(z.email()).min(1).max(50).describe("who is told at 50, 80 and 100 percent"),
    })
    .optional()
    .describe("alert on cost"),
  dnsZone: z
    .strictObject({
      name: z.hostname().describe("existing Azure DNS zone that edge.hosts are under"),
      resourceGroup: z.string().min(1).max(90).describe("its resource group"),
    })
    .optional()
    .describe("where the A records of edge.hosts are made, with cluster: create"),
});

export type AzureValues = z.output<typeof azureSchema>;

/** Name of a stack's cluster, and the prefix of its DNS name, by which it is found among others. */
export function clusterName(prefix: string, stack: string): string {
  return `${prefix}-${stack}`;
}
