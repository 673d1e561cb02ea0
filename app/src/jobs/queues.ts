import { setTimeout as sleep } from "node:timers/promises";
import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import type { JobsConfig } from "../config/jobVariables.ts";
import { type JobKind, jobKinds } from "./job.ts";

/** Before every key of the queues, so that they can share a Redis with others. */
export const prefix = "groundwork";
export const batchQueue = "batches";
const reopenAfterMs = 500;

/** The jobs that were postponed for their tenant's limit, by when they were asked for. */
export function postponedKey(queue: string): string {
  return `${prefix}:postponed:${queue}`;
}

/** What Redis is told of a job. The rest stays in Postgres, behind row-level security. */
export interface QueuedJob {
  tenantId: string;
}

/** A row of the outbox on its way to the queue. */
export interface OutboxRow {
  id: string;
  tenant_id: string;
  kind: JobKind;
  created_at: Date;
}

/** The queues as those see them who put jobs in. */
export class Queues {
  readonly #queues: Record<JobKind | typeof batchQueue, Queue<QueuedJob>>;
  readonly #connection: Redis;
  readonly #config: JobsConfig;
  #closed = false;

  constructor(connection: Redis, config: JobsConfig) {
    this.#connection = connection;
    this.#config = config;
    this.#queues = {
      collect: this.#open("collect"),
      summarize: this.#open("summarize"),
      generate: this.#open("generate"),
      [batchQueue]: this.#open(batchQueue),
    };
  }

  get batches(): Queue {
    return this.#queues[batchQueue];
  }

  #open(name: JobKind | typeof batchQueue): Queue<QueuedJob> {
    const queue = new Queue<QueuedJob>(name, { connection: this.#connection, prefix });
    // The client's own listener has logged it; unheard here it would end the process.
    queue.on("error", () => undefined);
    // It asks the server once what it is. When the connection is lost just then, all that it is asked for fails for ever.
    queue.waitUntilReady().catch(async () => {
      await queue.close();
      await sleep(reopenAfterMs);
      if (!this.#closed) {
        this.#queues[name] = this.#open(name);
      }
    });
    return queue;
  }

  /** The job's id is the row's: what the queue has already is not added again. */
  async add(rows: readonly OutboxRow[]): Promise<void> {
    const { retries, backoffSeconds } = this.#config;
    for (const kind of jobKinds) {
      const jobs = rows
        .filter((row) => row.kind === kind)
        .map((row) => ({
          name: kind,
          data: { tenantId: row.tenant_id },
          opts: {
            jobId: row.id,
            timestamp: row.created_at.getTime(),
            attempts: retries + 1,
            backoff: { type: "exponential", delay: backoffSeconds * 1000, jitter: 0.2 },
            // Postgres remembers them; here a finished job would keep its id from being used for a re-drive.
            removeOnComplete: true,
            removeOnFail: true,
          },
        }));
      if (jobs.length > 0) {
        await this.#queues[kind].addBulk(jobs);
      }
    }
  }

  /** Which of the rows Redis does not know. */
  async missing(rows: readonly OutboxRow[]): Promise<OutboxRow[]> {
    const states = await Promise.all(rows.map(({ id, kind }) => this.#queues[kind].getJobState(id)));
    return rows.filter((_row, index) => states[index] === "unknown");
  }

  /** One batch at a time, whatever the number of workers. The limit lives in Redis and is lost with it. */
  async limitBatches(): Promise<void> {
    await this.batches.setGlobalConcurrency(1);
  }

  /**
   * Jobs that any worker could begin, and how long the oldest that none has begun has been waiting since it was asked
   * for, the postponed ones among them, which more workers would not begin sooner; undefined while Redis is away.
   */
  async waiting(kind: JobKind): Promise<{ jobs: number; oldestSeconds: number } | undefined> {
    if (this.#connection.status !== "ready") {
      return undefined;
    }
    const queue = this.#queues[kind];
    const postponed = postponedKey(kind);
    const [jobs, oldest, , oldestPostponed] = await Promise.all([
      queue.getWaitingCount(),
      queue.getJobs("waiting", 0, 0, true),
      // Those that are delayed yet: what was begun, or waits like any other, is postponed no longer.
      this.#connection.zinterstore(postponed, 2, postponed, queue.toKey("delayed"), "WEIGHTS", 1, 0),
      this.#connection.zrange(postponed, 0, "0", "WITHSCORES"),
    ]);
    const since = Math.min(oldest[0]?.timestamp ?? Infinity, Number(oldestPostponed[1] ?? Infinity));
    return { jobs, oldestSeconds: since === Infinity ? 0 : (Date.now() - since) / 1000 };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(Object.values(this.#queues).map((queue) => queue.close()));
  }
}
