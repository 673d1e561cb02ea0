import { z } from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { auditEventView, auditQuery } from "./routes.ts";

const page = z.object({ items: z.array(auditEventView), nextCursor: z.string().nullable() });

export const paths: ZodOpenApiPathsObject = {
  "/api/v2/admin/audit": {
    get: {
      summary: "The tenant's audit log, newest first",
      requestParams: { query: auditQuery },
      responses: {
        "200": { description: "A page of events", content: { "application/json": { schema: page } } },
      },
    },
  },
};
