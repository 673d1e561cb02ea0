import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { azureProblems } from "../../components/azure/checks.ts";
import { addressInside, cidrRange, overlap } from "../../components/azure/cidr.ts";
import { azureSchema } from "../../components/azure/schema.ts";

const guid = "00000000-0000-0000-0000-000000000000";
const base = {
  subscriptionId: guid,
  tenantId: guid,
  location: "japaneast",
  cluster: "create",
  access: "allowlist",
  allowlist: ["203.0.113.7/32"],
};
const problems = (change: object, hosts: readonly string[] = ["api.example.com"], context?: string) =>
  azureProblems(azureSchema.parse({ ...base, ...change }), hosts, context).join("\n");

describe("the checks of Azure's settings", () => {
  test("pass a cluster of the stack's own with every other default", () => {
    expect(problems({})).toBe("");
  });

  test("refuse a cluster of the stack's own that the same up could not reach, and say what to set", () => {
    const access = { access: undefined, allowlist: undefined };
    expect(problems(access)).toMatch(
      /^groundwork:azure\.access: private; .*access: allowlist.*azure\.allowlist/,
    );
    const existing = {
      oidcIssuerUrl: "https://issuer.example.com",
      endpointSubnetId:
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/endpoints",
    };
    expect(problems({ ...access, cluster: "existing", existing })).toBe("");
  });

  test.each<[string, object, string]>([
    [
      "services inside the network",
      { ranges: { services: "10.64.128.0/20" } },
      "ranges.services: must not overlap vnet",
    ],
    ["pods over services", { ranges: { pods: "10.96.0.0/14" } }, "ranges.services: must not overlap pods"],
    [
      "subnets over each other",
      { ranges: { endpoints: "10.64.1.0/24" } },
      "ranges.endpoints: must not overlap nodes",
    ],
    [
      "a subnet outside",
      { ranges: { nodes: "10.65.0.0/20" } },
      "ranges.nodes: must lie inside vnet 10.64.0.0/16",
    ],
    [
      "a network with host bits",
      { ranges: { nodes: "10.64.0.9/20" } },
      'ranges.nodes: must start at its first address (found "10.64.0.9/20")',
    ],
    [
      "a subnet too small for its nodes",
      { ranges: { nodes: "10.64.0.0/28" } },
      "16 addresses; 14 nodes and their upgrades need 24",
    ],
    ["pods without room", { ranges: { pods: "10.128.0.0/22" } }, "room for 4 nodes"],
    ["services beyond /12", { ranges: { services: "16.0.0.0/8" } }, "services: must be /12 or smaller"],
    ["an allowlist with nobody", { allowlist: [] }, "azure.allowlist: missing"],
    [
      "an allowlist that has no effect",
      { cluster: "existing", access: "private" },
      "no effect with azure.access: private",
    ],
    ["everyone", { allowlist: ["0.0.0.0/0"] }, "would let everyone in"],
    [
      "a private network in the allowlist",
      { allowlist: ["10.1.0.0/16"] },
      "must be a public network, 10.0.0.0/8 is not",
    ],
    ["a /31, which storage refuses", { allowlist: ["203.0.113.0/31"] }, "list two /32"],
    [
      "deletion before it is allowed",
      { backups: { immutableDays: 60, retentionDays: 60 } },
      "retentionDays: 60 must be more than immutableDays",
    ],
    [
      "more nodes at least than at most",
      { aks: { userPool: { minNodes: 9, maxNodes: 3 } } },
      "aks.userPool.minNodes: 9 is more",
    ],
    ["an existing cluster that is not named", { cluster: "existing" }, "azure.existing: missing"],
    [
      "a host outside the zone",
      { dnsZone: { name: "example.org", resourceGroup: "dns" } },
      "api.example.com is not under",
    ],
  ])("refuse %s", (_, change, message) => {
    expect(problems(change)).toContain(message);
  });

  test("refuse a context beside a cluster of the stack's own", () => {
    expect(problems({}, [], "other")).toContain("cluster.context: the stack makes its own cluster");
  });

  test.each([
    [{ prefix: "x".repeat(16) }, "3 to 15"],
    [{ prefix: "Ground-Work" }, "lower-case"],
    [{ location: "Japan East" }, "must be a region such as japaneast"],
    [{ aks: { kubernetesVersion: "1.36.1" } }, "must be a minor version"],
    [{ aks: { userPool: { vmSize: "large" } } }, "must be a VM size"],
    [{ backups: { immutableDays: 7 } }, ">=30"],
    // By address, storage lets nobody of its own region in: the cluster's nodes need the endpoint in any case.
    [{ existing: { oidcIssuerUrl: "https://issuer.example.com" } }, "missing; the cluster reaches vault"],
    [{ budget: { monthlyAmount: 1, from: "2027-01-02", emails: ["a@example.com"] } }, "first of a month"],
  ])("name the form of %o", (change, message) => {
    expect(azureSchema.safeParse({ ...base, ...change }).error?.message).toContain(message);
  });

  test("ranges overlap exactly when they share an address", () => {
    const network = fc
      .tuple(fc.integer({ min: 0, max: 2 ** 24 - 1 }), fc.integer({ min: 24, max: 32 }))
      .map(
        ([block, length]) =>
          `${[16, 8, 0].map((shift) => Math.floor(block / 2 ** shift) % 4).join(".")}.0/${length}`,
      );
    fc.assert(
      fc.property(network, network, (one, other) => {
        const [a, b] = [cidrRange(one), cidrRange(other)];
        if (!a || !b) throw new Error("must be networks");
        expect(overlap(a, b)).toBe(one.split("/")[0] === other.split("/")[0]);
      }),
    );
    expect(addressInside("10.96.255.0/16".replace("255", "0"), 10)).toBe("10.96.0.10");
    expect(cidrRange("256.0.0.0/8")).toBeUndefined();
  });
});
