import { z } from "zod";

/** The place of a document in the list (newest first, ids breaking ties): the list goes on after it. */
export interface Cursor {
  createdAt: string;
  id: string;
}

const content = z.tuple([z.iso.datetime({ precision: 3 }), z.uuid()]);

export function encodeCursor({ createdAt, id }: Cursor): string {
  return Buffer.from(JSON.stringify([createdAt, id])).toString("base64url");
}

export const cursorParameter = z.string().transform((value, context): Cursor => {
  try {
    const [createdAt, id] = content.parse(JSON.parse(Buffer.from(value, "base64url").toString("utf8")));
    return { createdAt, id };
  } catch {
    context.addIssue("expected the nextCursor of an earlier answer");
    return z.NEVER;
  }
});
