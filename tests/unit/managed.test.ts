import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";

import { azureAuthorities } from "../../components/azure/managed.ts";
import { acceptedConnections, managedProblems } from "../../components/azure/managedChecks.ts";
import { azureSchema } from "../../components/azure/schema.ts";
import { postgresSchema, redisSchema } from "../../components/dataSchema.ts";
import { flows, stackFlows, workloads } from "../../components/flows.ts";
import { manifestFiles } from "../../components/manifests.ts";
import { rulesOf } from "../../components/networkPolicies.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

type Values = Record<string, unknown>;

/** The production stack with Postgres and Redis as services of Azure. */
async function prod(late?: (type: string, name: string) => boolean): Promise<Registered[]> {
  const { config } = parse(readFileSync(join(import.meta.dirname, "../../Pulumi.prod.yaml"), "utf8")) as {
    config: Values;
  };
  const managed = {
    "groundwork:postgres": { kind: "managed", storageGiB: 64, maxConnections: 600 },
    "groundwork:redis": { kind: "managed" },
  };
  const settings = Object.entries({ ...config, ...managed }).map(([key, value]): [string, string] => [
    key,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  vi.resetModules();
  return register(() => {
    pulumi.runtime.setAllConfig(Object.fromEntries(settings));
    return import("../../index.ts");
  }, late);
}

describe("production with managed data", () => {
  let resources: Registered[];
  const only = (type: string) => ofType(resources, type)[0];
  const named = (type: string, name: string) => ofType(resources, type).find((one) => one.name === name);
  const environment = (deployment: string): Record<string, unknown> => {
    const env = at(named(":Deployment", deployment), "spec.template.spec.containers.0.env");
    return Object.fromEntries(
      (env as { name: string; value: unknown }[]).map(({ name, value }) => [name, value]),
    );
  };
  beforeAll(async () => {
    resources = await prod();
  }, 120_000);

  test("runs no server of its own", () => {
    const sets = ofType(resources, ":StatefulSet").map(({ name }) => name);
    expect(sets).toContain("prometheus");
    expect(sets.filter((name) => /postgres|redis/.test(name))).toEqual([]);
  });

  test("has a standby in another zone, a month of points in time, and no public address", () => {
    expect(only("dbforpostgresql:Server")?.inputs).toMatchObject({
      version: "17",
      sku: { name: "Standard_D2ds_v5", tier: "GeneralPurpose" },
      storage: { storageSizeGB: 64 },
      highAvailability: { mode: "ZoneRedundant" },
      backup: { backupRetentionDays: 30 },
      network: { publicNetworkAccess: "Disabled" },
    });
  });

  test("allows the extensions that the migrations make", () => {
    const sql = readFileSync(join(import.meta.dirname, "../../app/migrations/006_search.sql"), "utf8");
    const wanted = [...sql.matchAll(/create extension (?:if not exists )?(\w+)/gi)].map(([, name]) =>
      name?.toUpperCase(),
    );
    expect(wanted).toContain("BTREE_GIN");
    const allowed = named("dbforpostgresql:Configuration", "postgres-azure-extensions")?.inputs["value"];
    const made = manifestFiles("managed-postgres")["roles.sql"];
    for (const name of wanted) {
      expect(String(allowed).split(",")).toContain(name);
      // By an administrator, as Azure lets nobody else.
      expect(made).toContain(`CREATE EXTENSION IF NOT EXISTS ${name?.toLowerCase()};`);
    }
  });

  test("keeps the queue on disk and evicts from the cache only; both are replicated, private and not clustered", () => {
    const database = (name: string) => named("redisenterprise:Database", name)?.inputs;
    expect(database("redis-queue")).toMatchObject({
      evictionPolicy: "NoEviction",
      persistence: { aofEnabled: true, aofFrequency: "1s" },
      clusteringPolicy: "NoCluster",
    });
    expect(database("redis-cache")).toMatchObject({
      evictionPolicy: "AllKeysLRU",
      clusteringPolicy: "NoCluster",
    });
    expect(database("redis-cache")).not.toHaveProperty("persistence");
    for (const { inputs } of ofType(resources, ":RedisEnterprise")) {
      expect(inputs).toMatchObject({
        highAvailability: "Enabled",
        publicNetworkAccess: "Disabled",
        minimumTlsVersion: "1.2",
      });
    }
  });

  test("reaches each by a private endpoint of its own, the two Redis through one zone", () => {
    expect(ofType(resources, ":PrivateEndpoint").map(({ name }) => name)).toEqual(
      expect.arrayContaining(["postgres-endpoint", "redis-queue-endpoint", "redis-cache-endpoint"]),
    );
    const zones = ofType(resources, "privatedns:PrivateZone").map(({ inputs }) => inputs["privateZoneName"]);
    expect(zones).toEqual(
      expect.arrayContaining(["privatelink.postgres.database.azure.com", "privatelink.redis.azure.net"]),
    );
    expect(new Set(zones).size).toBe(zones.length);
  });

  test("gives the app the same variables and files as with servers of its own", () => {
    const variables = environment("app");
    expect(variables["DATABASE_URL"]).toMatch(/^postgres:\/\/app_user@.*:5432\/app$/);
    expect(variables["REDIS_QUEUE_URL"]).toMatch(/^rediss:\/\/default@.*:10000$/);
    expect(variables["REDIS_CACHE_URL"]).toMatch(/^rediss:\/\/default@.*:10000$/);
    expect(variables).not.toHaveProperty("REDIS_QUEUE_SENTINELS");
    const objects = String(at(named(":SecretProviderClass", "app-secrets"), "spec.parameters.objects"));
    for (const file of ["database-password", "database-ca.crt", "redis-queue-password", "redis-cache-ca.crt"])
      expect(objects).toContain(`objectAlias: ${file}`);
  });

  test("makes the roles before anybody signs in, with each password from its file", () => {
    const job = named("batch/v1:Job", "postgres-roles");
    expect(at(job, "metadata.name")).toMatch(/^postgres-roles-[0-9a-f]{10}$/);
    const env = at(job, "spec.template.spec.containers.0.env") as { name: string; value: string }[];
    expect(env).toContainEqual({ name: "PGSSLMODE", value: "verify-full" });
    expect(env.map(({ name }) => name)).not.toContain("PGPASSWORD");
    // The statements run the program that makes verifiers of the passwords.
    const scripts = at(named(":ConfigMap", "postgres-roles"), "data") as Record<string, string>;
    expect(Object.keys(scripts).sort()).toEqual(["logins.sql", "roles.sh", "roles.sql", "verifiers.py"]);
    expect(scripts["verifiers.py"]).toContain("SCRAM-SHA-256");
  });

  test("grants what the new pods mount, and nothing else new", () => {
    const who = ofType(resources, ":RoleAssignment")
      .map(({ name }) => name)
      .filter((name) => /^(postgres|redis)-/.test(name));
    expect(who.sort()).toEqual(
      [
        ...["admin", "owner", "user", "readonly", "backup", "monitoring"].map(
          (role) =>
            `postgres-roles-keyVaultSecretsUser-${role === "admin" ? "postgres" : "app"}-${role}-password`,
        ),
        "postgres-roles-keyVaultSecretsUser-azure-data-ca",
        "postgres-exporter-keyVaultSecretsUser-app-monitoring-password",
        "postgres-exporter-keyVaultSecretsUser-azure-data-ca",
        ...["queue", "cache"].flatMap((name) => [
          `redis-${name}-exporter-keyVaultSecretsUser-redis-${name}-password`,
          `redis-${name}-exporter-keyVaultSecretsUser-azure-data-ca`,
        ]),
      ].sort(),
    );
  });

  test("names every pod's workload in its flows", () => {
    const known = stackFlows("managed", "managed").workloads;
    const pods = resources.filter((one) => at(one, "spec.template.metadata.labels") !== undefined);
    expect(pods.length).toBeGreaterThan(6);
    for (const pod of pods) {
      const labels = at(pod, "spec.template.metadata.labels") as Record<string, string>;
      expect(known, pod.name).toHaveProperty(labels["app.kubernetes.io/name"] ?? "");
    }
  });
});

test("changes the server's settings after its private endpoint is made, as Azure refuses both at once", async () => {
  const resources = await prod((_, name) => name === "postgres-endpoint-names");
  const place = (name: string) => resources.findIndex((resource) => resource.name === name);
  expect(place("postgres-endpoint-names")).toBeGreaterThan(-1);
  expect(place("postgres-azure-extensions")).toBeGreaterThan(place("postgres-endpoint-names"));
  expect(ofType(resources, "dbforpostgresql:Configuration")).toHaveLength(1);
}, 120_000);

describe("the flows of managed data", () => {
  const managed = stackFlows("managed", "managed");

  test("are what they were where nothing is managed", () => {
    expect(stackFlows("cluster", "cluster")).toEqual({ workloads, flows });
  });

  test("lead to private addresses only, for just those who reached the servers before", () => {
    const callers = (to: string) =>
      managed.flows.filter(
        (flow) => flow.to === "privateNetwork" && flow.port === (to === "postgres" ? 5432 : 10_000),
      );
    expect(
      callers("postgres")
        .map(({ from }) => from)
        .sort(),
    ).toEqual(
      [
        "app",
        "app-candidate",
        "app-migrate",
        "backup",
        "backup-restore",
        "postgres-exporter",
        "postgres-roles",
        "worker",
      ].sort(),
    );
    expect(
      callers("redis")
        .map(({ from }) => from)
        .sort(),
    ).toEqual(["app", "app-candidate", "redis-cache-exporter", "redis-queue-exporter", "worker"].sort());
    const { egress } = rulesOf("app", { ...managed, apiServerCidrs: [], cilium: false });
    expect(JSON.stringify(egress)).not.toContain("0.0.0.0/0");
    expect(JSON.stringify(egress)).toContain("10.0.0.0/8");
  });

  test("leave Redis where it is when only Postgres is managed", () => {
    const { flows: some, workloads: kept } = stackFlows("managed", "cluster");
    expect(kept).toHaveProperty("redis-queue");
    expect(kept).not.toHaveProperty("postgres");
    expect(some).toContainEqual({ from: "app", to: "redis-queue", port: 6379 });
  });
});

describe("the checks of managed data", () => {
  const guid = "00000000-0000-0000-0000-000000000000";
  const azure = azureSchema.parse({
    subscriptionId: guid,
    tenantId: guid,
    location: "japaneast",
    cluster: "create",
  });
  const postgres = (change: object) => postgresSchema.parse({ kind: "managed", storageGiB: 64, ...change });
  const redis = redisSchema.parse({ kind: "managed" });

  test("pass what Azure takes", () => {
    expect(managedProblems({ azure, postgres: postgres({}), redis })).toEqual([]);
  });

  test.each<[string, Parameters<typeof managedProblems>[0], RegExp]>([
    ["no Azure", { redis }, /^groundwork:redis\.kind: managed needs groundwork:azure$/],
    [
      "a size that Azure has not",
      { azure, postgres: postgres({ storageGiB: 100 }) },
      /^groundwork:postgres\.storageGiB: .*32, 64.*\(found 100\)$/,
    ],
    [
      "more connections than the size accepts",
      { azure, postgres: postgres({ maxConnections: 1000 }) },
      /^groundwork:postgres\.maxConnections: Standard_D2ds_v5 accepts 844 \(found 1000\)/,
    ],
  ])("refuse %s", (_, settings, message) => {
    expect(managedProblems(settings)).toEqual([expect.stringMatching(message)]);
  });

  test("count connections by memory, up to Azure's limit", () => {
    expect(acceptedConnections("Standard_D4ds_v5")).toBe(1_703);
    expect(acceptedConnections("Standard_E16ds_v5")).toBe(4_985);
  });

  test("refuse sizes without a standby, and those that would be clustered", () => {
    expect(postgresSchema.safeParse({ managed: { sku: "Standard_B2ms" } }).success).toBe(false);
    expect(redisSchema.safeParse({ managed: { queueSku: "Balanced_B50" } }).success).toBe(false);
    expect(redisSchema.safeParse({ managed: { queueSku: "Balanced_B1" } }).success).toBe(false);
  });
});

test("Azure's authorities are two that sign for years to come", () => {
  const certificates =
    azureAuthorities().match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  expect(certificates).toHaveLength(2);
  for (const pem of certificates) {
    const certificate = new X509Certificate(pem);
    expect(certificate.ca).toBe(true);
    expect(certificate.subject).toBe(certificate.issuer);
    expect(new Date(certificate.validTo).getTime()).toBeGreaterThan(Date.now() + 5 * 365 * 86_400_000);
  }
});

test("both ways of making the roles give each the same rights", () => {
  const rights = (folder: string) => {
    const sql = manifestFiles(folder)["roles.sql"] ?? "";
    return Object.fromEntries(
      [...sql.matchAll(/^(?:CREATE|ALTER) ROLE (app_\w+) ([^;]*);/gm)].map(([, role = "", attributes]) => [
        role,
        attributes,
      ]),
    );
  };
  expect(Object.keys(rights("patroni")).sort()).toEqual(
    ["app_backup", "app_monitoring", "app_owner", "app_readonly", "app_user"].sort(),
  );
  expect(rights("managed-postgres")).toEqual(rights("patroni"));
  for (const folder of ["patroni", "managed-postgres"])
    expect(manifestFiles(folder)["roles.sql"]).toContain("\\ir logins.sql");
});
