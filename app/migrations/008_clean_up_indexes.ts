import type { MigrationBuilder } from "node-pg-migrate";

/** By what the clean-up asks for: without them it reads each table whole. */
const columns = [
  ["audit_events", "at"],
  ["chat_answers", "created_at"],
  ["refresh_tokens", "expires_at"],
] as const;

/** Concurrently, and so in no transaction: every write to the table would wait for an index that is built in one. */
export function up(pgm: MigrationBuilder): void {
  outsideOfTransaction(pgm, (table, column, options) => {
    // A run that was interrupted leaves one that is not valid.
    pgm.dropIndex(table, column, { ...options, ifExists: true });
    pgm.createIndex(table, column, options);
  });
}

export function down(pgm: MigrationBuilder): void {
  outsideOfTransaction(pgm, (table, column, options) => {
    pgm.dropIndex(table, column, { ...options, ifExists: true });
  });
}

function outsideOfTransaction(
  pgm: MigrationBuilder,
  work: (table: string, column: string, options: { name: string; concurrently: true }) => void,
): void {
  pgm.noTransaction();
  // It waits for transactions that have begun before, a backup's too; nobody waits for it meanwhile.
  pgm.sql("set lock_timeout = 0");
  for (const [table, column] of columns) {
    work(table, column, { name: `${table}_by_age`, concurrently: true });
  }
  pgm.sql("reset lock_timeout");
}
