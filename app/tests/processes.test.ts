import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import type { Role } from "../src/auth/rules.ts";
import { asSuperuser, databaseConfig, newDatabase } from "./support/postgres.ts";
import { eventually, freePort, type Running, start, stop } from "./support/processes.ts";
import { call, writeKeyFile } from "./support/service.ts";

const postgres = inject("postgres");
const redis = inject("redis");
const started: Running[] = [];

/** The program as the image runs it, but for the compilation: Node strips the types itself. */
function program(file: string, args: string[], env: Record<string, string>): Running {
  const path = fileURLToPath(new URL(`../src/${file}`, import.meta.url));
  const compileCache = { NODE_COMPILE_CACHE: join(tmpdir(), "compile-cache") };
  const running = start(process.execPath, [path, ...args], { env: { ...compileCache, ...env } });
  started.push(running);
  return running;
}

let database: string;
let env: Record<string, string>;
let owner: Record<string, string>;
beforeAll(async () => {
  database = await newDatabase(postgres, { migrated: false });
  const { passwordFile } = await databaseConfig(postgres, database);
  const url = (role: string) => `postgres://${role}@127.0.0.1:${postgres.port}/${database}`;
  const redisUrl = `redis://127.0.0.1:${redis.port}`;
  owner = { DATABASE_URL: url("app_owner"), DATABASE_PASSWORD_FILE: passwordFile };
  env = {
    ENVIRONMENT: "development",
    REQUIRE_CREDENTIALS: "true",
    PORT: "0",
    METRICS_PORT: "0",
    SHUTDOWN_DELAY_SECONDS: "1",
    DATABASE_URL: url("app_user"),
    DATABASE_PASSWORD_FILE: passwordFile,
    REDIS_CACHE_URL: redisUrl,
    REDIS_CACHE_PASSWORD_FILE: redis.passwordFile,
    REDIS_QUEUE_URL: redisUrl,
    REDIS_QUEUE_PASSWORD_FILE: redis.passwordFile,
    JWT_KEYS_FILE: await writeKeyFile(),
    FIELD_KEYS_FILE: await writeKeyFile(),
  };
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((running) => stop(running, "SIGKILL")));
});

const logLines = (running: Running) =>
  running
    .stdout()
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe("the migration command", () => {
  it("refuses what it does not understand", async () => {
    const misunderstood = [[], ["sideways"], ["up", "0"], ["up", "1", "2"]];
    const codes = misunderstood.map((args) => program("migrate.ts", args, owner).exited);
    expect(await Promise.all(codes)).toEqual([2, 2, 2, 2]);
    const unconfigured = program("migrate.ts", ["up"], {});
    expect(await unconfigured.exited).toBe(1);
    expect(unconfigured.stdout()).toContain("DATABASE_URL");
  });

  it("fails with the reason when there is no Postgres", async () => {
    const port = await freePort();
    const away = { ...owner, DATABASE_URL: `postgres://app_owner@127.0.0.1:${port}/app` };
    const running = program("migrate.ts", ["up"], away);
    expect(await running.exited).toBe(1);
    expect(running.stdout()).toContain("ECONNREFUSED");
  });

  it("migrates up, down and up again", async () => {
    for (const args of [["up"], ["down", "1"], ["up"]]) {
      const running = program("migrate.ts", args, owner);
      expect(await running.exited, running.stdout()).toBe(0);
      expect(logLines(running).at(-1)).toMatchObject({ message: "migrated", direction: args[0] });
    }
  });
});

describe("the token command", () => {
  const tokenFor = async (role: string, tenant: string, overrides: Record<string, string> = {}) => {
    const running = program("cli/token.ts", ["--role", role, "--tenant", tenant], { ...env, ...overrides });
    return { code: await running.exited, stdout: running.stdout(), stderr: running.stderr() };
  };

  it("prints a token and nothing else, for a tenant that it creates once", async () => {
    for (const { code, stdout, stderr } of [
      await tokenFor("editor", "acme"),
      await tokenFor("admin", "acme"),
    ]) {
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    }
    const { rows } = await asSuperuser(postgres, database, (client) =>
      client.query("select name from tenants"),
    );
    expect(rows).toEqual([{ name: "acme" }]);
  });

  it("refuses anywhere but in development, and explains bad arguments", async () => {
    const refusals = await Promise.all([
      tokenFor("admin", "acme", { ENVIRONMENT: "production" }),
      tokenFor("admin", "acme", { ENVIRONMENT: "" }),
      tokenFor("owner", "acme"),
      tokenFor("admin", ""),
      tokenFor("admin", "acme", { JWT_KEYS_FILE: "" }),
    ]);
    for (const { code, stdout } of refusals) {
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    }
    const [production, unset, badRole, badTenant, keyless] = refusals.map(({ stderr }) => stderr);
    expect(production).toContain("ENVIRONMENT is production");
    expect(unset).toContain("ENVIRONMENT is production");
    expect(badRole).toContain("--role must be one of admin, editor, viewer");
    expect(badTenant).toContain("--tenant must be");
    expect(keyless).toContain("JWT_KEYS_FILE");
  });
});

