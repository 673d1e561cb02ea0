import type { MigrationBuilder } from "node-pg-migrate";

const table = "audit_events";
/** By what its events are searched for: without them all of a tenant's are read, newest first, until enough match. */
const searched = ["action", "subject"] as const;

type Columns = Parameters<MigrationBuilder["createIndex"]>[1];
type Options = { name: string; concurrently: true };

/** Concurrently, and so in no transaction: every write to the table would wait for an index that is built in one. */
export async function up(pgm: MigrationBuilder): Promise<void> {
  // What a run that was interrupted has left half-made is made anew, and what it has finished stays.
  const broken = (await pgm.db.select(
    "select indexrelid::regclass::text as name from pg_index where not indisvalid",
  )) as { name: string }[];
  outsideOfTransaction(pgm, (columns, options) => {
    if (broken.some(({ name }) => name === options.name)) {
      pgm.dropIndex(table, columns, options);
    }
    pgm.createIndex(table, columns, { ...options, ifNotExists: true });
  });
}

export function down(pgm: MigrationBuilder): void {
  outsideOfTransaction(pgm, (columns, options) => {
    pgm.dropIndex(table, columns, { ...options, ifExists: true });
  });
}

function outsideOfTransaction(
  pgm: MigrationBuilder,
  work: (columns: Columns, options: Options) => void,
): void {
  pgm.noTransaction();
  // It waits for transactions that have begun before, a backup's too; nobody waits for it meanwhile.
  pgm.sql("set lock_timeout = 0");
  for (const column of searched) {
    work(["tenant_id", column, { name: "id", sort: "DESC" }], {
      name: `${table}_by_${column}`,
      concurrently: true,
    });
  }
  pgm.sql("reset lock_timeout");
}
