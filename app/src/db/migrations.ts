import { readdir } from "node:fs/promises";
import { parse } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { PG_MIGRATE_LOCK_ID, runner } from "node-pg-migrate";
import { Client, DatabaseError } from "pg";
import type { Logger } from "pino";
import type { DatabaseConfig } from "../config/settings.ts";
import { connectionOptions } from "./pool.ts";

/** The same distance from src/db and from dist/db. */
const directory = fileURLToPath(new URL("../../migrations", import.meta.url));
export const migrationsTable = "pgmigrations";
const lockRetryMs = 200;
/** For so long a migration waits for a table, and every later query of that table with it. */
const tableTimeoutMs = 2000;
const tableRetryMs = 5000;
const lockNotAvailable = "55P03";

/** Names of the migrations this version of the app brings. */
export async function migrationNames(): Promise<string[]> {
  const files = await readdir(directory);
  return files.map((file) => parse(file).name).sort();
}

/**
 * Migrates as the owner role and returns the names of what was run. An advisory lock makes a second run wait for the
 * first, and find nothing left to do. A table that is in use, as by a backup, is asked for until it is free; how long that may
 * take is up to whoever runs this.
 * @param count how many to run: all by default when going up, one when going down.
 */
export async function migrate(
  config: DatabaseConfig,
  logger: Logger,
  direction: "up" | "down",
  count?: number,
): Promise<string[]> {
  const log = logger.child({ module: "migrations" });
  const wanted = count ?? (direction === "down" ? 1 : Number.POSITIVE_INFINITY);
  const client = new Client({
    ...connectionOptions(config, "groundwork-migrate"),
    connectionTimeoutMillis: config.acquireTimeoutSeconds * 1000,
    lock_timeout: tableTimeoutMs,
  });
  client.on("error", (error) => {
    log.error({ error }, "connection lost");
  });
  await client.connect();
  try {
    await lock(client);
    const done: string[] = [];
    while (done.length < wanted) {
      const name = await migrateOne(client, log, direction);
      if (name === undefined) {
        break;
      }
      done.push(name);
    }
    return done;
  } finally {
    await client.end();
  }
}

/** Runs the next migration, in a transaction of its own, and gives its name; undefined when there is none. */
async function migrateOne(
  client: Client,
  log: Logger,
  direction: "up" | "down",
): Promise<string | undefined> {
  for (;;) {
    try {
      const [done] = await runner({
        dbClient: client,
        dir: directory,
        migrationsTable,
        direction,
        noLock: true,
        count: 1,
        logger: runnerLogger(log),
      });
      return done?.name;
    } catch (error) {
      if (!(error instanceof DatabaseError && error.code === lockNotAvailable)) {
        throw error;
      }
      // The runner leaves its transaction open, with the locks that it got.
      await client.query("rollback");
      log.warn({ error }, "a table is in use, and is asked for again");
      await sleep(tableRetryMs);
    }
  }
}

/** What the runner tells in passing is of no interest where it went well. */
function runnerLogger(log: Logger) {
  return {
    debug: (message: string) => {
      log.debug(message);
    },
    info: (message: string) => {
      log.debug(message);
    },
    warn: (message: string) => {
      log.warn(message);
    },
    error: (message: string) => {
      log.error(message);
    },
  };
}

/**
 * Held until the connection ends. Asked for again and again: whoever waited for it in a statement would be waited for
 * by an index that is built concurrently, under this lock.
 */
async function lock(client: Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ locked: boolean }>("select pg_try_advisory_lock($1) as locked", [
      PG_MIGRATE_LOCK_ID,
    ]);
    if (rows[0]?.locked === true) {
      return;
    }
    await sleep(lockRetryMs);
  }
}
