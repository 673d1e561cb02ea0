import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";

import type { BlobStore } from "../../components/blobStore.ts";
import { flows } from "../../components/flows.ts";
import { manifestFiles } from "../../components/manifests.ts";
import { patroniSettings } from "../../components/patroni.ts";
import { Postgres } from "../../components/postgres.ts";
import { memorySettings } from "../../components/postgresSettings.ts";
import { Redis } from "../../components/redis.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

const namespace = pulumi.output("data");
const resources = { cpuMillis: 100, memoryMiB: 1024 };

function certificate(secrets: KubernetesSecretStore, pem = "chain and key") {
  return { bundle: secrets.keep("tls", pem), ca: secrets.keep("internal-ca", "authority") };
}

const azure: BlobStore = {
  endpoint: "https://account.blob.core.windows.net",
  container: "backups",
  immutableDays: 30,
  access: { kind: "workloadIdentity", clientId: (workload) => `client-of-${workload}` },
};

function postgres(
  members: number,
  retainData = false,
  pem?: string,
  archive = azure,
  storageGiB = 5,
): Promise<Registered[]> {
  return register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    const image = "postgres:1";
    new Postgres("postgres", {
      namespace,
      image,
      exporterImage: "exporters:1",
      separateNodes: retainData,
      members,
      storageGiB,
      resources,
      maxConnections: 100,
      retainData,
      certificate: certificate(secrets, pem),
      secrets,
      archive,
    });
  });
}

