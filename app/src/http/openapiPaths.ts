import { z } from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";

const dependency = z.object({
  state: z.enum(["up", "degraded", "down"]),
  latencyMs: z.number().meta({ description: "Milliseconds until it answered, or was given up" }),
});

const report = z
  .object({
    status: z.enum(["ready", "not ready", "shutting down"]),
    dependencies: z.record(z.string(), dependency),
  })
  .meta({ id: "Readiness" });

const health = {
  summary: "Whether the process runs; touches nothing else",
  responses: {
    "200": {
      description: "It runs",
      content: { "application/json": { schema: z.object({ status: z.literal("ok") }) } },
    },
  },
};

/** The probes, and the reference itself. */
export const paths: ZodOpenApiPathsObject = {
  "/health": { get: health },
  "/api/health": { get: health },
  "/ready": {
    get: {
      summary: "Whether to send traffic here, with the state and latency of each dependency",
      description:
        "A dependency that the service can do without is shown as degraded, and it stays ready. Each is given 2 s.",
      responses: {
        "200": { description: "Ready", content: { "application/json": { schema: report } } },
        "503": {
          description: "Not ready, or shutting down",
          content: { "application/json": { schema: report } },
        },
      },
    },
  },
  "/api/v2/notice": {
    get: {
      summary: "What everybody who uses the service is to be told",
      description: "To be shown to whoever uses it, and asked for again each minute or so.",
      responses: {
        "200": {
          description: "The notice; null while there is none",
          content: { "application/json": { schema: z.object({ notice: z.string().nullable() }) } },
        },
      },
    },
  },
  "/api/openapi.json": {
    get: {
      summary: "This document",
      responses: {
        "200": {
          description: "OpenAPI 3.1",
          content: { "application/json": { schema: z.looseObject({ openapi: z.string() }) } },
        },
      },
    },
  },
  "/api/docs": {
    get: {
      summary: "This document as a page to read",
      requestParams: {
        header: z.object({
          "x-csp-nonce": z
            .string()
            .optional()
            .meta({ description: "From the edge: the nonce that its Content-Security-Policy allows" }),
        }),
      },
      responses: { "200": { description: "HTML", content: { "text/html": { schema: z.string() } } } },
    },
  },
};
