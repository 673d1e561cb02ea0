import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { within } from "../deadline.ts";
import { type StoredDocument, storedDocument } from "../documents/document.ts";
import type { Metrics } from "../observability/metrics.ts";

/** A cache that takes longer than this is slower than Postgres: do without. */
const timeoutMs = 200;

/**
 * Documents as they were last read. It may be lost at any time: a failure is counted and treated as a miss. When a
 * change cannot be told to it, or crosses a read, readers see the old document for at most the TTL.
 */
export class DocumentCache {
  readonly #redis: Redis | undefined;
  readonly #ttlSeconds: number;
  readonly #metrics: Metrics;
  readonly #logger: Logger;

  constructor(redis: Redis | undefined, ttlSeconds: number, metrics: Metrics, logger: Logger) {
    this.#redis = redis;
    this.#ttlSeconds = ttlSeconds;
    this.#metrics = metrics;
    this.#logger = logger.child({ module: "cache" });
  }

  async get(tenantId: string, id: string): Promise<StoredDocument | undefined> {
    if (!this.#redis) {
      return undefined;
    }
    try {
      const text = await within(timeoutMs, this.#redis.get(key(tenantId, id)));
      this.#metrics.cacheLookedUp("document", text === null ? "miss" : "hit");
      return text === null ? undefined : storedDocument.parse(JSON.parse(text));
    } catch (error) {
      this.#metrics.cacheLookedUp("document", "error");
      this.#logger.debug({ error }, "cache read failed");
      return undefined;
    }
  }

  async set(tenantId: string, document: StoredDocument): Promise<void> {
    await this.#attempt((redis) =>
      redis.set(key(tenantId, document.id), JSON.stringify(document), "EX", this.#ttlSeconds),
    );
  }

  async forget(tenantId: string, id: string): Promise<void> {
    await this.#attempt((redis) => redis.del(key(tenantId, id)));
  }

  async #attempt(write: (redis: Redis) => Promise<unknown>): Promise<void> {
    try {
      if (this.#redis) {
        await within(timeoutMs, write(this.#redis));
      }
    } catch (error) {
      this.#logger.debug({ error }, "cache write failed");
    }
  }
}

function key(tenantId: string, id: string): string {
  return `document:${tenantId}:${id}`;
}
