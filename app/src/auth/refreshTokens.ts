import { createHash, randomBytes, randomUUID } from "node:crypto";
import type { PoolClient } from "pg";
import { z } from "zod";
import { audit } from "../audit/audit.ts";
import type { Database } from "../db/database.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { User, UserRepository } from "../users/repository.ts";
import type { Principal } from "./tokens.ts";

const lifetimeDays = 7;

interface TokenRow {
  family_id: string;
  user_id: string;
  expires_at: Date;
  used: boolean;
  live: boolean;
}

export interface Rotated {
  user: User;
  accessToken: string;
  refreshToken: string;
}

/**
 * Refresh tokens: `<tenant id>.<256 random bits>`, each good for one use. A sign-in begins a family; every refresh adds
 * the family's next token, with the expiry of the first: whoever has left the directory, which no refresh asks, is out
 * after 7 days at most. A token that comes a second time was copied, so its whole family is revoked. (An answer lost on
 * the way looks the same: then, too, the person signs in again.)
 */
export class RefreshTokens {
  readonly #database: Database;
  readonly #users: UserRepository;
  readonly #metrics: Metrics;

  constructor(database: Database, users: UserRepository, metrics: Metrics) {
    this.#database = database;
    this.#users = users;
    this.#metrics = metrics;
  }

  /** Begins a family for a user who is locked by this transaction. */
  async issue(client: PoolClient, tenantId: string, userId: string): Promise<string> {
    // The user's old tokens: nothing else would ever ask for them again.
    await client.query("delete from refresh_tokens where user_id = $1 and expires_at < now()", [userId]);
    const expiresAt = new Date(Date.now() + lifetimeDays * 24 * 3600 * 1000);
    return insert(client, tenantId, randomUUID(), userId, expiresAt);
  }

  /**
   * The next token for this one, or undefined when it is not valid (and, when it was used before, nor is its family).
   * The access token is signed in the same transaction: when it cannot be, this one stays unused.
   */
  async rotate(token: string, sign: (principal: Principal) => Promise<string>): Promise<Rotated | undefined> {
    const tenantId = tenantOf(token);
    if (tenantId === undefined) {
      return undefined;
    }
    return this.#database.asTenant(tenantId, async (client) => {
      const { rows } = await client.query<{ user_id: string }>(
        "select user_id from refresh_tokens where token_hash = $1",
        [hashOf(token)],
      );
      // Refreshes of one user wait for each other here: of two with the same token, the second finds it used.
      const user = rows[0] && (await this.#users.lock(client, rows[0].user_id));
      const row = await read(client, token);
      if (!user || user.disabled || !row?.live) {
        return undefined;
      }
      if (row.used) {
        await this.#reused(client, user, row.family_id);
        return undefined;
      }
      await client.query("update refresh_tokens set used_at = now() where token_hash = $1", [hashOf(token)]);
      const refreshToken = await insert(client, tenantId, row.family_id, user.id, row.expires_at);
      const accessToken = await sign({ subject: user.id, role: user.role, tenantId });
      return { user, accessToken, refreshToken };
    });
  }

  /** Ends the family of the token, if there is one. */
  async signOut(token: string): Promise<void> {
    const tenantId = tenantOf(token);
    if (tenantId === undefined) {
      return;
    }
    await this.#database.asTenant(tenantId, async (client) => {
      const row = await read(client, token);
      if (row && (await this.#users.lock(client, row.user_id))) {
        await revokeFamily(client, row.family_id);
        await audit(client, {
          subject: row.user_id,
          action: "session.sign_out",
          target: `user/${row.user_id}`,
        });
      }
    });
  }

  /**
   * Ends all families of a user who is locked by this transaction. Access tokens are checked without asking anyone,
   * which keeps requests fast and Postgres out of them; so those already handed out stay good until they expire, for
   * 15 minutes at most. Who cannot wait for that rotates the signing key out of the key file: it ends them all.
   */
  async revokeAll(client: PoolClient, userId: string): Promise<void> {
    await client.query(
      "update refresh_tokens set revoked_at = now() where user_id = $1 and revoked_at is null",
      [userId],
    );
  }

  async #reused(client: PoolClient, user: User, familyId: string): Promise<void> {
    await revokeFamily(client, familyId);
    await audit(client, {
      subject: user.id,
      action: "token.reuse",
      outcome: "failure",
      target: `user/${user.id}`,
      detail: { username: user.username, family: familyId },
    });
    this.#metrics.tokenReused();
  }
}

async function insert(
  client: PoolClient,
  tenantId: string,
  familyId: string,
  userId: string,
  expiresAt: Date,
): Promise<string> {
  const token = `${tenantId}.${randomBytes(32).toString("base64url")}`;
  await client.query(
    "insert into refresh_tokens (token_hash, family_id, user_id, expires_at) values ($1, $2, $3, $4)",
    [hashOf(token), familyId, userId, expiresAt],
  );
  return token;
}

async function read(client: PoolClient, token: string): Promise<TokenRow | undefined> {
  const { rows } = await client.query<TokenRow>(
    `select family_id, user_id, expires_at, used_at is not null as used,
       revoked_at is null and expires_at > now() as live
     from refresh_tokens where token_hash = $1`,
    [hashOf(token)],
  );
  return rows[0];
}

async function revokeFamily(client: PoolClient, familyId: string): Promise<void> {
  await client.query(
    "update refresh_tokens set revoked_at = now() where family_id = $1 and revoked_at is null",
    [familyId],
  );
}

/** The token names its tenant, so that row-level security holds for it as for everything else. */
function tenantOf(token: string): string | undefined {
  const parsed = z.uuid().safeParse(token.split(".", 1)[0]);
  return parsed.success ? parsed.data : undefined;
}

function hashOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
