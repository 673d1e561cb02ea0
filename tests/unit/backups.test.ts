import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";

import { Backups, type BackupsArgs } from "../../components/backups.ts";
import type { BlobStore } from "../../components/blobStore.ts";
import { KubernetesSecretStore } from "../../components/secrets/kubernetesSecretStore.ts";
import { at, ofType, register, type Registered } from "./mocks.ts";

const emulator: BlobStore = {
  endpoint: "https://azurite:10000/groundwork",
  container: "backups",
  immutableDays: 0,
  access: {
    kind: "connectionString",
    secret: { name: "azure-connection-string", value: pulumi.output("AccountKey=hush") },
    ca: { name: "internal-ca", value: pulumi.output("authority") },
  },
};
const azure: BlobStore = {
  endpoint: "https://account.blob.core.windows.net",
  container: "backups",
  immutableDays: 30,
  access: { kind: "workloadIdentity", clientId: (workload) => `client-of-${workload}` },
};

function backups(changes: Partial<BackupsArgs> = {}): Promise<Registered[]> {
  return register(() => {
    const secrets = new KubernetesSecretStore("secrets");
    new Backups("backups", {
      namespace: pulumi.output("data"),
      image: "postgres:1",
      database: {
        endpoint: { host: "postgres.data", port: 5432 },
        database: "app",
        ca: secrets.keep("internal-ca", "pem"),
        backupUser: { role: "app_backup", password: secrets.keep("app-backup-password", "hush-database") },
        owner: { role: "app_owner", password: secrets.keep("app-owner-password", "hush-owner") },
        replicator: {
          role: "replicator",
          password: secrets.keep("replication-password", "hush-replication"),
        },
      },
      store: emulator,
      secrets,
      ageRecipient: "age1recipient",
      ageIdentity: secrets.keep("age-identity", "AGE-SECRET-KEY-hush"),
      timeZone: "Asia/Tokyo",
      hourly: "7 * * * *",
      daily: "0 3 * * *",
      weekly: "0 4 * * 0",
      base: "40 2 * * *",
      recovery: "45 5 * * *",
      verification: "30 5 * * *",
      retention: "15 6 * * *",
      retentionDays: 30,
      scratchMiB: 700,
      resources: { cpuMillis: 110, memoryMiB: 130 },
      verificationResources: { cpuMillis: 210, memoryMiB: 400 },
      ...changes,
    });
  });
}

const pod = "spec.jobTemplate.spec.template.spec";

function named(resources: readonly Registered[], type: string, name: string): Registered | undefined {
  return ofType(resources, type).find((resource) => at(resource, "metadata.name") === name);
}

function environment(cronJob: Registered | undefined): Record<string, string> {
  const variables = at(cronJob, `${pod}.containers.0.env`) as { name: string; value: string }[];
  return Object.fromEntries(variables.map(({ name, value }) => [name, value]));
}

