import { escapeIdentifier, type PoolClient } from "pg";
import type { Logger } from "pino";
import type { Database } from "../db/database.ts";
import { noTenant } from "../db/tenants.ts";
import { type EncryptedColumn, encryptedColumns, type FieldCipher } from "./fieldCipher.ts";

interface RekeyOptions {
  /** The id of the key that must be the file's active one. */
  active: string;
  columns?: readonly EncryptedColumn[];
  /** Rows of one transaction. */
  batchSize?: number;
}

export interface RekeyResult {
  rekeyed: number;
  /** Rows that no key of the file opens, or that were altered: they stay as they are. */
  failed: number;
}

/** The key that was asked for is not the file's active one. */
export class AnotherKeyActive extends Error {
  constructor(asked: string, found: string) {
    super(
      `the active key of the file of field keys is ${found}, not ${asked} as was asked for; the file follows a ` +
        "deployment by up to five minutes, so run this again then, with the key that comes first in the setting",
    );
  }
}

interface Row {
  id: string;
  value: string;
}

/**
 * Puts every value of the encrypted columns under the active key, tenant by tenant, while the app reads and writes. A
 * value that is under it already is not touched, one that the app changed meanwhile neither: a run that was broken off
 * is simply begun again. Other pods may read the changed file later than this one and go on writing under the old key:
 * only when a run after that has re-keyed and failed for no row can keys that are not active be taken out of the file.
 * @throws AnotherKeyActive before a column is touched: under an old active key there is nothing to do, which would look
 * like success.
 */
export async function rekey(
  database: Database,
  cipher: FieldCipher,
  logger: Logger,
  { active, columns = encryptedColumns, batchSize = 200 }: RekeyOptions,
): Promise<RekeyResult> {
  const log = logger.child({ module: "rekey" });
  const total: RekeyResult = { rekeyed: 0, failed: 0 };
  const tenants = await database.asTenant(noTenant, async (client) => {
    const { rows } = await client.query<{ id: string }>("select tenant_ids() as id");
    return rows.map(({ id }) => id);
  });
  for (const column of columns) {
    const found = await cipher.activeKey();
    if (found !== active) {
      throw new AnotherKeyActive(active, found);
    }
    // The header of a value names its key and its column and nothing else: whatever begins like this needs no work.
    const [header = ""] = (await cipher.encrypt(column, "")).split(".");
    for (const [index, tenantId] of tenants.entries()) {
      const done = await rekeyTenant(database, cipher, log, { tenantId, column, header, batchSize });
      total.rekeyed += done.rekeyed;
      total.failed += done.failed;
      log.info({ column, ...done, tenants_done: index + 1, tenants: tenants.length }, "tenant done");
    }
  }
  return total;
}

interface Task {
  tenantId: string;
  column: EncryptedColumn;
  header: string;
  batchSize: number;
}

async function rekeyTenant(
  database: Database,
  cipher: FieldCipher,
  log: Logger,
  { tenantId, column, header, batchSize }: Task,
): Promise<RekeyResult> {
  const [tableName = "", columnName = ""] = column.split(".");
  const [table, field] = [escapeIdentifier(tableName), escapeIdentifier(columnName)];
  const result: RekeyResult = { rekeyed: 0, failed: 0 };
  const keyName = await database.asTenant(tenantId, (client) => primaryKeyOf(client, tableName));
  // With its table, and as it is: an expression, or the alias of one, would be served by no index.
  const key = `${table}.${keyName}`;
  let last: string | null = null;
  for (;;) {
    const after: string | null = last;
    const batch: { rows: Row[]; rekeyed: number; failed: number } = await database.asTenant(
      tenantId,
      async (client) => {
        const { rows } = await client.query<Row>(
          `select ${key}::text as id, ${field} as value from ${table}
           where not starts_with(${field}, $1) ${after === null ? "" : `and ${key} > $3`}
           order by ${key} limit $2`,
          [`${header}.`, batchSize, ...(after === null ? [] : [after])],
        );
        const counts = { rekeyed: 0, failed: 0 };
        for (const { id, value } of rows) {
          const renewed = await renew(cipher, column, value).catch((error: unknown) => {
            log.error({ column, id, error }, "value cannot be read, and stays");
            return undefined;
          });
          if (renewed === undefined) {
            counts.failed++;
            continue;
          }
          // The old value as a condition: what the app has written since is newer, and under the active key.
          const { rowCount } = await client.query(
            `update ${table} set ${field} = $1 where ${key} = $2 and ${field} = $3`,
            [renewed, id, value],
          );
          counts.rekeyed += rowCount ?? 0;
        }
        return { rows, ...counts };
      },
      { repeatable: true },
    );
    result.rekeyed += batch.rekeyed;
    result.failed += batch.failed;
    last = batch.rows.at(-1)?.id ?? null;
    if (batch.rows.length < batchSize) {
      return result;
    }
    log.info({ column, tenant_id: tenantId, ...result }, "batch done");
  }
}

async function renew(cipher: FieldCipher, column: EncryptedColumn, value: string): Promise<string> {
  return cipher.encrypt(column, await cipher.decrypt(column, value));
}

async function primaryKeyOf(client: PoolClient, table: string): Promise<string> {
  const { rows } = await client.query<{ name: string }>(
    `select attname as name from pg_index join pg_attribute on attrelid = indrelid and attnum = any (indkey)
     where indrelid = to_regclass($1) and indisprimary`,
    [escapeIdentifier(table)],
  );
  const [row, ...others] = rows;
  if (!row || others.length > 0) {
    throw new Error(`${table} must be a table whose primary key is one column`);
  }
  return escapeIdentifier(row.name);
}
