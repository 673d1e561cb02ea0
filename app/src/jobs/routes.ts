import { Router } from "express";
import { z } from "zod";
import { principalOf } from "../auth/guard.ts";
import { cursorParameter, encodeCursor } from "../documents/cursor.ts";
import { limitParameter } from "../http/limit.ts";
import { notFound, validated } from "../http/problem.ts";
import { jobHeaders, jobInput, jobPath } from "./job.ts";
import type { JobRepository } from "./repository.ts";

export const deadLetterQuery = z.strictObject({
  limit: limitParameter,
  cursor: cursorParameter.optional(),
});

/** `/api/v2/jobs` and the dead letters. A job of another tenant is answered as one that does not exist. */
export function jobRoutes(repository: JobRepository): Router {
  const router = Router();

  router.post("/api/v2/jobs", async (request, response) => {
    const { tenantId, subject } = principalOf(request);
    const { prompt } = validated(jobInput, request.body);
    const { "idempotency-key": key } = validated(jobHeaders, request.headers);
    const job = await repository.createGeneration(tenantId, subject, { prompt }, key);
    response.status(202).location(`/api/v2/jobs/${job.id}`).json(job);
  });

  router.get("/api/v2/jobs/:id", async (request, response) => {
    const { tenantId } = principalOf(request);
    const { id } = validated(jobPath, request.params);
    const job = await repository.get(tenantId, id);
    if (!job) {
      throw notFound();
    }
    response.json(job);
  });

  router.get("/api/v2/admin/dead-letters", async (request, response) => {
    const { tenantId } = principalOf(request);
    const { limit, cursor } = validated(deadLetterQuery, request.query);
    // One more than asked for says whether there is a next page.
    const found = await repository.deadLetters(tenantId, limit + 1, cursor);
    const items = found.slice(0, limit);
    const last = items.at(-1);
    response.json({ items, nextCursor: found.length > limit && last ? encodeCursor(last) : null });
  });

  router.post("/api/v2/admin/dead-letters/:id/redrive", async (request, response) => {
    const { tenantId, subject } = principalOf(request);
    const { id } = validated(jobPath, request.params);
    const job = await repository.redrive(tenantId, subject, id);
    if (!job) {
      throw notFound();
    }
    response.status(202).location(`/api/v2/jobs/${id}`).json(job);
  });

  return router;
}
