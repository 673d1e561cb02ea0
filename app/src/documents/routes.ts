import { type Request, type Response, Router } from "express";
import { z } from "zod";
import { principalOf } from "../auth/guard.ts";
import type { DocumentCache } from "../cache/documentCache.ts";
import { limitParameter } from "../http/limit.ts";
import { notFound, validated } from "../http/problem.ts";
import { storableText } from "../http/text.ts";
import type { Metrics } from "../observability/metrics.ts";
import { cursorParameter, encodeCursor, searchCursorParameter } from "./cursor.ts";
import {
  type DocumentChange,
  documentChange,
  documentInput,
  documentPath,
  documentSummary,
  type DocumentSummary,
  type StoredDocument,
} from "./document.ts";
import { etagOf, expectedVersion } from "./etag.ts";
import type { DocumentRepository } from "./repository.ts";

export const listQuery = z.strictObject({ limit: limitParameter, cursor: cursorParameter.optional() });
export const searchQuery = z.strictObject({
  limit: limitParameter,
  query: storableText.trim().min(1).max(200),
  cursor: searchCursorParameter.optional(),
});

export interface DocumentRoutesArgs {
  repository: DocumentRepository;
  cache: DocumentCache;
  metrics: Metrics;
}

/**
 * `/api/v1/documents`, and the same under v2, which also searches and changes single fields. A document of another
 * tenant is answered as one that does not exist.
 */
export function documentRoutes({ repository, cache, metrics }: DocumentRoutesArgs): Router {
  const router = Router();

  async function create(request: Request, response: Response): Promise<void> {
    const { tenantId, subject } = principalOf(request);
    const document = await repository.create(tenantId, subject, validated(documentInput, request.body));
    answer(response.status(201).location(`${request.path.replace(/\/$/, "")}/${document.id}`), document);
  }

  async function list(request: Request, response: Response): Promise<void> {
    const { tenantId } = principalOf(request);
    const { limit, cursor } = validated(listQuery, request.query);
    // One more than asked for says whether there is a next page.
    answerPage(response, limit, await repository.list(tenantId, limit + 1, cursor));
  }

  async function search(request: Request, response: Response): Promise<void> {
    const { tenantId } = principalOf(request);
    const { limit, query, cursor } = validated(searchQuery, request.query);
    const found = await metrics.searched(() => repository.search(tenantId, query, limit + 1, cursor));
    answerPage(response, limit, found);
  }

  async function read(request: Request, response: Response): Promise<void> {
    const { tenantId } = principalOf(request);
    const { id } = validated(documentPath, request.params);
    const cached = await cache.get(tenantId, id);
    const document = cached ?? (await repository.get(tenantId, id));
    if (!document) {
      throw notFound();
    }
    if (!cached) {
      await cache.set(tenantId, document);
    }
    answer(response, document);
  }

  function update(schema: z.ZodType<DocumentChange>) {
    return async (request: Request, response: Response): Promise<void> => {
      const { tenantId, subject } = principalOf(request);
      const { id } = validated(documentPath, request.params);
      const change = validated(schema, request.body);
      const document = await repository.update(tenantId, subject, id, change, expectedVersion(request));
      if (!document) {
        throw notFound();
      }
      await cache.forget(tenantId, id);
      answer(response, document);
    };
  }

  async function remove(request: Request, response: Response): Promise<void> {
    const { tenantId, subject } = principalOf(request);
    const { id } = validated(documentPath, request.params);
    if (!(await repository.delete(tenantId, subject, id, expectedVersion(request)))) {
      throw notFound();
    }
    await cache.forget(tenantId, id);
    response.status(204).end();
  }

  for (const base of ["/api/v1/documents", "/api/v2/documents"]) {
    router.post(base, create);
    router.get(`${base}/:id`, read);
    router.put(`${base}/:id`, update(documentInput));
    router.delete(`${base}/:id`, remove);
  }
  router.get("/api/v1/documents", list);
  router.get("/api/v2/documents", (request, response) =>
    "query" in request.query ? search(request, response) : list(request, response),
  );
  router.patch("/api/v2/documents/:id", update(documentChange));
  return router;
}

function answer(response: Response, document: StoredDocument): void {
  response.set("ETag", etagOf(document)).json(document);
}

function answerPage(
  response: Response,
  limit: number,
  found: readonly (DocumentSummary & { rank?: number })[],
): void {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  const nextCursor = found.length > limit && last ? encodeCursor(last) : null;
  response.json({ items: items.map((item) => documentSummary.parse(item)), nextCursor });
}
