import { z } from "zod";

export const jobKinds = ["collect", "summarize", "generate"] as const;
/** Each kind of work has a queue of its own, so that a backlog of one holds up no other. */
export type JobKind = (typeof jobKinds)[number];

const jobStates = ["pending", "queued", "done", "dead"] as const;

/** Postgres keeps no NUL in text. */
const prompt = z
  .string()
  .trim()
  .min(1)
  .max(8000)
  .refine((value) => !value.includes("\u0000"), "must not hold the character U+0000");

/** What each kind is told. Callers make `generate` only; the others are made by the schedule. */
export const payloads = {
  collect: z.strictObject({ url: z.string() }),
  summarize: z.strictObject({ itemId: z.uuid() }),
  generate: z.strictObject({ prompt }),
} satisfies Record<JobKind, z.ZodType>;
export type Payload<K extends JobKind> = z.infer<(typeof payloads)[K]>;

/** What a caller may ask for. */
export const jobInput = z.strictObject({ kind: z.literal("generate"), prompt });
export const jobPath = z.object({ id: z.uuid() });
export const jobHeaders = z.object({
  "idempotency-key": z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, "expected 1 to 200 visible ASCII characters")
    .optional(),
});

export const jobAnswer = z.object({
  id: z.uuid(),
  kind: z.enum(jobKinds),
  state: z.enum(jobStates).meta({
    description: "pending: not in the queue yet; queued: waiting, running or waiting to be tried again",
  }),
  attempts: z.int().meta({ description: "Attempts that failed" }),
  error: z.string().nullable().meta({
    description: "Why the last attempt failed. Where another would fail alike, the job is dead at once",
  }),
  result: z.unknown(),
  createdBy: z.string(),
  createdAt: z.iso.datetime(),
  finishedAt: z.iso.datetime().nullable(),
});
export type JobAnswer = z.infer<typeof jobAnswer>;

/** A job as a worker gets it. */
export interface WorkOrder {
  id: string;
  tenantId: string;
  kind: JobKind;
  /** Fails where it is sealed and no key opens it. */
  payload: () => Promise<unknown>;
  state: JobAnswer["state"];
  requestId: string | null;
  traceparent: string | null;
}

/** An error whose message may be shown to the tenant: it names no secret and nothing of another tenant. */
export class JobError extends Error {
  /** Whether another attempt would end the same way. */
  readonly final: boolean;

  constructor(message: string, { final = false, cause }: { final?: boolean; cause?: unknown } = {}) {
    super(message, { cause });
    this.name = "JobError";
    this.final = final;
  }
}
