import { SpanKind } from "@opentelemetry/api";
import { escapeLiteral, type Pool, type PoolClient, type QueryResult, type QueryResultRow } from "pg";
import type { Logger } from "pino";
import { codeOf } from "./errors.ts";
import { Unavailable } from "../http/problem.ts";
import type { PoolUse } from "../observability/metrics.ts";
import { traced } from "../observability/tracing.ts";

interface TransactionOptions {
  /** Whether the work may be done again when it is unknown if its commit arrived. Default false. */
  repeatable?: boolean;
}

/** `progress` tells, when the connection is lost, whether the commit was on its way. */
type Work<T> = (client: PoolClient, progress: { committing: boolean }) => Promise<T>;

/** Read-only (the server was demoted), and the three shutdowns: node-postgres itself knows no failover. */
const lostServerCodes = ["25006", "57P01", "57P02", "57P03", "ECONNRESET", "EPIPE", "ETIMEDOUT"];
const statementTimedOut = "57014";
const lostConnection = /connection terminated|connection error|query read timeout/i;

/** Runs work in transactions that see the rows of one tenant. */
export class Database {
  readonly #pool: Pool | undefined;
  readonly #logger: Logger;
  readonly #connectedAt = new WeakMap<PoolClient, number>();
  /** Connections older than the last loss lead to a server that is gone or demoted: they are replaced unused. */
  #lastLossAt = Number.NEGATIVE_INFINITY;

  /** Without a pool (no DATABASE_URL) everything is answered with 503. */
  constructor(pool: Pool | undefined, logger: Logger) {
    this.#pool = pool;
    this.#logger = logger.child({ module: "database" });
    pool?.on("connect", (client) => this.#connectedAt.set(client, performance.now()));
  }

  /**
   * Runs `work` in one transaction as the tenant, and once more on a new connection when the first was lost, unless
   * the loss was during the commit of work that is not repeatable.
   * @throws Unavailable when no connection can be had, or the second was lost too.
   */
  async asTenant<T>(
    tenantId: string,
    work: (client: PoolClient) => Promise<T>,
    { repeatable = false }: TransactionOptions = {},
  ): Promise<T> {
    return this.#withConnection(tenantId, repeatable, async (client, progress) => {
      // One round trip. The setting is local: it ends with the transaction and cannot reach the connection's next user.
      await client.query(`begin; ${settingOf(tenantId)}`);
      const result = await work(client);
      progress.committing = true;
      await client.query("commit");
      return result;
    });
  }

  /**
   * The rows of one reading statement as the tenant, in one round trip: Postgres runs what comes in one message as one
   * transaction. Such a message takes no parameters, so the values go in as quoted literals.
   * @throws Unavailable as asTenant does.
   */
  async readAsTenant<R extends QueryResultRow>(
    tenantId: string,
    statement: string,
    values: readonly string[],
  ): Promise<R[]> {
    const literals = values.map(escapeLiteral);
    const quoted = statement.replaceAll(
      /\$(\d+)/g,
      (_all, place: string) => literals[Number(place) - 1] ?? "null",
    );
    return this.#withConnection(tenantId, true, async (client) => {
      // One result for each statement, which the types of pg do not say.
      const results = (await client.query(
        `${settingOf(tenantId)}; ${quoted}`,
      )) as unknown as QueryResult<R>[];
      return results[1]?.rows ?? [];
    });
  }

  async #withConnection<T>(tenantId: string, repeatable: boolean, work: Work<T>): Promise<T> {
    const attributes = { "db.system.name": "postgresql", "app.tenant_id": tenantId };
    return traced("postgresql transaction", { kind: SpanKind.CLIENT, attributes }, () =>
      this.#attempts(repeatable, work),
    );
  }

  async #attempts<T>(repeatable: boolean, work: Work<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const client = await this.#acquire();
      const progress = { committing: false };
      try {
        const result = await work(client, progress);
        client.release();
        return result;
      } catch (error) {
        const lost = isLost(error);
        await this.#giveBack(client, lost);
        if (!lost) {
          throw codeOf(error) === statementTimedOut ? new Unavailable("statement timed out", error) : error;
        }
        this.#lastLossAt = performance.now();
        if (attempt > 1 || (progress.committing && !repeatable)) {
          throw new Unavailable("connection to Postgres lost", error);
        }
        this.#logger.warn({ error }, "connection to Postgres lost, trying once more");
      }
    }
  }

  use(): PoolUse {
    const { totalCount = 0, idleCount = 0, waitingCount = 0 } = this.#pool ?? {};
    return { inUse: totalCount - idleCount, idle: idleCount, waiting: waitingCount };
  }

  async close(): Promise<void> {
    await this.#pool?.end();
  }

  async #acquire(): Promise<PoolClient> {
    if (!this.#pool) {
      throw new Unavailable("DATABASE_URL is not set");
    }
    try {
      for (;;) {
        const client = await this.#pool.connect();
        if ((this.#connectedAt.get(client) ?? 0) > this.#lastLossAt) {
          return client;
        }
        client.release(true);
      }
    } catch (error) {
      throw new Unavailable("no connection to Postgres", error);
    }
  }

  /** A connection whose state is in doubt is closed, never handed to the next request. */
  async #giveBack(client: PoolClient, lost: boolean): Promise<void> {
    if (lost) {
      client.release(true);
      return;
    }
    try {
      await client.query("rollback");
      client.release();
    } catch {
      client.release(true);
    }
  }
}

function settingOf(tenantId: string): string {
  return `set local app.current_tenant_id = ${escapeLiteral(tenantId)}`;
}

function isLost(error: unknown): boolean {
  return (
    lostServerCodes.includes(codeOf(error)) || (error instanceof Error && lostConnection.test(error.message))
  );
}
