import { setTimeout as sleep } from "node:timers/promises";
import type { PoolClient } from "pg";
import type { Logger } from "pino";
import { audit } from "../audit/audit.ts";
import type { Database } from "../db/database.ts";
import { findTenant, noTenant } from "../db/tenants.ts";
import { Problem, unauthorized } from "../http/problem.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { User, UserRepository } from "../users/repository.ts";
import type { Directory } from "./directory.ts";
import type { Passwords } from "./passwords.ts";
import type { RefreshTokens } from "./refreshTokens.ts";
import type { Role } from "./rules.ts";
import type { SignInInput } from "./schemas.ts";
import type { Sessions } from "./sessions.ts";
import { type SignInLimit, TooManySignIns } from "./signInLimit.ts";
import type { Principal } from "./tokens.ts";

interface SignInArgs {
  database: Database;
  users: UserRepository;
  passwords: Passwords;
  refreshTokens: RefreshTokens;
  sessions: Sessions;
  limit: SignInLimit;
  /** Undefined: only local users can sign in. */
  directory: Directory | undefined;
  metrics: Metrics;
  logger: Logger;
}

/**
 * Failures are answered no sooner than this, in milliseconds. An unknown tenant has no audit log to be written to, and a
 * directory takes its own time: without it the clock would say which of the three names was wrong.
 */
const failureTakesMs = 300;

/** For the audit log and never for the caller: every failure is answered alike. */
type Failure = "no_such_user" | "wrong_password" | "no_role" | "disabled";
/** Of a user who is known here, the directory alone says so: it has them no longer, or gives them no role. */
const gone: readonly Failure[] = ["no_such_user", "no_role"];
type Verdict = { by: "password" } | { by: "directory"; role: Role } | { failure: Failure };

/** Checks who someone is: by the password of a local user, else by the tenant's directory. */
export class SignIn {
  readonly #args: SignInArgs;
  readonly #logger: Logger;

  constructor(args: SignInArgs) {
    this.#args = args;
    this.#logger = args.logger.child({ module: "auth" });
  }

  /**
   * Runs `grant` for the user in the transaction that audits the sign-in, with the user locked.
   * @throws a 401 problem, the same for an unknown tenant, an unknown user and a wrong password; 429 after too many
   * failures; Unavailable.
   */
  async signIn<T>(
    input: SignInInput,
    kind: "token" | "session",
    grant: (client: PoolClient, principal: Principal) => Promise<T>,
  ): Promise<T> {
    const { limit, metrics, database } = this.#args;
    try {
      await limit.take(input.tenant, input.username);
    } catch (error) {
      metrics.signedIn(error instanceof TooManySignIns ? "limited" : "error");
      if (error instanceof TooManySignIns && error.first) {
        await this.#auditLimited(input, kind);
      }
      throw error;
    }
    const start = performance.now();
    try {
      const tenantId = await findTenant(database, input.tenant);
      const granted = await this.#attempt(tenantId, input, kind, grant);
      if (!granted) {
        metrics.signedIn("failure");
        await sleep(Math.max(0, failureTakesMs - (performance.now() - start)));
        throw unauthorized("tenant, user name or password is wrong");
      }
      await limit.forget(input.tenant, input.username);
      metrics.signedIn("success");
      return granted.result;
    } catch (error) {
      if (!(error instanceof Problem && error.status === 401)) {
        metrics.signedIn("error");
        await limit.giveBack(input.tenant, input.username);
      }
      throw error;
    }
  }

