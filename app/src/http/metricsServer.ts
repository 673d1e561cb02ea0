import type { RequestListener } from "node:http";
import type { Metrics } from "../observability/metrics.ts";
import type { Readiness } from "./readiness.ts";

/** `/metrics` and nothing else; with a readiness, for a process that has no other listener, `/health` and `/ready`. */
export function serveMetrics(metrics: Metrics, readiness?: Readiness): RequestListener {
  return (request, response) => {
    const answer = request.method === "GET" ? answerTo(request.url, metrics, readiness) : undefined;
    if (!answer) {
      response.writeHead(404).end();
      return;
    }
    answer.then(
      ({ status, type, text }) => response.writeHead(status, { "Content-Type": type }).end(text),
      () => response.writeHead(500).end(),
    );
  };
}

interface TextAnswer {
  status: number;
  type: string;
  text: string;
}

function answerTo(
  path: string | undefined,
  metrics: Metrics,
  readiness: Readiness | undefined,
): Promise<TextAnswer> | undefined {
  if (path === "/metrics") {
    const type = metrics.registry.contentType;
    return metrics.registry.metrics().then((text) => ({ status: 200, type, text }));
  }
  const json = (status: number, body: unknown) => ({
    status,
    type: "application/json; charset=utf-8",
    text: JSON.stringify(body),
  });
  if (readiness && path === "/health") {
    return Promise.resolve(json(200, { status: "ok" }));
  }
  if (readiness && path === "/ready") {
    return readiness.report().then((report) => json(report.status === "ready" ? 200 : 503, report));
  }
  return undefined;
}
