import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";

import { relativeName } from "../../components/azure/address.ts";
import { AksCluster, poolName } from "../../components/azure/cluster.ts";
import { builtInRoles, fixedGuid } from "../../components/azure/roles.ts";
import { azureSchema, clusterName } from "../../components/azure/schema.ts";
import { asProgramSees, missingSecrets } from "../../local/stackValues.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

type Values = Record<string, unknown>;

/** The whole program with the committed production stack and other Azure settings. */
async function prod(change: Values, without: readonly string[] = [], late?: string): Promise<Registered[]> {
  const { config } = parse(readFileSync(join(import.meta.dirname, "../../Pulumi.prod.yaml"), "utf8")) as {
    config: Values;
  };
  const azure = { ...(config["groundwork:azure"] as Values), ...change };
  const kept = Object.entries({ ...config, "groundwork:azure": azure }).filter(
    ([key]) => !without.includes(key),
  );
  const settings = asProgramSees(Object.fromEntries(kept));
  const secrets = await missingSecrets(settings);
  vi.resetModules();
  vi.stubEnv("PULUMI_CONFIG_SECRET_KEYS", JSON.stringify(Object.keys(secrets)));
  return register(
    () => {
      pulumi.runtime.setAllConfig({ ...settings, ...secrets });
      return import("../../index.ts");
    },
    (_, name) => name === late,
  );
}

const created: Values = {
  cluster: "create",
  existing: undefined,
  access: "allowlist",
  allowlist: ["203.0.113.7/32"],
  registry: { create: true },
  dnsZone: { name: "example.com", resourceGroup: "dns" },
  budget: { monthlyAmount: 1000, from: "2027-01-01", emails: ["money@example.com"] },
};

/** Who holds which role on what, as `identity role resource`. */
function grants(resources: readonly Registered[]): string[] {
  const names = new Map<string, string>(Object.entries(builtInRoles).map(([name, id]) => [id, name]));
  return ofType(resources, ":RoleAssignment")
    .map((assignment) => {
      const role = names.get(String(at(assignment, "roleDefinitionId")).split("/").at(-1) ?? "") ?? "unknown";
      const who = String(at(assignment, "principalId")).replace(/^principal-of-(workload-)?/, "");
      return `${who} ${role} ${String(at(assignment, "scope")).replace(/^vault-id\//, "")}`;
    })
    .sort();
}

