import type { PoolClient } from "pg";
import { currentContext } from "../observability/context.ts";

export interface AuditEvent {
  /** Who did it: the token's subject, or the name given at a sign-in that failed. */
  subject: string;
  /** What was done, as `noun.verb`: `document.update`, `session.sign_in`. */
  action: string;
  /** Default: `success`. */
  outcome?: "success" | "failure";
  /** What it was done to, as `noun/id`. */
  target?: string;
  /** What else an auditor asks for. No secrets, no content. */
  detail?: Record<string, string | number | boolean>;
}

/** Appends to the tenant's audit log, in the transaction that does the thing: neither is kept without the other. */
export async function audit(client: PoolClient, event: AuditEvent): Promise<void> {
  const { subject, action, outcome = "success", target = null, detail = {} } = event;
  await client.query(
    `insert into audit_events (subject, action, outcome, target, detail, request_id) values ($1, $2, $3, $4, $5, $6)`,
    [subject, action, outcome, target, detail, currentContext().requestId],
  );
}
