import { readFileSync } from "node:fs";
import { SpanKind } from "@opentelemetry/api";
import { Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import type { RedisConfig } from "../config/settings.ts";
import { isRecording, traced } from "../observability/tracing.ts";

/** Where and as whom to connect; over TLS only to a server whose certificate bears the name, signed by the CA. */
export function connectionOptions(config: RedisConfig) {
  const { host, port, user, databaseIndex, tls, caFile, sentinels } = config;
  const trust = caFile === undefined ? {} : { ca: readFileSync(caFile, "utf8") };
  const identity = { ...(user !== undefined && { username: user }), password: readPassword(config) };
  return {
    ...(sentinels.length === 0 ? { host, port } : sentinelOptions(config, trust)),
    db: databaseIndex,
    ...(tls && { tls: trust }),
    ...identity,
  } satisfies RedisOptions;
}

/**
 * Sentinels take the same user as the servers. ioredis' own `failoverDetector` is left off: told of a new primary while it
 * is connecting already, it gives up for ever.
 */
function sentinelOptions(config: RedisConfig, trust: { ca?: string }) {
  const { sentinels, user, tls } = config;
  const password = readPassword(config);
  return {
    sentinels,
    name: "queue",
    ...(user !== undefined && { sentinelUsername: user }),
    ...(password !== undefined && { sentinelPassword: password }),
    ...(tls && { enableTLSForSentinelMode: true, sentinelTLS: trust }),
    // Names of members that have just started may be missing for a moment.
    sentinelRetryStrategy: (attempt: number) => Math.min(100 * attempt, 1000),
  } satisfies RedisOptions;
}

interface RedisClientOptions {
  /**
   * Commands may wait for work, and for Redis to be back, and are sent again when their connection was lost: what BullMQ's
   * workers need. They ask the server once what it is, and one that is not answered then never works.
   */
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
  const redis: Redis = new Redis({
    ...connectionOptions(config),
    connectionName: `groundwork-app-${name}`,
    keepAlive: 10_000,
    connectTimeout: 1000,
    // A primary of before that has come back, or been cut off, takes connections and no writes: the Sentinels know better.
    reconnectOnError: (error) => /^(NOREPLICAS|READONLY) /.test(error.message),
    ...(blocking
      ? { maxRetriesPerRequest: null }
      : {
          maxRetriesPerRequest: 0,
          autoResendUnfulfilledCommands: false,
          commandTimeout: 2000,
          enableOfflineQueue: false,
          // A server that is gone with its connections left open says nothing; this closes ours, and another is asked
          // for. BullMQ does the same for those that wait for work.
          socketTimeout: 2500,
        }),
    // Called on the options of the client itself: a duplicate has options of its own.
    retryStrategy(this: RedisOptions, attempt: number) {
      this.password = readPassword(config);
      return Math.min(100 * attempt, 1000);
    },
  });
  traceCommands(redis);
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

/** A span for each command of a request that is being recorded. Every command passes here; keys are not told. */
function traceCommands(redis: Redis): void {
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, stream) => {
    if (!isRecording()) {
      return send(command, stream);
    }
    const name = command.name.toUpperCase();
    const attributes = { "db.system.name": "redis", "db.operation.name": name };
    return traced(name, { kind: SpanKind.CLIENT, attributes }, async () => await send(command, stream));
  };
}

/** A file that is gone for a moment (being replaced) is no reason to fail: the next attempt reads it again. */
function readPassword({ passwordFile }: RedisConfig): string | undefined {
  try {
    return passwordFile === undefined ? undefined : readFileSync(passwordFile, "utf8").trim();
  } catch {
    return undefined;
  }
}