describe("production on a cluster of its own", () => {
  let resources: Registered[];
  const only = (type: string) => ofType(resources, type)[0];
  beforeAll(async () => {
    resources = await prod(created, ["groundwork:cluster"]);
  }, 60_000);

  test("grants exactly these roles, each to one workload on one resource", () => {
    expect(grants(resources)).toEqual(
      [
        "alertmanager keyVaultSecretsUser secrets/dead-mans-switch-url",
        "alertmanager keyVaultSecretsUser secrets/slack-webhook-url",
        "app keyVaultSecretsUser secrets/app-user-password",
        "app keyVaultSecretsUser secrets/jwt-keys",
        "app keyVaultSecretsUser secrets/redis-cache-password",
        "app keyVaultSecretsUser secrets/redis-queue-password",
        "app-migrate keyVaultSecretsUser secrets/app-owner-password",
        "backup keyVaultSecretsUser secrets/app-backup-password",
        "backup storageBlobDataContributor dumps-id",
        "backup-base keyVaultSecretsUser secrets/internal-ca",
        "backup-base keyVaultSecretsUser secrets/postgres-replication-password",
        "backup-base storageBlobDataContributor dumps-id",
        "backup-exporter storageBlobDataReader dumps-id",
        "backup-restore keyVaultSecretsUser secrets/age-identity",
        "backup-restore keyVaultSecretsUser secrets/app-backup-password",
        "backup-restore keyVaultSecretsUser secrets/app-owner-password",
        "backup-restore keyVaultSecretsUser secrets/internal-ca",
        "backup-restore storageBlobDataReader dumps-id",
        "backup-retention storageBlobDataContributor dumps-id",
        "backup-storage keyVaultCryptoServiceEncryptionUser keys/backup-key",
        "backup-verify keyVaultSecretsUser secrets/age-identity",
        "backup-verify storageBlobDataContributor dumps-id",
        "cluster networkContributor edge-address-id",
        "cluster networkContributor vnet-id",
        "edge keyVaultSecretsUser secrets/edge-tls",
        "edge keyVaultSecretsUser secrets/internal-ca",
        "grafana keyVaultSecretsUser secrets/grafana-admin-password",
        "kubelet acrPull registry-id",
        "postgres keyVaultSecretsUser secrets/app-backup-password",
        "postgres keyVaultSecretsUser secrets/app-monitoring-password",
        "postgres keyVaultSecretsUser secrets/app-owner-password",
        "postgres keyVaultSecretsUser secrets/app-readonly-password",
        "postgres keyVaultSecretsUser secrets/app-user-password",
        "postgres keyVaultSecretsUser secrets/postgres-replication-password",
        "postgres keyVaultSecretsUser secrets/postgres-rewind-password",
        "postgres storageBlobDataContributor dumps-id",
        "redis-cache keyVaultSecretsUser secrets/redis-cache-password",
        "redis-queue keyVaultSecretsUser secrets/redis-queue-password",
        "app keyVaultSecretsUser secrets/field-keys",
        "app keyVaultSecretsUser secrets/app-tls",
        "app keyVaultSecretsUser secrets/probe-password",
        "prober keyVaultSecretsUser secrets/internal-ca",
        "prober keyVaultSecretsUser secrets/probe-password",
        "app keyVaultSecretsUser secrets/internal-ca",
        "app-migrate keyVaultSecretsUser secrets/internal-ca",
        "backup keyVaultSecretsUser secrets/internal-ca",
        "postgres keyVaultSecretsUser secrets/internal-ca",
        "postgres keyVaultSecretsUser secrets/postgres-tls",
        "redis-cache keyVaultSecretsUser secrets/internal-ca",
        "redis-cache keyVaultSecretsUser secrets/redis-cache-monitoring-password",
        "redis-cache keyVaultSecretsUser secrets/redis-tls",
        "redis-queue keyVaultSecretsUser secrets/internal-ca",
        "redis-queue keyVaultSecretsUser secrets/redis-queue-monitoring-password",
        "redis-queue keyVaultSecretsUser secrets/redis-queue-replica-password",
        "redis-queue keyVaultSecretsUser secrets/redis-queue-sentinel-password",
        "redis-queue keyVaultSecretsUser secrets/redis-tls",
        "worker keyVaultSecretsUser secrets/app-user-password",
        "worker keyVaultSecretsUser secrets/field-keys",
        "worker keyVaultSecretsUser secrets/internal-ca",
        "worker keyVaultSecretsUser secrets/redis-cache-password",
        "worker keyVaultSecretsUser secrets/redis-queue-password",
      ].sort(),
    );
  });

  test("names every role assignment by a GUID of its own and says what kind of principal holds it", () => {
    const assignments = ofType(resources, ":RoleAssignment");
    const ids = assignments.map((assignment) => at(assignment, "roleAssignmentName"));
    expect(new Set(ids).size).toBe(assignments.length);
    for (const id of ids)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    for (const assignment of assignments) expect(at(assignment, "principalType")).toBe("ServicePrincipal");
    expect(fixedGuid("a", "b")).toBe(fixedGuid("a", "b"));
    expect(fixedGuid("a", "b")).not.toBe(fixedGuid("ab", ""));
  });

  test("lets each identity be used by the service account of one workload, under which its pods run", () => {
    const subjects = ofType(resources, ":FederatedIdentityCredential").map((one) => at(one, "subject"));
    expect(subjects.length).toBe(new Set(subjects).size);
    const pods = resources.flatMap((resource) => {
      const template = resource.type.endsWith(":CronJob")
        ? "spec.jobTemplate.spec.template"
        : "spec.template";
      const spec = at(resource, `${template}.spec`) as Values | undefined;
      const labels = at(resource, `${template}.metadata.labels`) as Record<string, string> | undefined;
      return spec
        ? [
            {
              resource,
              spec,
              usesAzure: JSON.stringify({ spec, labels }).match(/secrets-store|azure\.workload/),
            },
          ]
        : [];
    });
    const users = pods.filter(({ usesAzure }) => usesAzure);
    expect(users.length).toBeGreaterThan(8);
    for (const { resource, spec } of users) {
      const account = `system:serviceaccount:${String(at(resource, "metadata.namespace"))}:${String(spec["serviceAccountName"])}`;
      expect(subjects, resource.name).toContain(account);
    }
  });

  test("reaches the cluster by the kubeconfig that Azure gives, told apart by the cluster's id", () => {
    const provider = ofType(resources, "pulumi:providers:kubernetes")[0];
    expect(provider?.inputs).toMatchObject({
      kubeconfig: "kind: Config",
      clusterIdentifier: "groundwork-test-id",
    });
    expect(provider?.inputs["context"]).toBeUndefined();
  });

  test("opens the kubelets to Prometheus, and the API server to whoever asks it, as its Cilium takes it", () => {
    const opened = ofType(resources, ":CiliumNetworkPolicy").flatMap((policy) => {
      const name = String(at(policy, "metadata.name"));
      const rules = at(policy, "spec.egress") as { toEntities: string[] }[];
      return rules.flatMap(({ toEntities }) => toEntities.map((entity) => `${name} ${entity}`));
    });
    expect(opened).toEqual([
      "postgres-cluster kube-apiserver",
      "prometheus-cluster host",
      "prometheus-cluster remote-node",
      "prometheus-cluster kube-apiserver",
    ]);
  });

  test("makes a cluster with Entra identities only, Cilium, zones and rotated secrets", () => {
    expect(only(":ManagedCluster")?.inputs).toMatchObject({
      disableLocalAccounts: true,
      dnsPrefix: clusterName("groundwork", "test"),
      aadProfile: { managed: true, enableAzureRBAC: true },
      oidcIssuerProfile: { enabled: true },
      securityProfile: { workloadIdentity: { enabled: true } },
      apiServerAccessProfile: { authorizedIPRanges: ["203.0.113.7/32"] },
      networkProfile: { networkPolicy: "cilium", networkDataplane: "cilium", dnsServiceIP: "10.96.0.10" },
      addonProfiles: {
        azureKeyvaultSecretsProvider: { enabled: true, config: { enableSecretRotation: "true" } },
      },
      autoUpgradeProfile: { upgradeChannel: "patch" },
      // The policies let pods ask CoreDNS, and no resolver on the node.
      agentPoolProfiles: [
        { mode: "System", availabilityZones: ["1", "2", "3"], localDNSProfile: { mode: "Disabled" } },
      ],
    });
    expect(only(":AgentPool")?.inputs).toMatchObject({
      agentPoolName: poolName({ vmSize: "Standard_D4s_v5" }),
      mode: "User",
      enableAutoScaling: true,
      minCount: 3,
      maxCount: 9,
      localDNSProfile: { mode: "Disabled" },
    });
    expect(ofType(resources, ":MaintenanceConfiguration")).toHaveLength(2);
  });

  test("asks for no number of nodes, which is the autoscaler's: it would be sent again with every change", () => {
    const pools = [at(only(":ManagedCluster"), "agentPoolProfiles.0"), only(":AgentPool")?.inputs];
    for (const one of pools) expect(one).toMatchObject({ enableAutoScaling: true, minCount: 3 });
    for (const one of pools) expect(one).not.toHaveProperty("count");
  });

  test("keeps backups unchangeable for 30 days, deletes them later, and encrypts them with the vault's key", () => {
    expect(only("storage:StorageAccount")?.inputs).toMatchObject({
      sku: { name: "Standard_ZRS" },
      allowSharedKeyAccess: false,
      encryption: { keySource: "Microsoft.Keyvault", keyVaultProperties: { keyName: "backup-key" } },
      immutableStorageWithVersioning: {
        enabled: true,
        immutabilityPolicy: { immutabilityPeriodSinceCreationInDays: 30 },
      },
    });
    expect(at(only(":BlobServiceProperties"), "isVersioningEnabled")).toBe(true);
    expect(at(only(":BlobContainer"), "denyEncryptionScopeOverride")).toBe(true);
    // The current version of a blob is the retention job's to delete: it knows which backup must stay.
    const rule = "policy.rules.0.definition.actions";
    expect(at(only("storage:ManagementPolicy"), rule)).toEqual({
      version: { delete: { daysAfterCreationGreaterThan: 35 } },
      snapshot: { delete: { daysAfterCreationGreaterThan: 35 } },
    });
  });

  test("gives vault, storage and registry private endpoints, each with its private name", () => {
    expect(
      ofType(resources, ":PrivateEndpoint")
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["blob-endpoint", "registry-endpoint", "vault-endpoint"]);
    expect(
      ofType(resources, "privatedns:PrivateZone")
        .map((zone) => at(zone, "privateZoneName"))
        .sort(),
    ).toEqual([
      "privatelink.azurecr.io",
      "privatelink.blob.core.windows.net",
      "privatelink.vaultcore.azure.net",
    ]);
    expect(only("containerregistry:Registry")?.inputs).toMatchObject({
      adminUserEnabled: false,
      // `az acr import`, by which releases come in, is refused otherwise.
      networkRuleBypassOptions: "AzureServices",
    });
  });

  test("opens vault, storage and registry to the networks of the allowlist and to no other", () => {
    expect(at(only("keyvault:Vault"), "properties.networkAcls")).toMatchObject({
      defaultAction: "Deny",
      ipRules: [{ value: "203.0.113.7/32" }],
    });
    for (const type of ["storage:StorageAccount", "containerregistry:Registry"]) {
      expect(at(only(type), "networkRuleSet"), type).toMatchObject({
        defaultAction: "Deny",
        ipRules: [{ iPAddressOrRange: "203.0.113.7" }],
      });
    }
  });

  test("gives the edge the static address that the DNS record leads to", () => {
    const edge = resources.find(({ type, name }) => type.endsWith("core/v1:Service") && name === "edge");
    expect(at(edge, "metadata.annotations")).toMatchObject({
      "service.beta.kubernetes.io/azure-pip-name": "edge-address",
    });
    expect(only("dns:RecordSet")?.inputs).toMatchObject({
      zoneName: "example.com",
      relativeRecordSetName: "api",
      targetResource: { id: "edge-address-id" },
    });
    expect(relativeName("example.com", "example.com")).toBe("@");
  });

  test("logs what vault, storage, registry and cluster do, and mails before the budget is spent", () => {
    expect(
      ofType(resources, ":DiagnosticSetting")
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["backups-logs", "cluster-logs", "registry-logs", "vault-logs"]);
    expect(Object.keys(at(only(":Budget"), "notifications") as object)).toHaveLength(4);
  });

  test("counts what the nodes cost, which are in a group of AKS' own", () => {
    expect(at(only(":Budget"), "scope")).toMatch(/^\/subscriptions\/[^/]+$/);
    expect(at(only(":Budget"), "filter")).toEqual({
      dimensions: {
        name: "ResourceGroupName",
        operator: "In",
        values: ["groundwork", "nodes-of-groundwork-test"],
      },
    });
  });
});

