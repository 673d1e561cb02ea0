import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";

/**
 * Does the work again and again, never twice at once. A failure is logged when it begins, not each time.
 * @returns what ends it, after the round that is under way.
 */
export function repeat(
  name: string,
  everyMs: number,
  work: () => Promise<unknown>,
  logger: Logger,
): () => Promise<void> {
  const log = logger.child({ module: "loop" });
  const stop = new AbortController();
  const done = (async () => {
    let failing = false;
    while (!stop.signal.aborted) {
      try {
        await work();
        failing = false;
      } catch (error) {
        log[failing ? "debug" : "warn"]({ loop: name, error }, "round failed, trying again");
        failing = true;
      }
      await sleep(everyMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  return () => {
    stop.abort();
    return done;
  };
}
