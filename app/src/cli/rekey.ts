import { fieldKeyStore } from "../auth/keyStore.ts";
import { loadConfigOrExit } from "../config/load.ts";
import { FieldCipher } from "../crypto/fieldCipher.ts";
import { rekey } from "../crypto/rekey.ts";
import { Database } from "../db/database.ts";
import { createPool } from "../db/pool.ts";
import { createProcessLogger } from "../observability/logger.ts";

// Puts the encrypted columns under the active field key, while the app runs. To be run after a key was added to the key
// file and made active, and before the old one is taken out; again as often as one likes.

const logger = createProcessLogger(process.env);
const log = logger.child({ module: "rekey" });
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
  const result = await rekey(database, new FieldCipher(fieldKeyStore(config.fieldKeysFile, logger)), logger);
  log.info({ ...result }, result.failed === 0 ? "re-keyed" : "re-keyed, but for rows that cannot be read");
  process.exitCode = result.failed === 0 ? 0 : 1;
} catch (error) {
  log.fatal({ error }, "re-keying broken off, run it again");
  process.exitCode = 1;
} finally {
  await database.close();
}
