import { loadConfigOrExit } from "./config/load.ts";
import { createProcessLogger } from "./observability/logger.ts";
import { startTracing } from "./observability/startTracing.ts";
import { endOnUncaught, stopOnSignal } from "./process.ts";
import { startService } from "./service.ts";

const logger = createProcessLogger(process.env);
endOnUncaught(logger.child({ module: "server" }));

const config = loadConfigOrExit(process.env, logger);
logger.level = config.logLevel;
const tracing = startTracing(config.tracing, "groundwork-app");
const started = startService(config, logger);

stopOnSignal(async () => {
  await (await started).stop();
  await tracing.stop();
});
