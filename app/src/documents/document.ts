import { z } from "zod";

/** Postgres keeps no NUL in text. */
const text = z.string().refine((value) => !value.includes("\u0000"), "must not hold the character U+0000");

const title = text.trim().min(1).max(200);
const content = text.max(100_000);

/** What a caller may write. Anything else in the body is refused: who owns a document is not the caller's to say. */
export const documentInput = z.strictObject({ title, content });
export type DocumentInput = z.infer<typeof documentInput>;

export const storedDocument = z.object({
  id: z.uuid(),
  title: z.string(),
  content: z.string(),
  createdBy: z.string(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export type StoredDocument = z.infer<typeof storedDocument>;

/** A document in a list: without its content, which may be long. */
export type DocumentSummary = Omit<StoredDocument, "content">;

export const documentPath = z.object({ id: z.uuid() });
