import type { Logger } from "pino";

/** Ends the process, with a line that says why, when an error was caught by nobody. */
export function endOnUncaught(logger: Logger): void {
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error: unknown) => {
      logger.fatal({ error }, "unexpected error, ending");
      process.exit(1);
    });
  }
}

/**
 * On SIGTERM or SIGINT stops, then ends the process. A second signal finds no handler and ends it at once. To be called before
 * anything is started: a container's first process without a handler does not hear the signal at all.
 */
export function stopOnSignal(stop: () => Promise<unknown>): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      void stop().then(() => process.exit(0));
    });
  }
}
