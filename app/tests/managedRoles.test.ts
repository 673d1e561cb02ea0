/** The script that makes the roles on a managed server, run by an administrator who is no superuser, as Azure's is none. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrate, migrationNames } from "../src/db/migrations.ts";
import { silentLogger } from "./support/logs.ts";
import { asRole, asSuperuser, databaseConfig, Postgres, type PostgresAddress } from "./support/postgres.ts";
import { run } from "./support/processes.ts";
import { copyScripts, mountPasswords, writesEverythingDown } from "./support/roleScripts.ts";

const admin = { name: "groundwork_admin", password: "AdminOfTheServer1" };

let postgres: Postgres;
let directory: string;
beforeAll(async () => {
  postgres = await Postgres.create({ empty: true, settings: writesEverythingDown });
  // Azure lets its administrator create the extensions that `azure.extensions` lists; Postgres calls that "trusted".
  const control = "postgres/share/postgresql/extension/pg_stat_statements.control";
  const file = join(postgres.address.directory, control);
  await writeFile(file, `${await readFile(file, "utf8")}\ntrusted = true\n`);
  await asSuperuser(postgres.address, "postgres", async (client) => {
    await client.query(
      `create role ${admin.name} login createdb createrole replication bypassrls password '${admin.password}'`,
    );
    await client.query(`grant pg_monitor to ${admin.name} with admin option`);
    await client.query(`create role azure_pg_admin; grant azure_pg_admin to ${admin.name}`);
  });
  // On Azure every database begins with a schema that belongs to a role which its administrator is a member of, and whose
  // members alone make extensions, even those that are there already.
  await asSuperuser(postgres.address, "template1", (client) =>
    client.query(`
      alter schema public owner to azure_pg_admin;
      create function only_administrators() returns event_trigger language plpgsql as $$
      begin
        if not pg_has_role('azure_pg_admin', 'member') then
          raise exception 'only members of azure_pg_admin are allowed to use %', tg_tag;
        end if;
      end $$;
      create event trigger only_administrators on ddl_command_start
        when tag in ('CREATE EXTENSION', 'DROP EXTENSION') execute function only_administrators();`),
  );
  directory = await copyScripts(
    ["managed-postgres", "patroni/logins.sql", "patroni/verifiers.py"],
    (here) => ({ "/tmp/pgpass": join(here, "pgpass") }),
  );
});
afterAll(async () => {
  await postgres.remove();
  await rm(directory, { recursive: true });
});

/** Runs the script with these passwords, as its Job does: the roles' own, and those of their deputies. */
async function makeRoles(password?: string, deputys?: string): Promise<void> {
  await writeFile(join(directory, "admin-password"), admin.password);
  await mountPasswords(directory, password, deputys);
  await run("sh", [join(directory, "roles.sh")], {
    env: {
      ...process.env,
      PGHOST: "127.0.0.1",
      PGPORT: String(postgres.address.port),
      PGUSER: admin.name,
      PGSSLMODE: "disable",
    },
  });
}

const signedIn = (password: string): PostgresAddress => ({ ...postgres.address, password });
const refusal = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "nothing was refused",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );

