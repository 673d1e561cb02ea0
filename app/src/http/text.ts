import { z } from "zod";

/** What Postgres cannot keep in text, or would silently replace; undefined when there is nothing. */
export function textFault(value: string): string | undefined {
  if (value.includes("\u0000")) {
    return "must not hold the character U+0000";
  }
  return /\p{Surrogate}/u.test(value) ? "must not hold half a surrogate pair" : undefined;
}

/** Text as Postgres can keep it. */
export const storableText = z.string().superRefine((value, context) => {
  const fault = textFault(value);
  if (fault !== undefined) {
    context.addIssue(fault);
  }
});
