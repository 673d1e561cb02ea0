import { z } from "zod";
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from "zod-openapi";
import { documentChange, documentInput, documentPage, documentPath, storedDocument } from "./document.ts";
import { listQuery, searchQuery } from "./routes.ts";

const json = <T extends z.ZodType>(schema: T) => ({ "application/json": { schema } });
const ifMatch = z.object({
  "If-Match": z.string().optional().meta({ description: "ETag of the version to change; any when left out" }),
});
const ifNoneMatch = z.object({
  "If-None-Match": z.string().optional().meta({ description: "ETag of the version that the caller has" }),
});
const document = {
  description: "The document; the header ETag names this version of it",
  content: json(storedDocument),
};

function change(summary: string, schema: z.ZodType): ZodOpenApiOperationObject {
  return {
    summary,
    requestParams: { path: documentPath, header: ifMatch },
    requestBody: { required: true, content: json(schema) },
    responses: { "200": document, "412": { description: "Changed since the version that If-Match names" } },
  };
}

function pathsOf(base: string): ZodOpenApiPathsObject {
  return {
    [base]: {
      post: {
        summary: "Create a document",
        requestBody: { required: true, content: json(documentInput) },
        responses: { "201": document },
      },
      get: {
        summary: "List the documents, newest first",
        requestParams: { query: listQuery },
        responses: { "200": { description: "A page of the list", content: json(documentPage) } },
      },
    },
    [`${base}/{id}`]: {
      get: {
        summary: "Read a document",
        requestParams: { path: documentPath, header: ifNoneMatch },
        responses: { "200": document, "304": { description: "The version that If-None-Match names" } },
      },
      put: change("Replace a document's title and content", documentInput),
      delete: {
        summary: "Delete a document",
        requestParams: { path: documentPath, header: ifMatch },
        responses: {
          "204": { description: "Deleted" },
          "412": { description: "Changed since the version that If-Match names" },
        },
      },
    },
  };
}

const v2 = pathsOf("/api/v2/documents");

export const paths: ZodOpenApiPathsObject = {
  ...pathsOf("/api/v1/documents"),
  ...v2,
  "/api/v2/documents": {
    ...v2["/api/v2/documents"],
    get: {
      summary: "List the documents, newest first, or with `query` search them, best first",
      description:
        "Every word of the query must occur, in Japanese every pair of neighbouring characters. A cursor belongs to the query it came with.",
      requestParams: { query: searchQuery.partial({ query: true }) },
      responses: { "200": { description: "A page of documents", content: json(documentPage) } },
    },
  },
  "/api/v2/documents/{id}": {
    ...v2["/api/v2/documents/{id}"],
    patch: change("Change a document's title, content or both", documentChange),
  },
};
