import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { fieldKeyStore } from "../src/auth/keyStore.ts";
import { Passwords } from "../src/auth/passwords.ts";
import { FieldCipher } from "../src/crypto/fieldCipher.ts";
import { Database } from "../src/db/database.ts";
import { createPool } from "../src/db/pool.ts";
import { probeAccount, ProbeUser } from "../src/users/probeUser.ts";
import { UserRepository } from "../src/users/repository.ts";
import { silentLogger } from "./support/logs.ts";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
import { startTestService, type TestService } from "./support/service.ts";

const postgres = inject("postgres");
let name: string;
let service: TestService;
let database: Database;
let passwordFile: string;
const [first, second] = ["first-password-1", "second-password-2"] as const;

beforeAll(async () => {
  name = await newDatabase(postgres);
  passwordFile = join(await mkdtemp(join(tmpdir(), "groundwork-probe-")), "password");
  await writeFile(passwordFile, `${first}\n`);
  service = await startTestService(postgres, name, inject("redis"), { probePasswordFile: passwordFile });
  database = new Database(createPool(service.databaseConfig, silentLogger), silentLogger);
});
afterAll(async () => {
  await database.close();
  await service.stop();
});

/** As another pod, which knows nothing of what was found before. */
function ensure(): Promise<void> {
  const users = new UserRepository(database, new FieldCipher(fieldKeyStore(undefined, silentLogger)));
  return new ProbeUser({ database, users, passwords: new Passwords(), passwordFile }).ensure();
}

async function signIn(password: string) {
  const body = { ...probeAccount, password };
  const { status, body: answer } = await service.call("POST", "/api/v2/auth/sign-in", { body });
  return { status, ...(answer as { role?: string; accessToken: string }) };
}

describe("the user that the prober signs in as", () => {
  it("is there once the service runs, sees an empty list and may change nothing", async () => {
    await expect.poll(async () => (await signIn(first)).status, { timeout: 5000 }).toBe(200);
    const { role, accessToken: token } = await signIn(first);
    expect(role).toBe("viewer");
    const list = await service.call("GET", "/api/v1/documents?limit=1", { token });
    expect(list).toMatchObject({ status: 200, body: { items: [] } });
    const body = { title: "t", content: "c" };
    expect((await service.call("POST", "/api/v1/documents", { token, body })).status).toBe(403);
  });

  it("is one, whoever else makes it at the same time, and comes back when it is lost", async () => {
    const rows = () =>
      asSuperuser(postgres, name, async (client) => {
        const found = await client.query<{ id: string }>("select id from users where username = 'probe'");
        return found.rows;
      });
    await asSuperuser(postgres, name, (client) =>
      client.query("truncate refresh_tokens, users restart identity cascade"),
    );
    await Promise.all([ensure(), ensure(), ensure()]);
    expect(await rows()).toHaveLength(1);
    expect((await signIn(first)).status).toBe(200);
  });

  it("gets the file's new password, and loses the old one", async () => {
    await writeFile(passwordFile, second);
    await ensure();
    expect((await signIn(second)).status).toBe(200);
    expect((await signIn(first)).status).toBe(401);
  });
});
