import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject, it } from "vitest";
import { migrate, migrationNames } from "../src/db/migrations.ts";
import { silentLogger } from "./support/logs.ts";
import { fillEmptyTables } from "./support/anyRow.ts";
import { asSuperuser, databaseConfig, newDatabase } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";

const postgres = inject("postgres");

/** Everything that migrations make: columns, policies, grants, functions, indexes. */
async function schemaOf(database: string): Promise<unknown[]> {
  return asSuperuser(postgres, database, async (client) => {
    const { rows } = await client.query<{ object: string }>(
      `select format('column %s.%s %s %s', table_name, column_name, data_type, column_default) as object
         from information_schema.columns where table_schema = 'public'
       union all select format('policy %s %s %s', tablename, policyname, qual) from pg_policies
       union all select format('grant %s %s %s', grantee, privilege_type, table_name)
         from information_schema.table_privileges where table_schema = 'public'
       union all select format('function %s %s', pg_get_functiondef(oid), proacl) from pg_proc
         where pronamespace = 'public'::regnamespace
       union all select indexdef from pg_indexes where schemaname = 'public'
       union all select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
       order by 1`,
    );
    return rows.map(({ object }) => object);
  });
}

/** Every row of every table, by table, without the columns that are computed. */
async function contentOf(database: string): Promise<Record<string, unknown[]>> {
  return asSuperuser(postgres, database, async (client) => {
    const tables = await client.query<{ name: string; columns: string }>(
      `select relname as name, string_agg(format('%I', attname), ', ' order by attname) as columns
       from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
       where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and relname <> 'pgmigrations'
         and attgenerated = '' group by relname`,
    );
    const content: Record<string, unknown[]> = {};
    for (const { name, columns } of tables.rows) {
      content[name] = (await client.query(`select ${columns} from "${name}"`)).rows;
    }
    return content;
  });
}

/** But for the table of the migrations themselves, which the first one makes and none takes away. */
async function everythingOf(database: string) {
  const schema = (await schemaOf(database)).filter((object) => !String(object).includes("pgmigrations"));
  return { schema, content: await contentOf(database) };
}

it("every migration runs up, down one by one to nothing, and up again to the same schema", async () => {
  const database = await newDatabase(postgres, { migrated: false });
  const config = await databaseConfig(postgres, database, "app_owner");
  const names = await migrationNames();
  expect(await migrate(config, silentLogger, "up")).toEqual(names);
  expect(await migrate(config, silentLogger, "up")).toEqual([]);
  const schema = await schemaOf(database);
  expect(schema.length).toBeGreaterThan(20);
  for (const name of names.toReversed()) {
    expect(await migrate(config, silentLogger, "down")).toEqual([name]);
  }
  const rest = await schemaOf(database);
  expect(rest.filter((object) => !String(object).includes("pgmigrations"))).toEqual([]);
  expect(rest.filter((object) => String(object).startsWith("grant app_user"))).toEqual([]);
  expect(await migrate(config, silentLogger, "up")).toEqual(names);
  expect(await schemaOf(database)).toEqual(schema);
});

it("every migration, in order, goes back and forth with data in place, and keeps what earlier ones hold", async () => {
  const database = await newDatabase(postgres, { migrated: false });
  const config = await databaseConfig(postgres, database, "app_owner");
  const names = await migrationNames();
  const fill = () => asSuperuser(postgres, database, fillEmptyTables);
  for (const name of names) {
    const before = await everythingOf(database);
    expect(await migrate(config, silentLogger, "up", 1)).toEqual([name]);
    await fill();
    const schema = await schemaOf(database);
    expect(await migrate(config, silentLogger, "down", 1), name).toEqual([name]);
    expect(await everythingOf(database), `after ${name} was undone`).toEqual(before);
    expect(await migrate(config, silentLogger, "up", 1), name).toEqual([name]);
    expect(await schemaOf(database), name).toEqual(schema);
    await fill();
  }
  const content = await contentOf(database);
  expect(Object.keys(content).length).toBeGreaterThan(2);
  expect(Object.values(content).every((rows) => rows.length > 0)).toBe(true);
  for (const name of names.toReversed()) {
    expect(await migrate(config, silentLogger, "down")).toEqual([name]);
  }
  expect(await contentOf(database)).toEqual({});
  expect(await migrate(config, silentLogger, "up")).toEqual(names);
});

it("two migrations at once wait for each other, and each is run once", async () => {
  const database = await newDatabase(postgres, { migrated: false });
  const config = await databaseConfig(postgres, database, "app_owner");
  const runs = await Promise.all([1, 2, 3].map(() => migrate(config, silentLogger, "up")));
  expect(runs.flat().sort()).toEqual(await migrationNames());
});

it("an index is built while others write to its table", async () => {
  const database = await newDatabase(postgres, { migrated: false });
  const config = await databaseConfig(postgres, database, "app_owner");
  const names = await migrationNames();
  await migrate(config, silentLogger, "up", names.indexOf("008_clean_up_indexes"));
  const write = `insert into audit_events (tenant_id, subject, action, outcome)
    select id, 's', 'a.b', 'success' from tenants`;
  await asSuperuser(postgres, database, async (slow) => {
    await slow.query("insert into tenants (id, name) values (gen_random_uuid(), 't')");
    await slow.query("begin");
    await slow.query(write);
    const migrated = migrate(config, silentLogger, "up", 1);
    await asSuperuser(postgres, database, async (other) => {
      await eventually(async () => {
        const { rowCount } = await other.query(
          "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        );
        expect(rowCount).toBe(1);
      });
      await other.query("set statement_timeout = '2s'");
      await other.query(write);
    });
    await slow.query("commit");
    expect(await migrated).toEqual(["008_clean_up_indexes"]);
    const { rows } = await slow.query<{ valid: boolean }>(
      "select indisvalid as valid from pg_index where indexrelid::regclass::text like '%_by_age'",
    );
    expect(rows).toEqual([{ valid: true }, { valid: true }, { valid: true }]);
  });
});

it("a migration by a role that does not own the schema is refused", async () => {
  const database = await newDatabase(postgres, { migrated: false });
  const config = await databaseConfig(postgres, database, "app_user");
  await expect(migrate(config, silentLogger, "up")).rejects.toThrow("permission denied");
});

it("a migration waits for a table that is in use, and makes its readers wait no longer than a moment", async () => {
  const database = await newDatabase(postgres, { migrated: false });
  const config = await databaseConfig(postgres, database, "app_owner");
  await migrate(config, silentLogger, "up", 1);
  const columns = async () =>
    (await schemaOf(database)).filter((object) => String(object).startsWith("column"));
  const before = await columns();
  const waits: number[] = [];
  let migrated: Promise<string[]> | undefined;
  await asSuperuser(postgres, database, async (backup) => {
    await backup.query("begin; lock table documents in access share mode");
    await asSuperuser(postgres, database, async (reader) => {
      migrated = migrate(config, silentLogger, "down", 1);
      const until = Date.now() + 9000;
      while (Date.now() < until) {
        const asked = Date.now();
        await reader.query("select count(*) from documents");
        waits.push(Date.now() - asked);
        await sleep(100);
      }
    });
    expect(await columns()).toEqual(before);
    await backup.query("commit");
  });
  expect(await migrated).toHaveLength(1);
  expect(await columns()).not.toEqual(before);
  // It was tried, and more than once.
  expect(waits.filter((wait) => wait > 1000).length).toBeGreaterThan(1);
  expect(Math.max(...waits)).toBeLessThan(4000);
}, 60_000);
