import { Router } from "express";
import { z } from "zod";
import { principalOf } from "../auth/guard.ts";
import type { DocumentCache } from "../cache/documentCache.ts";
import { notFound, validated } from "../http/problem.ts";
import { cursorParameter, encodeCursor } from "./cursor.ts";
import { documentInput, documentPath } from "./document.ts";
import type { DocumentRepository } from "./repository.ts";

export const listQuery = z.strictObject({
  limit: z
    .string()
    .regex(/^\d{1,3}$/, "expected a whole number from 1 to 100")
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= 100, "expected a whole number from 1 to 100")
    .default(20),
  cursor: cursorParameter.optional(),
});

/** `/api/v1/documents`. A document of another tenant is answered as one that does not exist. */
export function documentRoutes(repository: DocumentRepository, cache: DocumentCache): Router {
  const router = Router();

  router.post("/api/v1/documents", async (request, response) => {
    const { tenantId, subject } = principalOf(request);
    const document = await repository.create(tenantId, subject, validated(documentInput, request.body));
    response.status(201).location(`/api/v1/documents/${document.id}`).json(document);
  });

  router.get("/api/v1/documents", async (request, response) => {
    const { tenantId } = principalOf(request);
    const { limit, cursor } = validated(listQuery, request.query);
    // One more than asked for says whether there is a next page.
    const found = await repository.list(tenantId, limit + 1, cursor);
    const items = found.slice(0, limit);
    const last = items.at(-1);
    response.json({ items, nextCursor: found.length > limit && last ? encodeCursor(last) : null });
  });

  router.get("/api/v1/documents/:id", async (request, response) => {
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
    response.json(document);
  });

  router.put("/api/v1/documents/:id", async (request, response) => {
    const { tenantId } = principalOf(request);
    const { id } = validated(documentPath, request.params);
    const document = await repository.update(tenantId, id, validated(documentInput, request.body));
    if (!document) {
      throw notFound();
    }
    await cache.forget(tenantId, id);
    response.json(document);
  });

  router.delete("/api/v1/documents/:id", async (request, response) => {
    const { tenantId } = principalOf(request);
    const { id } = validated(documentPath, request.params);
    if (!(await repository.delete(tenantId, id))) {
      throw notFound();
    }
    await cache.forget(tenantId, id);
    response.status(204).end();
  });

  return router;
}
