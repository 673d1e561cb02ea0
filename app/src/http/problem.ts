import { STATUS_CODES } from "node:http";
import type { z } from "zod";

/** What was wrong with one field of the request. */
export interface FieldError {
  field: string;
  message: string;
}

interface ProblemOptions {
  /** What went wrong this time, for the caller. */
  detail?: string;
  errors?: FieldError[];
  headers?: Record<string, string>;
  cause?: unknown;
}

/** An error that is answered as application/problem+json (RFC 9457) with this status. */
export class Problem extends Error {
  readonly status: number;
  readonly detail: string | undefined;
  readonly errors: FieldError[] | undefined;
  readonly headers: Record<string, string>;

  constructor(status: number, { detail, errors, headers = {}, cause }: ProblemOptions = {}) {
    super(detail ?? STATUS_CODES[status], { cause });
    this.name = new.target.name;
    this.status = status;
    this.detail = detail;
    this.errors = errors;
    this.headers = headers;
  }

  /** `instance` is the request's id, by which the caller's report finds the log lines. */
  body(requestId: string | null): Record<string, unknown> {
    return {
      type: "about:blank",
      title: STATUS_CODES[this.status],
      status: this.status,
      ...(this.detail !== undefined && { detail: this.detail }),
      ...(this.errors && { errors: this.errors }),
      ...(requestId !== null && { instance: `urn:request:${requestId}` }),
    };
  }
}

/** Something the service depends on does not answer: worth another try shortly. The reason is logged, not answered. */
export class Unavailable extends Problem {
  readonly reason: string;

  constructor(reason: string, cause?: unknown) {
    super(503, {
      detail: "a part of the service does not answer, try again",
      headers: { "Retry-After": "2" },
      cause,
    });
    this.message = reason;
    this.reason = reason;
  }
}

/** What was asked for is not to be had, now or later: another try would end the same. The reason is for who asked. */
export class Unanswerable extends Problem {
  readonly reason: string;

  constructor(reason: string, cause?: unknown) {
    super(422, { detail: reason, cause });
    this.reason = reason;
  }
}

export function unauthorized(detail: string): Problem {
  return new Problem(401, { detail, headers: { "WWW-Authenticate": "Bearer" } });
}

export function forbidden(detail: string): Problem {
  return new Problem(403, { detail });
}

export function notFound(): Problem {
  return new Problem(404);
}

export function invalid(errors: FieldError[]): Problem {
  return new Problem(400, { detail: "the request has errors", errors });
}

/** The value as the schema has it. @throws a 400 problem that names every wrong field. */
export function validated<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    return parsed.data;
  }
  throw invalid(
    parsed.error.issues.flatMap((issue) => {
      const path = issue.path.map(String).join(".");
      return issue.code === "unrecognized_keys"
        ? issue.keys.map((key) => ({
            field: [...issue.path, key].map(String).join(".") || '""',
            message: "no such field",
          }))
        : [{ field: path || "body", message: issue.message }];
    }),
  );
}
