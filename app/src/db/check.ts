import type { Pool } from "pg";
import { migrationNames, migrationsTable } from "./migrations.ts";

/** @throws when Postgres does not answer. */
export async function checkPostgres(pool: Pool): Promise<void> {
  await pool.query("select 1");
}

/** @throws when a migration of this version has not been run. Newer ones are no error: a rollback meets them. */
export async function checkMigrations(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ name: string }>(`select name from ${migrationsTable}`);
  const run = new Set(rows.map(({ name }) => name));
  const missing = (await migrationNames()).filter((name) => !run.has(name));
  if (missing.length > 0) {
    throw new Error(`migrations not run: ${missing.join(", ")}`);
  }
}
