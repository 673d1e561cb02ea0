import { parseArgs } from "node:util";
import { fieldKeyStore } from "../auth/keyStore.ts";
import { loadConfigOrExit } from "../config/load.ts";
import { FieldCipher } from "../crypto/fieldCipher.ts";
import { AnotherKeyActive, rekey, type RekeyResult } from "../crypto/rekey.ts";
import { Database } from "../db/database.ts";
import { createPool } from "../db/pool.ts";
import { createProcessLogger } from "../observability/logger.ts";

// Puts the encrypted columns under the active field key, while the app runs. To be run after a key was added to the key
// file and made active, and before the old one is taken out; again as often as one likes. It is told which key must be
// active, as the file in a pod follows the deployment by minutes.

const usage = "usage: rekey.js --active <id of the key that must be active>";

const logger = createProcessLogger(process.env);
const log = logger.child({ module: "rekey" });
const active = readActive();
const config = loadConfigOrExit(process.env, logger, [
  "DATABASE_URL",
  "DATABASE_PASSWORD_FILE",
  "FIELD_KEYS_FILE",
]);
logger.level = config.logLevel;
if (!config.database || config.fieldKeysFile === undefined) {
  log.fatal("DATABASE_URL and FIELD_KEYS_FILE are needed");
  process.exit(1);
}
const database = new Database(createPool(config.database, logger, { min: 0, max: 1 }), logger);
try {
  const cipher = new FieldCipher(fieldKeyStore(config.fieldKeysFile, logger));
  const result = await rekey(database, cipher, logger, { active });
  log.info({ active, ...result }, outcome(result));
  process.exitCode = result.failed === 0 ? 0 : 1;
} catch (error) {
  if (error instanceof AnotherKeyActive) {
    log.fatal({ asked: active }, `refused: ${error.message}`);
  } else {
    log.fatal({ active, error }, "re-keying broken off, run it again");
  }
  process.exitCode = 1;
} finally {
  await database.close();
}

function outcome({ rekeyed, failed }: RekeyResult): string {
  if (failed > 0) {
    return "re-keyed, but for rows that cannot be read";
  }
  return rekeyed > 0 ? "re-keyed, run it again until it re-keys none" : "nothing is left to re-key";
}

function readActive(): string {
  try {
    const { active } = parseArgs({ options: { active: { type: "string" } } }).values;
    if (active) {
      return active;
    }
    log.fatal(`--active is needed; ${usage}`);
  } catch (error) {
    log.fatal(`${error instanceof Error ? error.message : String(error)}; ${usage}`);
  }
  process.exit(1);
}
