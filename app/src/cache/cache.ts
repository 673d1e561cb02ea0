import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { z } from "zod";
import { within } from "../deadline.ts";
import type { Metrics } from "../observability/metrics.ts";

/** A cache that takes longer than this is slower than Postgres: do without. */
const timeoutMs = 200;
const lockPollMs = 100;

export interface CacheArgs<T> {
  /** The keys' first part, and the metric's label. */
  family: string;
  schema: z.ZodType<T>;
  redis: Redis | undefined;
  ttlSeconds: number;
  metrics: Metrics;
  logger: Logger;
}

interface Made<T> {
  value: T;
  /** Whether others may have it too, later. */
  keep: boolean;
}

/** What waiting gave: another's value, the lock, or nothing. */
type Waited<T> = { value: T } | { token: string } | undefined;

/** One family of keys in the cache's Redis. It may be lost at any time: a failure is counted and treated as a miss. */
export class Cache<T> {
  readonly #args: CacheArgs<T>;
  readonly #logger: Logger;
  readonly #making = new Map<string, Promise<Made<T>>>();

  constructor(args: CacheArgs<T>) {
    this.#args = args;
    this.#logger = args.logger.child({ module: "cache" });
  }

  async get(id: string): Promise<T | undefined> {
    const { redis, metrics, family } = this.#args;
    if (!redis) {
      return undefined;
    }
    try {
      const value = await this.#read(redis, id);
      metrics.cacheLookedUp(family, value === undefined ? "miss" : "hit");
      return value;
    } catch (error) {
      metrics.cacheLookedUp(family, "error");
      this.#logger.debug({ error }, "cache read failed");
      return undefined;
    }
  }

  async set(id: string, value: T): Promise<void> {
    const { ttlSeconds } = this.#args;
    await this.#attempt((redis) => redis.set(this.#key(id), JSON.stringify(value), "EX", ttlSeconds));
  }

  async forget(id: string): Promise<void> {
    await this.#attempt((redis) => redis.del(this.#key(id)));
  }

  /**
   * The value from the cache, or made now. Who asks while another makes the same, in this process or (for as long as
   * `longestMs`) in another, waits for that one's result; if that one fails, each makes its own.
   * @returns `made` tells whether this call's `make` gave the value.
   * @throws what `make` throws, or the signal's reason.
   */
  async getOrMake(
    id: string,
    make: () => Promise<Made<T>>,
    longestMs: number,
    signal: AbortSignal,
  ): Promise<{ value: T; made: boolean }> {
    const others = this.#making.get(id);
    if (others) {
      const theirs = await unlessAborted(others, signal).catch(() => undefined);
      signal.throwIfAborted();
      return theirs ? { value: theirs.value, made: false } : { value: (await make()).value, made: true };
    }
    let made = false;
    const making = this.#lookUpOrMake(
      id,
      () => {
        made = true;
        return make();
      },
      longestMs,
      signal,
    ).finally(() => this.#making.delete(id));
    this.#making.set(id, making);
    const { value } = await making;
    return { value, made };
  }

  async #lookUpOrMake(
    id: string,
    make: () => Promise<Made<T>>,
    longestMs: number,
    signal: AbortSignal,
  ): Promise<Made<T>> {
    const cached = await this.get(id);
    const waited = cached === undefined ? await this.#waitForLock(id, longestMs, signal) : { value: cached };
    if (waited && "value" in waited) {
      return { value: waited.value, keep: false };
    }
    try {
      const result = await make();
      if (result.keep) {
        await this.set(id, result.value);
      }
      return result;
    } finally {
      if (waited) {
        await this.#release(id, waited.token);
      }
    }
  }

  /** The lock, the value that another process made meanwhile, or undefined when there is no point in waiting. */
  async #waitForLock(id: string, longestMs: number, signal: AbortSignal): Promise<Waited<T>> {
    const { redis } = this.#args;
    if (!redis) {
      return undefined;
    }
    const token = randomUUID();
    const end = performance.now() + longestMs;
    try {
      while (performance.now() < end) {
        const set = redis.set(`${this.#key(id)}:lock`, token, "PX", longestMs, "NX");
        if ((await within(timeoutMs, set)) === "OK") {
          // Between the look-up and the lock another may have finished.
          const value = await this.#read(redis, id);
          return value === undefined ? { token } : { value };
        }
        await sleep(lockPollMs, undefined, { signal });
        const value = await this.#read(redis, id);
        if (value !== undefined) {
          return { value };
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      this.#logger.debug({ error }, "cache lock failed");
    }
    return undefined;
  }

  /** A lock that has expired meanwhile may be another's now. */
  async #release(id: string, token: string): Promise<void> {
    const script =
      "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
    await this.#attempt((redis) => redis.eval(script, 1, `${this.#key(id)}:lock`, token));
  }

  async #read(redis: Redis, id: string): Promise<T | undefined> {
    const text = await within(timeoutMs, redis.get(this.#key(id)));
    return text === null ? undefined : this.#args.schema.parse(JSON.parse(text));
  }

  async #attempt(write: (redis: Redis) => Promise<unknown>): Promise<void> {
    try {
      if (this.#args.redis) {
        await within(timeoutMs, write(this.#args.redis));
      }
    } catch (error) {
      this.#logger.debug({ error }, "cache write failed");
    }
  }

  #key(id: string): string {
    return `${this.#args.family}:${id}`;
  }
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      reject(new Error("aborted"));
    };
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", abort);
    });
  });
}
