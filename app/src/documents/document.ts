import { z } from "zod";
import { storableText } from "../http/text.ts";

const title = storableText.trim().min(1).max(200);
const content = storableText.max(100_000);

/** What a caller may write. Anything else in the body is refused: who owns a document is not the caller's to say. */
export const documentInput = z.strictObject({ title, content });
export type DocumentInput = z.infer<typeof documentInput>;

/** What a PATCH may change: each field that it names. */
export const documentChange = documentInput
  .partial()
  .refine((change) => Object.keys(change).length > 0, "expected a title or a content");
export type DocumentChange = z.infer<typeof documentChange>;

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
export const documentSummary = storedDocument.omit({ content: true });
export type DocumentSummary = z.infer<typeof documentSummary>;

export const documentPage = z.object({
  items: z.array(documentSummary),
  /** Null on the last page. */
  nextCursor: z.string().nullable(),
});

export const documentPath = z.object({ id: z.uuid() });
