import type { Redis } from "ioredis";
import type { Database } from "../db/database.ts";
import { noTenant } from "../db/tenants.ts";
import { within } from "../deadline.ts";
import type { OutboxRow, Queues } from "./queues.ts";

const batchSize = 200;
const redisTimeoutMs = 2000;

/** Moves jobs from the outbox to the queue. Any number of workers may do so at once: each row is locked by one. */
export class Relay {
  readonly #database: Database;
  readonly #redis: Redis;
  readonly #queues: Queues;
  readonly #checkAfterSeconds: number;

  /** @param checkAfterSeconds how long a queued job is left alone before Redis is asked whether it still has it. */
  constructor(database: Database, redis: Redis, queues: Queues, checkAfterSeconds: number) {
    this.#database = database;
    this.#redis = redis;
    this.#queues = queues;
    this.#checkAfterSeconds = checkAfterSeconds;
  }

  /**
   * Hands pending jobs to the queue, and returns how many. Redis comes before the commit: a job may be added twice,
   * which its id makes harmless, but is never marked as queued without having been added.
   */
  async relay(): Promise<number> {
    return this.#withRows("select * from relay_jobs($1)", [batchSize], (rows) => this.#queues.add(rows));
  }

  /** Hands jobs over again that were queued and that Redis has lost; returns how many it looked at. */
  async sweep(): Promise<number> {
    return this.#withRows(
      "select * from jobs_to_check($1, $2)",
      [this.#checkAfterSeconds, batchSize],
      async (rows) => {
        await this.#queues.add(await this.#queues.missing(rows));
      },
    );
  }

  async #withRows(
    sql: string,
    values: number[],
    handOver: (rows: OutboxRow[]) => Promise<void>,
  ): Promise<number> {
    if (this.#redis.status !== "ready") {
      // The client tells of it, and connects again by itself.
      return 0;
    }
    return this.#database.asTenant(noTenant, async (client) => {
      const { rows } = await client.query<OutboxRow>(sql, values);
      if (rows.length > 0) {
        // Postgres takes the oldest, and returns them in any order.
        const oldestFirst = rows.toSorted((a, b) => a.created_at.getTime() - b.created_at.getTime());
        await within(redisTimeoutMs, handOver(oldestFirst));
      }
      return rows.length;
    });
  }
}