describe("the roles of a managed server", () => {
  const password = "FirstPassword1";

  it("are made by an administrator who is no superuser, and the app's migrations run with them", async () => {
    await makeRoles(password);
    const owner = await databaseConfig(signedIn(password), "app", "app_owner");
    await migrate(owner, silentLogger, "up");
    await migrate(owner, silentLogger, "down", (await migrationNames()).length);
    await migrate(owner, silentLogger, "up");
  });

  it("have passwords that the server is never told, whoever reads its statements", async () => {
    const { rows } = await asSuperuser(postgres.address, "app", (client) =>
      client.query<{ rolpassword: string }>(
        "select rolpassword from pg_authid where rolname like 'app\\_%' and rolcanlogin",
      ),
    );
    expect(rows).toHaveLength(5);
    for (const { rolpassword } of rows) expect(rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/);
    // Each with a salt of its own: equal passwords do not show.
    expect(new Set(rows.map(({ rolpassword }) => rolpassword)).size).toBe(5);
    const read = await asRole(signedIn(password), "app", "app_monitoring", async (client) => {
      const { rows: statements } = await client.query<{ query: string }>(
        "select query from pg_stat_statements",
      );
      return statements.map(({ query }) => query).join("\n");
    });
    for (const written of [read, postgres.log()]) {
      expect(written).toMatch(/ALTER ROLE app_user LOGIN PASSWORD/);
      expect(written).not.toContain(password);
    }
  });

  it("let a dump read every table, in every tenant", async () => {
    await asSuperuser(postgres.address, "app", (client) =>
      client.query(
        "insert into tenants (id, name) values (gen_random_uuid(), 'ours'), (gen_random_uuid(), 'theirs')",
      ),
    );
    const { tables, tenants } = await asRole(signedIn(password), "app", "app_backup", async (client) => {
      const { rows } = await client.query<{ table: string }>(
        "select format('%I', tablename) as table from pg_tables where schemaname = 'public'",
      );
      for (const { table } of rows) await client.query(`select count(*) from ${table}`);
      const found = await client.query("select name from tenants");
      return { tables: rows.length, tenants: found.rowCount };
    });
    expect(tables).toBeGreaterThan(10);
    expect(tenants).toBeGreaterThanOrEqual(2);
  });

  it("hold the app and the reports to row-level security, and keep strangers out", async () => {
    const { rows } = await asSuperuser(postgres.address, "postgres", (client) =>
      client.query<{ rolname: string }>(
        "select rolname from pg_roles where rolname like 'app\\_%' and (rolbypassrls or rolsuper or rolcreaterole) order by 1",
      ),
    );
    expect(rows.map(({ rolname }) => rolname)).toEqual(["app_backup"]);
    await asRole(signedIn(password), "app", "app_user", async (client) => {
      expect(await refusal(client.query("create table mine (id int)"))).toMatch(/permission denied/);
    });
    await asRole(signedIn(password), "app", "app_backup", async (client) => {
      expect(await refusal(client.query("delete from tenants"))).toMatch(/permission denied/);
    });
    await asSuperuser(postgres.address, "postgres", (client) =>
      client.query(`create role stranger login password '${password}'`),
    );
    await asRole(signedIn(password), "app", "app_monitoring", async (client) => {
      expect(await refusal(client.query("create table mine (id int)"))).toMatch(/permission denied/);
    });
    const { rows: open } = await asSuperuser(postgres.address, "app", (client) =>
      client.query("select has_schema_privilege('stranger', 'public', 'usage') as may"),
    );
    expect(open).toEqual([{ may: false }]);
    const entering = asRole(signedIn(password), "app", "stranger", (client) => client.query("select 1"));
    expect(await refusal(entering)).toMatch(/permission denied for database/);
  });

  it("let the monitoring read statistics and no data", async () => {
    await asRole(signedIn(password), "app", "app_monitoring", async (client) => {
      await client.query("select count(*) from pg_stat_activity where query <> '<insufficient privilege>'");
      expect(await refusal(client.query("select * from users"))).toMatch(/permission denied/);
    });
  });

  it("get other passwords when the script runs again, and lose nothing", async () => {
    const next = "SecondPassword2";
    await makeRoles(next);
    const old = asRole(signedIn(password), "app", "app_user", (client) => client.query("select 1"));
    expect(await refusal(old)).toMatch(/password authentication failed/);
    const { rowCount } = await asRole(signedIn(next), "app", "app_backup", (client) =>
      client.query("select name from tenants"),
    );
    expect(rowCount).toBeGreaterThanOrEqual(2);
  });

  it("let a deputy in beside its role, and then alone, and it is nobody but that role", async () => {
    const [own, deputys] = ["ThirdPassword3", "FourthPassword4"];
    const asks = (password: string, user: string, sql: string) =>
      asRole(
        signedIn(password),
        "app",
        user,
        async (client) => (await client.query<{ is: string }>(sql)).rows,
      );
    const whoAmI = "select current_user as is";
    await makeRoles(own, deputys);
    for (const role of ["app_owner", "app_user", "app_readonly", "app_backup"]) {
      expect(await asks(own, role, whoAmI)).toEqual([{ is: role }]);
      expect(await asks(deputys, `${role}_2`, whoAmI)).toEqual([{ is: role }]);
      expect(await refusal(asks(own, `${role}_2`, whoAmI))).toMatch(/password authentication failed/);
    }
    await makeRoles(undefined, deputys);
    expect(await refusal(asks(own, "app_user", whoAmI))).toMatch(/authentication failed/);
    // Row-level security holds for the app's, not for the one that dumps; what the owner's makes is the owner's.
    await asSuperuser(postgres.address, "app", (client) =>
      client.query(
        "insert into documents (tenant_id, title, content, created_by) select id, 'title', '', 'somebody' from tenants",
      ),
    );
    const titles = "select title as is from documents";
    expect(await asks(deputys, "app_user_2", titles)).toEqual([]);
    expect((await asks(deputys, "app_backup_2", titles)).length).toBeGreaterThan(1);
    const made =
      "create table made (id int); select tableowner as is from pg_tables where tablename = 'made'";
    const [, owner] = (await asRole(signedIn(deputys), "app", "app_owner_2", (client) =>
      client.query(made),
    )) as unknown as { rows: unknown[] }[];
    expect(owner?.rows).toEqual([{ is: "app_owner" }]);
    await migrate(await databaseConfig(signedIn(deputys), "app", "app_owner_2"), silentLogger, "up");
    expect(await refusal(asks(deputys, "app_user_2", "create table mine (id int)"))).toMatch(
      /permission denied/,
    );
  });
});