describe("Postgres", () => {
  test("runs as many members as asked for, each with a volume of its own", async () => {
    const [set] = ofType(await postgres(3), ":StatefulSet");
    expect(at(set, "spec.replicas")).toBe(3);
    expect(at(set, "spec.volumeClaimTemplates.0.spec.resources.requests.storage")).toBe("5Gi");
  });

  test("has the volumes that are there grow to the size that is asked for", async () => {
    const claims = ofType(await postgres(3), ":PersistentVolumeClaimPatch");
    expect(claims.map((claim) => at(claim, "metadata.name"))).toEqual([
      "data-postgres-0",
      "data-postgres-1",
      "data-postgres-2",
    ]);
    for (const claim of claims) {
      expect(at(claim, "metadata.namespace")).toBe("data");
      // A preview asks the API server as if it were to be made: it has to be a whole claim.
      expect(at(claim, "spec")).toEqual({
        accessModes: ["ReadWriteOnce"],
        resources: { requests: { storage: "5Gi" } },
      });
    }
  });

  test.each([
    [true, "Retain"],
    [false, "Delete"],
  ])("with retainData %s, a destroyed stack's volumes: %s", async (retainData, policy) => {
    const [set] = ofType(await postgres(1, retainData), ":StatefulSet");
    expect(at(set, "spec.persistentVolumeClaimRetentionPolicy.whenDeleted")).toBe(policy);
  });

  test("waits for Patroni at the start and not for its server, which may clone or recover for hours", async () => {
    const [set] = ofType(await postgres(3), ":StatefulSet");
    const container = at(set, "spec.template.spec.containers.0");
    expect(container).toMatchObject({
      startupProbe: { httpGet: { path: "/liveness" } },
      readinessProbe: { httpGet: { path: "/readiness" } },
      livenessProbe: { httpGet: { path: "/liveness" } },
    });
  });

  test("archives its log within a minute, as an identity that its pods have in Azure", async () => {
    const patroni = z
      .object({
        postgresql: z.object({ parameters: z.record(z.string(), z.union([z.string(), z.number()])) }),
      })
      .parse(parse(manifestFiles("patroni")["patroni.yml"] ?? ""));
    const { archive_mode, archive_command, archive_timeout } = patroni.postgresql.parameters;
    expect([archive_mode, archive_command]).toEqual(["on", "/bin/sh /etc/groundwork/patroni/archive.sh %p"]);
    expect(Number(/^(\d+)s$/.exec(String(archive_timeout))?.[1])).toBeLessThan(60);
    const all = await postgres(1);
    const [set] = ofType(all, ":StatefulSet");
    expect(at(set, "spec.template.metadata.labels")).toMatchObject({ "azure.workload.identity/use": "true" });
    expect(at(set, "spec.template.spec.containers.0.env")).toEqual(
      expect.arrayContaining([
        { name: "BLOB_ENDPOINT", value: "https://account.blob.core.windows.net" },
        { name: "BLOB_CONTAINER", value: "backups" },
        { name: "PATRONICTL_CONFIG_FILE", value: "/run/patroni/config" },
      ]),
    );
    const [account] = ofType(all, ":ServiceAccount");
    expect(at(account, "metadata.annotations")).toEqual({
      "azure.workload.identity/client-id": "client-of-postgres",
    });
    expect(JSON.stringify(ofType(all, ":Secret"))).not.toContain("azure-connection-string");
  });

  test("reads the emulator's connection string from a file", async () => {
    const secret = { name: "azure-connection-string", value: pulumi.output("AccountKey=hush") };
    const ca = { name: "internal-ca", value: pulumi.output("authority") };
    const access = { kind: "connectionString", secret, ca } as const;
    const emulator: BlobStore = { ...azure, immutableDays: 0, access };
    const all = await postgres(1, false, undefined, emulator);
    expect(JSON.stringify(ofType(all, ":Secret"))).toContain("azure-connection-string");
    expect(JSON.stringify(ofType(all, ":StatefulSet"))).not.toContain("hush");
  });

  test("leaves the primary's address to Patroni: its Service selects nothing", async () => {
    const services = ofType(await postgres(1), ":Service");
    const primary = services.find((service) => at(service, "metadata.name") === "postgres");
    expect(at(primary, "spec.selector")).toBeUndefined();
    expect(at(primary, "spec.ports.0.port")).toBe(5432);
  });

  test("lets Patroni look around in its namespace, and change its own members and Endpoints alone", async () => {
    const all = await postgres(3);
    expect(ofType(all, ":ClusterRole")).toEqual([]);
    const [role] = ofType(all, ":Role");
    const rules = at(role, "rules") as { resources: string[]; resourceNames?: string[]; verbs: string[] }[];
    const looks = ["get", "list", "watch"];
    const changes = rules.filter(({ verbs }) => verbs.some((verb) => !looks.includes(verb)));
    expect(changes.map(({ resources: of, resourceNames }) => [of, resourceNames])).toEqual([
      [["endpoints"], undefined],
      [["endpoints"], ["postgres", "postgres-config", "postgres-failover", "postgres-sync"]],
      [["pods"], ["postgres-0", "postgres-1", "postgres-2"]],
    ]);
    expect(changes[0]?.verbs).toEqual(["create"]);
    expect(new Set(rules.flatMap((rule) => rule.resources))).toEqual(
      new Set(["endpoints", "pods", "statefulsets"]),
    );
    expect(rules.flatMap((rule) => rule.verbs)).not.toContain("*");
  });

  test("shows the exporter its own password and no other", async () => {
    const [set] = ofType(await postgres(1), ":StatefulSet");
    const exporter = at(set, "spec.template.spec.containers.1") as {
      volumeMounts: { name: string; subPath?: string }[];
    };
    const files = exporter.volumeMounts
      .filter(({ name }) => name === "secrets")
      .map(({ subPath }) => subPath);
    expect(files).toEqual(["ca.crt", "monitoring-password"]);
  });

  test("puts no password into the pod spec or a ConfigMap", async () => {
    const all = await postgres(1);
    const plain = all.filter(({ type }) => !type.endsWith(":Secret") && !type.startsWith("random:"));
    expect(JSON.stringify(plain)).not.toContain("generated-");
    expect(JSON.stringify(ofType(all, ":Secret"))).toContain("generated-");
  });

  test("takes encrypted connections only, from others in the cluster", () => {
    const { postgresql } = parse(manifestFiles("patroni")["patroni.yml"] ?? "") as {
      postgresql: { pg_hba: string[]; parameters: Record<string, string> };
    };
    expect(postgresql.parameters["ssl"]).toBe("on");
    const remote = postgresql.pg_hba.map((line) => line.split(" ")).filter(([type]) => type !== "local");
    const open = remote.filter(([type, , , , method]) => type !== "hostssl" && method !== "reject");
    expect(remote.length).toBeGreaterThan(3);
    expect(open).toEqual([]);
  });

  test("leaves its members running when its certificate, their number or their volumes change", async () => {
    const template = async (members: number, pem: string, storageGiB?: number) =>
      at(ofType(await postgres(members, false, pem, azure, storageGiB), ":StatefulSet")[0], "spec.template");
    expect(await template(1, "a")).toEqual(await template(1, "b"));
    expect(await template(1, "a")).toEqual(await template(3, "a"));
    expect(await template(1, "a")).toEqual(await template(1, "a", 9));
  });

  test("has a quarter of its memory to share between the processes of a query", async () => {
    const [set] = ofType(await postgres(1), ":StatefulSet");
    const volumes = at(set, "spec.template.spec.volumes");
    expect(volumes).toContainEqual({
      name: "shared",
      emptyDir: { medium: "Memory", sizeLimit: `${Math.floor(resources.memoryMiB / 4)}Mi` },
    });
    expect(at(set, "spec.template.spec.containers.0.volumeMounts")).toContainEqual({
      name: "shared",
      mountPath: "/dev/shm",
    });
  });

  test("waits for a quorum of replicas only where there are any", () => {
    expect(
      patroniSettings({ members: 1, resources, storageGiB: 4, maxConnections: 100 })["cluster.yml"],
    ).toContain("synchronous_mode: off");
    expect(
      patroniSettings({ members: 3, resources, storageGiB: 4, maxConnections: 100 })["cluster.yml"],
    ).toContain("synchronous_mode: quorum");
  });

  test.each([1, 3])("keeps the primary of %i while the API server is away", (members) => {
    const cluster = patroniSettings({ members, resources, storageGiB: 4, maxConnections: 100 })[
      "cluster.yml"
    ];
    expect(parse(cluster)).toMatchObject({ failsafe_mode: true });
    // What a primary then says to the others is refused by whoever has a list of addresses.
    const { restapi } = parse(manifestFiles("patroni")["patroni.yml"] ?? "") as { restapi: object };
    expect(restapi).toEqual({ listen: "0.0.0.0:8008", allowlist_include_members: true });
    expect(flows).toContainEqual({ from: "postgres", to: "postgres", port: 8008 });
  });

  test("gives a partitioned primary up before another may lead, and lets it promise nothing meanwhile", () => {
    const cluster = parse(
      patroniSettings({ members: 3, resources, storageGiB: 4, maxConnections: 100 })["cluster.yml"],
    ) as Record<
      "ttl" | "loop_wait" | "retry_timeout" | "synchronous_mode" | "synchronous_mode_strict",
      unknown
    >;
    // The others are asked twice for two seconds each.
    const asked = 4;
    expect(Number(cluster.loop_wait) + 2 * Number(cluster.retry_timeout) + asked).toBeLessThan(
      Number(cluster.ttl),
    );
    expect(cluster).toMatchObject({ synchronous_mode: "quorum", synchronous_mode_strict: true });
  });

  test("gives a running cluster everything that a new one is bootstrapped with", () => {
    const { bootstrap } = parse(manifestFiles("patroni")["patroni.yml"] ?? "") as {
      bootstrap: { dcs: { postgresql: object } };
    };
    const settings = patroniSettings({ members: 3, resources, storageGiB: 4, maxConnections: 100 });
    const cluster = parse(settings["cluster.yml"]) as { postgresql: object };
    expect(Object.keys(cluster)).toEqual(expect.arrayContaining(Object.keys(bootstrap.dcs)));
    expect(cluster.postgresql).toMatchObject({
      ...bootstrap.dcs.postgresql,
      parameters: { max_connections: 100, max_slot_wal_keep_size: "1024MB", wal_keep_size: "512MB" },
    });
  });

  test("takes its memory settings from its limit", () => {
    expect(memorySettings(1024, 100)).toMatchObject({
      shared_buffers: "256MB",
      effective_cache_size: "768MB",
      work_mem: "2621kB",
    });
    // All that may be in use at once stays within the limit, at the smallest size that the configuration takes.
    expect(memorySettings(128, 20).shared_buffers).toBe("32MB");
  });
});

