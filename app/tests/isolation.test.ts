import { randomUUID } from "node:crypto";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Database } from "../src/db/database.ts";
import { createPool } from "../src/db/pool.ts";
import type { StoredDocument } from "../src/documents/document.ts";
import { silentLogger } from "./support/logs.ts";
import { asRole, asSuperuser, newDatabase } from "./support/postgres.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";

const postgres = inject("postgres");
let name: string;
let service: TestService;
let ours: string;
let theirs: string;
let document: StoredDocument;
beforeAll(async () => {
  name = await newDatabase(postgres);
  service = await startTestService(postgres, name, inject("redis"));
  [ours, theirs] = [await newTenant(postgres, name), await newTenant(postgres, name)];
  const token = await service.token("editor", ours);
  const body = { title: "secret plan", content: "ours alone" };
  document = (await service.call("POST", "/api/v1/documents", { token, body })).body as StoredDocument;
});
afterAll(() => service.stop());

const asApp = <T>(work: (client: Client) => Promise<T>) => asRole(postgres, name, "app_user", work);
const count = async (client: Pick<Client, "query">) => {
  const { rows } = await client.query<{ n: number }>("select count(*)::int as n from documents");
  return rows[0]?.n;
};

describe("a tenant's documents", () => {
  it("are out of every other tenant's reach by API, cached or not", async () => {
    const path = `/api/v1/documents/${document.id}`;
    const owner = await service.token("viewer", ours);
    expect((await service.call("GET", path, { token: owner })).status).toBe(200);
    const token = await service.token("admin", theirs);
    expect((await service.call("GET", path, { token })).status).toBe(404);
    const body = { title: "stolen", content: "stolen" };
    expect((await service.call("PUT", path, { token, body })).status).toBe(404);
    expect((await service.call("DELETE", path, { token })).status).toBe(404);
    const list = await service.call("GET", "/api/v1/documents", { token });
    expect(list.body).toEqual({ items: [], nextCursor: null });
    expect((await service.call("GET", path, { token: owner })).body).toEqual(document);
  });

  it("are out of reach of SQL in any input", async () => {
    const token = await service.token("editor", theirs);
    const attacks = [
      "'; select set_config('app.current_tenant_id', '" + ours + "', false); --",
      "x'), ((select content from documents limit 1), '",
      "1 or true",
      "\\'; reset role; --",
    ];
    for (const attack of attacks) {
      const body = { title: attack, content: attack };
      const created = await service.call("POST", "/api/v1/documents", { token, body });
      expect(created).toMatchObject({ status: 201, body: { title: attack.trim(), content: attack } });
      for (const path of [`/${encodeURIComponent(attack)}`, `?cursor=${encodeURIComponent(attack)}`]) {
        expect((await service.call("GET", `/api/v1/documents${path}`, { token })).status).toBe(400);
      }
    }
    const list = await service.call("GET", "/api/v1/documents", { token });
    expect(JSON.stringify(list.body)).not.toContain(document.id);
  });

  it("are not left visible on a connection for its next user", async () => {
    const pool = createPool(service.databaseConfig, silentLogger, { min: 1, max: 1 });
    const database = new Database(pool, silentLogger);
    expect(await database.asTenant(ours, count)).toBe(1);
    const client = await pool.connect();
    expect(await count(client)).toBe(0);
    client.release();
    await expect(database.asTenant(ours, (client) => client.query("select 1/0"))).rejects.toThrow("division");
    const afterFailure = await pool.connect();
    expect(await count(afterFailure)).toBe(0);
    afterFailure.release();
    expect(pool.totalCount).toBe(1);
    await database.close();
  });

  it("are not seen through a connection that went stale with its server, nor after it was replaced", async () => {
    const pool = createPool(service.databaseConfig, silentLogger, { min: 1, max: 1 });
    const database = new Database(pool, silentLogger);
    let attempts = 0;
    const seen = await database.asTenant(ours, async (client) => {
      attempts++;
      const found = await count(client);
      if (attempts === 1) {
        const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
        await asSuperuser(postgres, name, (other) =>
          other.query("select pg_terminate_backend($1)", [rows[0]?.pid]),
        );
        await client.query("select 1");
      }
      return found;
    });
    expect([attempts, seen]).toEqual([2, 1]);
    const next = await pool.connect();
    expect(await count(next)).toBe(0);
    next.release();
    await asSuperuser(postgres, name, (other) =>
      other.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_user'"),
    );
    const theirCount = await database.asTenant(theirs, async (client) => {
      const { rows } = await client.query("select 1 from documents where tenant_id <> $1", [theirs]);
      return rows.length;
    });
    expect(theirCount).toBe(0);
    await database.close();
  });

  it("are found by the owner's search only for the tenant of the transaction", async () => {
    await asApp(async (client) => {
      const search = async () => {
        const found = await client.query(
          "select * from search_documents('secret plan', 10, null, null, null)",
        );
        return found.rowCount;
      };
      expect(await search()).toBe(0);
      await client.query("select set_config('app.current_tenant_id', $1, false)", [theirs]);
      expect(await search()).toBe(0);
      await client.query("select set_config('app.current_tenant_id', $1, false)", [ours]);
      expect(await search()).toBe(1);
    });
    for (const role of ["app_readonly", "app_backup"]) {
      await asRole(postgres, name, role, async (client) => {
        await expect(
          client.query("select * from search_documents('secret', 10, null, null, null)"),
        ).rejects.toThrow("permission denied");
      });
    }
  });

  it("cannot be named past the quoting of the tenant's id", async () => {
    const database = new Database(createPool(service.databaseConfig, silentLogger), silentLogger);
    const injected = `${theirs}', true); select set_config('app.current_tenant_id', '${ours}`;
    await expect(database.asTenant(injected, count)).rejects.toThrow("uuid");
    await database.close();
  });

  it("are invisible to the app's role without a tenant, or with an empty one", async () => {
    await asApp(async (client) => {
      expect(await count(client)).toBe(0);
      await client.query("select set_config('app.current_tenant_id', '', false)");
      expect(await count(client)).toBe(0);
    });
  });

  it("cannot be written under another tenant's name", async () => {
    await asApp(async (client) => {
      await client.query("select set_config('app.current_tenant_id', $1, false)", [theirs]);
      await expect(
        client.query(
          "insert into documents (tenant_id, title, content, created_by) values ($1, '', '', '')",
          [ours],
        ),
      ).rejects.toThrow("permission denied");
      await expect(client.query("update documents set tenant_id = $1", [theirs])).rejects.toThrow(
        "permission denied",
      );
    });
    // Even where a grant would allow it, the policy does not: the owner, who may read all, is held by it too.
    await asRole(postgres, name, "app_owner", async (client) => {
      expect((await client.query("update documents set title = 'x'")).rowCount).toBe(0);
      await client.query("select set_config('app.current_tenant_id', $1, false)", [theirs]);
      await expect(
        client.query(
          "insert into documents (tenant_id, title, content, created_by) values ($1, '', '', '')",
          [ours],
        ),
      ).rejects.toThrow("row-level security");
    });
  });
});

