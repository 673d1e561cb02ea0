import type { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { Client, type ClientConfig, Pool, type PoolConfig } from "pg";
import type { Logger } from "pino";
import type { DatabaseConfig } from "../config/settings.ts";
import { observeQueries, type QueryDone } from "./observedQueries.ts";

/**
 * How to connect; with a CA, only to a server whose certificate it signed and bears the name. The password is a function: pg calls it for every new connection, so that a rotated password is
 * picked up without a restart.
 */
export function connectionOptions(config: DatabaseConfig, applicationName: string) {
  const { host, port, user, database, passwordFile, caFile } = config;
  return {
    host,
    port,
    user,
    database,
    application_name: applicationName,
    keepAlive: true,
    ...(caFile !== undefined && { ssl: { ca: readFileSync(caFile, "utf8") } }),
    ...(passwordFile !== undefined && { password: () => readPassword(passwordFile) }),
  } satisfies PoolConfig;
}

/**
 * pg keeps the connection when the password cannot be read, and Postgres waits a minute for it: attempts would use up
 * everybody's connections.
 */
class ClosingClient extends Client {
  constructor(config?: ClientConfig) {
    super(config);
    // Not among pg's declared types; every error on it is the end of the connection.
    const { connection } = this as unknown as { connection: EventEmitter & { stream: Socket } };
    connection.on("error", () => connection.stream.destroy());
  }
}

/** A pool that keeps `poolSize` connections, opens `poolOverflow` more under load and closes those after use. */
export function createPool(
  config: DatabaseConfig,
  logger: Logger,
  limits?: { min: number; max: number },
  queryDone?: QueryDone,
): Pool {
  const log = logger.child({ module: "database" });
  const pool = new Pool({
    ...connectionOptions(config, "groundwork-app"),
    Client: ClosingClient,
    min: limits?.min ?? config.poolSize,
    max: limits?.max ?? config.poolSize + config.poolOverflow,
    idleTimeoutMillis: 1000,
    connectionTimeoutMillis: config.acquireTimeoutSeconds * 1000,
    statement_timeout: config.statementTimeoutSeconds * 1000,
    // When Postgres itself is gone and no packet says so, only the client can give up.
    query_timeout: (config.statementTimeoutSeconds + 1) * 1000,
    idle_in_transaction_session_timeout: (config.statementTimeoutSeconds + 1) * 1000,
  });
  pool.on("error", (error) => {
    log.warn({ error }, "idle connection lost");
  });
  // A connection may also break while a request holds it between two statements; unheard, that ends the process.
  pool.on("connect", (client) => {
    client.on("error", () => undefined);
    observeQueries(client, queryDone);
  });
  return pool;
}

async function readPassword(file: string): Promise<string> {
  return (await readFile(file, "utf8")).trim();
}
