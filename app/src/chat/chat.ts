import { z } from "zod";
import type { Unanswerable } from "../http/problem.ts";

/** Postgres keeps no NUL in text, and the encrypted columns' content is read as text again. */
const text = z.string().refine((value) => !value.includes("\u0000"), "must not hold the character U+0000");

export const question = z.strictObject({
  message: text.trim().min(1).max(8000),
  /** Goes on with an earlier conversation; by default a new one begins. */
  sessionId: z.uuid().optional(),
});
export type Question = z.infer<typeof question>;

export const answerPath = z.object({ answerId: z.uuid() });

export const feedbackInput = z.strictObject({ value: z.union([z.literal(1), z.literal(-1)]) });

/** The number of an event within its answer; the standard's header by which a client says what it has. */
export const lastEventId = z
  .string()
  .regex(/^\d{1,9}$/, "expected the id of an event")
  .transform(Number)
  .default(0);

/** What an answer consists of: `start`, any number of `delta`, and `done` or `error` as the last. */
export const eventData = {
  start: z.object({ answerId: z.uuid(), sessionId: z.uuid() }),
  delta: z.object({ text: z.string() }),
  done: z.object({ degraded: z.boolean(), model: z.string(), cached: z.boolean() }),
  error: z.object({ status: z.int(), title: z.string(), detail: z.string() }),
};

function eventOf<T extends keyof typeof eventData>(type: T) {
  return z.object({ id: z.int(), type: z.literal(type), data: eventData[type] });
}

export const chatEvent = z.discriminatedUnion("type", [
  eventOf("start"),
  eventOf("delta"),
  eventOf("done"),
  eventOf("error"),
]);
export type ChatEvent = z.infer<typeof chatEvent>;

/** An event without its number. */
type WithoutId<E> = E extends unknown ? Omit<E, "id"> : never;
export type NewChatEvent = WithoutId<ChatEvent>;

export function isLast({ type }: Pick<ChatEvent, "type">): boolean {
  return type === "done" || type === "error";
}

export const interrupted: NewChatEvent = {
  type: "error",
  data: { status: 503, title: "Service Unavailable", detail: "the answer was cut off, ask again" },
};

/** Nothing of it is remembered: what is withheld once would be part of every later question of the session. */
export function unanswerable({ status, reason }: Unanswerable): NewChatEvent {
  return { type: "error", data: { status, title: "Unprocessable Content", detail: reason } };
}

export const cancelled: NewChatEvent = {
  type: "error",
  data: { status: 499, title: "Cancelled", detail: "the answer is no longer wanted" },
};
