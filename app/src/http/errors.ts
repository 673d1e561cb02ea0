import { trace } from "@opentelemetry/api";
import type { ErrorRequestHandler } from "express";
import type { Logger } from "pino";
import { problemOf } from "../db/errors.ts";
import { currentContext } from "../observability/context.ts";
import { recordError } from "../observability/tracing.ts";
import { invalid, Problem } from "./problem.ts";

/** Answers every error as problem+json; only what the service did not foresee is logged with its stack. */
export function answerErrors(logger: Logger): ErrorRequestHandler {
  const log = logger.child({ module: "http" });
  return (error: unknown, _request, response, next) => {
    const problem = toProblem(error);
    if (problem.status >= 500) {
      log.error({ error }, "request failed");
      const span = trace.getActiveSpan();
      if (span) {
        recordError(span, error);
      }
    }
    if (response.headersSent) {
      next(error);
      return;
    }
    response
      .status(problem.status)
      .set(problem.headers)
      .set("Content-Type", "application/problem+json; charset=utf-8")
      .send(JSON.stringify(problem.body(currentContext().requestId)));
  };
}

/** Express and its body parser mark errors of the caller with a status and `expose`; anything else is ours. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) {
    return error;
  }
  const ofDatabase = problemOf(error);
  if (ofDatabase) {
    return ofDatabase;
  }
  const { status, type } = (typeof error === "object" && error !== null ? error : {}) as Record<
    string,
    unknown
  >;
  if (status === 400) {
    // The body parser names a type; what has none is a path that cannot be decoded.
    return typeof type === "string"
      ? invalid([{ field: "body", message: "expected well-formed JSON, encoded as the headers say" }])
      : invalid([{ field: "path", message: "expected percent-encoded UTF-8" }]);
  }
  if (typeof status === "number" && status > 400 && status < 500) {
    return new Problem(status, { cause: error });
  }
  return new Problem(500, { detail: "an unexpected error, logged under this instance", cause: error });
}
