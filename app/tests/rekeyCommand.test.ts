import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
import { start } from "./support/processes.ts";
import { newTenant, startTestService, type TestService, writeKeyFile } from "./support/service.ts";
import { newUserBody } from "./support/users.ts";

const postgres = inject("postgres");
let database: string;
let file: string;
let service: TestService;
let create: () => Promise<unknown>;
beforeAll(async () => {
  database = await newDatabase(postgres);
  file = await writeKeyFile(["1"]);
  service = await startTestService(postgres, database, inject("redis"), { fieldKeysFile: file });
  const tenant = await newTenant(postgres, database);
  const token = await service.token("admin", tenant);
  create = () =>
    service.call("POST", "/api/v2/admin/users", {
      token,
      body: { ...newUserBody("viewer"), email: "someone@example.org" },
    });
});
afterAll(() => service.stop());

async function rekeyCommand(...args: string[]) {
  const path = fileURLToPath(new URL("../src/cli/rekey.ts", import.meta.url));
  const running = start(process.execPath, [path, ...args], {
    env: {
      DATABASE_URL: `postgres://app_user@127.0.0.1:${postgres.port}/${database}`,
      DATABASE_PASSWORD_FILE: service.databaseConfig.passwordFile,
      FIELD_KEYS_FILE: file,
    },
  });
  const code = await running.exited;
  const lines = running.stdout().trim().split("\n");
  return { code, last: JSON.parse(lines.at(-1) ?? "") as Record<string, unknown> };
}

async function activate(id: string): Promise<void> {
  const { keys } = JSON.parse(await readFile(file, "utf8")) as { keys: Record<string, string> };
  keys[id] ??= randomBytes(32).toString("base64");
  await writeFile(file, JSON.stringify({ active: id, keys }));
}

const keysInUse = () =>
  asSuperuser(postgres, database, async (client) => {
    const { rows } = await client.query<{ email: string }>("select email from users where email is not null");
    const headers = rows.map(({ email }) => Buffer.from(email.split(".")[0] ?? "", "base64url").toString());
    return headers.map((header) => (JSON.parse(header) as { kid: string }).kid);
  });

describe("the command that re-keys", () => {
  it("fails while the file in the pod is still that of before, and says what to wait for", async () => {
    await create();
    const { code, last } = await rekeyCommand("--active", "2");
    expect(code).toBe(1);
    expect(last).toMatchObject({ level: "fatal", asked: "2" });
    expect(last["message"]).toMatch(/^refused: .* is 1, not 2 .* by up to five minutes/);
    expect(await keysInUse()).toEqual(["1"]);
  });

  it("is to be run again until it re-keys nothing, and names the key", async () => {
    await activate("2");
    const first = await rekeyCommand("--active", "2");
    expect(first).toMatchObject({ code: 0, last: { active: "2", rekeyed: 1, failed: 0 } });
    expect(first.last["message"]).toContain("run it again");
    expect(await keysInUse()).toEqual(["2"]);
    expect(await rekeyCommand("--active", "2")).toMatchObject({
      code: 0,
      last: { active: "2", rekeyed: 0, failed: 0, message: "nothing is left to re-key" },
    });
  });

  it.each([[[]], [["--active"]], [["--active", ""]], [["2"]], [["--active", "2", "--now"]]])(
    "is refused with the arguments %j",
    async (args) => {
      const { code, last } = await rekeyCommand(...args);
      expect(code).toBe(1);
      expect(last["message"]).toContain("usage: rekey.js --active <id");
    },
  );
});