  async #attempt<T>(
    tenantId: string | null,
    input: SignInInput,
    kind: "token" | "session",
    grant: (client: PoolClient, principal: Principal) => Promise<T>,
  ): Promise<{ result: T } | undefined> {
    const { database, users, sessions } = this.#args;
    const known = await users.findByName(tenantId ?? noTenant, input.username);
    const verdict = await this.#check(known, input);
    const dropped = "failure" in verdict && gone.includes(verdict.failure) ? known : undefined;
    if (tenantId === null) {
      // There is no audit log to write this to.
      this.#logger.warn({ tenant: input.tenant }, "sign-in to an unknown tenant");
      return undefined;
    }
    const granted = await database.asTenant(tenantId, async (client) => {
      if (dropped) {
        await this.#endAll(client, dropped);
      }
      const user =
        "failure" in verdict ? verdict.failure : await this.#admit(client, known, verdict, input.username);
      if (typeof user === "string") {
        await audit(client, {
          subject: input.username,
          action: "session.sign_in",
          outcome: "failure",
          detail: { reason: user, kind },
        });
        return undefined;
      }
      const result = await grant(client, { subject: user.id, role: user.role, tenantId });
      await audit(client, {
        subject: user.id,
        action: "session.sign_in",
        target: `user/${user.id}`,
        detail: { username: user.username, source: user.source, kind },
      });
      return { result };
    });
    if (dropped) {
      // After the commit: what Postgres has of them ends also while Redis is away. The next attempt tries again.
      await sessions.endAll(dropped.id);
    }
    return granted;
  }

  /** The directory's user has left it, or all of its groups: what was given out before is theirs no longer. */
  async #endAll(client: PoolClient, { id, username }: User): Promise<void> {
    const { users, refreshTokens } = this.#args;
    await users.lock(client, id);
    await refreshTokens.revokeAll(client, id);
    await audit(client, {
      subject: "directory",
      action: "user.revoke_sessions",
      target: `user/${id}`,
      detail: { username },
    });
  }

  /**
   * One event for a name and window, however many attempts follow. Takes a failure's time, as it is another for a
   * tenant that there is; never fails: a refusal stays one while Postgres is away.
   */
  async #auditLimited({ tenant, username }: SignInInput, kind: "token" | "session"): Promise<void> {
    const { database } = this.#args;
    const start = performance.now();
    try {
      const tenantId = await findTenant(database, tenant);
      if (tenantId !== null) {
        await database.asTenant(tenantId, (client) =>
          audit(client, {
            subject: username,
            action: "session.sign_in",
            outcome: "failure",
            detail: { reason: "limited", kind },
          }),
        );
      }
    } catch (error) {
      this.#logger.error({ error, tenant, username }, "refused sign-ins not audited");
    }
    await sleep(Math.max(0, failureTakesMs - (performance.now() - start)));
  }

  async #check(known: User | undefined, { tenant, username, password }: SignInInput): Promise<Verdict> {
    const { passwords, directory } = this.#args;
    // Also when there is no such user, or the directory is to be asked: the time taken must not tell them apart.
    if (await passwords.verify(known?.passwordHash, password)) {
      return { by: "password" };
    }
    if (known?.source === "local" || directory?.tenant !== tenant) {
      return { failure: known ? "wrong_password" : "no_such_user" };
    }
    const found = await directory.check(username, password);
    if (!found || found === "no_such_user") {
      return { failure: found ?? "wrong_password" };
    }
    return found.role === undefined ? { failure: "no_role" } : { by: "directory", role: found.role };
  }

  /** The user, locked and as the directory now has them; or why they may not sign in. */
  async #admit(
    client: PoolClient,
    known: User | undefined,
    verdict: Exclude<Verdict, { failure: Failure }>,
    username: string,
  ): Promise<User | Failure> {
    const { users, sessions } = this.#args;
    if (verdict.by === "password") {
      const user = known && (await users.lock(client, known.id));
      // A password that was changed since it was checked is no longer theirs.
      if (user?.passwordHash !== known?.passwordHash || !user) {
        return "wrong_password";
      }
      return user.disabled ? "disabled" : user;
    }
    const { role } = verdict;
    if (!known) {
      const created = await users.create(client, { username, role });
      if (created) {
        const target = `user/${created.id}`;
        await audit(client, {
          subject: "directory",
          action: "user.create",
          target,
          detail: { username, role },
        });
        return created;
      }
    }
    // Known, or created by a sign-in at the same time.
    const user = await users.lockByName(client, username);
    if (user?.source !== "ldap") {
      return "wrong_password";
    }
    if (user.disabled) {
      return "disabled";
    }
    if (user.role !== role) {
      await users.update(client, user.id, { role });
      const detail = { username, from: user.role, to: role };
      await audit(client, {
        subject: "directory",
        action: "user.change_role",
        target: `user/${user.id}`,
        detail,
      });
      // Those with the old role, before `grant` begins one with the new. Sessions are begun with the user locked, so none
      // comes in between; and where they cannot be ended the role stays, and the next sign-in tries again.
      await sessions.endAll(user.id);
    }
    return { ...user, role };
  }
}
