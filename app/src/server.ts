import { loadConfigOrExit } from "./config/load.ts";
import { createProcessLogger } from "./observability/logger.ts";
import { startTracing } from "./observability/startTracing.ts";
import { startService } from "./service.ts";

const logger = createProcessLogger(process.env);
const log = logger.child({ module: "server" });

for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => {
    log.fatal({ error }, "unexpected error, ending");
    process.exit(1);
  });
}

const config = loadConfigOrExit(process.env, logger);
logger.level = config.logLevel;
const tracing = startTracing(config.tracing, "groundwork-app");
const service = await startService(config, logger);

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  // A second signal finds no handler and ends the process at once.
  process.once(signal, () => {
    void service
      .stop()
      .then(() => tracing.stop())
      .then(() => process.exit(0));
  });
}
