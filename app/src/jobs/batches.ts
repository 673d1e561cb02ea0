import { createHash } from "node:crypto";
import type { PoolClient } from "pg";
import type { Logger } from "pino";
import { type Batch, batches, type JobsConfig } from "../config/jobVariables.ts";
import type { Database } from "../db/database.ts";
import { findTenant, noTenant } from "../db/tenants.ts";
import { readFeeds } from "./feeds.ts";
import type { JobMetrics } from "./metrics.ts";
import { enqueue } from "./outbox.ts";
import type { Queues } from "./queues.ts";

/** Jobs that nobody asked for were asked for by it. */
const subject = "schedule";
const mostItems = 1000;
/** Small enough to stay below the statement timeout. */
const rowsAtOnce = 2000;

export interface BatchArgs {
  database: Database;
  queues: Queues;
  config: JobsConfig;
  metrics: JobMetrics;
  logger: Logger;
}

/** Of how long a table's rows are kept. */
interface Rule {
  table_name: string;
  condition: string;
}

/** The work that a schedule begins. Each batch may be begun again after a crash: what it did then is not done twice. */
export class Batches {
  readonly #args: BatchArgs;
  readonly #log: Logger;

  constructor(args: BatchArgs) {
    this.#args = args;
    this.#log = args.logger.child({ module: "batches" });
  }

  /**
   * Puts the schedules into Redis where they are missing or others. One that is there is left alone: to put it again
   * in the moment when it is due would skip that run.
   */
  async schedule(): Promise<void> {
    const { queues, config } = this.#args;
    for (const batch of batches) {
      const pattern = config.schedules[batch];
      const existing = await queues.batches.getJobScheduler(batch);
      if (existing?.pattern !== pattern || existing.tz !== config.timeZone) {
        await queues.batches.upsertJobScheduler(
          batch,
          { pattern, tz: config.timeZone },
          {
            name: batch,
            opts: {
              attempts: 3,
              backoff: { type: "exponential", delay: config.backoffSeconds * 1000 },
              removeOnComplete: true,
              removeOnFail: true,
            },
          },
        );
      }
    }
  }

  /** @param runId the same for every attempt at one run. */
  async run(batch: Batch, runId: string): Promise<void> {
    const work: Record<Batch, () => Promise<object>> = {
      collection: () => this.#collect(runId),
      summaries: () => this.#summarize(),
      "clean-up": () => this.#cleanUp(),
    };
    try {
      const done = await work[batch]();
      await this.#record(batch, "last_success_at");
      this.#args.metrics.batchRan(batch, "success");
      this.#log.info({ batch, ...done }, "batch done");
    } catch (error) {
      this.#args.metrics.batchRan(batch, "failure");
      this.#log.error({ batch, error }, "batch failed");
      await this.#record(batch, "last_failure_at").catch(() => undefined);
      throw error;
    }
  }

  /** Whichever worker ran them. */
  async lastSuccesses(): Promise<{ batch: Batch; at: Date }[]> {
    return this.#asNobody(async (client) => {
      const { rows } = await client.query<{ batch: Batch; at: Date }>(
        "select batch, last_success_at as at from batch_runs where last_success_at is not null",
      );
      return rows;
    });
  }

  async #record(batch: Batch, column: "last_success_at" | "last_failure_at"): Promise<void> {
    await this.#asNobody((client) =>
      client.query(
        `insert into batch_runs (batch, ${column}) values ($1, now())
         on conflict (batch) do update set ${column} = now()`,
        [batch],
      ),
    );
  }

  /** A job for every configured feed that has none under way. */
  async #collect(runId: string): Promise<{ jobs: number }> {
    const { config, database } = this.#args;
    let jobs = 0;
    for (const [name, urls] of config.feedsFile === undefined ? [] : readFeeds(config.feedsFile)) {
      const tenantId = await findTenant(database, name);
      if (tenantId === null) {
        this.#log.warn({ tenant: name }, "feeds are configured for a tenant that does not exist");
        continue;
      }
      jobs += await database.asTenant(tenantId, async (client) => {
        const { rows } = await client.query<{ url: string }>(
          `select payload ->> 'url' as url from jobs where kind = 'collect' and state in ('pending', 'queued')`,
        );
        const underWay = new Set(rows.map(({ url }) => url));
        let created = 0;
        for (const url of urls.filter((url) => !underWay.has(url))) {
          const idempotencyKey = `${runId} ${createHash("sha256").update(url).digest("hex")}`;
          const job = await enqueue(client, { kind: "collect", payload: { url }, subject, idempotencyKey });
          created += job.created ? 1 : 0;
        }
        return created;
      });
    }
    return { jobs };
  }

  /** A job for every item that never had one. */
  async #summarize(): Promise<{ jobs: number }> {
    const rows = await this.#asNobody(async (client) => {
      const found = await client.query<{ tenant_id: string; id: string }>(
        "select * from items_without_summary($1)",
        [mostItems],
      );
      return found.rows;
    });
    const byTenant = Map.groupBy(rows, ({ tenant_id }) => tenant_id);
    for (const [tenantId, items] of byTenant) {
      await this.#args.database.asTenant(tenantId, async (client) => {
        for (const { id } of items) {
          await enqueue(client, { kind: "summarize", payload: { itemId: id }, subject, idempotencyKey: id });
        }
      });
    }
    return { jobs: rows.length };
  }

  /** Deletes what is past its age, by the rules in the table retention_rules: one that fails keeps none from the others. */
  async #cleanUp(): Promise<{ deleted: Record<string, number> }> {
    const { rows: rules } = await this.#asNobody((client) =>
      client.query<Rule>("select table_name, condition from retention_rules order by 1, 2"),
    );
    const deleted: Record<string, number> = {};
    const failures: unknown[] = [];
    for (const rule of rules) {
      try {
        for (let count = rowsAtOnce; count === rowsAtOnce;) {
          count = await this.#cleanUpBy(rule);
          deleted[rule.table_name] = (deleted[rule.table_name] ?? 0) + count;
          this.#args.metrics.cleanedUp(rule.table_name, count);
        }
      } catch (error) {
        this.#log.error({ ...rule, error }, "clean-up by a rule failed");
        failures.push(error);
      }
    }
    if (failures.length > 0) {
      throw new AggregateError(failures, `${failures.length} of ${rules.length} rules failed`);
    }
    return { deleted };
  }

  async #cleanUpBy({ table_name, condition }: Rule): Promise<number> {
    const { rows } = await this.#asNobody((client) =>
      client.query<{ deleted: number }>("select clean_up_by_rule($1, $2, $3) as deleted", [
        table_name,
        condition,
        rowsAtOnce,
      ]),
    );
    return rows[0]?.deleted ?? 0;
  }

  #asNobody<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    return this.#args.database.asTenant(noTenant, work);
  }
}
