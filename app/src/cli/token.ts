import { parseArgs } from "node:util";
import { KeyStore } from "../auth/keyStore.ts";
import { type Role, roles } from "../auth/rules.ts";
import { Tokens } from "../auth/tokens.ts";
import { readConfig } from "../config/config.ts";
import { Database } from "../db/database.ts";
import { createPool } from "../db/pool.ts";
import { ensureTenant, tenantName } from "../db/tenants.ts";
import { createLogger } from "../observability/logger.ts";

// Prints a bearer token for trying things out. Only the token goes to standard output, so that it can be piped.

const usage = `usage: token.js --role ${roles.join("|")} --tenant <name>`;

try {
  console.log(await createToken());
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function createToken(): Promise<string> {
  const { role, tenant } = readArguments();
  const { config, problems } = readConfig(process.env, [
    "DATABASE_URL",
    "DATABASE_PASSWORD_FILE",
    "JWT_KEYS_FILE",
  ]);
  if (config && config.environment !== "development") {
    throw new Error(
      `refused: ENVIRONMENT is ${config.environment}, tokens are handed out in development only`,
    );
  }
  if (!config?.database || problems.length > 0) {
    throw new Error(problems.map(({ variable, detail }) => `${variable}: ${detail}`).join("\n"));
  }
  const logger = createLogger("silent");
  const database = new Database(createPool(config.database, logger, { min: 0, max: 1 }), logger);
  try {
    const tenantId = await ensureTenant(database, tenant);
    const tokens = new Tokens(new KeyStore(config.jwt.keysFile, logger), config.jwt);
    return await tokens.sign({ subject: `cli-${role}`, role, tenantId });
  } finally {
    await database.close();
  }
}

function readArguments(): { role: Role; tenant: string } {
  const { values } = parseArgs({ options: { role: { type: "string" }, tenant: { type: "string" } } });
  const role = roles.find((known) => known === values.role);
  if (!role) {
    throw new Error(`--role must be one of ${roles.join(", ")}\n${usage}`);
  }
  const tenant = tenantName.safeParse(values.tenant);
  if (!tenant.success) {
    throw new Error(`--tenant must be a name of 1 to 63 letters, digits, spaces, dots, dashes\n${usage}`);
  }
  return { role, tenant: tenant.data };
}