describe("Redis", () => {
  const redis = (purpose: "queue" | "cache", storageGiB?: number, members?: number): Promise<Registered[]> =>
    register(() => {
      const secrets = new KubernetesSecretStore("secrets");
      const storage = storageGiB === undefined ? {} : { storageGiB };
      new Redis(purpose, {
        namespace,
        image: "redis:1",
        exporterImage: "exporters:1",
        separateNodes: true,
        ...(members !== undefined && { members }),
        purpose,
        ...storage,
        resources,
        retainData: false,
        certificate: certificate(secrets),
        secrets,
      });
    });

  test("as a queue keeps its file on a volume", async () => {
    const [set] = ofType(await redis("queue", 3), ":StatefulSet");
    expect(at(set, "spec.volumeClaimTemplates.0.spec.resources.requests.storage")).toBe("3Gi");
    expect(at(set, "spec.template.spec.containers.0.command")).toContain("queue");
    const claims = ofType(await redis("queue", 3), ":PersistentVolumeClaimPatch");
    expect(claims.map((claim) => at(claim, "spec.resources.requests.storage"))).toEqual(["3Gi"]);
  });

  test("with several members has a Sentinel beside each, names them all, and keeps members apart", async () => {
    const all = await redis("queue", 1, 3);
    const [set] = ofType(all, ":StatefulSet");
    const containers = at(set, "spec.template.spec.containers") as { name: string }[];
    expect(at(set, "spec.replicas")).toBe(3);
    expect(containers.map(({ name }) => name)).toEqual(["redis", "sentinel", "exporter"]);
    expect(
      at(set, "spec.template.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution"),
    ).toHaveLength(1);
    expect(ofType(all, ":PodDisruptionBudget")).toHaveLength(1);
  });

  test("as a cache keeps nothing, and gives data three quarters of its memory", async () => {
    const all = await redis("cache");
    const [set] = ofType(all, ":StatefulSet");
    expect(at(set, "spec.volumeClaimTemplates")).toBeUndefined();
    expect(ofType(all, ":PersistentVolumeClaimPatch")).toEqual([]);
    expect(at(set, "spec.template.spec.containers.0.command")).toEqual([
      "/bin/sh",
      "/etc/groundwork/redis/start.sh",
      "cache",
      "768",
    ]);
  });
});
