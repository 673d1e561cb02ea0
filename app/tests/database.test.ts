import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import type { PoolClient } from "pg";
import { afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import type { DatabaseConfig } from "../src/config/settings.ts";
import { Database } from "../src/db/database.ts";
import { createPool } from "../src/db/pool.ts";
import { ensureTenant } from "../src/db/tenants.ts";
import { silentLogger } from "./support/logs.ts";
import { eventually } from "./support/processes.ts";
import { asSuperuser, databaseConfig, newDatabase } from "./support/postgres.ts";
import { newTenant, startTestService } from "./support/service.ts";

const postgres = inject("postgres");
let name: string;
let config: DatabaseConfig & { passwordFile: string };
let tenant: string;
const open: Database[] = [];
beforeAll(async () => {
  name = await newDatabase(postgres);
  config = await databaseConfig(postgres, name);
  tenant = await newTenant(postgres, name);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((database) => database.close()));
});

function openDatabase(overrides: Partial<DatabaseConfig> = {}): Database {
  const database = new Database(createPool({ ...config, ...overrides }, silentLogger), silentLogger);
  open.push(database);
  return database;
}

const backendOf = async (client: PoolClient) => {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return rows[0]?.pid;
};
const terminate = (pid: number | undefined) =>
  asSuperuser(postgres, name, (client) => client.query("select pg_terminate_backend($1)", [pid]));
const addDocument = (client: PoolClient) =>
  client.query("insert into documents (title, content, created_by) values ('t', 'c', 'x')");
const documents = async (client: PoolClient) => (await client.query("select 1 from documents")).rowCount;

describe("a read in one round trip", () => {
  const titles = (database: Database, tenantId: string, title: string) =>
    database.readAsTenant<{ title: string }>(tenantId, "select title from documents where title = $1", [
      title,
    ]);

  it("sees its tenant's rows and no other's, and leaves nothing of the tenant on the connection", async () => {
    const database = openDatabase({ poolSize: 1, poolOverflow: 0 });
    const title = randomUUID();
    await database.asTenant(tenant, (client) =>
      client.query("insert into documents (title, content, created_by) values ($1, '', 'x')", [title]),
    );
    expect(await titles(database, tenant, title)).toEqual([{ title }]);
    expect(await titles(database, await newTenant(postgres, name), title)).toEqual([]);
    const pool = createPool({ ...config, poolSize: 1, poolOverflow: 0 }, silentLogger);
    const bare = new Database(pool, silentLogger);
    open.push(bare);
    expect(await titles(bare, tenant, title)).toHaveLength(1);
    expect((await pool.query("select 1 from documents")).rowCount).toBe(0);
  });

  it("takes its values as values, whatever they hold", async () => {
    const database = openDatabase();
    const before = await database.asTenant(tenant, documents);
    for (const title of [
      "' or true --",
      "\\' or true --",
      "'; delete from documents; --",
      "$1 $2 $&",
      "日本'\"語",
    ]) {
      expect(await titles(database, tenant, title), title).toEqual([]);
    }
    expect(await database.asTenant(tenant, documents)).toBe(before);
  });

  it("is done again on a new connection when its own is lost, and answers 503 without a server", async () => {
    const database = openDatabase({ poolSize: 1, poolOverflow: 0 });
    await terminate(await database.asTenant(tenant, backendOf));
    expect(await titles(database, tenant, "none")).toEqual([]);
    const away = openDatabase({ port: 1 });
    await expect(titles(away, tenant, "none")).rejects.toMatchObject({ status: 503 });
  });

  it("fails alone: the next one on its connection is served", async () => {
    const database = openDatabase({ poolSize: 1, poolOverflow: 0 });
    await expect(database.readAsTenant(tenant, "select nothing from nowhere", [])).rejects.toThrow("nowhere");
    expect(await titles(database, tenant, "none")).toEqual([]);
  });
});