test("a pool of nodes of another size has another name, which AKS takes", () => {
  const [small, large] = ["Standard_D4s_v5", "Standard_D8s_v5"].map((vmSize) => poolName({ vmSize }));
  expect(small).not.toBe(large);
  for (const name of [small, large]) expect(name).toMatch(/^[a-z][a-z0-9]{0,11}$/);
});

test("a cluster is told its version with every change, and what scales by itself is no change", async () => {
  const options = new Map<string, pulumi.CustomResourceOptions>();
  const guid = "00000000-0000-0000-0000-000000000000";
  const { aks } = azureSchema.parse({ subscriptionId: guid, tenantId: guid, location: "japaneast" });
  const where = { resourceGroupName: "group", location: "japaneast", subscriptionId: guid, tenantId: guid };
  const networks = {
    nodesSubnetId: "nodes",
    vnetId: "vnet",
    podCidr: "10.128.0.0/14",
    serviceCidr: "10.96.0.0/16",
  };
  const note: pulumi.ResourceTransformation = ({ name, opts }) => void options.set(name, opts);
  await register(() => {
    new AksCluster(
      "prod",
      { ...where, ...aks, ...networks, authorizedNetworks: [] },
      { transformations: [note] },
    );
  });
  expect(options.get("prod")?.ignoreChanges).toEqual([
    "agentPoolProfiles[0].count",
    "agentPoolProfiles[0].orchestratorVersion",
  ]);
  expect(options.get("user")).toMatchObject({
    deleteBeforeReplace: false,
    ignoreChanges: ["count", "orchestratorVersion"],
  });
});

