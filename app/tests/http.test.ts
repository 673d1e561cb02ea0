import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { newDatabase } from "./support/postgres.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";

let service: TestService;
let token: string;
let tenant: string;
beforeAll(async () => {
  const database = await newDatabase(inject("postgres"));
  service = await startTestService(inject("postgres"), database, inject("redis"));
  tenant = await newTenant(inject("postgres"), database);
  token = await service.token("editor", tenant);
});
afterAll(() => service.stop());

describe("metrics", () => {
  it("count requests by route template, without probes, on their own port only", async () => {
    const body = { title: "t", content: "c" };
    const created = await service.call("POST", "/api/v1/documents", { token, body });
    const path = created.headers.get("location") ?? "";
    await service.call("GET", path, { token });
    await service.call("GET", path, { token });
    await service.call("GET", path);
    for (const probe of ["/health", "/api/health", "/ready", "/nowhere", "/nowhere/else"]) {
      await service.call("GET", probe);
    }
    const text = await service.metricsText();
    const requests = text.split("\n").filter((line) => line.startsWith("app_requests_total{"));
    expect(requests.sort()).toEqual([
      'app_requests_total{method="GET",endpoint="/api/v1/documents/:id",status="200"} 2',
      'app_requests_total{method="GET",endpoint="/api/v1/documents/:id",status="401"} 1',
      'app_requests_total{method="GET",endpoint="unmatched",status="404"} 2',
      'app_requests_total{method="POST",endpoint="/api/v1/documents",status="201"} 1',
    ]);
    expect(text).toContain('app_cache_requests_total{family="document",result="hit"} 1');
    expect(text).toContain('app_cache_requests_total{family="document",result="miss"} 1');
    for (const le of ["0.5", "1", "5"]) {
      expect(text).toContain(
        `app_response_time_seconds_bucket{le="${le}",method="GET",endpoint="unmatched"} 2`,
      );
    }
    // Nothing failed so far: an endpoint's first error must be an increase.
    expect(text).toContain('app_errors_total{method="POST",endpoint="/api/v1/documents"} 0');
    expect(text).toContain("app_database_pool_waiting 0");
    expect(text).toMatch(/^app_database_queries_total\{outcome="success"\} [1-9]/m);
    expect(text).toMatch(/^app_knowledge_total 1$/m);
    expect((await service.call("GET", "/metrics")).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${service.metricsPort}/ready`)).status).toBe(404);
  });

  it("count answers of 500 and above as errors", async () => {
    const broken = await startTestService(inject("postgres"), "no_such_database", undefined);
    const answer = await broken.call("GET", "/api/v1/documents", {
      token: await broken.token("viewer", tenant),
    });
    expect(answer.status).toBe(503);
    expect(await broken.metricsText()).toContain(
      'app_errors_total{method="GET",endpoint="/api/v1/documents"} 1',
    );
    await broken.stop();
  });
});

describe("an answer", () => {
  it("carries protective headers, and leaves to the edge what is the edge's", async () => {
    const { headers } = await service.call("GET", "/api/v1/documents", {
      token,
      headers: { origin: "https://elsewhere.example" },
    });
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("x-frame-options")).toBe("SAMEORIGIN");
    const absent = ["x-powered-by", "content-security-policy", "strict-transport-security"];
    for (const name of [...absent, "access-control-allow-origin"]) {
      expect(headers.get(name), name).toBeNull();
    }
  });

  it("is logged once, with the ids that the edge handed on and the tenant", async () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const { headers } = await service.call("POST", "/api/v1/documents?q=hidden", {
      token,
      body: { title: "t", content: "c" },
      headers: { "x-request-id": "edge-77", traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    });
    expect(headers.get("x-request-id")).toBe("edge-77");
    const entries = service.logs().filter((entry) => entry["request_id"] === "edge-77");
    expect(entries).toHaveLength(1);
    expect(entries[0]).toMatchObject({
      message: "request answered",
      module: "http",
      trace_id: traceId,
      tenant_id: tenant,
      job_id: null,
      endpoint: "/api/v1/documents",
      status: 201,
    });
    expect(JSON.stringify(service.logs())).not.toMatch(/hidden|Bearer|eyJ/);
  });
});

describe("a service with nothing configured", () => {
  it("starts, is alive, says what is missing and answers 503", async () => {
    const bare = await startTestService(inject("postgres"), "unused", undefined, {
      database: undefined,
      queue: undefined,
    });
    expect((await bare.call("GET", "/health")).status).toBe(200);
    const ready = await bare.call("GET", "/ready");
    expect(ready).toMatchObject({ status: 503, body: { dependencies: { postgres: { state: "down" } } } });
    expect(JSON.stringify(bare.logs())).toContain("DATABASE_URL is not set");
    const token = await bare.token("viewer", tenant);
    expect((await bare.call("GET", "/api/v1/documents", { token })).status).toBe(503);
    await bare.stop();
  });
});
