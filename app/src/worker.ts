import { setTimeout as sleep } from "node:timers/promises";
import { loadConfigOrExit } from "./config/load.ts";
import { createProcessLogger } from "./observability/logger.ts";
import { startTracing } from "./observability/startTracing.ts";
import { endOnUncaught, stopOnSignal } from "./process.ts";
import { startWorker } from "./workerService.ts";

const logger = createProcessLogger(process.env);
const log = logger.child({ module: "worker" });
endOnUncaught(log);
/** For what does not let go by itself, beyond the time that jobs are given. */
const lastResortSeconds = 8;

const config = loadConfigOrExit(process.env, logger, [
  "DATABASE_URL",
  "DATABASE_PASSWORD_FILE",
  "REDIS_QUEUE_URL",
  "REDIS_QUEUE_PASSWORD_FILE",
]);
logger.level = config.logLevel;
if (!config.database || !config.queue) {
  log.fatal("DATABASE_URL and REDIS_QUEUE_URL must be set: without them there are no jobs");
  process.exit(1);
}
const tracing = startTracing(config.tracing, "groundwork-worker");
const started = startWorker(config, logger);

const stop = async (): Promise<void> => {
  await (await started).stop();
  await tracing.stop();
};
stopOnSignal(() => Promise.race([stop(), sleep((config.jobs.graceSeconds + lastResortSeconds) * 1000)]));
