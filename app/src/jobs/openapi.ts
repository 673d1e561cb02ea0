import { z } from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { jobAnswer, jobHeaders, jobInput, jobPath } from "./job.ts";
import { deadLetterQuery } from "./routes.ts";

const json = (schema: z.ZodType) => ({ "application/json": { schema } });
const accepted = {
  "202": {
    description: "The job is kept and will be done",
    headers: z.object({
      location: z.string().meta({ description: "Where to ask how the job is getting on" }),
    }),
    content: json(jobAnswer),
  },
};

export const paths: ZodOpenApiPathsObject = {
  "/api/v2/jobs": {
    post: {
      summary: "Ask for work that takes long",
      description: "The same Idempotency-Key of the same user is answered with the same job.",
      requestParams: { header: jobHeaders },
      requestBody: { required: true, content: json(jobInput) },
      responses: {
        ...accepted,
        "422": { description: "The Idempotency-Key was used for another prompt" },
      },
    },
  },
  "/api/v2/jobs/{id}": {
    get: {
      summary: "How a job is getting on, and its result",
      requestParams: { path: jobPath },
      responses: { "200": { description: "The job", content: json(jobAnswer) } },
    },
  },
  "/api/v2/admin/dead-letters": {
    get: {
      summary: "Jobs that were given up, newest first",
      requestParams: { query: deadLetterQuery },
      responses: {
        "200": {
          description: "One page of them",
          content: json(z.object({ items: z.array(jobAnswer), nextCursor: z.string().nullable() })),
        },
      },
    },
  },
  "/api/v2/admin/dead-letters/{id}/redrive": {
    post: {
      summary: "Have a job that was given up tried again",
      description: "A job that is not a dead letter is answered with 409.",
      requestParams: { path: jobPath },
      responses: accepted,
    },
  },
};
