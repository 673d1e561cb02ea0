import type * as pulumi from "@pulumi/pulumi";

import type { DatabaseBinding, RedisBindings } from "./appConnections";
import type { DumpedDatabase } from "./backups";
import type { StackConfig } from "./config";
import type { ImageName } from "./images";
import { Postgres } from "./postgres";
import { Redis } from "./redis";
import type { SecretStore } from "./secrets/secretStore";
import type { MetricsTarget } from "./types";

export interface DataTierArgs {
  /** Namespace to run in. */
  readonly namespace: pulumi.Output<string>;
  /** Keeps the passwords. */
  readonly secrets: SecretStore;
  /** Keeps the volumes when the stack is destroyed, and starts no two members on one node. */
  readonly retainData: boolean;
  /** Looks up the image of a name. */
  readonly image: (name: ImageName) => string;
  /** Sizes of the servers, and what they prove their names with. */
  readonly settings: Pick<StackConfig, "postgres" | "redis" | "internalCa" | "postgresTls" | "redisTls">;
}

/** Everything that the rest of the stack knows of its data: not where it is kept, nor by whom. */
export interface DataTier extends RedisBindings {
  readonly database: DatabaseBinding & DumpedDatabase;
  readonly metrics: readonly MetricsTarget[];
}

/** Stands up Postgres, the queue and the cache. No component itself, so that their names in the state do not hang on it. */
export function dataTier(args: DataTierArgs, opts: pulumi.ComponentResourceOptions): DataTier {
  const { namespace, secrets, retainData, image, settings } = args;
  const ca = secrets.keep("internal-ca", settings.internalCa);
  const certificate = (name: string, pem?: pulumi.Output<string>) => ({
    bundle: secrets.keep(name, pem),
    ca,
  });
  const exporterImage = image("exporters");
  const member = { namespace, secrets, retainData, separateNodes: retainData, exporterImage };
  const server = { image: image("postgres"), certificate: certificate("postgres-tls", settings.postgresTls) };
  const database = new Postgres("postgres", { ...member, ...settings.postgres, ...server }, opts);
  const redis = {
    ...member,
    image: image("redis"),
    certificate: certificate("redis-tls", settings.redisTls),
  };
  const { queue, cache } = settings.redis;
  const redisQueue = new Redis("redis-queue", { ...redis, ...queue, purpose: "queue" }, opts);
  const redisCache = new Redis("redis-cache", { ...redis, ...cache, purpose: "cache" }, opts);
  const metrics = [...database.metrics, redisQueue.metrics, redisCache.metrics];
  return { database, redisQueue, redisCache, metrics };
}
