import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { runner } from "node-pg-migrate";
import { Client } from "pg";
import type { Logger } from "pino";
import type { DatabaseConfig } from "../config/settings.ts";
import { connectionOptions } from "./pool.ts";

/** The same distance from src/db and from dist/db. */
const directory = fileURLToPath(new URL("../../migrations", import.meta.url));
export const migrationsTable = "pgmigrations";

/** Names of the migrations this version of the app brings. */
export async function migrationNames(): Promise<string[]> {
  const files = await readdir(directory);
  return files
    .filter((file) => file.endsWith(".sql"))
    .map((file) => file.slice(0, -".sql".length))
    .sort();
}

/**
 * Migrates as the owner role and returns the names of what was run. An advisory lock makes a second run wait for the
 * first, and find nothing left to do.
 * @param count how many to run: all by default when going up, one when going down.
 */
export async function migrate(
  config: DatabaseConfig,
  logger: Logger,
  direction: "up" | "down",
  count?: number,
): Promise<string[]> {
  const log = logger.child({ module: "migrations" });
  const client = new Client({
    ...connectionOptions(config, "groundwork-migrate"),
    connectionTimeoutMillis: config.acquireTimeoutSeconds * 1000,
    // A migration that waits for a table makes every later query of that table wait too.
    lock_timeout: 30_000,
  });
  client.on("error", (error) => {
    log.error({ error }, "connection lost");
  });
  await client.connect();
  try {
    const done = await runner({
      dbClient: client,
      dir: directory,
      migrationsTable,
      direction,
      advisoryLockMode: "wait",
      ...(count !== undefined && { count }),
      logger: {
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
      },
    });
    return done.map(({ name }) => name);
  } finally {
    await client.end();
  }
}