/** Where resources come in a run in which this one is there last: whatever comes after it has waited for it. */
async function placesAfter(late: string, change = created, without = ["groundwork:cluster"]) {
  const resources = await prod(change, without, late);
  const place = (what: string) =>
    resources.findIndex(({ type, name }) => name === what || type.endsWith(what));
  expect(place(late), late).toBeGreaterThan(-1);
  return (what: string) => place(what) > place(late);
}

describe("a cluster of its own", () => {
  test.each(["user", "cluster-registry", "cluster-address", "registry-endpoint-names"])(
    "is worked on once there is %s",
    async (late) => {
      expect((await placesAfter(late))("pulumi:providers:kubernetes")).toBe(true);
    },
    60_000,
  );

  test.each(["backup-blobs", "backup-scope", "dumps", "backup-lifecycle"])(
    "gets the endpoint of its storage when %s is no longer written to it",
    async (late) => {
      expect((await placesAfter(late))("blob-endpoint")).toBe(true);
    },
    60_000,
  );

  test("gets the storage of backups after the way to its key, and names after their zone is asked", async () => {
    expect((await placesAfter("vault-endpoint-names"))("storage:StorageAccount")).toBe(true);
    expect((await placesAfter("vault-zone-link"))("vault-endpoint-names")).toBe(true);
  }, 60_000);
});

