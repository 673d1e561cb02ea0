import type { ErrorRequestHandler } from "express";
import type { Logger } from "pino";
import { currentContext } from "../observability/context.ts";
import { Problem } from "./problem.ts";

/** Answers every error as problem+json; only what the service did not foresee is logged with its stack. */
export function answerErrors(logger: Logger): ErrorRequestHandler {
  const log = logger.child({ module: "http" });
  return (error: unknown, _request, response, next) => {
    const problem = toProblem(error);
    if (problem.status >= 500) {
      log.error({ error }, "request failed");
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
  const { status } = (typeof error === "object" && error !== null ? error : {}) as { status?: unknown };
  if (typeof status === "number" && status >= 400 && status < 500) {
    return new Problem(status, {
      ...(status === 400 && { detail: "the request cannot be read: malformed JSON, path or encoding" }),
      cause: error,
    });
  }
  return new Problem(500, { detail: "an unexpected error, logged under this instance", cause: error });
}
