import { readFileSync } from "node:fs";
import { Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import type { RedisConfig } from "../config/config.ts";

interface RedisClientOptions {
  /** Commands may wait for work, and for Redis to be back: what BullMQ's workers need. */
  blocking?: boolean;
}

/**
 * A client that, unless it is `blocking`, fails at once while Redis is away instead of queueing; it reconnects for ever
 * in the background. The password is read again for every new connection, also by its duplicates.
 */
export function createRedis(
  config: RedisConfig,
  name: string,
  logger: Logger,
  { blocking = false }: RedisClientOptions = {},
): Redis {
  const log = logger.child({ module: "redis" });
  const redis = new Redis({
    host: config.host,
    port: config.port,
    db: config.databaseIndex,
    ...(config.tls && { tls: {} }),
    password: readPassword(config),
    connectionName: `groundwork-app-${name}`,
    keepAlive: 10_000,
    connectTimeout: 1000,
    autoResendUnfulfilledCommands: false,
    ...(blocking
      ? { maxRetriesPerRequest: null }
      : { maxRetriesPerRequest: 0, commandTimeout: 2000, enableOfflineQueue: false }),
    // Called on the options of the client itself: a duplicate has options of its own.
    retryStrategy(this: RedisOptions, attempt: number) {
      this.password = readPassword(config);
      return Math.min(100 * attempt, 1000);
    },
  });
  let lost = false;
  redis.on("ready", () => {
    lost = false;
    log.info({ instance: name }, "connected to Redis");
  });
  redis.on("error", (error) => {
    // One line per loss, not one per attempt.
    if (!lost) {
      lost = true;
      log.warn({ instance: name, error }, "Redis does not answer, trying again in the background");
    }
  });
  return redis;
}

/** A file that is gone for a moment (being replaced) is no reason to fail: the next attempt reads it again. */
function readPassword({ passwordFile }: RedisConfig): string | undefined {
  try {
    return passwordFile === undefined ? undefined : readFileSync(passwordFile, "utf8").trim();
  } catch {
    return undefined;
  }
}
