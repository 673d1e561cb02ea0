import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Passwords } from "../src/auth/passwords.ts";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";
import { auditOf, createUser, signIn, type TestUser, trySignIn } from "./support/users.ts";

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

describe("signing in", () => {
  it("with the right password gives tokens for the user's tenant and role, and is audited", async () => {
    const tokens = await signIn(service, user);
    expect(tokens).toMatchObject({ expiresIn: 900, role: "editor" });
    expect((await me(tokens.accessToken)).body).toEqual({
      subject: user.id,
      tenantId: tenant,
      role: "editor",
      username: user.username,
      email: null,
      csrfToken: null,
    });
    expect(await auditOf(service, tenant, "session.sign_in")).toContainEqual(
      expect.objectContaining({ subject: user.id, outcome: "success", target: `user/${user.id}` }),
    );
  });

  it("takes the user name in any case", async () => {
    expect((await trySignIn(service, { ...user, username: ` ${user.username.toUpperCase()}` })).status).toBe(
      200,
    );
  });

  it("answers an unknown tenant, an unknown user, a disabled one and a wrong password alike", async () => {
    const disabled = await createUser(service, tenant, "viewer");
    const token = await service.token("admin", tenant);
    const path = `/api/v2/admin/users/${disabled.id}`;
    await service.call("PATCH", path, { token, body: { disabled: true } });
    const failures = [
      { ...user, tenant: "nowhere" },
      { ...user, username: "nobody" },
      disabled,
      { ...user, password: "wrong" },
      // A user of one tenant is unknown to the other, even with the right password.
      { ...user, tenant: `tenant ${await newTenant(postgres, database)}` },
    ];
    const failed = await metric('app_sign_ins_total{result="failure"}');
    const answers = await Promise.all(failures.map((failure) => trySignIn(service, failure)));
    expect(await metric('app_sign_ins_total{result="failure"}')).toBe(failed + failures.length);
    const bodies = answers.map(({ status, headers, body }) => [
      status,
      headers.get("www-authenticate"),
      { ...(body as object), instance: "" },
    ]);
    expect(new Set(bodies.map((body) => JSON.stringify(body))).size).toBe(1);
    expect(bodies[0]?.[0]).toBe(401);
    const reasons = (await auditOf(service, tenant, "session.sign_in"))
      .filter(({ outcome }) => outcome === "failure")
      .map(({ subject, detail }) => `${subject} ${String(detail["reason"])}`);
    expect(reasons.sort()).toEqual(
      ["nobody no_such_user", `${disabled.username} disabled`, `${user.username} wrong_password`].sort(),
    );
  });

  it("takes a failure's time for each of them: the clock does not tell them apart either", async () => {
    for (const failure of [
      { ...user, tenant: "nowhere" },
      { ...user, username: "no-one" },
      { ...user, password: "wrong" },
    ]) {
      const start = performance.now();
      await trySignIn(service, failure);
      expect(performance.now() - start).toBeGreaterThan(295);
    }
  });

  it("works as long for an unknown user as for a known one", async () => {
    const passwords = new Passwords();
    const hash = await passwords.hash("a long password");
    const time = async (stored: string | undefined) => {
      const start = performance.now();
      expect(await passwords.verify(stored, "another password")).toBe(false);
      return performance.now() - start;
    };
    await time(undefined);
    const times = { known: 0, unknown: 0 };
    for (let round = 0; round < 10; round++) {
      times.known += await time(hash);
      times.unknown += await time(undefined);
    }
    expect(times.unknown / times.known).toBeGreaterThan(0.5);
    expect(times.unknown / times.known).toBeLessThan(2);
    // Not even the password that the dummy hash is of.
    expect(await passwords.verify(undefined, "nobody's password")).toBe(false);
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,p=1,t=2\$/);
  });

  it("tells a storm of sign-ins to come back rather than queue without end", async () => {
    const passwords = new Passwords();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 80 }, () => passwords.verify(undefined, "x")),
    );
    const refused = outcomes.filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(80 - 52);
    expect(refused[0]).toMatchObject({ reason: { status: 503, headers: { "Retry-After": "2" } } });
  });

  it("is limited to ten failures per name, and says when to come back; other names go on", async () => {
    const [attacked, other] = [
      await createUser(service, tenant, "viewer"),
      await createUser(service, tenant, "viewer"),
    ];
    const wrong = { ...attacked, password: "wrong" };
    const attempts = await Promise.all(Array.from({ length: 12 }, () => trySignIn(service, wrong)));
    expect(attempts.filter(({ status }) => status === 429)).toHaveLength(2);
    const refused = await trySignIn(service, attacked);
    const events = await auditOf(service, tenant, "session.sign_in");
    expect(
      events.filter(({ subject, detail }) => subject === attacked.username && detail["reason"] === "limited"),
    ).toHaveLength(1);
    const stranger = { ...attacked, tenant: "nowhere" };
    await Promise.all(Array.from({ length: 10 }, () => trySignIn(service, stranger)));
    const start = performance.now();
    expect((await trySignIn(service, stranger)).status).toBe(429);
    expect(performance.now() - start).toBeGreaterThan(295);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(800);
    expect((await trySignIn(service, other)).status).toBe(200);
  });

  it("starts counting failures anew after a success", async () => {
    const forgetful = await createUser(service, tenant, "viewer");
    for (let round = 0; round < 2; round++) {
      const wrong = { ...forgetful, password: "wrong" };
      const failures = await Promise.all(Array.from({ length: 9 }, () => trySignIn(service, wrong)));
      expect(failures.map(({ status }) => status)).not.toContain(429);
      expect((await trySignIn(service, forgetful)).status).toBe(200);
    }
  });

  it.each([
    [{}, ["tenant", "username", "password"]],
    [{ tenant: "a\u0000", username: "b", password: "c" }, ["tenant"]],
    [{ tenant: "a", username: "b*)(uid=*", password: "c" }, ["username"]],
    [{ tenant: "a", username: "b", password: "" }, ["password"]],
    [{ tenant: "a", username: "b", password: "c", role: "admin" }, ["role"]],
  ])("with %j is refused, naming the fields", async (body, fields) => {
    const answer = await service.call("POST", "/api/v2/auth/sign-in", { body });
    expect(answer.status).toBe(400);
    expect((answer.body as { errors: { field: string }[] }).errors.map(({ field }) => field)).toEqual(fields);
  });

  it("keeps passwords and tokens out of logs, audit log and tables", async () => {
    const { refreshToken } = await signIn(service, user);
    const { rows } = await asSuperuser(postgres, database, (client) =>
      client.query<{ text: string }>(
        `select users::text as text from users union all select refresh_tokens::text from refresh_tokens
         union all select audit_events::text from audit_events`,
      ),
    );
    const everything = JSON.stringify([service.logs(), rows]);
    expect(everything).not.toContain(user.password);
    expect(everything).not.toContain(refreshToken.split(".")[1]);
  });
});
