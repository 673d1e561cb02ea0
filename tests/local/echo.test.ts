/** What the stand-in for Azure's provider would replace, on which the engine's tests of what an upgrade loses stand. */
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../local/plugins/common/wire.ts";
import { autoNamed, withAzureName } from "../../local/plugins/echo/azure.ts";
import { resourceDiff } from "../../local/plugins/echo/diff.ts";

const network: JsonObject = {
  networkPlugin: "azure",
  networkPluginMode: "overlay",
  networkDataplane: "cilium",
  networkPolicy: "cilium",
  podCidr: "10.128.0.0/14",
  serviceCidr: "10.96.0.0/16",
  dnsServiceIP: "10.96.0.10",
  outboundType: "loadBalancer",
};

const withNetwork = (more: JsonObject): JsonObject => ({ networkProfile: { ...network, ...more } });

const cluster = "containerservice:ManagedCluster";

function diffOf(type: string, oldInputs: JsonObject, news: JsonObject) {
  return resourceDiff({ type: `azure-native:${type}`, oldInputs, news, ignoreChanges: [] });
}

describe("the stand-in for Azure", () => {
  test.each(Object.keys(network))("replaces a cluster whose networkProfile.%s changes or goes", (field) => {
    const before = { dnsPrefix: "prod", networkProfile: network };
    const { [field]: _, ...without } = network;
    for (const networkProfile of [{ ...network, [field]: "another" }, without]) {
      const { replaces, detailed } = diffOf(cluster, before, { ...before, networkProfile });
      expect(replaces).toEqual([`networkProfile.${field}`]);
      expect(detailed.get(`networkProfile.${field}`)).toBe("UPDATE_REPLACE");
    }
  });

  test.each<[string, string, JsonObject, JsonObject]>([
    [cluster, "dnsPrefix", { dnsPrefix: "prod" }, { dnsPrefix: "live" }],
    [cluster, "nodeResourceGroup", {}, { nodeResourceGroup: "nodes" }],
    ["network:PublicIPAddress", "sku", { sku: { name: "Basic" } }, { sku: { name: "Standard" } }],
    ["network:PublicIPAddress", "publicIPAddressVersion", {}, { publicIPAddressVersion: "IPv6" }],
    ["network:PrivateEndpoint", "subnet", { subnet: { id: "one" } }, { subnet: { id: "two" } }],
    ["containerservice:AgentPool", "vmSize", { vmSize: "D2s" }, { vmSize: "D4s" }],
    ["authorization:RoleAssignment", "principalId", { principalId: "one" }, { principalId: "two" }],
    ["authorization:RoleAssignment", "scope", { scope: "/one" }, { scope: "/two" }],
  ])("replaces a %s whose %s changes", (type, key, before, after) => {
    expect(diffOf(type, { tags: {}, ...before }, { tags: {}, ...after }).replaces).toEqual([key]);
  });

  test.each<[string, string, JsonObject, JsonObject]>([
    // What `az aks update` changes: https://github.com/pulumi/pulumi-azure-native/issues/4756.
    ["a cluster's load balancer", cluster, withNetwork({}), withNetwork({ loadBalancerSku: "standard" })],
    ["what a cluster sees of its network", cluster, withNetwork({}), withNetwork({ advancedNetworking: {} })],
    ["a cluster's version", cluster, { kubernetesVersion: "1.35" }, { kubernetesVersion: "1.36" }],
    ["a pool's size", "containerservice:AgentPool", { maxCount: 5 }, { maxCount: 20 }],
    ["an address's zones", "network:PublicIPAddress", {}, { zones: ["1", "2", "3"] }],
    ["a grant's role", "authorization:RoleAssignment", { roleDefinitionId: 1 }, { roleDefinitionId: 2 }],
  ])("changes %s in place", (_, type, before, after) => {
    const { changes, replaces, detailed } = diffOf(type, before, after);
    expect({ changes, replaces, kinds: [...detailed.values()] }).toEqual({
      changes: true,
      replaces: [],
      kinds: ["UPDATE"],
    });
  });

  test("deletes first what has a name of its own, and makes another first where it has made the name up", () => {
    const change = (made: JsonObject): boolean =>
      diffOf("network:PublicIPAddress", { ...made, sku: 1 }, { ...made, sku: 2 }).deleteBeforeReplace;
    expect([change({}), change({ __createBeforeDelete: true })]).toEqual([true, false]);
  });

  test("makes names up for what stands by itself, and gives a part of something the name that the program has", () => {
    const named = (type: string, olds: JsonObject = {}) =>
      withAzureName({}, { urn: "", type: `azure-native:${type}`, name: "mine", olds, news: {}, randomSeed });
    const randomSeed = Buffer.from("seed");
    expect(named(cluster)).toEqual({
      resourceName: expect.stringMatching(/^mine[0-9a-f]{8}$/) as string,
      [autoNamed]: true,
    });
    expect(named("containerservice:AgentPool")).toEqual({ agentPoolName: "mine" });
    expect(named(cluster, { resourceName: "before", [autoNamed]: true })).toEqual({
      resourceName: "before",
      [autoNamed]: true,
    });
    expect(named(cluster, { resourceName: "given" })).toEqual({ resourceName: "given" });
  });

  test("replaces nothing of another provider's, and nothing for what is ignored", () => {
    const request = { type: "docker:index/image:Image", oldInputs: { sku: 1 }, news: { sku: 2 } };
    expect(resourceDiff({ ...request, ignoreChanges: [] })).toMatchObject({ changes: true, replaces: [] });
    const address = { ...request, type: "azure-native:network:PublicIPAddress" };
    expect(resourceDiff({ ...address, ignoreChanges: ["sku"] })).toMatchObject({ changes: false });
  });
});
