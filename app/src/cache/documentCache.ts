import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { type StoredDocument, storedDocument } from "../documents/document.ts";
import type { Metrics } from "../observability/metrics.ts";
import { Cache } from "./cache.ts";

/**
 * Documents as they were last read. When a change cannot be told to it, or crosses a read, readers see the old
 * document for at most the TTL.
 */
export class DocumentCache {
  readonly #cache: Cache<StoredDocument>;

  constructor(redis: Redis | undefined, ttlSeconds: number, metrics: Metrics, logger: Logger) {
    this.#cache = new Cache({
      family: "document",
      schema: storedDocument,
      redis,
      ttlSeconds,
      metrics,
      logger,
    });
  }

  async get(tenantId: string, id: string): Promise<StoredDocument | undefined> {
    return this.#cache.get(`${tenantId}:${id}`);
  }

  async set(tenantId: string, document: StoredDocument): Promise<void> {
    await this.#cache.set(`${tenantId}:${document.id}`, document);
  }

  async forget(tenantId: string, id: string): Promise<void> {
    await this.#cache.forget(`${tenantId}:${id}`);
  }
}
