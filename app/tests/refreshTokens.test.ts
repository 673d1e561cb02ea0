import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
import { newTenant, startTestService, type TestService, writeKeyFile } from "./support/service.ts";
import { auditOf, createUser, refresh, signIn, type TestUser, type TokenPair } from "./support/users.ts";

const postgres = inject("postgres");
let database: string;
let service: TestService;
let tenant: string;
let user: TestUser;
beforeAll(async () => {
  database = await newDatabase(postgres);
  service = await startTestService(postgres, database, inject("redis"));
  tenant = await newTenant(postgres, database);
  user = await createUser(service, tenant, "editor");
});
afterAll(() => service.stop());

const me = (token: string) => service.call("GET", "/api/v2/auth/me", { token });
const metric = async (line: string) =>
  Number(
    new RegExp(`^${line.replace(/[{}]/g, "\\$&")} (\\d+)$`, "m").exec(await service.metricsText())?.[1] ?? 0,
  );

describe("a refresh token", () => {
  it("gives new tokens once, with the role as it now is", async () => {
    const person = await createUser(service, tenant, "viewer");
    const first = await signIn(service, person);
    const token = await service.token("admin", tenant);
    await service.call("PATCH", `/api/v2/admin/users/${person.id}`, { token, body: { role: "editor" } });
    const second = await refresh(service, first.refreshToken);
    expect(second).toMatchObject({ status: 200, body: { role: "editor", expiresIn: 900 } });
    const { accessToken, refreshToken } = second.body as TokenPair;
    expect((await me(accessToken)).body).toMatchObject({ subject: person.id, role: "editor" });
    expect((await refresh(service, refreshToken)).status).toBe(200);
  });

  it("that comes a second time ends its whole family and no other, is audited and counted", async () => {
    const person = await createUser(service, tenant, "viewer");
    const [stolen, elsewhere] = [await signIn(service, person), await signIn(service, person)];
    const next = (await refresh(service, stolen.refreshToken)).body as TokenPair;
    const reused = await metric("app_token_reuse_total");
    expect((await refresh(service, stolen.refreshToken)).status).toBe(401);
    expect((await refresh(service, next.refreshToken)).status).toBe(401);
    expect((await refresh(service, elsewhere.refreshToken)).status).toBe(200);
    expect(await metric("app_token_reuse_total")).toBe(reused + 1);
    expect(await auditOf(service, tenant, "token.reuse")).toContainEqual(
      expect.objectContaining({ subject: person.id, outcome: "failure" }),
    );
  });

  it("used many times at once is accepted once, and its family ends", async () => {
    const { refreshToken } = await signIn(service, user);
    const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(service, refreshToken)));
    const accepted = answers.filter(({ status }) => status === 200);
    expect(accepted).toHaveLength(1);
    const [{ body }] = accepted as [(typeof answers)[number]];
    expect((await refresh(service, (body as TokenPair).refreshToken)).status).toBe(401);
  });

  it("is accepted once also when two requests come while neither can write yet", async () => {
    const { refreshToken } = await signIn(service, user);
    const statuses = await asSuperuser(postgres, database, async (client) => {
      // Whoever only reads the token before writing has read it by now, and believes it unused.
      await client.query("begin; lock table refresh_tokens in share mode");
      const both = [refresh(service, refreshToken), refresh(service, refreshToken)];
      await sleep(500);
      await client.query("commit");
      return (await Promise.all(both)).map(({ status }) => status);
    });
    expect(statuses.sort()).toEqual([200, 401]);
  });

  it("stays unused when no access token can be signed: to try again, as the answer says, is no reuse", async () => {
    const { refreshToken } = await signIn(service, user);
    const keyless = await startTestService(postgres, database, inject("redis"), {
      jwt: { ...service.config.jwt, keysFile: undefined },
    });
    expect((await refresh(keyless, refreshToken)).status).toBe(503);
    await keyless.stop();
    expect((await refresh(service, refreshToken)).status).toBe(200);
  });

  it("expires a week after the sign-in, however often it was renewed", async () => {
    const { refreshToken } = await signIn(service, user);
    const next = (await refresh(service, refreshToken)).body as TokenPair;
    const { rows } = await asSuperuser(postgres, database, (client) =>
      client.query<{ days: number }>(
        "select distinct round(extract(epoch from expires_at - now()) / 86400)::int as days from refresh_tokens",
      ),
    );
    expect(rows).toEqual([{ days: 7 }]);
    await asSuperuser(postgres, database, (client) =>
      client.query("update refresh_tokens set expires_at = now() where used_at is null"),
    );
    expect((await refresh(service, next.refreshToken)).status).toBe(401);
  });

  it("is worth nothing after sign-out, which says nothing about tokens that it does not know", async () => {
    const { refreshToken } = await signIn(service, user);
    const signOut = (token: string) =>
      service.call("POST", "/api/v2/auth/sign-out", { body: { refreshToken: token } });
    for (const token of [refreshToken, refreshToken, "unknown", `${tenant}.unknown`]) {
      expect((await signOut(token)).status).toBe(204);
    }
    expect((await refresh(service, refreshToken)).status).toBe(401);
    expect(await auditOf(service, tenant, "session.sign_out")).toContainEqual(
      expect.objectContaining({ subject: user.id }),
    );
  });

  it("is refused with the tenant exchanged, and when it is no token at all", async () => {
    const { refreshToken } = await signIn(service, user);
    const foreign = `${await newTenant(postgres, database)}.${refreshToken.split(".")[1] ?? ""}`;
    for (const token of [foreign, "x", `${tenant}.`, `${tenant}'--.x`]) {
      expect((await refresh(service, token)).status).toBe(401);
    }
    expect((await refresh(service, refreshToken)).status).toBe(200);
  });

  it("and the access token outlive a rotation of the signing keys: nobody is signed out", async () => {
    const { accessToken, refreshToken } = await signIn(service, user);
    const file = service.config.jwt.keysFile ?? "";
    const { active, keys } = JSON.parse(await readFile(file, "utf8")) as {
      active: string;
      keys: Record<string, string>;
    };
    await writeKeyFile(["k2"], file);
    const { keys: newKeys } = JSON.parse(await readFile(file, "utf8")) as { keys: Record<string, string> };
    await writeFile(file, JSON.stringify({ active: "k2", keys: { ...keys, ...newKeys } }));
    await sleep(1100);
    expect((await me(accessToken)).status).toBe(200);
    const next = (await refresh(service, refreshToken)).body as TokenPair;
    const kid = (token: string) =>
      (JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()) as { kid: string }).kid;
    expect([kid(accessToken), kid(next.accessToken)]).toEqual([active, "k2"]);
    expect((await me(next.accessToken)).status).toBe(200);
  });
});
