import { type Request, Router } from "express";
import type { PoolClient } from "pg";
import { z } from "zod";
import { audit } from "../audit/audit.ts";
import { principalOf } from "../auth/guard.ts";
import type { Passwords } from "../auth/passwords.ts";
import type { Refusals } from "../auth/refusals.ts";
import type { RefreshTokens } from "../auth/refreshTokens.ts";
import type { Sessions } from "../auth/sessions.ts";
import type { Principal } from "../auth/tokens.ts";
import type { Database } from "../db/database.ts";
import { limitParameter } from "../http/limit.ts";
import { routeTemplate } from "../http/observe.ts";
import { forbidden, notFound, Problem, validated } from "../http/problem.ts";
import type { User, UserRepository } from "./repository.ts";
import { isUserId, type UserChange, userChange, userInput, username, userPath } from "./user.ts";

export const userListQuery = z.strictObject({
  limit: limitParameter,
  cursor: username.optional().meta({ description: "The nextCursor of an earlier answer" }),
});

interface UserRoutesArgs {
  database: Database;
  users: UserRepository;
  passwords: Passwords;
  refreshTokens: RefreshTokens;
  sessions: Sessions;
  refusals: Refusals;
}

/** `/api/v2/admin/users`. Nobody is deleted: the audit log and the documents go on naming them. */
export function userRoutes({
  database,
  users,
  passwords,
  refreshTokens,
  sessions,
  refusals,
}: UserRoutesArgs): Router {
  const router = Router();

  /**
   * A transaction of somebody who is still an admin: with the token of before, who was disabled or demoted could
   * otherwise undo it. Given all the tenant's admins, who stay so until its end.
   */
  async function asAdmin<T>(
    request: Request,
    work: (client: PoolClient, admins: readonly string[]) => Promise<T>,
  ): Promise<T> {
    const principal = principalOf(request);
    const former = forbidden("this user is an admin no longer");
    try {
      return await database.asTenant(principal.tenantId, async (client) => {
        const admins = await users.lockAdmins(client);
        if (isUserId(principal.subject) && !admins.includes(principal.subject)) {
          throw former;
        }
        return work(client, admins);
      });
    } catch (error) {
      if (error === former) {
        await refusals.record("role", { principal, method: request.method, route: routeTemplate(request) });
      }
      throw error;
    }
  }

  router.get("/api/v2/admin/users", async (request, response) => {
    const { tenantId } = principalOf(request);
    const { limit, cursor } = validated(userListQuery, request.query);
    const found = await users.list(tenantId, limit + 1, cursor);
    const items = found.slice(0, limit);
    response.json({ items, nextCursor: found.length > limit ? (items.at(-1)?.username ?? null) : null });
  });

  router.post("/api/v2/admin/users", async (request, response) => {
    const { tenantId, subject } = principalOf(request);
    const { password, email, ...input } = validated(userInput, request.body);
    const passwordHash = await passwords.hash(password);
    const created = await asAdmin(request, async (client) => {
      const user = await users.create(client, {
        ...input,
        passwordHash,
        ...(email !== undefined && { email }),
      });
      if (user) {
        await audit(client, { subject, action: "user.create", target: `user/${user.id}`, detail: input });
      }
      return user;
    });
    const view = created && (await users.get(tenantId, created.id));
    if (!view) {
      throw new Problem(409, {
        detail: "the user name is taken",
        errors: [{ field: "username", message: "is taken" }],
      });
    }
    response.status(201).location(`/api/v2/admin/users/${view.id}`).json(view);
  });

  router.patch("/api/v2/admin/users/:id", async (request, response) => {
    const principal = principalOf(request);
    const { id } = validated(userPath, request.params);
    const change = validated(userChange, request.body);
    const passwordHash = change.password === undefined ? undefined : await passwords.hash(change.password);
    await asAdmin(request, async (client, admins) => {
      const user = await users.lock(client, id);
      if (!user) {
        throw notFound();
      }
      refuseImpossible(user, change, admins.length);
      await users.update(client, id, {
        ...(change.role && { role: change.role }),
        ...(change.disabled !== undefined && { disabled: change.disabled }),
        ...(passwordHash !== undefined && { passwordHash }),
      });
      if (change.disabled === true || passwordHash !== undefined) {
        await refreshTokens.revokeAll(client, id);
      }
      await auditChange(client, principal, user, change);
    });
    // After the commit: a sign-in that held the lock before may have begun one with the old role.
    await sessions.endAll(id);
    response.json(await users.get(principal.tenantId, id));
  });

  router.delete("/api/v2/admin/users/:id/sessions", async (request, response) => {
    const { subject } = principalOf(request);
    const { id } = validated(userPath, request.params);
    await asAdmin(request, async (client) => {
      if (!(await users.lock(client, id))) {
        throw notFound();
      }
      await refreshTokens.revokeAll(client, id);
      await audit(client, { subject, action: "user.revoke_sessions", target: `user/${id}` });
    });
    await sessions.endAll(id);
    response.status(204).end();
  });

  return router;
}

function refuseImpossible(user: User, { role, disabled, password }: UserChange, admins: number): void {
  if (user.source === "ldap" && (role !== undefined || password !== undefined)) {
    throw new Problem(409, { detail: "the role and password of this user are the directory's to change" });
  }
  const isAdmin = user.role === "admin" && !user.disabled;
  const staysAdmin = (role ?? user.role) === "admin" && !(disabled ?? user.disabled);
  if (isAdmin && !staysAdmin && admins === 1) {
    throw new Problem(409, { detail: "this is the tenant's last admin: make another one first" });
  }
}

/** One event per thing that changed: alerts and auditors ask for them by name. */
async function auditChange(
  client: PoolClient,
  { subject }: Principal,
  user: User,
  { role, disabled, password }: UserChange,
): Promise<void> {
  const about = { subject, target: `user/${user.id}` };
  if (role !== undefined && role !== user.role) {
    const detail = { username: user.username, from: user.role, to: role };
    await audit(client, { ...about, action: "user.change_role", detail });
  }
  if (disabled !== undefined && disabled !== user.disabled) {
    const action = disabled ? "user.disable" : "user.enable";
    await audit(client, { ...about, action, detail: { username: user.username } });
  }
  if (password !== undefined) {
    await audit(client, { ...about, action: "user.set_password", detail: { username: user.username } });
  }
}
