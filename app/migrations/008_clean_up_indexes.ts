import type { MigrationBuilder } from "node-pg-migrate";

/** By what the clean-up asks for: without them it reads each table whole. */
const columns = [
  ["audit_events", "at"],
  ["chat_answers", "created_at"],
  ["refresh_tokens", "expires_at"],
] as const;

type Options = { name: string; concurrently: true };

/** Concurrently, and so in no transaction: every write to the table would wait for an index that is built in one. */
export async function up(pgm: MigrationBuilder): Promise<void> {
  // What a run that was interrupted has left half-made is made anew, and what it has finished stays.
  const broken = (await pgm.db.select(
    "select indexrelid::regclass::text as name from pg_index where not indisvalid",
  )) as { name: string }[];
  outsideOfTransaction(pgm, (table, column, options) => {
    if (broken.some(({ name }) => name === options.name)) {
      pgm.dropIndex(table, column, options);
    }
    pgm.createIndex(table, column, { ...options, ifNotExists: true });
  });
}

export function down(pgm: MigrationBuilder): void {
  outsideOfTransaction(pgm, (table, column, options) => {
    pgm.dropIndex(table, column, { ...options, ifExists: true });
  });
}

function outsideOfTransaction(
  pgm: MigrationBuilder,
  work: (table: string, column: string, options: Options) => void,
): void {
  pgm.noTransaction();
  // It waits for transactions that have begun before, a backup's too; nobody waits for it meanwhile.
  pgm.sql("set lock_timeout = 0");
  for (const [table, column] of columns) {
    work(table, column, { name: `${table}_by_age`, concurrently: true });
  }
  pgm.sql("reset lock_timeout");
}