describe("Backups", () => {
  test("runs each series at its time in the stack's time zone, never twice at once, and not for ever", async () => {
    const cronJob = named(await backups(), ":CronJob", "backup-hourly");
    expect(cronJob?.inputs["spec"]).toMatchObject({
      schedule: "7 * * * *",
      timeZone: "Asia/Tokyo",
      concurrencyPolicy: "Forbid",
      startingDeadlineSeconds: 600,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 3,
      jobTemplate: { spec: { backoffLimit: 1, activeDeadlineSeconds: 2700 } },
    });
    expect(at(cronJob, `${pod}.restartPolicy`)).toBe("Never");
  });

  test("makes a daily and a weekly dump beside the hourly one", async () => {
    const all = await backups();
    const schedules = ["daily", "weekly"].map((kind) =>
      at(named(all, ":CronJob", `backup-${kind}`), "spec.schedule"),
    );
    expect(schedules).toEqual(["0 3 * * *", "0 4 * * 0"]);
  });

  test("keeps the series in a folder of its own", async () => {
    const all = await backups();
    for (const kind of ["hourly", "daily", "weekly"]) {
      expect(environment(named(all, ":CronJob", `backup-${kind}`))["BACKUP_KIND"]).toBe(kind);
    }
  });

  test("signs in as the backup role of the database that it was given", async () => {
    expect(environment(named(await backups(), ":CronJob", "backup-hourly"))).toMatchObject({
      PGHOST: "postgres.data",
      PGPORT: "5432",
      PGUSER: "app_backup",
      PGDATABASE: "app",
      AGE_RECIPIENT: "age1recipient",
      BLOB_ENDPOINT: "https://azurite:10000/groundwork",
      BLOB_CONTAINER: "backups",
    });
  });

  test("gives the key that opens dumps to the verification and the restore, and to no other pod", async () => {
    const files = (await backups())
      .filter(({ type }) => type.endsWith(":Secret"))
      .map((secret) => [secret.name, Object.keys(at(secret, "stringData") as object).sort()]);
    expect(Object.fromEntries(files)).toEqual({
      "backup-secrets": [
        "azure-connection-string",
        "blob-store-ca.crt",
        "database-ca.crt",
        "database-password",
      ],
      "backup-base-secrets": [
        "azure-connection-string",
        "blob-store-ca.crt",
        "database-ca.crt",
        "replication-password",
      ],
      "backup-verify-secrets": ["age-identity", "azure-connection-string", "blob-store-ca.crt"],
      "backup-restore-secrets": [
        "age-identity",
        "azure-connection-string",
        "backup-password",
        "blob-store-ca.crt",
        "database-ca.crt",
        "owner-password",
      ],
      "backup-retention-secrets": ["azure-connection-string", "blob-store-ca.crt"],
      "backup-exporter-secrets": ["azure-connection-string", "blob-store-ca.crt"],
    });
  });

  test("shows no secret outside the Secrets that its pods mount", async () => {
    const others = (await backups()).filter(({ type }) => !type.endsWith(":Secret"));
    expect(JSON.stringify(others)).not.toContain("hush");
  });

  test("verifies every day, in the same time zone", async () => {
    const cronJob = named(await backups(), ":CronJob", "backup-verify");
    expect(cronJob?.inputs["spec"]).toMatchObject({ schedule: "30 5 * * *", timeZone: "Asia/Tokyo" });
  });

  test("restores only when a person says so, once, and as the role that owns what is restored", async () => {
    const all = await backups();
    const restore = named(all, ":CronJob", "backup-restore");
    expect(restore?.inputs["spec"]).toMatchObject({
      suspend: true,
      jobTemplate: { spec: { backoffLimit: 0 } },
    });
    expect(environment(restore)).toMatchObject({ PGHOST: "postgres.data", PGUSER: "app_owner" });
    const recover = named(all, ":CronJob", "backup-recover");
    expect(recover?.inputs["spec"]).toMatchObject({
      suspend: true,
      jobTemplate: { spec: { backoffLimit: 0 } },
    });
    expect(environment(recover)).toMatchObject({ PGUSER: "app_owner", DATABASE: "app" });
    for (const cronJob of ofType(all, ":CronJob").filter((job) => job !== restore && job !== recover))
      expect(at(cronJob, "spec.suspend")).toBe(false);
  });

  test("copies the server's files every day as the role that replicates, and never twice at once", async () => {
    const cronJob = named(await backups(), ":CronJob", "backup-base");
    expect(cronJob?.inputs["spec"]).toMatchObject({
      schedule: "40 2 * * *",
      timeZone: "Asia/Tokyo",
      concurrencyPolicy: "Forbid",
      suspend: false,
    });
    expect(environment(cronJob)).toMatchObject({
      PGHOST: "postgres.data",
      PGUSER: "replicator",
      PGSSLMODE: "verify-full",
      AGE_RECIPIENT: "age1recipient",
    });
    expect(at(cronJob, `${pod}.containers.0.command.1`)).toMatch(/base\.py$/);
  });

  test("makes a first base backup at once, and no up waits for it", async () => {
    const all = await backups();
    const job = named(all, ":Job", "backup-base-first");
    expect(at(job, "metadata.annotations")).toEqual({ "pulumi.com/skipAwait": "true" });
    expect(at(job, "spec.template")).toEqual(
      at(named(all, ":CronJob", "backup-base"), "spec.jobTemplate.spec.template"),
    );
  });

  test("recovers the newest base backup every day, inside its own pod and without a way to the database", async () => {
    const cronJob = named(await backups(), ":CronJob", "backup-verify-base");
    expect(cronJob?.inputs["spec"]).toMatchObject({ schedule: "45 5 * * *", timeZone: "Asia/Tokyo" });
    expect(at(cronJob, `${pod}.containers.0.command.1`)).toMatch(/recover\.py$/);
    const variables = environment(cronJob);
    expect(variables).toMatchObject({ STEP: "verify", DATABASE: "app" });
    expect(Object.keys(variables).filter((name) => name.startsWith("PG"))).toEqual([]);
  });

  test("makes no base backups where the server's log is not archived by us", async () => {
    const secrets = { name: "other", value: pulumi.output("hush") };
    const user = { role: "some", password: secrets };
    const all = await backups({
      database: {
        endpoint: { host: "postgres.azure", port: 5432 },
        database: "app",
        ca: secrets,
        backupUser: user,
        owner: user,
      },
    });
    expect(ofType(all, ":Job")).toEqual([]);
    const names = ofType(all, ":CronJob").map((cronJob) => String(at(cronJob, "metadata.name")));
    expect(names.filter((name) => /base|recover/.test(name))).toEqual([]);
    expect(names).toContain("backup-verify");
  });

  test("deletes every day what is old, and has the exporter watch by the same rule", async () => {
    const all = await backups({ store: azure });
    const cronJob = named(all, ":CronJob", "backup-retention");
    expect(cronJob?.inputs["spec"]).toMatchObject({ schedule: "15 6 * * *", timeZone: "Asia/Tokyo" });
    expect(at(cronJob, "spec.jobTemplate.spec.activeDeadlineSeconds")).toBe(3_600);
    const rule = { RETENTION_DAYS: "30", IMMUTABLE_DAYS: "30" };
    expect(environment(cronJob)).toMatchObject(rule);
    const exporter = at(
      named(all, ":Deployment", "backup-exporter"),
      "spec.template.spec.containers.0.env",
    ) as { name: string; value: string }[];
    expect(Object.fromEntries(exporter.map(({ name, value }) => [name, value]))).toMatchObject(rule);
  });

  test("verifies without a way to the database: it restores inside its own pod", async () => {
    const variables = environment(named(await backups(), ":CronJob", "backup-verify"));
    expect(Object.keys(variables).filter((name) => name.startsWith("PG"))).toEqual([]);
  });

  test.each(["backup-hourly", "backup-verify"])("bounds the scratch volume of %s", async (name) => {
    const volumes = at(named(await backups(), ":CronJob", name), `${pod}.volumes`) as Record<
      string,
      unknown
    >[];
    expect(volumes.find((volume) => volume["name"] === "tmp")?.["emptyDir"]).toEqual({ sizeLimit: "700Mi" });
  });

  test("has large scratch reserved as a volume of each pod's own, which is gone an hour after the pod's end", async () => {
    const all = await backups({ scratchMiB: 65_536 });
    for (const name of ["backup-hourly", "backup-verify", "backup-verify-base", "backup-restore"]) {
      const cronJob = named(all, ":CronJob", name);
      const [volume] = (at(cronJob, `${pod}.volumes`) as Record<string, unknown>[]).filter(
        (one) => one["name"] === "tmp",
      );
      expect(volume).not.toHaveProperty("emptyDir");
      expect(volume).toMatchObject({
        ephemeral: {
          volumeClaimTemplate: {
            spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "65536Mi" } } },
          },
        },
      });
      expect(at(cronJob, `${pod}.securityContext.fsGroup`)).toBe(10001);
      expect(at(cronJob, "spec.jobTemplate.spec.ttlSecondsAfterFinished")).toBe(3_600);
    }
    const small = named(await backups(), ":CronJob", "backup-hourly");
    expect(at(small, "spec.jobTemplate.spec.ttlSecondsAfterFinished")).toBeUndefined();
  });

  test("gives dumps and verifications the memory that the stack says", async () => {
    const all = await backups();
    const memory = (name: string) =>
      at(named(all, ":CronJob", name), `${pod}.containers.0.resources.limits.memory`);
    expect(["backup-weekly", "backup-base"].map(memory)).toEqual(["130Mi", "130Mi"]);
    const restoring = ["backup-verify", "backup-verify-base", "backup-restore", "backup-recover"];
    expect(restoring.map(memory)).toEqual(["400Mi", "400Mi", "400Mi", "400Mi"]);
  });

  test("reaches Azure by workload identity, with no secret for it", async () => {
    const all = await backups({ store: azure });
    const cronJob = named(all, ":CronJob", "backup-hourly");
    const labels = "spec.jobTemplate.spec.template.metadata.labels";
    expect(at(cronJob, labels)).toMatchObject({ "azure.workload.identity/use": "true" });
    expect(at(cronJob, `${pod}.serviceAccountName`)).toBe("backup");
    expect(at(named(all, ":ServiceAccount", "backup"), "metadata.annotations")).toEqual({
      "azure.workload.identity/client-id": "client-of-backup",
    });
    expect(JSON.stringify(ofType(all, ":Secret"))).not.toContain("azure-connection-string");
    expect(at(named(all, ":Deployment", "backup-exporter"), "spec.template.spec.volumes")).toHaveLength(2);
  });

  test("lets Prometheus find the exporter where its headless Service leads", async () => {
    let metrics: Backups["metrics"] | undefined;
    const all = await register(() => {
      const secrets = new KubernetesSecretStore("secrets");
      const ca = secrets.keep("internal-ca", "pem");
      const backupUser = { role: "app_backup", password: secrets.keep("password", "hush") };
      const owner = { role: "app_owner", password: secrets.keep("owner-password", "hush") };
      ({ metrics } = new Backups("backups", {
        namespace: pulumi.output("data"),
        image: "postgres:1",
        database: { endpoint: { host: "postgres.data", port: 5432 }, database: "app", ca, backupUser, owner },
        store: azure,
        secrets,
        ageRecipient: "age1recipient",
        ageIdentity: secrets.keep("age-identity", "hush"),
        timeZone: "UTC",
        hourly: "7 * * * *",
        daily: "0 3 * * *",
        weekly: "0 4 * * 0",
        base: "40 2 * * *",
        recovery: "45 5 * * *",
        verification: "30 5 * * *",
        retention: "15 6 * * *",
        retentionDays: 30,
        scratchMiB: 700,
        resources: { cpuMillis: 100, memoryMiB: 128 },
        verificationResources: { cpuMillis: 100, memoryMiB: 384 },
      }));
    });
    const service = named(all, ":Service", "backup-exporter");
    expect(at(service, "spec.clusterIP")).toBe("None");
    expect(metrics).toMatchObject({ job: "backup", port: at(service, "spec.ports.0.port") });
    const container = at(named(all, ":Deployment", "backup-exporter"), "spec.template.spec.containers.0");
    expect(container).toMatchObject({ ports: [{ containerPort: metrics?.port }] });
  });

  test("rolls the exporter when its program changes", async () => {
    const deployment = named(await backups(), ":Deployment", "backup-exporter");
    expect(at(deployment, "spec.template.metadata.annotations")).toHaveProperty([
      "groundwork.dev/config-checksum",
    ]);
  });

  test("runs every pod restricted, with a read-only root and no API token", async () => {
    const all = await backups();
    const specs = [
      ...ofType(all, ":CronJob").map((cronJob) => at(cronJob, pod)),
      at(named(all, ":Deployment", "backup-exporter"), "spec.template.spec"),
    ];
    expect(specs).toHaveLength(10);
    for (const spec of specs) {
      expect(spec).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, runAsUser: 10001, seccompProfile: { type: "RuntimeDefault" } },
        containers: [{ securityContext: { readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } } }],
      });
    }
  });
});
