import type { PoolClient } from "pg";
import type { Role } from "../auth/rules.ts";
import type { FieldCipher } from "../crypto/fieldCipher.ts";
import type { Database } from "../db/database.ts";
import type { UserView } from "./user.ts";

/** A user as sign-in needs one. */
export interface User {
  id: string;
  username: string;
  source: "local" | "ldap";
  role: Role;
  /** Null for users of a directory: it has their passwords. */
  passwordHash: string | null;
  disabled: boolean;
}

interface UserRow {
  id: string;
  username: string;
  source: "local" | "ldap";
  role: Role;
  password_hash: string | null;
  email: string | null;
  disabled_at: Date | null;
  created_at: Date;
  updated_at: Date;
}

export interface NewUser {
  username: string;
  role: Role;
  /** Undefined for a user of the directory. */
  passwordHash?: string;
  email?: string;
}

const columns = "id, username, source, role, password_hash, email, disabled_at, created_at, updated_at";

/** Users in Postgres; row-level security decides of which tenant. What takes a client is part of its transaction. */
export class UserRepository {
  readonly #database: Database;
  readonly #cipher: FieldCipher;

  constructor(database: Database, cipher: FieldCipher) {
    this.#database = database;
    this.#cipher = cipher;
  }

  async findByName(tenantId: string, username: string): Promise<User | undefined> {
    return this.#database.asTenant(
      tenantId,
      async (client) => {
        const row = await one(client, `select ${columns} from users where username = $1`, [username]);
        return row && toUser(row);
      },
      { repeatable: true },
    );
  }

  async get(tenantId: string, id: string): Promise<UserView | undefined> {
    const row = await this.#database.asTenant(
      tenantId,
      (client) => one(client, `select ${columns} from users where id = $1`, [id]),
      { repeatable: true },
    );
    return row && this.#toView(row);
  }

  /** By name, beginning after `after`. */
  async list(tenantId: string, limit: number, after: string | undefined): Promise<UserView[]> {
    const rows = await this.#database.asTenant(
      tenantId,
      async (client) =>
        (
          await client.query<UserRow>(
            `select ${columns} from users where $2::text is null or username > $2 order by username limit $1`,
            [limit, after ?? null],
          )
        ).rows,
      { repeatable: true },
    );
    return Promise.all(rows.map((row) => this.#toView(row)));
  }

  /**
   * The user, who stays as they are until the transaction ends. Whatever hands out or takes away a user's access
   * begins with this lock, so that nothing is handed out past a revocation that runs at the same time.
   */
  async lock(client: PoolClient, id: string): Promise<User | undefined> {
    const row = await one(client, `select ${columns} from users where id = $1 for no key update`, [id]);
    return row && toUser(row);
  }

  async lockByName(client: PoolClient, username: string): Promise<User | undefined> {
    const row = await one(client, `select ${columns} from users where username = $1 for no key update`, [
      username,
    ]);
    return row && toUser(row);
  }

  /** @returns undefined when the name is taken. */
  async create(
    client: PoolClient,
    { username, role, passwordHash, email }: NewUser,
  ): Promise<User | undefined> {
    const row = await one(
      client,
      `insert into users (username, source, role, password_hash, email) values ($1, $2, $3, $4, $5)
       on conflict (tenant_id, username) do nothing returning ${columns}`,
      [
        username,
        passwordHash === undefined ? "ldap" : "local",
        role,
        passwordHash ?? null,
        email === undefined ? null : await this.#cipher.encrypt("users.email", email),
      ],
    );
    return row && toUser(row);
  }

  async update(
    client: PoolClient,
    id: string,
    { role, disabled, passwordHash }: { role?: Role; disabled?: boolean; passwordHash?: string },
  ): Promise<void> {
    await client.query(
      `update users set role = coalesce($2, role), password_hash = coalesce($3, password_hash),
         disabled_at = case when $4 then coalesce(disabled_at, now()) when not $4 then null else disabled_at end,
         updated_at = now()
       where id = $1`,
      [id, role ?? null, passwordHash ?? null, disabled ?? null],
    );
  }

  /** The ids of those who may still administer the tenant; they stay so until the transaction ends. */
  async lockAdmins(client: PoolClient): Promise<string[]> {
    const { rows } = await client.query<{ id: string }>(
      "select id from users where role = 'admin' and disabled_at is null order by id for no key update",
    );
    return rows.map(({ id }) => id);
  }

  async #toView(row: UserRow): Promise<UserView> {
    return {
      id: row.id,
      username: row.username,
      source: row.source,
      role: row.role,
      email: row.email === null ? null : await this.#cipher.decrypt("users.email", row.email),
      disabledAt: row.disabled_at?.toISOString() ?? null,
      createdAt: row.created_at.toISOString(),
      updatedAt: row.updated_at.toISOString(),
    };
  }
}

async function one(client: PoolClient, sql: string, values: unknown[]): Promise<UserRow | undefined> {
  return (await client.query<UserRow>(sql, values)).rows[0];
}

function toUser(row: UserRow): User {
  return {
    id: row.id,
    username: row.username,
    source: row.source,
    role: row.role,
    passwordHash: row.password_hash,
    disabled: row.disabled_at !== null,
  };
}
