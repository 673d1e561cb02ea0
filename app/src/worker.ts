import { setTimeout as sleep } from "node:timers/promises";
import { loadConfigOrExit } from "./config/load.ts";
import { createProcessLogger } from "./observability/logger.ts";
import { startTracing } from "./observability/startTracing.ts";
import { startWorker } from "./workerService.ts";

const logger = createProcessLogger(process.env);
const log = logger.child({ module: "worker" });
/** For what does not let go by itself, beyond the time that jobs are given. */
const lastResortSeconds = 8;

for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    log.fatal({ error }, "unexpected error, ending");
    process.exit(1);
  });
}

const config = loadConfigOrExit(process.env, logger, [
  "DATABASE_URL",
  "DATABASE_PASSWORD_FILE",
  "REDIS_QUEUE_URL",
  "REDIS_QUEUE_PASSWORD_FILE",
  "REDIS_CACHE_URL",
  "REDIS_CACHE_PASSWORD_FILE",
  "FIELD_KEYS_FILE",
]);
logger.level = config.logLevel;
if (!config.database || !config.queue) {
  log.fatal("DATABASE_URL and REDIS_QUEUE_URL must be set: without them there are no jobs");
  process.exit(1);
}
const tracing = startTracing(config.tracing, "groundwork-worker");
const service = await startWorker(config, logger);

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  // A second signal finds no handler and ends the process at once.
  process.once(signal, () => {
    const lastResort = sleep((config.jobs.graceSeconds + lastResortSeconds) * 1000);
    const stopped = service.stop().then(() => tracing.stop());
    void Promise.race([stopped, lastResort]).then(() => process.exit(0));
  });
}
