import { Router } from "express";
import { z } from "zod";
import { principalOf } from "../auth/guard.ts";
import type { Database } from "../db/database.ts";
import { limitParameter } from "../http/limit.ts";
import { validated } from "../http/problem.ts";

/** Postgres keeps no NUL in text. */
const text = z.string().regex(/^[^\u0000]{1,200}$/, "expected 1 to 200 characters, none of them U+0000");
const time = z.iso.datetime({ offset: true });

export const auditQuery = z
  .strictObject({
    limit: limitParameter,
    cursor: z
      .string()
      .regex(/^\d{1,18}$/, "expected the nextCursor of an earlier answer")
      .optional(),
    action: text.optional().meta({ description: "Exactly this action", examples: ["session.sign_in"] }),
    subject: text.optional().meta({ description: "Exactly this subject" }),
    from: time.optional().meta({ description: "Not before" }),
    to: time.optional().meta({ description: "Before" }),
  })
  .meta({ description: "Newest first" });

export const auditEventView = z.object({
  id: z.string(),
  at: z.string(),
  subject: z.string(),
  action: z.string(),
  outcome: z.enum(["success", "failure"]),
  target: z.string().nullable(),
  detail: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  requestId: z.string().nullable(),
});
type AuditEventView = z.infer<typeof auditEventView>;

type AuditRow = Omit<AuditEventView, "at" | "requestId"> & { at: Date; request_id: string | null };

/** `/api/v2/admin/audit`. */
export function auditRoutes(database: Database): Router {
  const router = Router();

  router.get("/api/v2/admin/audit", async (request, response) => {
    const { tenantId } = principalOf(request);
    const { limit, cursor, action, subject, from, to } = validated(auditQuery, request.query);
    const found = await database.asTenant(
      tenantId,
      async (client) => {
        const { rows } = await client.query<AuditRow>(
          `select id, at, subject, action, outcome, target, detail, request_id from audit_events
           where ($2::bigint is null or id < $2) and ($3::text is null or action = $3)
             and ($4::text is null or subject = $4)
             and ($5::timestamptz is null or at >= $5) and ($6::timestamptz is null or at < $6)
           order by id desc limit $1`,
          [limit + 1, cursor ?? null, action ?? null, subject ?? null, date(from), date(to)],
        );
        return rows;
      },
      { repeatable: true },
    );
    const items = found.slice(0, limit).map(toView);
    response.json({ items, nextCursor: found.length > limit ? (items.at(-1)?.id ?? null) : null });
  });

  return router;
}

/** As a date, since Postgres does not read the text of year 0. */
function date(value: string | undefined): Date | null {
  return value === undefined ? null : new Date(value);
}

function toView({ at, request_id, ...row }: AuditRow): AuditEventView {
  return { ...row, at: at.toISOString(), requestId: request_id };
}
