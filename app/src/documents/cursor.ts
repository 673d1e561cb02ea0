import { z } from "zod";

/** The place of a document in the list (newest first, ids breaking ties): the list goes on after it. */
export interface Cursor {
  createdAt: string;
  id: string;
}

/** The same among the results of a search, which are ordered by rank first. */
export interface SearchCursor extends Cursor {
  rank: number;
}

const place = [z.iso.datetime({ precision: 3 }), z.uuid()] as const;
const listContent = z.tuple([...place]);
const searchContent = z.tuple([...place, z.number().min(0).max(1e6)]);

export function encodeCursor({ createdAt, id, rank }: Cursor & { rank?: number }): string {
  const values = rank === undefined ? [createdAt, id] : [createdAt, id, rank];
  return Buffer.from(JSON.stringify(values)).toString("base64url");
}

export const cursorParameter = parameter(listContent, ([createdAt, id]): Cursor => ({ createdAt, id }));
export const searchCursorParameter = parameter(searchContent, ([createdAt, id, rank]): SearchCursor => ({
  createdAt,
  id,
  rank,
}));

function parameter<T extends z.ZodType, C>(content: T, toCursor: (values: z.infer<T>) => C) {
  return z.string().transform((value, context): C => {
    try {
      return toCursor(content.parse(JSON.parse(Buffer.from(value, "base64url").toString("utf8"))));
    } catch {
      context.addIssue("expected the nextCursor of an earlier answer to the same question");
      return z.NEVER;
    }
  });
}
