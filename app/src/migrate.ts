import { loadConfigOrExit } from "./config/load.ts";
import { migrate } from "./db/migrations.ts";
import { createProcessLogger } from "./observability/logger.ts";

const usage = "usage: migrate.js up [count] | down [count]";
const logger = createProcessLogger(process.env);
const log = logger.child({ module: "migrate" });
const [direction, count, ...rest] = process.argv.slice(2);

if (
  (direction !== "up" && direction !== "down") ||
  (count && !/^[1-9]\d{0,3}$/.test(count)) ||
  rest.length > 0
) {
  log.fatal(usage);
  process.exit(2);
}
const { database, logLevel } = loadConfigOrExit(process.env, logger, [
  "DATABASE_URL",
  "DATABASE_PASSWORD_FILE",
]);
logger.level = logLevel;
if (!database) {
  log.fatal("DATABASE_URL is not set: it must name the database and the role that owns it");
  process.exit(1);
}
try {
  const migrations = await migrate(database, logger, direction, count ? Number(count) : undefined);
  log.info({ direction, migrations }, migrations.length > 0 ? "migrated" : "nothing to migrate");
} catch (error) {
  log.fatal({ error }, "migration failed, it does not count as run");
  process.exit(1);
}
