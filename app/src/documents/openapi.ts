import { z } from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { documentInput, documentPath, storedDocument } from "./document.ts";
import { listQuery } from "./routes.ts";

const document = storedDocument.meta({ id: "Document" });
const summary = storedDocument.omit({ content: true }).meta({ id: "DocumentSummary" });
const page = z.object({
  items: z.array(summary),
  nextCursor: z.string().nullable().meta({ description: "Asks for what follows; null on the last page" }),
});

function answer(description: string, schema: z.ZodType) {
  return { description, content: { "application/json": { schema } } };
}

const requestBody = { required: true, content: { "application/json": { schema: documentInput } } };

export const paths: ZodOpenApiPathsObject = {
  "/api/v1/documents": {
    post: {
      summary: "Create a document",
      requestBody,
      responses: { "201": answer("Created; Location is its path", document) },
    },
    get: {
      summary: "The tenant's documents, newest first, without their content",
      requestParams: { query: listQuery },
      responses: { "200": answer("One page", page) },
    },
  },
  "/api/v1/documents/{id}": {
    get: {
      summary: "Read a document",
      requestParams: { path: documentPath },
      responses: { "200": answer("The document", document) },
    },
    put: {
      summary: "Replace a document",
      requestParams: { path: documentPath },
      requestBody,
      responses: { "200": answer("The document as it is now", document) },
    },
    delete: {
      summary: "Delete a document",
      requestParams: { path: documentPath },
      responses: { "204": { description: "Deleted" } },
    },
  },
};
