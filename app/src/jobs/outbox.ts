import { randomBytes } from "node:crypto";
import type { PoolClient } from "pg";
import { currentContext } from "../observability/context.ts";
import { currentTraceparent } from "../observability/tracing.ts";
import type { JobKind, Payload } from "./job.ts";

export interface NewJob<K extends JobKind> {
  kind: K;
  /** A text: sealed, for the app alone to read. */
  payload: Payload<K> | string;
  /** Who asked for it. */
  subject: string;
  /** A second job of the same tenant, kind and key is the first one. */
  idempotencyKey?: string | undefined;
}

/**
 * Asks for work, in the caller's transaction: the job is there if and only if that is committed. A worker's relay hands
 * it to the queue; nothing here needs Redis.
 * @returns the job's id, and whether it is a new one.
 */
export async function enqueue<K extends JobKind>(
  client: PoolClient,
  { kind, payload, subject, idempotencyKey }: NewJob<K>,
): Promise<{ id: string; created: boolean }> {
  const { requestId } = currentContext();
  const [open, sealed] = typeof payload === "string" ? [{}, payload] : [payload, null];
  const values = [
    kind,
    JSON.stringify(open),
    sealed,
    subject,
    requestId,
    traceparent(),
    idempotencyKey ?? null,
  ];
  const inserted = await client.query<{ id: string }>(
    `insert into jobs (kind, payload, sealed_payload, subject, request_id, traceparent, idempotency_key)
     values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning id`,
    values,
  );
  const existing = inserted.rows[0]
    ? inserted
    : await client.query<{ id: string }>("select id from jobs where kind = $1 and idempotency_key = $2", [
        kind,
        idempotencyKey,
      ]);
  const [row] = existing.rows;
  if (!row) {
    throw new Error("the job was neither inserted nor found");
  }
  return { id: row.id, created: existing === inserted };
}

/** Where the trace goes on. While no span is recorded, the log's trace id still does. */
function traceparent(): string | null {
  const { traceId } = currentContext();
  return (
    currentTraceparent() ?? (traceId === null ? null : `00-${traceId}-${randomBytes(8).toString("hex")}-00`)
  );
}
