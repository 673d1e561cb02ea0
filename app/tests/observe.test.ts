import { once } from "node:events";
import { get } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import { afterEach, expect, it, vi } from "vitest";
import { observeRequests } from "../src/http/observe.ts";
import { Metrics } from "../src/observability/metrics.ts";
import { silentLogger } from "./support/logs.ts";
import { eventually } from "./support/processes.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

/** What is counted of a request whose caller leaves after so many seconds. */
async function countedAfter(seconds: number, handler: express.RequestHandler): Promise<string> {
  const metrics = new Metrics();
  const app = express().use(observeRequests(silentLogger, metrics));
  const arrived = new Promise<void>((resolve) => {
    app.get("/", (request, response, next) => {
      void handler(request, response, next);
      resolve();
    });
  });
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  const request = get(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`).on(
    "error",
    () => undefined,
  );
  await arrived;
  const now = performance.now();
  vi.spyOn(performance, "now").mockReturnValue(now + seconds * 1000);
  request.destroy();
  const text = await eventually(async () => {
    const counted = await metrics.registry.metrics();
    expect(counted).toContain("app_requests_total{");
    return counted;
  });
  server.close();
  return text;
}

const silent = () => undefined;
const begins: express.RequestHandler = (_request, response) => {
  response.write("first");
};

it("counts a request that the edge gave up on as the 504 that its caller got", async () => {
  const text = await countedAfter(29.9, silent);
  expect(text).toContain('app_requests_total{method="GET",endpoint="/",status="504"} 1');
  expect(text).toContain('app_errors_total{method="GET",endpoint="/"} 1');
});

it.each([
  ["early", 28, silent],
  ["from a stream", 600, begins],
] as const)("counts a caller who left %s as no error", async (_, seconds, handler) => {
  const text = await countedAfter(seconds, handler);
  expect(text).toContain('app_requests_total{method="GET",endpoint="/",status="499"} 1');
  expect(text).toContain('app_errors_total{method="GET",endpoint="/"} 0');
});
