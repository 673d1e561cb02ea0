import { rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis as Client } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, inject } from "vitest";
import { Sessions } from "../src/auth/sessions.ts";
import { SwitchFile } from "../src/files/switchFile.ts";
import { silentLogger } from "./support/logs.ts";
import { newDatabase } from "./support/postgres.ts";
import { Redis } from "./support/redis.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";
import { auditOf, createUser, signInBody, switchFile, type TestUser } from "./support/users.ts";

const postgres = inject("postgres");
const path = "/api/v2/auth/session";
let redis: Redis;
let client: Client;
let service: TestService;
let tenant: string;
let file: string;
beforeAll(async () => {
  redis = await Redis.create();
  client = new Client({ port: redis.config.port, password: "first-password", maxRetriesPerRequest: 0 });
  client.on("error", () => undefined);
  const database = await newDatabase(postgres);
  tenant = await newTenant(postgres, database);
  file = await switchFile("on\n");
  service = await startTestService(postgres, database, redis.config, { fallbackSignInFile: file });
});
afterAll(async () => {
  client.disconnect();
  await service.stop();
  await redis.remove();
});

interface Session {
  cookie: string;
  csrf: Record<string, string>;
  setCookie: string;
}

async function signIn(user: TestUser): Promise<Session> {
  const { status, headers, body } = await service.call("POST", path, { body: signInBody(user) });
  expect(status).toBe(200);
  const setCookie = headers.get("set-cookie") ?? "";
  const { csrfToken } = body as { csrfToken: string };
  const cookie = setCookie.split(";")[0] ?? "";
  return { cookie, csrf: { cookie, "x-csrf-token": csrfToken }, setCookie };
}

const me = (cookie: string) => service.call("GET", "/api/v2/auth/me", { headers: { cookie } });
const document = { title: "t", content: "c" };
const write = (headers: Record<string, string>) =>
  service.call("POST", "/api/v1/documents", { headers, body: document });

