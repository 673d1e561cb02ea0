/**
 * The limit that the app is measured against: `node:http` and the app's own pool of `pg`, one query, no token, no
 * row-level security, no log. Reads PORT, BARE_DATABASE (JSON) and BARE_TENANT; `/cpu` answers with its CPU seconds.
 */
import { createServer } from "node:http";
import type { DatabaseConfig } from "../../app/src/config/settings.ts";
import { createPool } from "../../app/src/db/pool.ts";
import { silentLogger } from "../../app/tests/support/logs.ts";

const pool = createPool(JSON.parse(process.env["BARE_DATABASE"] ?? "") as DatabaseConfig, silentLogger);
const tenant = process.env["BARE_TENANT"];
const query =
  "select id, title, created_by, created_at, updated_at, content from documents where id = $1 and tenant_id = $2";

createServer((request, response) => {
  if (request.url === "/cpu") {
    const { user, system } = process.cpuUsage();
    response.end(String((user + system) / 1e6));
    return;
  }
  const id = request.url?.slice(request.url.lastIndexOf("/") + 1);
  pool.query<Record<string, unknown>>(query, [id, tenant]).then(
    ({ rows: [row] }) => {
      response
        .writeHead(row ? 200 : 404, { "Content-Type": "application/json" })
        .end(JSON.stringify(row ?? {}));
    },
    () => response.writeHead(500).end(),
  );
}).listen(Number(process.env["PORT"]), "127.0.0.1");
