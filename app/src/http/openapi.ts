import { STATUS_CODES } from "node:http";
import { z } from "zod";
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathItemObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponseObject,
  type ZodOpenApiResponsesObject,
} from "zod-openapi";
import { paths as auditPaths } from "../audit/openapi.ts";
import { paths as authPaths } from "../auth/openapi.ts";
import { type Rule, rules as allRules } from "../auth/rules.ts";
import { paths as chatPaths } from "../chat/openapi.ts";
import { paths as documentPaths } from "../documents/openapi.ts";
import { paths as jobPaths } from "../jobs/openapi.ts";
import { paths as ocrPaths } from "../ocr/openapi.ts";
import { paths as servicePaths } from "./openapiPaths.ts";

/** What each feature says of its own routes. */
const features: readonly ZodOpenApiPathsObject[] = [
  servicePaths,
  authPaths,
  auditPaths,
  documentPaths,
  chatPaths,
  jobPaths,
  ocrPaths,
];

export type OpenApiDocument = ReturnType<typeof createDocument>;

export const methods = ["get", "post", "put", "patch", "delete"] as const;
type Method = (typeof methods)[number];

const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string().optional().meta({ description: "What went wrong this time" }),
    errors: z
      .array(z.object({ field: z.string(), message: z.string() }))
      .optional()
      .meta({ description: "Every wrong field of the request" }),
    instance: z.string().optional().meta({ description: "Names the request in the service's logs" }),
  })
  .meta({ id: "Problem", description: "RFC 9457 problem details" });

const problemContent = { "application/problem+json": { schema: problem } };

const meanings: Record<number, string> = {
  400: "The request has errors; each is named",
  401: "A valid access token is needed",
  403: "The caller's role may not do this",
  404: "There is no such thing, or it belongs to another tenant",
  409: "It contradicts the state that things are in",
  413: "The body is too large",
  415: "The body's encoding is not understood",
  429: "Too many requests; Retry-After says when to come again",
  503: "A part of the service does not answer; Retry-After says when to come again",
};

/** One object for each status: so the document describes it once and refers to it. */
const responses = new Map<number, ZodOpenApiResponseObject>();

/** `/a/:id` as OpenAPI writes it: `/a/{id}`. */
export function openApiPath(route: string): string {
  return route.replaceAll(/:(\w+)/g, "{$1}");
}

/**
 * The OpenAPI 3.1 document: the features' paths, to which the rules add who may call, and this adds the problems that
 * any route may answer with. What a feature says itself stands.
 */
export function openApiDocument(
  parts: readonly ZodOpenApiPathsObject[] = features,
  rules: readonly Rule[] = allRules,
): OpenApiDocument {
  return createDocument({
    openapi: "3.1.0",
    info: {
      title: "Groundwork API",
      version: "1",
      description:
        "Errors are problem details (RFC 9457). Every answer carries X-Request-Id, by which the logs are searched. " +
        "Any request may be refused as malformed (400), too large (413, 431) or of an unknown encoding (415).",
    },
    paths: mergePaths(parts, rules),
    components: {
      securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
    },
  });
}

function mergePaths(
  parts: readonly ZodOpenApiPathsObject[],
  rules: readonly Rule[],
): Record<string, ZodOpenApiPathItemObject> {
  const merged: Record<string, ZodOpenApiPathItemObject> = {};
  for (const [path, item] of parts.flatMap((part) => Object.entries(part))) {
    const target = (merged[path] ??= {});
    for (const method of methods) {
      const operation = item[method];
      if (operation) {
        const rule = rules.find((known) => known.method === method && openApiPath(known.path) === path);
        target[method] = completed(path, method, operation, rule);
      }
    }
  }
  return merged;
}

function completed(
  path: string,
  method: Method,
  operation: ZodOpenApiOperationObject,
  rule: Rule | undefined,
): ZodOpenApiOperationObject {
  const { allow = [] } = rule ?? {};
  const isPublic = allow === "public";
  const hasBody = operation.requestBody !== undefined;
  const common = [
    ...(hasBody || operation.requestParams || operation.parameters ? [400] : []),
    ...(isPublic ? [] : [401, 403]),
    ...(path.includes("{") ? [404] : []),
    ...(method === "get" ? [] : [409]),
    ...(hasBody ? [413, 415] : []),
    ...[429, 503],
  ];
  return {
    security: isPublic ? [] : [{ bearer: [] }],
    ...operation,
    description: [operation.description, `Allowed to: ${isPublic ? "everyone" : allow.join(", ")}.`]
      .filter(Boolean)
      .join("\n\n"),
    responses: { ...problems(common), ...answersOf(operation) },
  };
}

/** The feature's own answers; of refusals it says what they mean, and what they look like is the same everywhere. */
function answersOf({ responses: own }: ZodOpenApiOperationObject): ZodOpenApiResponsesObject {
  return Object.fromEntries(
    Object.entries(own).map(([status, answer]: [string, ZodOpenApiResponseObject]) => {
      const isRefusal = Number(status) >= 400 && !("content" in answer);
      return [status, isRefusal ? { content: problemContent, ...answer } : answer];
    }),
  );
}

/** Responses of these statuses as problems, for features that answer with more than the common ones. */
export function problems(statuses: readonly number[]): ZodOpenApiResponsesObject {
  return Object.fromEntries(statuses.map((status) => [String(status), problemResponse(status)]));
}

function problemResponse(status: number): ZodOpenApiResponseObject {
  const known = responses.get(status) ?? {
    id: `Problem${status}`,
    description: meanings[status] ?? STATUS_CODES[status] ?? "",
    content: problemContent,
  };
  responses.set(status, known);
  return known;
}
