import type { Logger } from "pino";
import { readConfig } from "./config.ts";
import type { Config } from "./settings.ts";
import type { VariableName } from "./variables.ts";

/** Reads the configuration, says everything that is wrong with it in one log line, and ends the process if it must. */
export function loadConfigOrExit(
  env: NodeJS.ProcessEnv,
  logger: Logger,
  needed?: readonly VariableName[],
): Config {
  const { config, problems } = readConfig(env, needed);
  const log = logger.child({ module: "config" });
  if (!config) {
    log.fatal({ problems }, "configuration refused: correct every variable listed in problems");
    process.exit(1);
  }
  if (problems.length > 0) {
    log.warn(
      { problems },
      "configuration incomplete: what needs the variables listed in problems is switched off",
    );
  }
  return config;
}
