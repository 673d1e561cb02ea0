import type * as pulumi from "@pulumi/pulumi";

import type { DatabaseBinding, RedisBinding, RedisBindings } from "./appConnections.ts";
import type { DumpedDatabase } from "./backups.ts";
import type { BlobStore } from "./blobStore.ts";
import type { ServerCertificate } from "./certificates.ts";
import type { StackConfig } from "./config.ts";
import { azureAuthorities, type ManagedHost } from "./azure/managed.ts";
import { ManagedPostgres } from "./azure/managedPostgres.ts";
import { ManagedRedis } from "./azure/managedRedis.ts";
import { ExistingPostgres } from "./existingPostgres.ts";
import type { ImageName } from "./images.ts";
import { Postgres } from "./postgres.ts";
import { Redis } from "./redis.ts";
import type { SecretStore } from "./secrets/secretStore.ts";
import type { MetricsTarget } from "./types.ts";

export interface DataTierArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Keeps the passwords. */
  readonly secrets: SecretStore;
  /** Keeps the volumes when the stack is destroyed, and starts no two members on one node. */
  readonly retainData: boolean;
  /** Looks up the image of a name. */
  readonly image: (name: ImageName) => pulumi.Input<string>;
  /** Where Postgres' write-ahead log is archived, unless Azure runs it. */
  readonly archive: BlobStore;
  /** What Azure's services are made with, where the stack has Azure. */
  readonly managed?: ManagedHost | undefined;
  /** Who runs the servers, and their sizes. */
  readonly settings: Pick<StackConfig, "postgres" | "redis" | "postgresCa" | "postgresAdminPassword">;
  /** What they prove their names with, where they run in the cluster. */
  readonly certificates: Readonly<Record<"postgres" | "redis", ServerCertificate>>;
}

/** Everything that the rest of the stack knows of its data: not where it is kept, nor by whom. */
export interface DataTier extends RedisBindings {
  readonly database: DatabaseBinding & DumpedDatabase;
  readonly metrics: readonly MetricsTarget[];
}

/**
 * Stands up Postgres, the queue and the cache, in the cluster or as services of Azure; or uses a Postgres that is there. No
 * component itself, so that their names in the state do not hang on it.
 */
export function dataTier(
  args: DataTierArgs,
  opts: pulumi.ComponentResourceOptions & { readonly provider: pulumi.ProviderResource },
): DataTier {
  const { namespace, secrets, retainData, image, settings, certificates, managed } = args;
  const { postgres, redis } = settings;
  const common = { namespace, secrets, exporterImage: image("exporters") };
  const member = { ...common, retainData, separateNodes: retainData };
  const byAzure = [postgres.kind, redis.kind].includes("managed");
  const service = managed &&
    byAzure && { ...common, host: managed, ca: secrets.keep("azure-data-ca", azureAuthorities()) };
  // Both providers by `providers`: `provider` beside it would be an error one day.
  const { provider, ...shared } = opts;
  const azureOpts = managed ? { ...shared, providers: [provider, managed.provider] } : opts;

  const { passwords } = postgres;
  const server = { image: image("postgres"), storageGiB: postgres.storageGiB };
  const makeDatabase = () => {
    const { existing } = postgres;
    if (service && postgres.kind === "managed")
      return new ManagedPostgres(
        "postgres",
        { ...service, ...postgres.managed, ...server, passwords },
        azureOpts,
      );
    if (postgres.kind === "existing" && existing) {
      const password = secrets.keep("postgres-admin-password", settings.postgresAdminPassword);
      const ca = secrets.keep("postgres-ca", settings.postgresCa);
      const { host, port, admin } = existing;
      const at = { host, port, admin: { role: admin, password }, ca, passwords };
      return new ExistingPostgres("postgres", { ...common, ...at, image: server.image }, opts);
    }
    const { archive } = args;
    const own = { ...member, ...postgres, ...server, archive, certificate: certificates.postgres };
    return new Postgres("postgres", own, opts);
  };
  const database = makeDatabase();
  const instances = (): Pick<DataTier, "redisQueue" | "redisCache"> & { metrics: MetricsTarget[] } => {
    const { passwords } = redis;
    const made = (queue: RedisInstance, cache: RedisInstance) => ({
      redisQueue: queue,
      redisCache: cache,
      metrics: [queue.metrics, cache.metrics],
    });
    if (service && redis.kind === "managed") {
      const { queueSku, cacheSku } = redis.managed;
      return made(
        new ManagedRedis(
          "redis-queue",
          { ...service, passwords, purpose: "queue", sku: queueSku },
          azureOpts,
        ),
        new ManagedRedis(
          "redis-cache",
          { ...service, passwords, purpose: "cache", sku: cacheSku },
          azureOpts,
        ),
      );
    }
    const own = {
      ...member,
      passwords,
      image: image("redis"),
      certificate: certificates.redis,
    };
    return made(
      new Redis("redis-queue", { ...own, ...redis.queue, purpose: "queue" }, opts),
      new Redis("redis-cache", { ...own, ...redis.cache, purpose: "cache" }, opts),
    );
  };
  const { metrics, ...redisBindings } = instances();
  return { database, ...redisBindings, metrics: [...database.metrics, ...metrics] };
}

type RedisInstance = RedisBinding & { readonly metrics: MetricsTarget };
