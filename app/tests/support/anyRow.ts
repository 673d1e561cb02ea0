import type { Client } from "pg";

interface Column {
  name: string;
  type: string;
  /** The table and column that it refers to. */
  refers: [string, string] | null;
  /** The first value that a check allows. */
  allowed: string | null;
}

const values: Record<string, string> = {
  uuid: "gen_random_uuid()",
  "timestamp with time zone": "now()",
  date: "current_date",
  jsonb: "'{}'",
  boolean: "true",
  bytea: "'\\x00'",
};

/** What a column's check asks for beyond its type. */
const checked: Record<string, string> = {
  "users.username": "'ada'",
  "refresh_tokens.token_hash": "decode(repeat('00', 32), 'hex')",
};

/**
 * Puts one row into every table of the schema that has none, of whatever its columns ask for; the tables that others
 * refer to first. Whoever adds a table for which this fails teaches it here, or loosens nothing else.
 */
export async function fillEmptyTables(client: Client): Promise<void> {
  const { rows: tables } = await client.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
       and not relispartition and relname <> 'pgmigrations' order by 1`,
  );
  let waiting = tables.map(({ name }) => name);
  while (waiting.length > 0) {
    const failures: string[] = [];
    const failed: string[] = [];
    for (const table of waiting) {
      await fill(client, table).catch((error: unknown) => {
        failed.push(table);
        failures.push(`${table}: ${String(error)}`);
      });
    }
    if (failed.length === waiting.length) {
      throw new Error(`no row can be made for ${failures.join("; ")}`);
    }
    waiting = failed;
  }
}

async function fill(client: Client, table: string): Promise<void> {
  if ((await client.query(`select 1 from "${table}" limit 1`)).rowCount !== 0) {
    return;
  }
  const { rows: columns } = await client.query<Column>(
    `select attname as name, format_type(atttypid, null) as type,
       (select array[confrelid::regclass::text, (select attname from pg_attribute r
          where r.attrelid = confrelid and r.attnum = confkey[array_position(conkey, a.attnum)])]
        from pg_constraint where conrelid = a.attrelid and contype = 'f' and a.attnum = any(conkey)
        order by cardinality(conkey) limit 1) as refers,
       (select (regexp_match(pg_get_constraintdef(oid), 'ARRAY\\[''([^'']*)'''))[1] from pg_constraint
        where conrelid = a.attrelid and contype = 'c' and conkey = array[a.attnum] limit 1) as allowed
     from pg_attribute a
     where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = '' and attidentity = ''`,
    [`"${table}"`],
  );
  const names = columns.map(({ name }) => `"${name}"`);
  await client.query(
    `insert into "${table}" (${names.join()}) values (${columns.map((column) => checked[`${table}.${column.name}`] ?? valueOf(column)).join()})`,
  );
}

function valueOf({ type, refers, allowed }: Column): string {
  if (refers) {
    return `(select "${refers[1]}" from ${refers[0]} limit 1)`;
  }
  if (allowed !== null) {
    return `'${allowed}'`;
  }
  return (
    values[type] ?? (/int|numeric|double|real/.test(type) ? "1" : type.endsWith("[]") ? "'{}'" : "'東京 x'")
  );
}
