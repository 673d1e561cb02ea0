import { readFile } from "node:fs/promises";
import { audit } from "../audit/audit.ts";
import type { Passwords } from "../auth/passwords.ts";
import type { Database } from "../db/database.ts";
import { ensureTenant } from "../db/tenants.ts";
import type { UserRepository } from "./repository.ts";
import { newPassword } from "./user.ts";

/** Who the prober signs in as. Its tenant is its own, so that it sees nobody's documents. */
export const probeAccount = { tenant: "probe", username: "probe" } as const;

interface ProbeUserArgs {
  database: Database;
  users: UserRepository;
  passwords: Passwords;
  /** The password, shared with the prober. */
  passwordFile: string;
}

/** Sees to it that the prober can sign in: as a viewer, by the password in the file, also after that or the database changed. */
export class ProbeUser {
  readonly #args: ProbeUserArgs;
  /** Password and hash that were found to belong together. */
  #matching: string | undefined;

  constructor(args: ProbeUserArgs) {
    this.#args = args;
  }

  /** @throws when the file or the database cannot be read. */
  async ensure(): Promise<void> {
    const { database, users, passwords, passwordFile } = this.#args;
    const password = newPassword.parse((await readFile(passwordFile, "utf8")).trim());
    const tenantId = await ensureTenant(database, probeAccount.tenant);
    const { username } = probeAccount;
    const found = await users.findByName(tenantId, username);
    if (found && (await this.#matches(found.passwordHash, password))) {
      return;
    }
    const passwordHash = await passwords.hash(password);
    await database.asTenant(tenantId, async (client) => {
      const user = await users.lockByName(client, username);
      const made = user ?? (await users.create(client, { username, role: "viewer", passwordHash }));
      if (user) {
        await users.update(client, user.id, { passwordHash });
      }
      if (made) {
        const action = user ? "user.update" : "user.create";
        await audit(client, { subject: "app", action, target: `user/${made.id}`, detail: { username } });
      }
    });
  }

  async #matches(hash: string | null, password: string): Promise<boolean> {
    const pair = `${hash ?? ""}\n${password}`;
    if (pair !== this.#matching && (await this.#args.passwords.verify(hash, password))) {
      this.#matching = pair;
    }
    return pair === this.#matching;
  }
}
