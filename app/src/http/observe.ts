import {
  context as active,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
} from "@opentelemetry/api";
import type { Request, RequestHandler, Response } from "express";
import type { Logger } from "pino";
import { requestContext, runInContext } from "../observability/context.ts";
import type { Metrics } from "../observability/metrics.ts";
import { tracer } from "../observability/tracing.ts";
import { probePaths } from "./probes.ts";

/** Nginx's status for a caller who left before the answer. */
const clientClosedRequest = 499;
const gatewayTimeout = 504;
/**
 * After 30 s without an answer (`proxy_read_timeout` of nginx.conf) the edge gives up and answers 504, of which only the
 * closed connection is seen here; a second less, as its clock begins a moment before this one.
 */
const edgeWaitsSeconds = 29;

const firstBytes = new WeakMap<Response, number>();

/** For streams: their response time is that to the first piece of the answer, however long they go on. */
export function firstByteSent(response: Response): void {
  if (!firstBytes.has(response)) {
    firstBytes.set(response, performance.now());
  }
}

/** Gives the request its context and span, and when it is over writes one log line and its metrics. */
export function observeRequests(logger: Logger, metrics: Metrics): RequestHandler {
  const log = logger.child({ module: "http" });
  return (request, response, next) => {
    const context = requestContext(request.get("x-request-id"), request.get("traceparent"));
    const parent = propagation.extract(ROOT_CONTEXT, request.headers);
    // Nobody looks for the traces of probes, and there are many.
    const span = probePaths.includes(request.path) ? undefined : startSpan(request, parent);
    if (span && isSpanContextValid(span.spanContext())) {
      context.traceId = span.spanContext().traceId;
    }
    const traced = span ? trace.setSpan(parent, span) : parent;
    const inContext = (work: () => void) => {
      runInContext(context, () => {
        active.with(traced, work);
      });
    };
    const handle = () => {
      const start = performance.now();
      response.set("X-Request-Id", context.requestId ?? "");
      const finished = () => {
        const seconds = (performance.now() - start) / 1000;
        const untilFirstByte = ((firstBytes.get(response) ?? performance.now()) - start) / 1000;
        const status = response.writableFinished ? response.statusCode : unansweredStatus(response, seconds);
        const endpoint = routeTemplate(request);
        const isProbe = probePaths.includes(endpoint);
        if (!isProbe) {
          metrics.requestAnswered(request.method, endpoint, status, untilFirstByte);
        }
        span?.updateName(`${request.method} ${endpoint}`).setAttributes({
          "http.route": endpoint,
          "http.response.status_code": status,
          ...(context.tenantId !== null && { "app.tenant_id": context.tenantId }),
          ...(status >= 500 && { "error.type": String(status) }),
        });
        log[isProbe ? "debug" : "info"](
          { method: request.method, endpoint, status, duration_ms: Math.round(seconds * 1e6) / 1000 },
          "request answered",
        );
        span?.end();
      };
      // When the connection closes, no request's context is the current one.
      response.once("close", () => {
        inContext(finished);
      });
      next();
    };
    inContext(handle);
  };
}

/** Of a request whose connection was closed first. Whoever leaves a stream, or sends no whole request, does so by themselves. */
function unansweredStatus({ req, headersSent }: Response, seconds: number): number {
  return req.complete && !headersSent && seconds >= edgeWaitsSeconds ? gatewayTimeout : clientClosedRequest;
}

/** Named by OpenTelemetry's conventions for HTTP servers. The query is left out: it is the caller's own words. */
function startSpan(request: Request, parent: typeof ROOT_CONTEXT) {
  const { method, path } = request;
  const span = tracer.startSpan(method, { kind: SpanKind.SERVER }, parent);
  if (span.isRecording()) {
    span.setAttributes({
      "http.request.method": method,
      "url.path": path,
      "url.scheme": request.protocol,
    });
  }
  return span;
}

/** The template of the route that answered, e.g. /api/v1/documents/:id; one name for all that matched none. */
export function routeTemplate(request: Request): string {
  const route = request.route as { path?: unknown } | undefined;
  return typeof route?.path === "string" ? route.path : "unmatched";
}
