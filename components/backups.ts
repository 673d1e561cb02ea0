import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { programPods, type ProgramPods } from "./backupPods";
import type { BlobStore } from "./blobStore";
import { checksumAnnotation, manifestFiles } from "./manifests";
import { labels, secretsPath, selector, serviceHost } from "./podDefaults";
import type { DatabaseUser } from "./postgres";
import type { SecretStore, StoredSecret } from "./secrets/secretStore";
import type { Endpoint, MetricsTarget, Resources } from "./types";

/** The database that is dumped. */
export interface DumpedDatabase {
  readonly endpoint: Endpoint;
  /** Name of the database. */
  readonly database: string;
  /** Role that reads it; it must bypass row-level security. */
  readonly backupUser: DatabaseUser;
  /** Authority that its certificate must be signed by. */
  readonly ca: StoredSecret;
}

export interface BackupsArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with the server's own version of PostgreSQL, age, and Azure's SDK for Python (`images/postgres`). */
  readonly image: string;
  readonly database: DumpedDatabase;
  /** Where backups are kept. */
  readonly store: BlobStore;
  /** Mounts passwords and keys. */
  readonly secrets: SecretStore;
  /** age public key that dumps are encrypted to. */
  readonly ageRecipient: string;
  /** age private key that opens them; no pod but the verification's mounts it. */
  readonly ageIdentity: StoredSecret;
  /** IANA time zone of the schedules. */
  readonly timeZone: string;
  /** Cron expression of the dumps kept under `dumps/hourly/`. */
  readonly hourly: string;
  /** Cron expression of those under `dumps/daily/`. */
  readonly daily: string;
  /** Cron expression of those under `dumps/weekly/`. */
  readonly weekly: string;
  /** Cron expression at which the newest backup is restored and compared; daily or more often. */
  readonly verification: string;
  /** Scratch volume of the jobs, MiB: room for a dump and its restored copy. */
  readonly scratchMiB: number;
  /** CPU and memory of a dump; default 128 MiB. */
  readonly backupResources?: Resources;
  /** CPU and memory of a verification, which runs a database server; default 384 MiB. */
  readonly verificationResources?: Resources;
  /** CPU and memory of the exporter; default 96 MiB. */
  readonly exporterResources?: Resources;
}

const exporterName = "backup-exporter";
const metricsPort = 9469;
// Where node-pg-migrate notes what it has applied.
const migrationsTable = "public.pgmigrations";

/** When a job runs, and how much delay is borne. */
interface Schedule {
  readonly cron: string;
  /** How late it may start; a run missed by more is left out. */
  readonly startingDeadlineSeconds: number;
  /** How long it may take with its retry; then it is stopped and has failed. */
  readonly activeDeadlineSeconds: number;
}

/**
 * Dumps the database on schedule, encrypted before it leaves the pod, and proves every day that the newest dump can be
 * restored. An exporter reads from the container itself when the last good one was made.
 */
export class Backups extends pulumi.ComponentResource {
  /** Age and size of the newest backups, and how the last verification ended. */
  readonly metrics: MetricsTarget;