describe("a transaction", () => {
  it("is done again on a new connection when its own is lost before the commit", async () => {
    const database = openDatabase();
    const backends: (number | undefined)[] = [];
    const before = await database.asTenant(tenant, documents);
    await database.asTenant(tenant, async (client) => {
      backends.push(await backendOf(client));
      await addDocument(client);
      if (backends.length === 1) {
        // The loss is noticed between two statements, when no query is there to be told.
        const ended = new Promise<void>((resolve) => client.once("end", resolve));
        await terminate(backends[0]);
        await ended;
        await client.query("select 1");
      }
    });
    expect(new Set(backends).size).toBe(2);
    expect(await database.asTenant(tenant, documents)).toBe((before ?? 0) + 1);
  });

  it("whose commit may have arrived is done again only if it is repeatable", async () => {
    const database = openDatabase();
    const failing = (attempts: { n: number }) => async (client: PoolClient) => {
      attempts.n++;
      if (attempts.n === 1) {
        await terminate(await backendOf(client));
      }
    };
    const once = { n: 0 };
    await expect(database.asTenant(tenant, failing(once))).rejects.toMatchObject({ status: 503 });
    expect(once.n).toBe(1);
    const repeated = { n: 0 };
    await database.asTenant(tenant, failing(repeated), { repeatable: true });
    expect(repeated.n).toBe(2);
  });

  it("does not notice that every pooled connection has gone stale", async () => {
    const database = openDatabase({ poolSize: 4, poolOverflow: 0 });
    const backends = await Promise.all([1, 2, 3, 4].map(() => database.asTenant(tenant, backendOf)));
    await Promise.all(backends.map(terminate));
    await Promise.all(backends.map(() => database.asTenant(tenant, documents)));
  });

  it("moves to another server when this one has become read-only, leaving its connections behind", async () => {
    const database = openDatabase({ poolSize: 3, poolOverflow: 0 });
    await asSuperuser(postgres, name, (client) =>
      client.query(`alter database ${name} set default_transaction_read_only = on`),
    );
    await Promise.all([1, 2, 3].map(() => database.asTenant(tenant, documents)));
    await asSuperuser(postgres, "postgres", (client) =>
      client.query(`alter database ${name} reset default_transaction_read_only`),
    );
    await database.asTenant(tenant, addDocument);
    await Promise.all([1, 2, 3].map(() => database.asTenant(tenant, addDocument)));
  });

  it("that runs too long is given up with 503", async () => {
    const database = openDatabase({ statementTimeoutSeconds: 1 });
    await expect(
      database.asTenant(tenant, (client) => client.query("select pg_sleep(3)")),
    ).rejects.toMatchObject({ status: 503 });
    expect(database.use().inUse).toBe(0);
  });

  it("is refused with 503 when there is no database at all", async () => {
    await expect(new Database(undefined, silentLogger).asTenant(tenant, documents)).rejects.toMatchObject({
      status: 503,
      reason: "DATABASE_URL is not set",
    });
  });
});

describe("the pool", () => {
  it("grows under load, answers 503 with Retry-After beyond its limit, and shrinks again", async () => {
    const service = await startTestService(postgres, name, undefined);
    const token = await service.token("viewer", tenant);
    const { poolSize, poolOverflow } = service.databaseConfig;
    // Readers have to wait for this lock, each holding its connection.
    await asSuperuser(postgres, name, async (client) => {
      await client.query("begin; lock table documents");
      const readers = Array.from({ length: poolSize + poolOverflow }, () =>
        service.call("GET", "/api/v1/documents", { token }),
      );
      await eventually(async () => {
        expect(await service.metricsText()).toContain('app_database_pool_connections{state="in_use"} 5');
      });
      const start = performance.now();
      const refused = await service.call("GET", "/api/v1/documents", { token });
      expect(refused.status).toBe(503);
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(performance.now() - start).toBeLessThan(2000);
      const probe = await service.call("GET", "/ready");
      expect(probe.body).toMatchObject({ dependencies: { postgres: { state: "up" } } });
      await client.query("rollback");
      expect((await Promise.all(readers)).map(({ status }) => status)).toEqual(Array(5).fill(200));
    });
    await eventually(async () => {
      expect(await service.metricsText()).toContain(
        `app_database_pool_connections{state="idle"} ${poolSize}`,
      );
    });
    await service.stop();
  });

  it("reads the password again for each new connection", async () => {
    const rotating = await databaseConfig(postgres, name);
    const role = `rotating_${randomUUID().slice(0, 8)}`;
    const setPassword = (password: string) =>
      asSuperuser(postgres, name, (client) => client.query(`alter role ${role} password '${password}'`));
    await asSuperuser(postgres, name, (client) => client.query(`create role ${role} login in role app_user`));
    await setPassword("old");
    await writeFile(rotating.passwordFile, "old\n");
    const database = openDatabase({ ...rotating, user: role });
    const backend = await database.asTenant(tenant, backendOf);
    await setPassword("new");
    await writeFile(rotating.passwordFile, "new\n");
    await terminate(backend);
    await database.asTenant(tenant, documents);
  });
});

describe("a tenant", () => {
  it("lets go of the server when its password cannot be read", async () => {
    const asked: { closed: boolean }[] = [];
    const server = createServer((socket) => {
      // Says that it wants a password, by SCRAM, and waits.
      socket.once("data", () => socket.write("R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"));
      const one = { closed: false };
      asked.push(one);
      socket.on("error", () => undefined);
      socket.on("close", () => (one.closed = true));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const passwordFile = `${config.passwordFile}-nowhere`;
    const elsewhere = { ...config, host: "127.0.0.1", port, caFile: undefined, passwordFile };
    const pool = createPool(elsewhere, silentLogger);
    try {
      await expect(pool.connect()).rejects.toThrow("ENOENT");
      await eventually(() => {
        expect(asked.map(({ closed }) => closed)).toEqual([true]);
      });
    } finally {
      await pool.end();
      server.close();
    }
  });

  it("is created once under its name, however many ask for it together", async () => {
    const database = openDatabase();
    const ids = await Promise.all([1, 2, 3].map(() => ensureTenant(database, "株式会社サンプル")));
    expect(new Set(ids).size).toBe(1);
    expect(await ensureTenant(database, "株式会社サンプル")).toBe(ids[0]);
  });
});
