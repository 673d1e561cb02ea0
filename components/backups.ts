import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

import { backupExporter } from "./backupExporter.ts";
import { daily, firstJob, scheduledJob, type JobHost } from "./backupJobs.ts";
import { programPods, type ProgramHost, type ProgramPods } from "./backupPods.ts";
import type { BlobStore } from "./blobStore.ts";
import { checksumAnnotation, manifestFiles } from "./manifests.ts";
import { labels, secretsPath } from "./podDefaults.ts";
import type { DatabaseUser } from "./databaseUsers.ts";
import type { SecretStore, StoredSecret } from "./secrets/secretStore.ts";
import type { Endpoint, MetricsTarget, Resources } from "./types.ts";

/** The database that is dumped. */
export interface DumpedDatabase {
  readonly endpoint: Endpoint;
  /** Name of the database. */
  readonly database: string;
  /** Role that reads it; it must bypass row-level security. */
  readonly backupUser: DatabaseUser;
  /** Role that owns what is in it; restores. */
  readonly owner: DatabaseUser;
  /** Role that copies the server's files, where its write-ahead log is archived. */
  readonly replicator?: DatabaseUser;
  /** Authority that its certificate must be signed by. */
  readonly ca: StoredSecret;
}

export interface BackupsArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Image with the server's own version of PostgreSQL, age, and Azure's SDK for Python (`images/postgres`). */
  readonly image: pulumi.Input<string>;
  readonly database: DumpedDatabase;
  /** Where backups are kept. */
  readonly store: BlobStore;
  /** Mounts passwords and keys. */
  readonly secrets: SecretStore;
  /** age public key that dumps are encrypted to. */
  readonly ageRecipient: string;
  /** age private key that opens them; no pods but the verification's and the restore's mount it. */
  readonly ageIdentity: StoredSecret;
  /** IANA time zone of the schedules. */
  readonly timeZone: string;
  /** Cron expression of the dumps kept under `dumps/hourly/`. */
  readonly hourly: string;
  /** Cron expression of those under `dumps/daily/`. */
  readonly daily: string;
  /** Cron expression of those under `dumps/weekly/`. */
  readonly weekly: string;
  /** Cron expression at which the server's files are copied, and recovered with the log since. */
  readonly base: string;
  /** Cron expression at which the newest base backup is recovered with all of the archive; daily or more often. */
  readonly recovery: string;
  /** Cron expression at which the newest daily or weekly dump is restored and compared; daily or more often. */
  readonly verification: string;
  /** Cron expression at which old backups are deleted; daily or more often. */
  readonly retention: string;
  /** Days that a backup is kept; longer where the store does not let it go sooner, or where it is the newest verified. */
  readonly retentionDays: number;
  /** Scratch volume of the jobs, MiB: room for a dump and its restored copy. */
  readonly scratchMiB: number;
  /** CPU and memory of a dump and of a base backup. */
  readonly resources: Resources;
  /** CPU and memory of a verification and of a restore, which run a database server. */
  readonly verificationResources: Resources;
  /** CPU and memory of the exporter; default 96 MiB. */
  readonly exporterResources?: Resources;
}

// Where node-pg-migrate notes what it has applied.
const migrationsTable = "public.pgmigrations";

/**
 * Dumps the database on schedule, encrypted before it leaves the pod, reads each dump back, and proves every day by a whole
 * restore that the newest daily or weekly one is good. What is older than it is kept is deleted. An exporter reads from the
 * container itself what is there.
 */
export class Backups extends pulumi.ComponentResource {
  /** Age and size of the newest backups, and how the last verification ended. */
  readonly metrics: MetricsTarget;

  readonly #args: BackupsArgs;