describe("the lines of a process that ends", () => {
  it("stand in their order, however busy its threads are", async () => {
    const logger = fileURLToPath(new URL("../src/observability/logger.ts", import.meta.url));
    const busy = `
      import { pbkdf2 } from "node:crypto";
      import { createProcessLogger } from ${JSON.stringify(logger)};
      const logger = createProcessLogger({}).child({ module: "test" });
      pbkdf2("the threads'", "work", 500_000, 64, "sha512", () => undefined);
      setTimeout(() => {
        logger.info("next to last");
        logger.info("last");
        process.exit(0);
      }, 20);`;
    const env = { UV_THREADPOOL_SIZE: "1" };
    const running = start(process.execPath, ["--input-type=module", "--eval", busy], { env });
    started.push(running);
    expect(await running.exited, running.stderr()).toBe(0);
    expect(logLines(running).map(({ message }) => message)).toEqual(["next to last", "last"]);
  });
});

describe("the server", () => {
  async function startServer(overrides: Record<string, string> = {}) {
    const running = program("server.ts", [], { ...env, ...overrides });
    const port = await eventually(() => {
      const line = logLines(running).find(({ message }) => message === "listening");
      if (line === undefined) {
        throw new Error(`not listening: ${running.stdout()}${running.stderr()}`);
      }
      return Number(line["port"]);
    });
    return { running, url: `http://127.0.0.1:${port}` };
  }

  it("exits with one log line naming every missing variable under REQUIRE_CREDENTIALS=true", async () => {
    const running = program("server.ts", [], { REQUIRE_CREDENTIALS: "true" });
    expect(await running.exited).toBe(1);
    const lines = logLines(running);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: "fatal", severity: "CRITICAL", module: "config" });
    for (const name of ["DATABASE_URL", "REDIS_CACHE_URL", "REDIS_QUEUE_URL", "JWT_KEYS_FILE"]) {
      expect(running.stdout()).toContain(`"variable":"${name}","problem":"missing","purpose":"`);
    }
  });

  it("starts with nothing configured, saying in one line what is switched off", async () => {
    const { running, url } = await startServer({
      ...Object.fromEntries(Object.keys(env).map((name) => [name, ""])),
      PORT: "0",
      METRICS_PORT: "0",
    });
    expect(logLines(running).filter(({ module }) => module === "config")).toHaveLength(1);
    expect((await call(`${url}/health`, "GET")).status).toBe(200);
  });

  it("says so and exits when its port is taken", async () => {
    const { url } = await startServer();
    const second = program("server.ts", [], { ...env, PORT: new URL(url).port });
    expect(await second.exited).toBe(1);
    expect(second.stdout()).toContain("EADDRINUSE");
  });

  it("on SIGTERM turns not ready, finishes what is in flight, loses no request, and exits with 0", async () => {
    const { running, url } = await startServer();
    const token = await tokenOf("viewer");
    await eventually(async () => {
      expect((await call(`${url}/ready`, "GET")).status).toBe(200);
    });
    await asSuperuser(postgres, database, async (client) => {
      // The request in flight waits for this lock, past the delay before the listener closes.
      await client.query("begin; lock table documents");
      const inFlight = call(`${url}/api/v1/documents`, "GET", { token });
      await sleep(200);
      running.child.kill("SIGTERM");
      await eventually(async () => {
        const ready = await call(`${url}/ready`, "GET");
        expect(ready).toMatchObject({ status: 503, body: { status: "shutting down" } });
        expect(ready.headers.get("connection")).toBe("close");
      });
      expect((await call(`${url}/health`, "GET")).status, "during the delay").toBe(200);
      await sleep(1200);
      await expect(call(`${url}/health`, "GET"), "after the delay").rejects.toThrow();
      await client.query("rollback");
      expect((await inFlight).status).toBe(200);
    });
    expect(await running.exited).toBe(0);
    expect(logLines(running).at(-1)).toMatchObject({ message: "stopped" });
  });

  async function tokenOf(role: Role): Promise<string> {
    const running = program("cli/token.ts", ["--role", role, "--tenant", "acme"], env);
    await running.exited;
    return running.stdout().trim();
  }

  it("refuses a broken key file at start", async () => {
    const file = join(await mkdtemp(join(tmpdir(), "keys-")), "jwt-keys.json");
    await writeFile(file, '{"active":"a","keys":{"a":"c2hvcnQ="}}');
    const running = program("server.ts", [], { ...env, JWT_KEYS_FILE: file });
    expect(await running.exited).toBe(1);
    expect(running.stdout()).toContain("at least 32 bytes");
    expect(running.stdout()).not.toContain("c2hvcnQ");
  });
});