describe("a session of the emergency sign-in", () => {
  it("has a cookie that scripts, other sites and plain connections do not get", async () => {
    const user = await createUser(service, tenant, "editor");
    const { cookie, setCookie } = await signIn(user);
    expect(setCookie).toMatch(/^__Host-session=[\w.-]+; /);
    for (const attribute of ["HttpOnly", "Secure", "SameSite=Strict", "Path=/", "Max-Age=3600"]) {
      expect(setCookie.split("; ")).toContain(attribute);
    }
    expect(setCookie).not.toContain("Domain");
    expect((await me(`other=1; ${cookie}; more=2`)).body).toMatchObject({
      subject: user.id,
      username: user.username,
      role: "editor",
      tenantId: tenant,
    });
    expect(await auditOf(service, tenant, "session.sign_in")).toContainEqual(
      expect.objectContaining({
        subject: user.id,
        detail: expect.objectContaining({ kind: "session" }) as unknown,
      }),
    );
  });

  it("writes only with its own CSRF token, which it is told again by /me", async () => {
    const user = await createUser(service, tenant, "editor");
    const [session, other] = [await signIn(user), await signIn(user)];
    const refused = [
      { cookie: session.cookie },
      { cookie: session.cookie, "x-csrf-token": "x" },
      { ...session.csrf, "x-csrf-token": other.csrf["x-csrf-token"] ?? "" },
    ];
    for (const headers of refused) {
      expect((await write(headers)).status).toBe(403);
    }
    expect(await auditOf(service, tenant, "access.refuse")).toHaveLength(refused.length);
    expect(await service.metricsText()).toContain(`app_refusals_total{reason="csrf"} ${refused.length}`);
    expect((await write(session.csrf)).status).toBe(201);
    const { csrfToken } = (await me(session.cookie)).body as { csrfToken: string };
    expect(csrfToken).toBe(session.csrf["x-csrf-token"]);
  });

  it("has its user's role and no more, and never stands in for a token that is bad", async () => {
    const { cookie, csrf } = await signIn(await createUser(service, tenant, "viewer"));
    expect((await write(csrf)).status).toBe(403);
    const authorization = "Bearer a.b.c";
    expect(
      (await service.call("GET", "/api/v2/auth/me", { headers: { cookie, authorization } })).status,
    ).toBe(401);
  });

  it("ends with its own sign-out, the user's others go on", async () => {
    const user = await createUser(service, tenant, "editor");
    const [session, other] = [await signIn(user), await signIn(user)];
    expect((await service.call("DELETE", path, { headers: { cookie: session.cookie } })).status).toBe(403);
    const ended = await service.call("DELETE", path, { headers: session.csrf });
    expect(ended.status).toBe(204);
    expect(ended.headers.get("set-cookie")).toContain("__Host-session=;");
    expect((await me(session.cookie)).status).toBe(401);
    expect((await me(other.cookie)).status).toBe(200);
    const ends = await auditOf(service, tenant, "session.sign_out");
    expect(ends.filter(({ subject }) => subject === user.id)).toMatchObject([
      { outcome: "success", target: `user/${user.id}`, detail: { kind: "session" } },
    ]);
  });

  it("ends when an admin disables the user, changes their role or revokes their sessions", async () => {
    const token = await service.token("admin", tenant);
    const acts: [string, string, unknown?][] = [
      ["PATCH", "", { disabled: true }],
      ["PATCH", "", { role: "viewer" }],
      ["DELETE", "/sessions"],
    ];
    for (const [method, suffix, body] of acts) {
      const user = await createUser(service, tenant, "editor");
      const sessions = [await signIn(user), await signIn(user)];
      await service.call(method, `/api/v2/admin/users/${user.id}${suffix}`, { token, body });
      for (const { cookie } of sessions) {
        expect((await me(cookie)).status).toBe(401);
      }
    }
  });

  it("is kept as a hash that expires: who reads Redis cannot make the cookie", async () => {
    const user = await createUser(service, tenant, "editor");
    const { cookie, csrf } = await signIn(user);
    const key = `user_session:${user.id}`;
    expect(await client.ttl(key)).toBeGreaterThan(3590);
    const kept = JSON.stringify(await client.hgetall(key));
    expect(kept).not.toContain(cookie.slice(cookie.indexOf(".") + 1));
    expect(kept).not.toContain(csrf["x-csrf-token"]);
  });

  it("is worth nothing past its time, and is cleared away by the user's next", async () => {
    const user = await createUser(service, tenant, "editor");
    const { cookie } = await signIn(user);
    const key = `user_session:${user.id}`;
    const [field = ""] = await client.hkeys(key);
    const value = JSON.parse((await client.hget(key, field)) ?? "") as object;
    await client.hset(key, field, JSON.stringify({ ...value, expiresAt: Date.now() - 1 }));
    expect((await me(cookie)).status).toBe(401);
    await signIn(user);
    expect(await client.hkeys(key)).toHaveLength(1);
    expect(await client.hkeys(key)).not.toContain(field);
  });

  it.each(["", "x", `${"0".repeat(36)}.${"a".repeat(43)}`, "*.*", `{"$ne":1}`])(
    "is not had with the cookie %j",
    async (value) => {
      expect((await me(`__Host-session=${value}`)).status).toBe(401);
    },
  );

  it("works without the keys that sign tokens, which is what it is for", async () => {
    const user = await createUser(service, tenant, "viewer");
    const keyless = await startTestService(postgres, service.databaseConfig.database, redis.config, {
      fallbackSignInFile: file,
      jwt: { ...service.config.jwt, keysFile: undefined },
    });
    const body = signInBody(user);
    expect((await keyless.call("POST", "/api/v2/auth/sign-in", { body })).status).toBe(503);
    const { headers, status } = await keyless.call("POST", path, { body });
    expect(status).toBe(200);
    const cookie = headers.get("set-cookie")?.split(";")[0] ?? "";
    expect((await keyless.call("GET", "/api/v1/documents", { headers: { cookie } })).status).toBe(200);
    await keyless.stop();
  });

  it("is switched off and on by the file while the service runs", async () => {
    const user = await createUser(service, tenant, "viewer");
    const { cookie } = await signIn(user);
    await writeFile(file, "off");
    await sleep(1100);
    expect((await service.call("POST", path, { body: signInBody(user) })).status).toBe(404);
    expect((await me(cookie)).status).toBe(401);
    await writeFile(file, "on");
    await sleep(1100);
    expect((await me(cookie)).status).toBe(200);
    await rm(file);
    await sleep(1100);
    expect((await me(cookie)).status).toBe(401);
    await writeFile(file, "on");
    await sleep(1100);
  });

  it("cannot be begun or used while Redis is away, and that is answered with 503", async () => {
    const user = await createUser(service, tenant, "viewer");
    const { cookie } = await signIn(user);
    await redis.stop();
    expect((await service.call("POST", path, { body: signInBody(user) })).status).toBe(503);
    expect((await me(cookie)).status).toBe(503);
    // Sign-in for tokens goes on, its failures counted by each replica.
    const body = { ...signInBody(user), password: "wrong" };
    for (let attempt = 0; attempt < 9; attempt++) {
      expect((await service.call("POST", "/api/v2/auth/sign-in", { body })).status).toBe(401);
    }
    const attempts = [1, 2].map(() => service.call("POST", "/api/v2/auth/sign-in", { body }));
    expect((await Promise.all(attempts)).map(({ status }) => status)).toContain(429);
    await redis.start();
  });
});

it("without a file to switch it on, the emergency sign-in is off", async () => {
  const isOn = (path?: string) => new Sessions(undefined, new SwitchFile(path, silentLogger, 0), 60).isOn();
  expect(await isOn()).toBe(false);
  expect(await isOn("/nowhere")).toBe(false);
  expect(await isOn(await switchFile("only"))).toBe(false);
  expect(await isOn(await switchFile("on\n"))).toBe(true);
});
