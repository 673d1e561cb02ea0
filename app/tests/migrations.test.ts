import { expect, inject, it } from "vitest";
import { migrate, migrationNames } from "../src/db/migrations.ts";
import { silentLogger } from "./support/logs.ts";
import { asSuperuser, databaseConfig, newDatabase } from "./support/postgres.ts";

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
       union all select format('function %s %s', proname, proacl) from pg_proc
         where pronamespace = 'public'::regnamespace
       union all select indexdef from pg_indexes where schemaname = 'public'
       order by 1`,
    );
    return rows.map(({ object }) => object);
  });
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

it("two migrations at once wait for each other, and each is run once", async () => {
  const database = await newDatabase(postgres, { migrated: false });
  const config = await databaseConfig(postgres, database, "app_owner");
  const runs = await Promise.all([1, 2, 3].map(() => migrate(config, silentLogger, "up")));
  expect(runs.flat().sort()).toEqual(await migrationNames());
});

it("a migration by a role that does not own the schema is refused", async () => {
  const database = await newDatabase(postgres, { migrated: false });
  const config = await databaseConfig(postgres, database, "app_user");
  await expect(migrate(config, silentLogger, "up")).rejects.toThrow("permission denied");
});
