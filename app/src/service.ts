import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { createRedis } from "./cache/redis.ts";
import type { Config } from "./config/settings.ts";
import { checkMigrations, checkPostgres } from "./db/check.ts";
import { Database } from "./db/database.ts";
import { createPool } from "./db/pool.ts";
import { countDocuments } from "./documents/repository.ts";
import { createFeatures } from "./features.ts";
import { createApp } from "./http/app.ts";
import { listen } from "./http/listen.ts";
import { serveMetrics } from "./http/metricsServer.ts";
import { type Dependency, Readiness } from "./http/readiness.ts";
import { ServedCertificate } from "./http/servedCertificate.ts";
import { repeat } from "./jobs/loop.ts";
import { Metrics } from "./observability/metrics.ts";

export interface Service {
  port: number;
  metricsPort: number;
  /** Answers not ready, waits for traffic to move on, finishes what is in flight, then lets go of everything. */
  stop(): Promise<void>;
}

/** Below Kubernetes' 30 s between SIGTERM and SIGKILL together with the delay before it. */
const inFlightGraceSeconds = 20;

/** A restored database may be from before the user, and the password may be renewed. */
const probeUserEveryMs = 60_000;

/** Wires the parts together and starts listening. Dependencies that are away are waited for by /ready, not here. */
export async function startService(config: Config, logger: Logger): Promise<Service> {
  const log = logger.child({ module: "service" });
  const metrics = new Metrics();
  const queryDone = metrics.queryDone.bind(metrics);
  const pool = config.database && createPool(config.database, logger, undefined, queryDone);
  const database = new Database(pool, logger);
  metrics.watchPool(() => database.use());
  // Connections of their own: a pool that is used up by load must not look like a Postgres that is gone.
  const probePool = config.database && createPool(config.database, logger, { min: 1, max: 2 });
  const cacheRedis = config.cache && createRedis(config.cache, "cache", logger);
  const queueRedis = config.queue && createRedis(config.queue, "queue", logger);

  const features = createFeatures({ config, logger, metrics, database, cacheRedis, queueRedis });

  const readiness = new Readiness(
    {
      postgres: { check: needing(probePool, "DATABASE_URL", checkPostgres) },
      migrations: { check: needing(probePool, "DATABASE_URL", checkMigrations) },
      // Reads fall back to Postgres: were this needed, one lost cache would take every pod out of service.
      "redis-cache": {
        check: needing(cacheRedis, "REDIS_CACHE_URL", (redis) => redis.ping()),
        optional: true,
      },
      "redis-queue": { check: needing(queueRedis, "REDIS_QUEUE_URL", (redis) => redis.ping()) },
      ...features.externalApis,
    },
    logger,
  );
  if (probePool) {
    metrics.watchKnowledge(() => countDocuments(probePool));
  }
  const app = createApp({ config, logger, metrics, readiness, ...features });

  const { chat, probeUser } = features;
  const certificate =
    config.tlsFile === undefined ? undefined : new ServedCertificate(config.tlsFile, logger);
  const http = await listen(app, config.port, { upgrades: chat.sockets, certificate });
  const metricsHttp = await listen(serveMetrics(metrics), config.metricsPort);
  const endProbeUser = probeUser && repeat("probe user", probeUserEveryMs, () => probeUser.ensure(), logger);
  log.info({ port: http.port, metrics_port: metricsHttp.port }, "listening");

  return {
    port: http.port,
    metricsPort: metricsHttp.port,
    async stop() {
      log.info({ delay_seconds: config.shutdownDelaySeconds }, "shutting down");
      readiness.shutDown();
      await endProbeUser?.();
      await sleep(config.shutdownDelaySeconds * 1000);
      await chat.sockets.close();
      // Answers end a little before the connections are cut off, so that their readers hear of it.
      await Promise.all([http.close(inFlightGraceSeconds), chat.service.close(inFlightGraceSeconds - 2)]);
      await metricsHttp.close(0);
      cacheRedis?.disconnect();
      queueRedis?.disconnect();
      await Promise.all([database.close(), probePool?.end()]);
      log.info("stopped");
    },
  };
}

/** A check of something that is only there when it is configured. */
function needing<T>(
  dependency: T | undefined,
  variable: string,
  check: (dependency: T) => Promise<unknown>,
): Dependency["check"] {
  return async () => {
    if (dependency === undefined) {
      throw new Error(`${variable} is not set`);
    }
    await check(dependency);
  };
}
