import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { fieldKeyStore } from "../src/auth/keyStore.ts";
import { type EncryptedColumn, FieldCipher } from "../src/crypto/fieldCipher.ts";
import { AnotherKeyActive, rekey } from "../src/crypto/rekey.ts";
import { Database } from "../src/db/database.ts";
import { createPool } from "../src/db/pool.ts";
import { capturedLogger, silentLogger } from "./support/logs.ts";
import { asRole, asSuperuser, databaseConfig, newDatabase } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import { newTenant, writeKeyFile } from "./support/service.ts";

const postgres = inject("postgres");
// A table of the test's own: those of the list belong to the features that bring them.
const column = "rekey_notes.secret" as EncryptedColumn;
let name: string;
let database: Database;
let tenants: string[];
let file: string;
let cipher: FieldCipher;

beforeAll(async () => {
  name = await newDatabase(postgres);
  tenants = [await newTenant(postgres, name), await newTenant(postgres, name)];
  await asRole(postgres, name, "app_owner", (client) =>
    client.query(
      `create table rekey_notes (
         id uuid primary key default gen_random_uuid(),
         tenant_id uuid not null default nullif(current_setting('app.current_tenant_id', true), '')::uuid,
         secret text);
       alter table rekey_notes enable row level security;
       alter table rekey_notes force row level security;
       create policy own_tenant on rekey_notes
         using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
       grant select, update (secret), insert (id, secret) on rekey_notes to app_user;
       grant select on rekey_notes to app_backup`,
    ),
  );
  database = new Database(createPool(await databaseConfig(postgres, name), silentLogger), silentLogger);
});
afterAll(() => database.close());
beforeEach(async () => {
  await asSuperuser(postgres, name, (client) => client.query("truncate rekey_notes"));
  file = await writeKeyFile(["k1"]);
  cipher = new FieldCipher(fieldKeyStore(file, silentLogger, 0));
});

interface KeyFile {
  active: string;
  keys: Record<string, string>;
}

async function changeKeys(change: (keys: KeyFile) => void): Promise<void> {
  const keys = JSON.parse(await readFile(file, "utf8")) as KeyFile;
  change(keys);
  await writeFile(file, JSON.stringify(keys));
}

const addKey = (id: string) =>
  changeKeys((keys) => {
    keys.keys[id] = Buffer.alloc(32, id).toString("base64");
    keys.active = id;
  });

async function write(tenant: string, plaintext: string, id: string = randomUUID()): Promise<string> {
  const value = await cipher.encrypt(column, plaintext);
  await database.asTenant(tenant, (client) =>
    client.query("insert into rekey_notes (id, secret) values ($1, $2)", [id, value]),
  );
  return id;
}

const stored = () =>
  asSuperuser(postgres, name, async (client) => {
    const { rows } = await client.query<{ id: string; secret: string | null }>(
      "select id, secret from rekey_notes",
    );
    return rows;
  });
const keyOf = (value: string) =>
  (JSON.parse(Buffer.from(value.split(".")[0] ?? "", "base64url").toString()) as { kid: string }).kid;
const run = (logger = silentLogger, active = "k2") =>
  rekey(database, cipher, logger, { active, columns: [column], batchSize: 3 });

