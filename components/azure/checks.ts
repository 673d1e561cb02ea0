import { cidrRange, contains, overlap, type Range } from "./cidr.ts";
import type { AzureValues } from "./schema.ts";

/** What Azure would refuse, or what contradicts another value; each names its key and what it may be. */
export function azureProblems(azure: AzureValues, hosts: readonly string[], context?: string): string[] {
  return [
    ...clusterProblems(azure, context),
    ...accessProblems(azure),
    ...(azure.cluster === "create" ? rangeProblems(azure) : []),
    ...poolProblems(azure),
    ...dnsProblems(azure, hosts),
    ...(azure.backups.retentionDays > azure.backups.immutableDays
      ? []
      : [
          `groundwork:azure.backups.retentionDays: ${azure.backups.retentionDays} must be more than immutableDays ` +
            `(${azure.backups.immutableDays}); what cannot be changed yet cannot be deleted`,
        ]),
  ];
}

function clusterProblems({ cluster, existing, access }: AzureValues, context?: string): string[] {
  if (cluster === "create") {
    return [
      ...(access === "private"
        ? [
            "groundwork:azure.access: private; only the network that an up makes would reach the API server, and the same " +
              "up has to; set access: allowlist, and in azure.allowlist the public network of whoever runs Pulumi",
          ]
        : []),
      ...(existing ? ["groundwork:azure.existing: only for azure.cluster: existing; remove it"] : []),
      ...(context === undefined
        ? []
        : [
            `groundwork:cluster.context: the stack makes its own cluster (azure.cluster: create); remove it (found "${context}")`,
          ]),
    ];
  }
  return existing
    ? []
    : [
        "groundwork:azure.existing: missing; azure.cluster: existing needs its oidcIssuerUrl and endpointSubnetId",
      ];
}

/** Networks that are not routed on the internet, which no firewall of Azure accepts. */
const notPublic = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16"];

function accessProblems({ access, allowlist, cluster }: AzureValues): string[] {
  const key = "groundwork:azure.allowlist";
  if (access === "private")
    return cluster === "existing" && allowlist.length > 0
      ? [`${key}: has no effect with azure.access: private; remove it`]
      : [];
  if (allowlist.length === 0) return [`${key}: missing; azure.access: allowlist needs at least one network`];
  return allowlist.flatMap((cidr, index) => {
    const range = cidrRange(cidr);
    const found = `(found "${cidr}")`;
    if (!range) return [`${key}.${index}: must start at its first address ${found}`];
    if (cidr.endsWith("/31")) return [`${key}.${index}: storage refuses /31; list two /32 ${found}`];
    if (cidr.endsWith("/0")) return [`${key}.${index}: would let everyone in ${found}`];
    const reserved = notPublic.find((one) => overlap(range, cidrRange(one) ?? range));
    return reserved === undefined
      ? []
      : [`${key}.${index}: must be a public network, ${reserved} is not ${found}`];
  });
}

/** Addresses of every subnet that Azure keeps for itself. */
const reservedAddresses = 5;

function rangeProblems({ ranges, aks, allowlist }: AzureValues): string[] {
  const key = "groundwork:azure.ranges";
  const parsed: Record<string, Range> = {};
  const problems: string[] = [];
  for (const [name, cidr] of Object.entries(ranges)) {
    const range = cidrRange(cidr);
    if (range) parsed[name] = range;
    else problems.push(`${key}.${name}: must start at its first address (found "${cidr}")`);
  }
  const { vnet, nodes, endpoints, pods, services } = parsed;
  if (!vnet || !nodes || !endpoints || !pods || !services) return problems;
  for (const [name, subnet] of Object.entries({ nodes, endpoints })) {
    if (!contains(vnet, subnet)) problems.push(`${key}.${name}: must lie inside vnet ${ranges.vnet}`);
  }
  const apart: [string, Range][] = [
    ["vnet", vnet],
    ["pods", pods],
    ["services", services],
    ...allowlist.flatMap((cidr): [string, Range][] => {
      const range = cidrRange(cidr);
      return range ? [[`allowlist ${cidr}`, range]] : [];
    }),
  ];
  const pairs: [[string, Range], [string, Range]][] = [
    [
      ["endpoints", endpoints],
      ["nodes", nodes],
    ],
  ];
  pairs.push(
    ...apart.flatMap((one, index) =>
      apart.slice(index + 1).map((other): [[string, Range], [string, Range]] => [other, one]),
    ),
  );
  for (const [[name, range], [other, otherRange]] of pairs) {
    if (overlap(range, otherRange)) problems.push(`${key}.${name}: must not overlap ${other}`);
  }
  const size = (range: Range) => range.last - range.first + 1;
  if (size(services) > 2 ** 20) problems.push(`${key}.services: must be /12 or smaller`);
  // A third more while nodes are replaced.
  const most = aks.systemPool.maxNodes + aks.userPool.maxNodes;
  const needed = Math.ceil((most * 4) / 3) + reservedAddresses;
  if (size(nodes) < needed) {
    problems.push(
      `${key}.nodes: ${ranges.nodes} has ${size(nodes)} addresses; ${most} nodes and their upgrades need ${needed}`,
    );
  }
  // In an overlay each node takes a /24 of the pods' network.
  if (size(pods) < Math.ceil((most * 4) / 3) * 256) {
    problems.push(
      `${key}.pods: ${ranges.pods} has room for ${Math.floor(size(pods) / 256)} nodes with 256 addresses each; ` +
        `${most} and their upgrades need ${Math.ceil((most * 4) / 3)}`,
    );
  }
  return problems;
}

function poolProblems({ aks }: AzureValues): string[] {
  return (["systemPool", "userPool"] as const).flatMap((name) =>
    aks[name].minNodes <= aks[name].maxNodes
      ? []
      : [
          `groundwork:azure.aks.${name}.minNodes: ${aks[name].minNodes} is more than maxNodes (${aks[name].maxNodes})`,
        ],
  );
}

function dnsProblems({ dnsZone, cluster }: AzureValues, hosts: readonly string[]): string[] {
  if (!dnsZone) return [];
  if (cluster === "existing")
    return ["groundwork:azure.dnsZone: only for azure.cluster: create, whose address the records lead to"];
  return hosts
    .filter((host) => host !== dnsZone.name && !host.endsWith(`.${dnsZone.name}`))
    .map((host) => `groundwork:edge.hosts: ${host} is not under azure.dnsZone.name ${dnsZone.name}`);
}