describe("the app's role", () => {
  it("owns nothing, bypasses nothing, and every tenant table forces row-level security", async () => {
    await asSuperuser(postgres, name, async (client) => {
      const role = await client.query(
        `select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb as powerful,
           (select count(*)::int from pg_class where relowner = pg_roles.oid) as owned
         from pg_roles where rolname = 'app_user'`,
      );
      expect(role.rows).toEqual([{ powerful: false, owned: 0 }]);
      const tables = await client.query<{ relname: string; safe: boolean }>(
        `select relname, relrowsecurity and relforcerowsecurity as safe from pg_class
         join pg_attribute on attrelid = pg_class.oid and attname = 'tenant_id' and not attisdropped
         where relkind in ('r', 'p')`,
      );
      expect(tables.rows.length).toBeGreaterThan(1);
      expect(tables.rows.filter(({ safe }) => !safe)).toEqual([]);
    });
  });

  it("sees no tenant but its own, and finds another only by its exact name", async () => {
    await asApp(async (client) => {
      expect((await client.query("select * from tenants")).rows).toEqual([]);
      const { rows } = await client.query("select find_tenant($1) as id", [`tenant ${ours}`]);
      expect(rows).toEqual([{ id: ours }]);
      await expect(
        client.query("insert into tenants (id, name) values ($1, 'x')", [randomUUID()]),
      ).rejects.toThrow("row-level security");
      for (const sql of [
        "create table x ()",
        "drop table documents",
        "truncate documents",
        "set role app_owner",
      ]) {
        await expect(client.query(sql)).rejects.toThrow(/permission denied|must be owner/);
      }
    });
  });

  it("leaves reading everything to the backup's role, which writes nothing", async () => {
    await asRole(postgres, name, "app_backup", async (client) => {
      expect(await count(client)).toBeGreaterThan(0);
      await expect(client.query("delete from documents")).rejects.toThrow("permission denied");
    });
  });
});
