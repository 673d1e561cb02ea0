/** The users that `make load` signs in as, in a file that only this user of the machine may read. */
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { request } from "../bench/running.ts";
import { edgeUrl } from "../devSettings.ts";
import { edgeCa } from "../identity.ts";
import { cacheDirectory, readIfPresent, say } from "../system.ts";
import { developmentToken } from "../token.ts";

const tenant = "load";

/** As the sign-in takes it. */
interface Account {
  readonly tenant: string;
  readonly username: string;
  readonly password: string;
}

/** Makes those of the users that the dev stack does not have. @returns the path of the file. */
export async function ensureAccounts(count: number): Promise<string> {
  const stack = { url: new URL(await edgeUrl()), ca: await edgeCa() };
  const file = join(cacheDirectory(), "load", "accounts.json");
  const known = JSON.parse((await readIfPresent(file)) ?? "[]") as Account[];
  const lacking = Array.from({ length: Math.max(0, count - known.length) }, newAccount);
  const accounts = [...known, ...lacking];
  await mkdir(join(file, ".."), { recursive: true });
  // Before they are made: a password that is not written down would be lost with this process.
  await writeFile(file, JSON.stringify(accounts), { mode: 0o600 });

  say(`load: making sure of ${count} users of the tenant ${tenant}`);
  const token = await developmentToken("admin", tenant);
  for (const [index, { username, password }] of accounts.slice(0, count).entries()) {
    await request(stack, {
      method: "POST",
      path: "/api/v2/admin/users",
      token,
      body: JSON.stringify({ username, password, role: "editor" }),
      address: `2001:db8:10ae:${index.toString(16)}::1`,
      // Is there already.
      also: [409],
    });
  }
  return file;
}

function newAccount(): Account {
  return {
    tenant,
    username: `load-${randomBytes(6).toString("hex")}`,
    password: randomBytes(24).toString("base64url"),
  };
}