test.each<[string, Values, string[]]>([
  ["a cluster of its own", created, ["groundwork:cluster"]],
  ["an existing cluster", {}, []],
])(
  "pods of %s mount secrets when the vault's name leads to it",
  async (_, change, without) => {
    const after = await placesAfter("vault-endpoint-names", change, without);
    for (const mounted of ["app-secrets", "postgres-secrets"]) expect(after(mounted), mounted).toBe(true);
  },
  60_000,
);

test("private access, the default, opens vault, storage and registry by private endpoints alone", async () => {
  const resources = await prod({ registry: { create: true } });
  const first = (type: string) => ofType(resources, type)[0];
  expect(at(first("keyvault:Vault"), "properties.publicNetworkAccess")).toBe("disabled");
  for (const type of ["storage:StorageAccount", "containerregistry:Registry"]) {
    expect(at(first(type), "publicNetworkAccess"), type).toBe("Disabled");
    expect(at(first(type), "networkRuleSet"), type).toMatchObject({ defaultAction: "Deny", ipRules: [] });
  }
}, 60_000);

test("an existing cluster gets no network, cluster or address, and keeps its context", async () => {
  const resources = await prod({});
  for (const type of [
    ":CiliumNetworkPolicy",
    ":VirtualNetwork",
    ":ManagedCluster",
    ":PublicIPAddress",
    ":Registry",
  ]) {
    expect(ofType(resources, type), type).toEqual([]);
  }
  expect(at(ofType(resources, "pulumi:providers:kubernetes")[0], "context")).toBe("groundwork-prod");
  expect(at(ofType(resources, ":VirtualNetworkLink")[0], "virtualNetwork.id")).toMatch(
    /virtualNetworks\/cluster$/,
  );
}, 60_000);