  constructor(
    resourceName: string,
    private readonly args: BackupsArgs,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("groundwork:data:Backups", resourceName, {}, opts);
    const { database, scratchMiB } = args;
    const data = manifestFiles("backup");
    const scripts = new k8s.core.v1.ConfigMap(
      "backup-scripts",
      { metadata: this.metadata("backup-scripts"), data },
      { parent: this },
    );
    const host = { ...args, scripts };

    const backup = programPods(this, host, {
      name: "backup",
      script: "backup.py",
      resources: args.backupResources ?? { cpuMillis: 100, memoryMiB: 128 },
      scratchMiB,
      files: { "database-password": database.backupUser.password, "database-ca.crt": database.ca },
      env: {
        PGHOST: database.endpoint.host,
        PGPORT: String(database.endpoint.port),
        PGDATABASE: database.database,
        PGUSER: database.backupUser.role,
        PGSSLMODE: "verify-full",
        PGSSLROOTCERT: `${secretsPath}/database-ca.crt`,
        AGE_RECIPIENT: args.ageRecipient,
        MIGRATIONS_TABLE: migrationsTable,
      },
    });
    const series = [
      { kind: "hourly", cron: args.hourly, startingDeadlineSeconds: 600, activeDeadlineSeconds: 2_700 },
      { kind: "daily", cron: args.daily, startingDeadlineSeconds: 3_600, activeDeadlineSeconds: 10_800 },
      { kind: "weekly", cron: args.weekly, startingDeadlineSeconds: 7_200, activeDeadlineSeconds: 10_800 },
    ];
    for (const { kind, ...schedule } of series) {
      this.cronJob(`backup-${kind}`, schedule, backup, { BACKUP_KIND: kind });
    }

    const verification = programPods(this, host, {
      name: "backup-verify",
      script: "verify.py",
      resources: args.verificationResources ?? { cpuMillis: 100, memoryMiB: 384 },
      scratchMiB,
      files: { "age-identity": args.ageIdentity },
      env: { MIGRATIONS_TABLE: migrationsTable },
    });
    const schedule = {
      cron: args.verification,
      startingDeadlineSeconds: 3_600,
      activeDeadlineSeconds: 14_400,
    };
    this.cronJob("backup-verify", schedule, verification, {});

    const exporter = programPods(this, host, {
      name: exporterName,
      script: "exporter.py",
      resources: args.exporterResources ?? { cpuMillis: 10, memoryMiB: 96 },
      scratchMiB: 8,
      env: { METRICS_PORT: String(metricsPort) },
    });
    this.metrics = this.exporter(exporter, checksumAnnotation(data));
    this.registerOutputs();
  }

  private metadata(name: string) {
    return { name, namespace: this.args.namespace, labels: labels(name, "backup") };
  }

  private cronJob(
    name: string,
    when: Schedule,
    pods: ProgramPods,
    env: Readonly<Record<string, string>>,
  ): void {
    new k8s.batch.v1.CronJob(
      name,
      {
        metadata: this.metadata(name),
        spec: {
          schedule: when.cron,
          timeZone: this.args.timeZone,
          concurrencyPolicy: "Forbid",
          startingDeadlineSeconds: when.startingDeadlineSeconds,
          successfulJobsHistoryLimit: 3,
          failedJobsHistoryLimit: 3,
          jobTemplate: {
            spec: {
              backoffLimit: 1,
              activeDeadlineSeconds: when.activeDeadlineSeconds,
              template: {
                metadata: { labels: pods.labels },
                spec: { ...pods.spec(env), restartPolicy: "Never" },
              },
            },
          },
        },
      },
      { parent: this },
    );
  }

  private exporter(pods: ProgramPods, annotations: Record<string, string>): MetricsTarget {
    const metadata = this.metadata(exporterName);
    const matchLabels = selector(exporterName);
    const ports = [{ name: "metrics", containerPort: metricsPort }];
    const probe = { httpGet: { path: "/health", port: "metrics" }, timeoutSeconds: 3 };
    const probes = {
      startupProbe: { ...probe, periodSeconds: 2, failureThreshold: 30 },
      readinessProbe: { ...probe, periodSeconds: 10 },
      livenessProbe: { ...probe, periodSeconds: 20, failureThreshold: 3 },
    };
    const deployment = new k8s.apps.v1.Deployment(
      exporterName,
      {
        metadata,
        spec: {
          replicas: 1,
          progressDeadlineSeconds: 120,
          selector: { matchLabels },
          template: {
            metadata: { labels: pods.labels, annotations },
            spec: pods.spec({}, { ports, ...probes }),
          },
        },
      },
      { parent: this, customTimeouts: { create: "4m", update: "4m" } },
    );
    const service = new k8s.core.v1.Service(
      exporterName,
      {
        metadata,
        spec: { clusterIP: "None", selector: matchLabels, ports: [{ name: "metrics", port: metricsPort }] },
      },
      { parent: this, dependsOn: [deployment] },
    );
    const host = serviceHost(service.metadata.name, this.args.namespace);
    return { job: "backup", host, port: metricsPort };
  }
}
