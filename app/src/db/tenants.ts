import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Database } from "./database.ts";

export const tenantName = z
  .string()
  .regex(/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,62}$/u, "expected 1 to 63 letters, digits, spaces, dots, dashes");

/** No tenant has it: for what runs before the tenant is known, or for all of them. */
export const noTenant = "00000000-0000-0000-0000-000000000000";

/** The id of the tenant with this name, which is created if there is none. */
export async function ensureTenant(database: Database, name: string): Promise<string> {
  const existing = await findTenant(database, name);
  if (existing !== null) {
    return existing;
  }
  const id = randomUUID();
  await database.asTenant(id, (client) =>
    client.query("insert into tenants (id, name) values ($1, $2) on conflict (name) do nothing", [id, name]),
  );
  return (await findTenant(database, name)) ?? id;
}

/** The id of the tenant with this name, or null. */
export async function findTenant(database: Database, name: string): Promise<string | null> {
  return database.asTenant(
    noTenant,
    async (client) => {
      const { rows } = await client.query<{ id: string | null }>("select find_tenant($1) as id", [name]);
      return rows[0]?.id ?? null;
    },
    { repeatable: true },
  );
}