  constructor(resourceName: string, args: BackupsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("groundwork:data:Backups", resourceName, {}, opts);
    this.#args = args;
    const { database, scratchMiB } = args;
    const data = manifestFiles("backup");
    const scripts = new k8s.core.v1.ConfigMap(
      "backup-scripts",
      {
        metadata: {
          name: "backup-scripts",
          namespace: args.namespace,
          labels: labels("backup-scripts", "backup"),
        },
        data,
      },
      { parent: this },
    );
    const host = { ...args, scripts };

    const reach = {
      PGHOST: database.endpoint.host,
      PGPORT: String(database.endpoint.port),
      PGSSLMODE: "verify-full",
      PGSSLROOTCERT: `${secretsPath}/database-ca.crt`,
      MIGRATIONS_TABLE: migrationsTable,
    };
    const backup = programPods(this, host, {
      name: "backup",
      script: "backup.py",
      resources: args.resources,
      scratchMiB,
      files: { "database-password": database.backupUser.password, "database-ca.crt": database.ca },
      env: {
        ...reach,
        PGDATABASE: database.database,
        PGUSER: database.backupUser.role,
        AGE_RECIPIENT: args.ageRecipient,
      },
    });
    const series = [
      { kind: "hourly", cron: args.hourly, startingDeadlineSeconds: 600, activeDeadlineSeconds: 2_700 },
      { kind: "daily", cron: args.daily, startingDeadlineSeconds: 3_600, activeDeadlineSeconds: 10_800 },
      { kind: "weekly", cron: args.weekly, startingDeadlineSeconds: 7_200, activeDeadlineSeconds: 10_800 },
    ];
    for (const { kind, ...schedule } of series) {
      scheduledJob(this, host, {
        name: `backup-${kind}`,
        when: schedule,
        pods: backup,
        env: { BACKUP_KIND: kind },
      });
    }

    const verification = programPods(this, host, {
      name: "backup-verify",
      script: "verify.py",
      resources: args.verificationResources,
      scratchMiB,
      files: { "age-identity": args.ageIdentity },
      env: { MIGRATIONS_TABLE: migrationsTable },
    });
    const schedule = { cron: args.verification, ...daily };
    scheduledJob(this, host, { name: "backup-verify", when: schedule, pods: verification });
    if (database.replicator) this.archived(host, database.replicator, verification, reach);

    const restore = programPods(this, host, {
      name: "backup-restore",
      script: "restore.py",
      resources: args.verificationResources,
      scratchMiB,
      files: {
        "age-identity": args.ageIdentity,
        "backup-password": database.backupUser.password,
        "database-ca.crt": database.ca,
        "owner-password": database.owner.password,
      },
      env: { ...reach, PGUSER: database.owner.role, BACKUP_USER: database.backupUser.role },
    });
    const byHand = { ...schedule, byHand: true };
    scheduledJob(this, host, { name: "backup-restore", when: byHand, pods: restore });
    if (database.replicator) {
      const env = { DATABASE: database.database };
      scheduledJob(this, host, {
        name: "backup-recover",
        when: byHand,
        pods: restore,
        env,
        script: "recover.py",
      });
    }

    const expiry = {
      RETENTION_DAYS: String(args.retentionDays),
      IMMUTABLE_DAYS: String(args.store.immutableDays),
    };
    const retention = programPods(this, host, {
      name: "backup-retention",
      script: "retention.py",
      resources: { cpuMillis: 10, memoryMiB: 96 },
      scratchMiB: 8,
      env: expiry,
    });
    const deletion = { cron: args.retention, ...daily, activeDeadlineSeconds: 3_600 };
    scheduledJob(this, host, { name: "backup-retention", when: deletion, pods: retention });

    this.metrics = backupExporter(this, host, {
      resources: args.exporterResources ?? { cpuMillis: 10, memoryMiB: 96 },
      env: expiry,
      annotations: checksumAnnotation(data),
    });
    this.registerOutputs();
  }

  /** Base backups, and the proof that they and the archived log can be recovered. */
  private archived(
    host: ProgramHost & JobHost,
    replicator: DatabaseUser,
    verification: ProgramPods,
    reach: Readonly<Record<string, pulumi.Input<string>>>,
  ): void {
    const { database, ageRecipient, base, recovery } = this.#args;
    const copy = programPods(this, host, {
      name: "backup-base",
      script: "base.py",
      resources: this.#args.resources,
      scratchMiB: 8,
      files: { "replication-password": replicator.password, "database-ca.crt": database.ca },
      env: { ...reach, PGUSER: replicator.role, AGE_RECIPIENT: ageRecipient },
    });
    scheduledJob(this, host, { name: "backup-base", when: { cron: base, ...daily }, pods: copy });
    // Nothing could be recovered to a point in time before there is one.
    firstJob(this, host, "backup-base-first", copy);
    scheduledJob(this, host, {
      name: "backup-verify-base",
      when: { cron: recovery, ...daily },
      pods: verification,
      env: { STEP: "verify", DATABASE: database.database },
      script: "recover.py",
    });
  }
}
