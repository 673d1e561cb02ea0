import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { audit } from "../audit/audit.ts";
import { KeyStore } from "../auth/keyStore.ts";
import { Passwords } from "../auth/passwords.ts";
import { readConfig } from "../config/config.ts";
import { FieldCipher } from "../crypto/fieldCipher.ts";
import { Database } from "../db/database.ts";
import { createPool } from "../db/pool.ts";
import { ensureTenant, tenantName } from "../db/tenants.ts";
import { createLogger } from "../observability/logger.ts";
import { UserRepository } from "../users/repository.ts";
import { newPassword, username as usernameSchema } from "../users/user.ts";

// Creates an admin of a tenant, and the tenant when there is none: the first admin has nobody to be created by. The
// password comes on standard input, since arguments can be read by everyone on the machine.

const usage = "usage: user.js --tenant <name> --username <name> < file-with-password";

try {
  const { tenant, username } = await createAdmin();
  console.log(`created: ${username} is an admin of ${tenant}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function createAdmin(): Promise<{ tenant: string; username: string }> {
  const { tenant, username } = readArguments();
  const { config, problems } = readConfig(process.env, ["DATABASE_URL", "DATABASE_PASSWORD_FILE"]);
  if (!config?.database || problems.length > 0) {
    throw new Error(problems.map(({ variable, detail }) => `${variable}: ${detail}`).join("\n"));
  }
  const passwordHash = await new Passwords().hash(await readPassword());
  const logger = createLogger("silent");
  const database = new Database(createPool(config.database, logger, { min: 0, max: 1 }), logger);
  const users = new UserRepository(database, new FieldCipher(new KeyStore(config.fieldKeysFile, logger)));
  try {
    const tenantId = await ensureTenant(database, tenant);
    await database.asTenant(tenantId, async (client) => {
      const user = await users.create(client, { username, role: "admin", passwordHash });
      if (!user) {
        throw new Error(`refused: ${tenant} has a user ${username} already`);
      }
      const detail = { username, role: "admin" };
      await audit(client, {
        subject: "command line",
        action: "user.create",
        target: `user/${user.id}`,
        detail,
      });
    });
    return { tenant, username };
  } finally {
    await database.close();
  }
}

async function readPassword(): Promise<string> {
  if (process.stdin.isTTY) {
    throw new Error(`the password must come from a file or a pipe: a terminal would show it\n${usage}`);
  }
  const password = newPassword.safeParse((await text(process.stdin)).replace(/\r?\n$/, ""));
  if (!password.success) {
    throw new Error(`the password on standard input: ${password.error.issues[0]?.message ?? ""}`);
  }
  return password.data;
}

function readArguments(): { tenant: string; username: string } {
  const { values } = parseArgs({ options: { tenant: { type: "string" }, username: { type: "string" } } });
  const tenant = tenantName.safeParse(values.tenant);
  if (!tenant.success) {
    throw new Error(`--tenant must be a name of 1 to 63 letters, digits, spaces, dots, dashes\n${usage}`);
  }
  const username = usernameSchema.safeParse(values.username);
  if (!username.success) {
    throw new Error(`--username: ${username.error.issues[0]?.message ?? ""}\n${usage}`);
  }
  return { tenant: tenant.data, username: username.data };
}
