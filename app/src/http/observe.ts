import { AsyncLocalStorage } from "node:async_hooks";
import type { Request, RequestHandler, Response } from "express";
import type { Logger } from "pino";
import { requestContext, runInContext } from "../observability/context.ts";
import type { Metrics } from "../observability/metrics.ts";
import { probePaths } from "./probes.ts";

/** Nginx's status for a caller who left before the answer. */
const clientClosedRequest = 499;

const firstBytes = new WeakMap<Response, number>();

/** For streams: their response time is that to the first piece of the answer, however long they go on. */
export function firstByteSent(response: Response): void {
  if (!firstBytes.has(response)) {
    firstBytes.set(response, performance.now());
  }
}

/** Gives the request its context, and when it is over writes one log line and its metrics. */
export function observeRequests(logger: Logger, metrics: Metrics): RequestHandler {
  const log = logger.child({ module: "http" });
  return (request, response, next) => {
    const context = requestContext(request.get("x-request-id"), request.get("traceparent"));
    runInContext(context, () => {
      const start = performance.now();
      response.set("X-Request-Id", context.requestId ?? "");
      const finished = AsyncLocalStorage.bind(() => {
        const seconds = (performance.now() - start) / 1000;
        const untilFirstByte = ((firstBytes.get(response) ?? performance.now()) - start) / 1000;
        const status = response.writableFinished ? response.statusCode : clientClosedRequest;
        const endpoint = routeTemplate(request);
        const isProbe = probePaths.includes(endpoint);
        if (!isProbe) {
          metrics.requestAnswered(request.method, endpoint, status, untilFirstByte);
        }
        log[isProbe ? "debug" : "info"](
          { method: request.method, endpoint, status, duration_ms: Math.round(seconds * 1e6) / 1000 },
          "request answered",
        );
      });
      response.once("close", finished);
      next();
    });
  };
}

/** The template of the route that answered, e.g. /api/v1/documents/:id; one name for all that matched none. */
function routeTemplate(request: Request): string {
  const route = request.route as { path?: unknown } | undefined;
  return typeof route?.path === "string" ? route.path : "unmatched";
}