describe("re-keying", () => {
  it("puts every tenant's values under the active key, so that the old one can go", async () => {
    for (const tenant of tenants) {
      for (let n = 0; n < 8; n++) {
        await write(tenant, `秘密 ${n}`);
      }
    }
    await database.asTenant(tenants[0] ?? "", (client) =>
      client.query("insert into rekey_notes default values"),
    );
    await addKey("k2");
    const { logger, entries } = capturedLogger();
    expect(await run(logger)).toEqual({ rekeyed: 16, failed: 0 });
    expect(entries().filter(({ message }) => message === "tenant done")).toHaveLength(2);
    expect(JSON.stringify(entries())).not.toContain("秘密");
    await changeKeys((keys) => {
      keys.keys = Object.fromEntries(Object.entries(keys.keys).filter(([id]) => id === "k2"));
    });
    const values = (await stored()).flatMap(({ secret }) => secret ?? []);
    expect(values).toHaveLength(16);
    const texts = await Promise.all(values.map((value) => cipher.decrypt(column, value)));
    expect(new Set(texts)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7].map((n) => `秘密 ${n}`)));
  });

  it("does nothing to what is under the active key already, so that a run broken off goes on where it was", async () => {
    const [tenant = ""] = tenants;
    const old = await write(tenant, "old");
    await addKey("k2");
    const renewed = await write(tenant, "new");
    const before = await stored();
    expect(await run()).toEqual({ rekeyed: 1, failed: 0 });
    expect(await run()).toEqual({ rekeyed: 0, failed: 0 });
    const after = await stored();
    const of = (rows: typeof after, id: string) => rows.find((row) => row.id === id)?.secret;
    expect(of(after, renewed)).toBe(of(before, renewed));
    expect(of(after, old)).not.toBe(of(before, old));
  });

  it("is refused, touching nothing, while another key is active than was asked for", async () => {
    const [tenant = ""] = tenants;
    await write(tenant, "old");
    const before = await stored();
    await expect(run()).rejects.toThrow(AnotherKeyActive);
    await expect(run()).rejects.toThrow("is k1, not k2 as was asked for");
    await addKey("k2");
    await expect(run(silentLogger, "k1")).rejects.toThrow("is k2, not k1 as was asked for");
    expect(await stored()).toEqual(before);
    expect(await run()).toEqual({ rekeyed: 1, failed: 0 });
  });

  it("loses nothing that the app writes meanwhile", async () => {
    const [tenant = ""] = tenants;
    const ids = await Promise.all(Array.from({ length: 40 }, (_, n) => write(tenant, `before ${n}`)));
    await addKey("k2");
    const expected = new Map(ids.map((id, n) => [id, `before ${n}`]));
    const app = async () => {
      for (const id of ids.filter((_, n) => n % 3 === 0)) {
        expected.set(id, `changed ${id}`);
        const value = await cipher.encrypt(column, `changed ${id}`);
        await database.asTenant(tenant, (client) =>
          client.query("update rekey_notes set secret = $1 where id = $2", [value, id]),
        );
        const added = await write(tenant, "added");
        expected.set(added, "added");
      }
    };
    await Promise.all([run(), app()]);
    const rows = await stored();
    expect(rows).toHaveLength(expected.size);
    for (const { id, secret } of rows) {
      expect(keyOf(secret ?? "")).toBe("k2");
      expect(await cipher.decrypt(column, secret ?? "")).toBe(expected.get(id));
    }
  });

  it("leaves and counts what it cannot read, and goes on with the rest", async () => {
    const [tenant = ""] = tenants;
    const lost = await write(tenant, "lost", "00000000-0000-4000-8000-000000000000");
    await asSuperuser(postgres, name, (client) =>
      client.query("update rekey_notes set secret = left(secret, -4) || 'AAAA'"),
    );
    for (let n = 0; n < 4; n++) {
      await write(tenant, "kept");
    }
    await addKey("k2");
    const { logger, entries } = capturedLogger();
    expect(await run(logger)).toEqual({ rekeyed: 4, failed: 1 });
    expect(entries().find(({ level }) => level === "error")).toMatchObject({ id: lost, column });
  });

  it("reads each row a few times, however many there are", async () => {
    const rows = 1000;
    const value = await cipher.encrypt(column, "秘密");
    await database.asTenant(tenants[0] ?? "", (client) =>
      client.query("insert into rekey_notes (secret) select $1 from generate_series(1, $2)", [value, rows]),
    );
    await addKey("k2");
    const reads = () =>
      asSuperuser(postgres, name, async (client) => {
        const { rows } = await client.query<{ updated: number; read: number }>(
          `select n_tup_upd::integer as updated, (seq_tup_read + idx_tup_fetch)::integer as read
           from pg_stat_user_tables where relname = 'rekey_notes'`,
        );
        return rows[0] ?? { updated: 0, read: 0 };
      });
    const before = await reads();
    // A pool of its own: Postgres counts what a connection did when it ends.
    const own = new Database(createPool(await databaseConfig(postgres, name), silentLogger), silentLogger);
    const result = await rekey(own, cipher, silentLogger, { active: "k2", columns: [column] });
    expect(result).toEqual({ rekeyed: rows, failed: 0 });
    await own.close();
    await eventually(async () => {
      expect((await reads()).updated - before.updated).toBeGreaterThanOrEqual(rows);
    });
    expect((await reads()).read - before.read).toBeLessThan(50 * rows);
  });

  it("reaches no other tenant's rows but through that tenant", async () => {
    const [tenant = ""] = tenants;
    await write(tenant, "ours");
    const seen = await database.asTenant(tenants[1] ?? "", async (client) => {
      return (await client.query("select 1 from rekey_notes")).rowCount;
    });
    expect(seen).toBe(0);
  });
});

describe("an encrypted column", () => {
  it("has none of its plaintext in what a backup reads", async () => {
    const [tenant = ""] = tenants;
    const plaintext = "田中太郎 tanaka@example.jp 090-1234-5678";
    await write(tenant, plaintext);
    // As pg_dump does it: every table, read whole by the backup's role.
    const dump = await asRole(postgres, name, "app_backup", async (client) => {
      const tables = await client.query<{ name: string }>(
        `select format('%I', relname) as name from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')`,
      );
      const texts: string[] = [];
      for (const table of tables.rows) {
        const { rows } = await client.query<{ text: string }>(`select t::text as text from ${table.name} t`);
        texts.push(...rows.map(({ text }) => text));
      }
      return texts.join("\n");
    });
    expect(dump).toContain("eyJ");
    for (const text of [plaintext, "田中", "tanaka", "1234"]) {
      expect(dump).not.toContain(text);
      expect(dump).not.toContain(Buffer.from(text).toString("hex"));
    }
    // Base64 of the text at each of its three alignments, without the characters that depend on what is around it.
    for (const shift of [0, 1, 2]) {
      const encoded = Buffer.from("x".repeat(shift) + "tanaka@example")
        .toString("base64url")
        .slice(4, 16);
      expect(dump).not.toContain(encoded);
    }
  });
});

describe("a file of field keys", () => {
  it.each([16, 31, 33, 64])("with a key of %i bytes is refused", async (bytes) => {
    const path = join(await mkdtemp(join(tmpdir(), "groundwork-keys-")), "field-keys.json");
    const key = Buffer.alloc(bytes, 1).toString("base64");
    await writeFile(path, JSON.stringify({ active: "k", keys: { k: key } }));
    const { logger, lines } = capturedLogger();
    await expect(fieldKeyStore(path, logger).current()).rejects.toMatchObject({
      status: 503,
      reason: "the file named by FIELD_KEYS_FILE cannot be used",
    });
    expect(lines.join("")).toContain("exactly 32 bytes");
    expect(lines.join("")).not.toContain(key);
  });
});
