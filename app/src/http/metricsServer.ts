import type { RequestListener } from "node:http";
import type { Metrics } from "../observability/metrics.ts";

/** `/metrics` and nothing else. */
export function serveMetrics(metrics: Metrics): RequestListener {
  return (request, response) => {
    if (request.method !== "GET" || request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    metrics.registry.metrics().then(
      (text) => response.writeHead(200, { "Content-Type": metrics.registry.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  };
}
