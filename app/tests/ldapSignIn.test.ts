import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { Role } from "../src/auth/rules.ts";
import type { LdapConfig } from "../src/config/settings.ts";
import { entries, groupRoles, password } from "./support/people.ts";
import { newDatabase } from "./support/postgres.ts";
import { freePort } from "./support/processes.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";
import { groups, LdapServer, people, reader } from "./support/slapd.ts";
import { auditOf, createUser, refresh, signIn, signInBody, switchFile, trySignIn } from "./support/users.ts";

const postgres = inject("postgres");
let server: LdapServer;
let searching: LdapConfig;
let database: string;
beforeAll(async () => {
  server = await LdapServer.create(entries);
  database = await newDatabase(postgres);
  searching = {
    url: server.ldapsUrl,
    caFile: server.caFile,
    tenant: "acme",
    user: { base: people, filter: "(uid={username})" },
    reader: { dn: reader.dn, passwordFile: server.readerPasswordFile },
    groupRoles,
  };
});
afterAll(() => server.remove());

describe("signing in through the directory", () => {
  let service: TestService;
  let tenant: string;
  beforeAll(async () => {
    tenant = await newTenant(postgres, database);
    service = await startTestService(postgres, database, inject("redis"), {
      ldap: { ...searching, tenant: `tenant ${tenant}` },
    });
  });
  afterAll(() => service.stop());

  const user = (username: string) => ({ tenant: `tenant ${tenant}`, username, password });
  const listed = async (username: string) => {
    const token = await service.token("admin", tenant);
    const { body } = await service.call("GET", "/api/v2/admin/users?limit=100", { token });
    return (body as { items: { id: string; username: string }[] }).items.filter(
      (item) => item.username === username,
    );
  };

  it("creates the user the first time, also when that is twice at once", async () => {
    const [first, second] = await Promise.all([signIn(service, user("eve")), signIn(service, user("eve"))]);
    expect([first.role, second.role]).toEqual(["editor", "editor"]);
    expect(await listed("eve")).toMatchObject([{ source: "ldap", role: "editor" }]);
    const created = await auditOf(service, tenant, "user.create");
    expect(created.filter(({ detail }) => detail["username"] === "eve")).toHaveLength(1);
    expect((await refresh(service, first.refreshToken)).status).toBe(200);
  });

  it("takes the role from the groups again each time", async () => {
    await signIn(service, user("vic"));
    const [vic] = await listed("vic");
    const token = await service.token("admin", tenant);
    const path = `/api/v2/admin/users/${vic?.id ?? ""}`;
    expect((await service.call("PATCH", path, { token, body: { role: "admin" } })).status).toBe(409);
    const moved = await startTestService(postgres, database, inject("redis"), {
      ldap: { ...searching, tenant: `tenant ${tenant}`, groupRoles: { [`cn=staff,${groups}`]: "editor" } },
    });
    expect((await signIn(moved, user("vic"))).role).toBe("editor");
    await moved.stop();
    expect(await auditOf(service, tenant, "user.change_role")).toContainEqual(
      expect.objectContaining({
        subject: "directory",
        detail: { username: "vic", from: "viewer", to: "editor" },
      }),
    );
  });

  describe("with a session of the emergency sign-in", () => {
    const path = "/api/v2/auth/session";
    const withRole = async (role: Role, queue = inject("redis")) =>
      startTestService(postgres, database, inject("redis"), {
        ldap: { ...searching, tenant: `tenant ${tenant}`, groupRoles: { [`cn=editors,${groups}`]: role } },
        fallbackSignInFile: await switchFile("on"),
        queue,
      });
    const begin = async (at: TestService) => {
      const { status, headers } = await at.call("POST", path, { body: signInBody(user("bob+ops")) });
      expect(status).toBe(200);
      return headers.get("set-cookie")?.split(";")[0] ?? "";
    };
    const me = (at: TestService, cookie: string) =>
      at.call("GET", "/api/v2/auth/me", { headers: { cookie } });

    it.each(["session", "token"])(
      "ends it when the groups of a sign-in for a %s give another role",
      async (kind) => {
        const [before, after] = await Promise.all([withRole("admin"), withRole("viewer")]);
        const [first, second] = [await begin(before), await begin(before)];
        // The same role again ends nothing.
        expect(await me(before, first)).toMatchObject({ status: 200, body: { role: "admin" } });
        const begun = kind === "session" ? await begin(after) : undefined;
        if (kind === "token") {
          expect((await signIn(after, user("bob+ops"))).role).toBe("viewer");
        }
        for (const cookie of [first, second]) {
          expect((await me(after, cookie)).status).toBe(401);
        }
        if (begun !== undefined) {
          expect(await me(after, begun)).toMatchObject({ status: 200, body: { role: "viewer" } });
        }
        await Promise.all([before.stop(), after.stop()]);
      },
    );

    it("leaves the role as it was while sessions cannot be ended, so that the next sign-in does both", async () => {
      const away = { ...inject("redis"), port: await freePort() };
      const [before, cutOff, after] = await Promise.all([
        withRole("admin"),
        withRole("viewer", away),
        withRole("viewer"),
      ]);
      const cookie = await begin(before);
      expect((await trySignIn(cutOff, user("bob+ops"))).status).toBe(503);
      expect(await listed("bob+ops")).toMatchObject([{ role: "admin" }]);
      expect((await signIn(after, user("bob+ops"))).role).toBe("viewer");
      expect((await me(after, cookie)).status).toBe(401);
      await Promise.all([before, cutOff, after].map((service) => service.stop()));
    });
  });

  describe("to whom the directory has dropped", () => {
    // Each as the directory would be without them; the tests' own is shared.
    const inNoGroup = { groupRoles: { [`cn=admins,${groups}`]: "admin" as const } };
    const deleted = { user: { base: people, filter: "(&(uid={username})(sn=nobody))" } };
    const start = async (overrides: Partial<LdapConfig> = {}, queue = inject("redis")) =>
      startTestService(postgres, database, inject("redis"), {
        ldap: { ...searching, tenant: `tenant ${tenant}`, ...overrides },
        fallbackSignInFile: await switchFile("on"),
        queue,
      });
    const begin = async (at: TestService) => {
      const { refreshToken } = await signIn(at, user("bob+ops"));
      const { headers } = await at.call("POST", "/api/v2/auth/session", {
        body: signInBody(user("bob+ops")),
      });
      return { refreshToken, cookie: headers.get("set-cookie")?.split(";")[0] ?? "" };
    };
    const sessionStatus = async (at: TestService, cookie: string) =>
      (await at.call("GET", "/api/v2/auth/me", { headers: { cookie } })).status;

    it.each([
      ["is in no group with a role any more", inNoGroup, "no_role"],
      ["is no longer there", deleted, "no_such_user"],
    ])("refuses, and ends their sessions and refresh tokens: who %s", async (_who, overrides, reason) => {
      const [before, after] = await Promise.all([start(), start(overrides)]);
      const { cookie, refreshToken } = await begin(before);
      expect(await sessionStatus(after, cookie)).toBe(200);
      expect((await trySignIn(after, user("bob+ops"))).status).toBe(401);
      expect(await sessionStatus(after, cookie)).toBe(401);
      expect((await refresh(after, refreshToken)).status).toBe(401);
      const [bob] = await listed("bob+ops");
      expect(await auditOf(service, tenant, "user.revoke_sessions")).toContainEqual(
        expect.objectContaining({ subject: "directory", target: `user/${bob?.id ?? ""}` }),
      );
      const [failed] = await auditOf(service, tenant, "session.sign_in");
      expect(failed).toMatchObject({ outcome: "failure", detail: { reason } });
      // Taken up again, they begin anew.
      expect((await trySignIn(before, user("bob+ops"))).status).toBe(200);
      await Promise.all([before, after].map((each) => each.stop()));
    });

    it("ends nothing for a wrong password, nor where the directory cannot tell", async () => {
      const [before, byTemplate] = await Promise.all([
        start(),
        start({ user: { dn: `uid={username},ou=elsewhere,${people}` } }),
      ]);
      const { cookie, refreshToken } = await begin(before);
      expect((await trySignIn(before, { ...user("bob+ops"), password: "wrong" })).status).toBe(401);
      expect((await trySignIn(byTemplate, user("bob+ops"))).status).toBe(401);
      expect(await sessionStatus(before, cookie)).toBe(200);
      expect((await refresh(before, refreshToken)).status).toBe(200);
      await Promise.all([before, byTemplate].map((each) => each.stop()));
    });

    it("ends their refresh tokens while sessions cannot be ended, and the sessions at the next sign-in", async () => {
      const away = { ...inject("redis"), port: await freePort() };
      const [before, cutOff, after] = await Promise.all([start(), start(deleted, away), start(deleted)]);
      const { cookie, refreshToken } = await begin(before);
      expect((await trySignIn(cutOff, user("bob+ops"))).status).toBe(503);
      expect((await refresh(before, refreshToken)).status).toBe(401);
      expect(await sessionStatus(before, cookie)).toBe(200);
      expect((await trySignIn(after, user("bob+ops"))).status).toBe(401);
      expect(await sessionStatus(before, cookie)).toBe(401);
      await Promise.all([before, cutOff, after].map((each) => each.stop()));
    });
  });

  it("is refused to whom an admin disabled, who has no group, or whose password is wrong", async () => {
    await signIn(service, user("leaver"));
    const [leaver] = await listed("leaver");
    const token = await service.token("admin", tenant);
    await service.call("PATCH", `/api/v2/admin/users/${leaver?.id ?? ""}`, {
      token,
      body: { disabled: true },
    });
    expect((await trySignIn(service, user("leaver"))).status).toBe(401);
    expect((await trySignIn(service, user("outsider"))).status).toBe(401);
    expect((await trySignIn(service, { ...user("eve"), password: "wrong" })).status).toBe(401);
    const reasons = (await auditOf(service, tenant, "session.sign_in")).map(({ detail }) => detail["reason"]);
    expect(reasons).toEqual(expect.arrayContaining(["disabled", "no_role", "wrong_password"]));
  });

  it("is for the directory's tenant only, and never for a local user's name", async () => {
    const other = await newTenant(postgres, database);
    expect((await trySignIn(service, { ...user("eve"), tenant: `tenant ${other}` })).status).toBe(401);
    const admin = await service.token("admin", tenant);
    const body = { username: "ada", password: "a local password", role: "viewer" };
    await service.call("POST", "/api/v2/admin/users", { token: admin, body });
    expect((await trySignIn(service, user("ada"))).status).toBe(401);
    expect((await signIn(service, { ...user("ada"), password: body.password })).role).toBe("viewer");
  });

  it("answers 503 while the directory is away, and local users still sign in", async () => {
    const local = await createUser(service, tenant, "admin");
    await server.stop();
    // More often than one may fail: what is not the caller's fault does not count.
    for (let round = 0; round < 2; round++) {
      const attempts = await Promise.all(Array.from({ length: 6 }, () => trySignIn(service, user("eve"))));
      expect(new Set(attempts.map(({ status }) => status))).toEqual(new Set([503]));
    }
    expect((await trySignIn(service, local)).status).toBe(200);
    await server.start();
    expect((await trySignIn(service, user("eve"))).status).toBe(200);
  });
});
