import { z } from "zod";
import type { ZodOpenApiOperationObject, ZodOpenApiPathsObject } from "zod-openapi";

const health: ZodOpenApiOperationObject = {
  summary: "Whether the process runs; touches nothing else",
  security: [],
  responses: {
    "200": {
      description: "It runs",
      content: { "application/json": { schema: z.object({ status: z.literal("ok") }) } },
    },
  },
};

const report = z.object({
  status: z.enum(["ready", "not ready", "shutting down"]),
  dependencies: z.record(
    z.string(),
    z.object({ state: z.enum(["up", "degraded", "down"]), latencyMs: z.number().min(0) }),
  ),
});

const ready = (description: string) => ({ description, content: { "application/json": { schema: report } } });

export const paths: ZodOpenApiPathsObject = {
  "/health": { get: health },
  "/api/health": { get: health },
  "/ready": {
    get: {
      summary: "Whether to send traffic here, with the state of each dependency",
      security: [],
      responses: {
        "200": ready("Every dependency that is needed answers"),
        "503": ready("One that is needed does not, or the service is shutting down"),
      },
    },
  },
};
