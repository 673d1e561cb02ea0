import type { Logger } from "pino";
import { audit } from "../audit/audit.ts";
import type { Database } from "../db/database.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { Principal } from "./tokens.ts";

/** Few values: it is a metric's label. */
export type RefusalReason =
  | "no_credentials"
  | "bad_token"
  | "bad_refresh_token"
  | "role"
  | "csrf"
  /** A WebSocket of a page that may not open one. */
  | "origin"
  /** A second token on a WebSocket, of another user than the first. */
  | "other_user";

/** Keeps count of refused requests, and writes those of known callers to their tenant's audit log. */
export class Refusals {
  readonly #database: Database;
  readonly #metrics: Metrics;
  readonly #logger: Logger;

  constructor(database: Database, metrics: Metrics, logger: Logger) {
    this.#database = database;
    this.#metrics = metrics;
    this.#logger = logger.child({ module: "auth" });
  }

  /** Never fails: a refusal stays one while Postgres is away. */
  async record(
    reason: RefusalReason,
    who?: { principal: Principal; method: string; route: string },
  ): Promise<void> {
    this.#metrics.refused(reason);
    if (!who) {
      return;
    }
    const { principal, method, route } = who;
    try {
      await this.#database.asTenant(principal.tenantId, (client) =>
        audit(client, {
          subject: principal.subject,
          action: "access.refuse",
          outcome: "failure",
          target: `route/${route}`,
          detail: { method, role: principal.role, reason },
        }),
      );
    } catch (error) {
      this.#logger.error({ error, subject: principal.subject, method, route, reason }, "refusal not audited");
    }
  }
}
