import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { asRole, asSuperuser, newDatabase } from "./support/postgres.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";
import {
  auditOf,
  createUser,
  newUserBody,
  refresh,
  signIn,
  type TestUser,
  trySignIn,
} from "./support/users.ts";

const postgres = inject("postgres");
let database: string;
let service: TestService;
let tenant: string;
let admin: string;
beforeAll(async () => {
  database = await newDatabase(postgres);
  service = await startTestService(postgres, database, inject("redis"));
  tenant = await newTenant(postgres, database);
  admin = await service.token("admin", tenant);
});
afterAll(() => service.stop());

const users = "/api/v2/admin/users";
const patch = (id: string, body: unknown, token = admin) =>
  service.call("PATCH", `${users}/${id}`, { token, body });

interface Page {
  items: { id: string; username: string }[];
  nextCursor: string | null;
}

describe("an admin", () => {
  it("creates users, whose e-mail address only the app can read", async () => {
    const body = { ...newUserBody("viewer"), email: "someone@example.org" };
    const created = await service.call("POST", users, { token: admin, body });
    expect(created.status).toBe(201);
    const visible = { username: body.username, role: body.role, email: body.email };
    expect(created.body).toMatchObject({ ...visible, source: "local", disabledAt: null });
    expect(Object.keys(created.body as object)).not.toContain("passwordHash");
    const { rows } = await asSuperuser(postgres, database, (client) =>
      client.query<{ email: string }>("select email from users where email is not null"),
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.email).toMatch(/^ey/);
    expect(JSON.stringify([rows, service.logs()])).not.toContain("someone@example");
  });

  it("cannot give a name twice, nor make a user that is not well-formed", async () => {
    const body = newUserBody("viewer");
    expect((await service.call("POST", users, { token: admin, body })).status).toBe(201);
    const again = { ...body, username: body.username.toUpperCase() };
    expect(await service.call("POST", users, { token: admin, body: again })).toMatchObject({
      status: 409,
      body: { errors: [{ field: "username" }] },
    });
    for (const [field, value] of [
      ["username", "-x"],
      ["username", "\u0000"],
      ["password", "short"],
      ["role", "owner"],
      ["email", "nowhere"],
      ["tenantId", tenant],
      ["source", "ldap"],
    ]) {
      const bad = { ...newUserBody("viewer"), [field ?? ""]: value };
      expect(await service.call("POST", users, { token: admin, body: bad })).toMatchObject({
        status: 400,
        body: { errors: [{ field }] },
      });
    }
  });

  it("lists the users of their own tenant only, page by page", async () => {
    const other = await newTenant(postgres, database);
    const made = await Promise.all([1, 2, 3].map(() => createUser(service, other, "viewer")));
    const token = await service.token("admin", other);
    const found: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const query: string = cursor ? `&cursor=${cursor}` : "";
      const { body } = await service.call("GET", `${users}?limit=2${query}`, { token });
      const page = body as Page;
      found.push(...page.items.map(({ username }) => username));
      cursor = page.nextCursor;
    }
    expect(found).toEqual(made.map(({ username }) => username).sort());
  });

  it("changes a role, which is audited with both", async () => {
    const { id, username } = await createUser(service, tenant, "viewer");
    expect(await patch(id, { role: "editor" })).toMatchObject({ status: 200, body: { role: "editor" } });
    expect(await auditOf(service, tenant, "user.change_role")).toContainEqual(
      expect.objectContaining({
        subject: "user-admin",
        target: `user/${id}`,
        detail: { username, from: "viewer", to: "editor" },
      }),
    );
    expect((await patch(id, {})).status).toBe(400);
    expect((await patch(id, { username: "x" })).status).toBe(400);
    expect((await patch("not-an-id", { role: "editor" })).status).toBe(400);
  });

  const sessionsEnd: [string, (user: TestUser) => Promise<{ status: number }>][] = [
    ["disables a user", ({ id }) => patch(id, { disabled: true })],
    ["gives a user a new password", ({ id }) => patch(id, { password: "another long password" })],
    [
      "revokes a user's sessions",
      ({ id }) => service.call("DELETE", `${users}/${id}/sessions`, { token: admin }),
    ],
  ];
  it.each(sessionsEnd)("%s, who then cannot refresh any more", async (_what, act) => {
    const user = await createUser(service, tenant, "viewer");
    const { refreshToken } = await signIn(service, user);
    expect((await act(user)).status).toBeLessThan(300);
    expect((await refresh(service, refreshToken)).status).toBe(401);
  });

  it("lets a disabled user in again, and an old password not", async () => {
    const user = await createUser(service, tenant, "viewer");
    await patch(user.id, { disabled: true });
    expect((await trySignIn(service, user)).status).toBe(401);
    expect(await patch(user.id, { disabled: false })).toMatchObject({ body: { disabledAt: null } });
    expect((await trySignIn(service, user)).status).toBe(200);
    const password = "another long password";
    await patch(user.id, { password });
    expect((await trySignIn(service, user)).status).toBe(401);
    expect((await trySignIn(service, { ...user, password })).status).toBe(200);
  });

  it("never leaves a sign-in alive that ran while the user was being disabled", async () => {
    for (let round = 0; round < 5; round++) {
      const user = await createUser(service, tenant, "viewer");
      const { refreshToken } = await signIn(service, user);
      const [refreshed, signedIn] = await Promise.all([
        refresh(service, refreshToken),
        trySignIn(service, user),
        patch(user.id, { disabled: true }),
      ]);
      for (const { status, body } of [refreshed, signedIn]) {
        if (status === 200) {
          const { refreshToken: next } = body as { refreshToken: string };
          expect((await refresh(service, next)).status).toBe(401);
        }
      }
    }
  });

  it("cannot take the tenant's last admin away, not even two at once from each other", async () => {
    const other = await newTenant(postgres, database);
    const token = await service.token("admin", other);
    const pair = await Promise.all([
      createUser(service, other, "admin"),
      createUser(service, other, "admin"),
    ]);
    const answers = await Promise.all(pair.map(({ id }) => patch(id, { role: "viewer" }, token)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    const last = pair[answers.findIndex(({ status }) => status === 409)];
    expect((await patch(last?.id ?? "", { disabled: true }, token)).status).toBe(409);
  });

  it.each([
    ["disabled", { disabled: true }],
    ["demoted", { role: "viewer" }],
  ])("who was %s cannot undo it with the token of before, which is audited", async (_how, change) => {
    const other = await newTenant(postgres, database);
    const [first, second] = [
      await createUser(service, other, "admin"),
      await createUser(service, other, "admin"),
    ];
    const [former, present] = [await signIn(service, first), await signIn(service, second)];
    const attempts = (token: string) =>
      Promise.all([
        patch(first.id, { disabled: false, role: "admin" }, token),
        service.call("POST", users, { token, body: newUserBody("admin") }),
        service.call("DELETE", `${users}/${second.id}/sessions`, { token }),
      ]);
    expect((await attempts(former.accessToken)).map(({ status }) => status)).toEqual([200, 201, 204]);
    expect((await patch(first.id, change, present.accessToken)).status).toBe(200);
    expect((await attempts(former.accessToken)).map(({ status }) => status)).toEqual([403, 403, 403]);
    const refusals = await auditOf(service, other, "access.refuse");
    expect(refusals.map(({ subject, target }) => [subject, target]).sort()).toEqual([
      [first.id, `route/${users}`],
      [first.id, `route/${users}/:id`],
      [first.id, `route/${users}/:id/sessions`],
    ]);
  });

  it("reads the audit log of their own tenant, filtered and page by page", async () => {
    const other = await newTenant(postgres, database);
    const token = await service.token("admin", other);
    const viewer = await service.token("viewer", other);
    const start = new Date().toISOString();
    await createUser(service, other, "viewer");
    await service.call("GET", users, { token: viewer });
    await createUser(service, other, "viewer");
    const ask = async (query: string) => {
      const { status, body } = await service.call("GET", `/api/v2/admin/audit${query}`, { token });
      expect(status).toBe(200);
      const page = body as { items: { id: string; action: string }[]; nextCursor: string | null };
      return { ...page, actions: page.items.map(({ action }) => action) };
    };
    expect((await ask("")).actions).toEqual(["user.create", "access.refuse", "user.create"]);
    expect((await ask("?action=access.refuse")).items).toMatchObject([
      {
        subject: "user-viewer",
        outcome: "failure",
        target: `route/${users}`,
        detail: { method: "GET", role: "viewer", reason: "role" },
      },
    ]);
    expect((await ask("?subject=user-admin")).actions).toEqual(["user.create", "user.create"]);
    expect((await ask(`?from=${start}`)).items).toHaveLength(3);
    expect((await ask(`?to=${start}`)).items).toHaveLength(0);
    expect((await ask("?from=0000-01-01T00:00:00Z")).items).toHaveLength(3);
    const first = await ask("?limit=2");
    expect(first.items).toHaveLength(2);
    expect(await ask(`?limit=2&cursor=${first.nextCursor ?? ""}`)).toMatchObject({
      actions: ["user.create"],
      nextCursor: null,
    });
    for (const query of ["?limit=0", "?cursor=x", "?action=%00", "?from=yesterday", "?tenant=x"]) {
      expect((await service.call("GET", `/api/v2/admin/audit${query}`, { token })).status).toBe(400);
    }
  });
});

it("the app's role can add to the audit log, and neither change, delete, backdate nor empty it", async () => {
  await asRole(postgres, database, "app_user", async (client) => {
    await client.query("select set_config('app.current_tenant_id', $1, false)", [tenant]);
    const event = "insert into audit_events (subject, action, outcome";
    await client.query(`${event}) values ('a', 'b.c', 'success')`);
    for (const attempt of [
      "update audit_events set subject = 'x'",
      "delete from audit_events",
      "truncate audit_events",
      "drop table audit_events",
      "alter table audit_events disable row level security",
      `${event}, at) values ('a', 'b.c', 'success', '2020-01-01')`,
      `${event}, tenant_id) values ('a', 'b.c', 'success', '${tenant}')`,
    ]) {
      await expect(client.query(attempt), attempt).rejects.toThrow(/permission denied|must be owner/);
    }
  });
});

it("a refusal stays one while Postgres cannot audit it", async () => {
  const away = await startTestService(postgres, "no_such_database", undefined);
  const token = await away.token("viewer", tenant);
  expect((await away.call("GET", users, { token })).status).toBe(403);
  expect(away.logs()).toContainEqual(expect.objectContaining({ message: "refusal not audited" }));
  await away.stop();
});
