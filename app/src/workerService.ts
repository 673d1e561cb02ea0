import { Worker } from "bullmq";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { createLanguageModel } from "./ai/createLanguageModel.ts";
import type { LanguageModel } from "./ai/languageModel.ts";
import { fieldKeyStore } from "./auth/keyStore.ts";
import { createRedis } from "./cache/redis.ts";
import type { Config } from "./config/settings.ts";
import { batches as batchNames } from "./config/jobVariables.ts";
import { FieldCipher } from "./crypto/fieldCipher.ts";
import { checkMigrations, checkPostgres } from "./db/check.ts";
import { Database } from "./db/database.ts";
import { createPool } from "./db/pool.ts";
import { noTenant } from "./db/tenants.ts";
import { within } from "./deadline.ts";
import { listen } from "./http/listen.ts";
import { serveMetrics } from "./http/metricsServer.ts";
import { Readiness } from "./http/readiness.ts";
import { Batches } from "./jobs/batches.ts";
import { collect } from "./jobs/handlers/collect.ts";
import { generate } from "./jobs/handlers/generate.ts";
import type { Handlers } from "./jobs/handlers/handler.ts";
import { summarize } from "./jobs/handlers/summarize.ts";
import { type JobKind, jobKinds } from "./jobs/job.ts";
import { repeat } from "./jobs/loop.ts";
import { JobMetrics } from "./jobs/metrics.ts";
import { batchQueue, prefix, Queues } from "./jobs/queues.ts";
import { Relay } from "./jobs/relay.ts";
import { JobRepository } from "./jobs/repository.ts";
import { handBackSeconds, Runner, stalledAfter } from "./jobs/runner.ts";
import { TenantSlots } from "./jobs/tenantSlots.ts";
import { requestContext, runInContext } from "./observability/context.ts";
import { Metrics } from "./observability/metrics.ts";

export interface WorkerService {
  metricsPort: number;
  /** Takes no more jobs, finishes or hands back those in hand, then lets go of everything. */
  stop(): Promise<void>;
}

interface WorkerOptions {
  /** Default: the configured one. */
  model?: LanguageModel;
  /** In place of the usual ones. */
  handlers?: Partial<Handlers>;
  relayEveryMs?: number;
  /** How often Redis is compared with the outbox, and the gauges are set. */
  maintainEveryMs?: number;
  /** A queued job is looked for in Redis after so long. */
  checkAfterSeconds?: number;
}

/** Wires the worker together and starts it. Dependencies that are away are waited for. */
export async function startWorker(
  config: Config,
  logger: Logger,
  {
    model: givenModel,
    handlers = {},
    relayEveryMs = 250,
    maintainEveryMs = 5000,
    checkAfterSeconds = 10,
  }: WorkerOptions = {},
): Promise<WorkerService> {
  const log = logger.child({ module: "worker" });
  if (!config.database || !config.queue) {
    throw new Error("DATABASE_URL and REDIS_QUEUE_URL must be set: without them there are no jobs");
  }
  const metrics = new Metrics();
  const jobMetrics = new JobMetrics(metrics.registry);
  const model = givenModel ?? createLanguageModel(config.ai, metrics, logger);
  const queryDone = metrics.queryDone.bind(metrics);
  const pool = createPool(config.database, logger, undefined, queryDone);
  const database = new Database(pool, logger);
  metrics.watchPool(() => database.use());
  const probePool = createPool(config.database, logger, { min: 1, max: 2 });
  const redis = createRedis(config.queue, "queue", logger);
  const workerRedis = createRedis(config.queue, "worker", logger, { blocking: true });
  const readiness = new Readiness(
    {
      postgres: { check: () => checkPostgres(probePool) },
      migrations: { check: () => checkMigrations(probePool) },
      "redis-queue": { check: () => redis.ping() },
    },
    logger,
  );

  const queues = new Queues(redis, config.jobs);
  const relay = new Relay(database, redis, queues, checkAfterSeconds);
  const batches = new Batches({ database, queues, config: config.jobs, metrics: jobMetrics, logger });
  const runner = new Runner({
    connection: workerRedis,
    config: config.jobs,
    repository: new JobRepository(database, new FieldCipher(fieldKeyStore(config.fieldKeysFile, logger))),
    slots: new TenantSlots(redis),
    handlers: {
      collect: collect(database, config.jobs.feedsFile, jobMetrics),
      summarize: summarize(database, model, jobMetrics),
      generate: generate(model),
      ...handlers,
    },
    metrics: jobMetrics,
    logger,
  });
  const batchWorker = new Worker(
    batchQueue,
    async ({ id = "", name }) => {
      const batch = batchNames.find((known) => known === name);
      if (batch) {
        const context = { ...requestContext(undefined, undefined), jobId: id };
        await runInContext(context, () => batches.run(batch, id));
      }
    },
    { connection: workerRedis, prefix, ...stalledAfter },
  );
  batchWorker.on("error", (error) => {
    log.debug({ error, queue: batchQueue }, "queue error");
  });

  const loops = [
    repeat("relay", relayEveryMs, () => relay.relay(), logger),
    repeat("maintenance", maintainEveryMs, () => maintain(relay, queues, batches, redis), logger),
    repeat("gauges", maintainEveryMs, () => setGauges(database, queues, batches, jobMetrics), logger),
  ];
  const metricsHttp = await listen(serveMetrics(metrics, readiness), config.metricsPort);
  log.info({ metrics_port: metricsHttp.port }, "working");

  return {
    metricsPort: metricsHttp.port,
    async stop() {
      log.info({ grace_seconds: config.jobs.graceSeconds }, "shutting down");
      readiness.shutDown();
      await Promise.all(loops.map((end) => end()));
      const closed = Promise.all([runner.close(), batchWorker.close()]).then(() => queues.close());
      // A queue that never reached Redis does not close either.
      const longestMs = (config.jobs.graceSeconds + handBackSeconds + 1) * 1000;
      await within(longestMs, closed).catch((error: unknown) => {
        log.warn({ error }, "queues not closed in time");
      });
      redis.disconnect();
      workerRedis.disconnect();
      await metricsHttp.close(0);
      await Promise.all([database.close(), probePool.end()]);
      log.info("stopped");
    },
  };
}

/** Puts back into Redis what it lost. */
async function maintain(relay: Relay, queues: Queues, batches: Batches, redis: Redis): Promise<void> {
  if (redis.status === "ready") {
    await relay.sweep();
    await queues.limitBatches();
    await batches.schedule();
  }
}

/** Those that Postgres knows come first: they matter most while Redis is away. */
async function setGauges(
  database: Database,
  queues: Queues,
  batches: Batches,
  metrics: JobMetrics,
): Promise<void> {
  const { rows } = await database.asTenant(noTenant, (client) =>
    client.query<{ kind: JobKind; state: string; jobs: number; oldest_seconds: number }>(
      "select * from job_counts()",
    ),
  );
  const pending = rows.filter(({ state }) => state === "pending");
  metrics.outbox(
    pending.reduce((sum, { jobs }) => sum + jobs, 0),
    Math.max(0, ...pending.map(({ oldest_seconds }) => oldest_seconds)),
  );
  for (const { batch, at } of await batches.lastSuccesses()) {
    metrics.batchSucceededAt(batch, at);
  }
  for (const kind of jobKinds) {
    metrics.deadLetters(kind, rows.find((row) => row.kind === kind && row.state === "dead")?.jobs ?? 0);
    const waiting = await queues.waiting(kind);
    if (waiting) {
      metrics.waiting(kind, waiting.jobs, waiting.oldestSeconds);
    }
  }
}
