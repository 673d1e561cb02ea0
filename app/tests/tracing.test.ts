import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { InMemorySpanExporter, type ReadableSpan } from "@opentelemetry/sdk-trace";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Database } from "../src/db/database.ts";
import { createPool } from "../src/db/pool.ts";
import { startTracing, type Tracing } from "../src/observability/startTracing.ts";
import { currentTraceparent, recordError, traced } from "../src/observability/tracing.ts";
import { capturedLogger, silentLogger } from "./support/logs.ts";
import { newDatabase } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";
import { SocketClient } from "./support/stream.ts";

const postgres = inject("postgres");
const exporter = new InMemorySpanExporter();
let tracing: Tracing;
let service: TestService;
let token: string;
let tenant: string;
beforeAll(async () => {
  tracing = startTracing({ url: undefined, sampleRatio: 1 }, "groundwork-app", exporter);
  const database = await newDatabase(postgres);
  service = await startTestService(postgres, database, inject("redis"));
  tenant = await newTenant(postgres, database);
  token = await service.token("editor", tenant);
});
afterAll(async () => {
  await service.stop();
  await tracing.stop();
});

const traceId = (n: number) => `0af7651916cd43dd8448eb21${n.toString(16).padStart(8, "0")}`;
const traceparent = (n: number, flags = "01") => `00-${traceId(n)}-b7ad6b7169203331-${flags}`;

/** The spans of the trace, once the request's own, which ends last, is there. */
async function spansOf(id: string): Promise<ReadableSpan[]> {
  return eventually(() => {
    const spans = exporter.getFinishedSpans().filter((span) => span.spanContext().traceId === id);
    expect(spans.some(({ kind }) => kind === SpanKind.SERVER)).toBe(true);
    return spans;
  }, 15_000);
}

const child = (spans: ReadableSpan[], name: string) => {
  const found = spans.find((span) => span.name === name);
  expect(found, spans.map((span) => span.name).join()).toBeDefined();
  return found;
};

describe("a request", () => {
  it("is a span of the caller's trace, with Postgres and Redis under it, and its log line names the trace", async () => {
    const headers = { traceparent: traceparent(1) };
    const body = { title: "t", content: "c" };
    const created = await service.call("POST", "/api/v2/documents?x=hidden", { token, body, headers });
    await service.call("GET", created.headers.get("location") ?? "", {
      token,
      headers: { traceparent: traceparent(2) },
    });

    const written = await spansOf(traceId(1));
    const request = child(written, "POST /api/v2/documents");
    expect(request?.kind).toBe(SpanKind.SERVER);
    expect(request?.parentSpanContext?.spanId).toBe("b7ad6b7169203331");
    expect(request?.attributes).toMatchObject({
      "http.request.method": "POST",
      "http.route": "/api/v2/documents",
      "http.response.status_code": 201,
      "url.path": "/api/v2/documents",
      "app.tenant_id": tenant,
    });
    const transaction = child(written, "postgresql transaction");
    expect(transaction?.parentSpanContext?.spanId).toBe(request?.spanContext().spanId);
    const insert = child(written, "INSERT");
    expect(insert?.parentSpanContext?.spanId).toBe(transaction?.spanContext().spanId);
    expect(insert?.attributes["db.system.name"]).toBe("postgresql");
    expect(JSON.stringify(written.map(({ attributes }) => attributes))).not.toMatch(/hidden|Bearer|eyJ/);

    const read = await spansOf(traceId(2));
    expect(child(read, "GET")?.attributes["db.system.name"]).toBe("redis");
    expect(child(read, "SET")?.attributes["db.system.name"]).toBe("redis");
    expect(child(read, "SELECT")?.attributes).toMatchObject({
      "db.system.name": "postgresql",
      "db.query.text": expect.stringMatching(
        /^set local app.current_tenant_id = \?; select .* where id = \?$/,
      ) as unknown,
    });
    for (const id of [traceId(1), traceId(2)]) {
      const lines = service.logs().filter((entry) => entry["trace_id"] === id);
      expect(lines.filter(({ message }) => message === "request answered")).toHaveLength(1);
    }
  });

  it("begins a trace of its own without a traceparent, under the id that the log has", async () => {
    await service.call("GET", "/api/v1/documents", { token, headers: { "x-request-id": "lonely" } });
    const entry = await eventually(() => {
      const found = service.logs().find((line) => line["request_id"] === "lonely");
      expect(found).toBeDefined();
      return found;
    });
    const spans = await spansOf(String(entry?.["trace_id"]));
    expect(child(spans, "GET /api/v1/documents")?.parentSpanContext).toBeUndefined();
  });

  it("is not recorded when the caller's trace is not, and probes are not at all", async () => {
    await service.call("GET", "/api/v1/documents", { token, headers: { traceparent: traceparent(3, "00") } });
    await service.call("GET", "/health", { headers: { traceparent: traceparent(4) } });
    await service.call("GET", "/api/v1/documents", { token, headers: { traceparent: traceparent(5) } });
    await spansOf(traceId(5));
    const recorded = exporter.getFinishedSpans().map((span) => span.spanContext().traceId);
    expect(recorded).not.toContain(traceId(3));
    expect(recorded).not.toContain(traceId(4));
  });

  it("that fails has the error on its span, one that is refused has none", async () => {
    const broken = await startTestService(postgres, "no_such_database", undefined);
    const call = (id: number, query = "") =>
      broken.token("viewer", tenant).then((viewer) =>
        broken.call("GET", `/api/v1/documents${query}`, {
          token: viewer,
          headers: { traceparent: traceparent(id) },
        }),
      );
    expect((await call(6)).status).toBe(503);
    expect((await call(7, "?limit=x")).status).toBe(400);
    const failed = child(await spansOf(traceId(6)), "GET /api/v1/documents");
    expect(failed?.status.code).toBe(SpanStatusCode.ERROR);
    expect(failed?.events.map(({ name }) => name)).toEqual(["exception"]);
    expect(failed?.attributes["error.type"]).toBe("503");
    const refused = child(await spansOf(traceId(7)), "GET /api/v1/documents");
    expect(refused?.status.code).toBe(SpanStatusCode.UNSET);
    await broken.stop();
  });
});

describe("a message over a WebSocket", () => {
  it("is a span of the trace of the upgrade, with what is done for it under it", async () => {
    const client = new SocketClient(`${service.url}/api/v2/chat/ws`, {
      headers: { authorization: `Bearer ${token}`, traceparent: traceparent(8) },
    });
    await client.send({ type: "ask", message: "q" });
    await eventually(() => {
      expect(client.types()).toContain("done");
    });
    client.socket.terminate();
    const spans = await spansOf(traceId(8));
    const message = child(spans, "WS /api/v2/chat/ws");
    expect(message?.parentSpanContext?.spanId).toBe("b7ad6b7169203331");
    expect(child(spans, "postgresql transaction")?.parentSpanContext?.spanId).toBe(
      message?.spanContext().spanId,
    );
  });
});

describe("a job", () => {
  it("goes on with the trace of the request that asked for it, in its logs as well", async () => {
    const { logger, entries } = capturedLogger();
    const handedOn = await traced("request", {}, () => Promise.resolve(currentTraceparent()));
    const id = handedOn?.split("-")[1];
    await traced("job", { traceparent: handedOn }, () => {
      logger.child({ module: "test" }).info("working");
      return Promise.resolve();
    });
    expect(entries()[0]?.["trace_id"]).toBe(id);
  });
});

describe("an error on a span", () => {
  it("keeps no secret", async () => {
    await traced("leaky", {}, (span) => {
      recordError(span, new Error("postgres://u:hunter2@host refused, Bearer abcdefghijkl"));
      return Promise.resolve();
    });
    const [span] = await eventually(() => {
      const found = exporter.getFinishedSpans().filter(({ name }) => name === "leaky");
      expect(found).toHaveLength(1);
      return found;
    }, 15_000);
    expect(JSON.stringify(span?.events)).not.toMatch(/hunter2|abcdefghijkl/);
    expect(span?.status.code).toBe(SpanStatusCode.ERROR);
  });
});

describe("a transaction", () => {
  it("hands the connection to the next with nothing of its span", async () => {
    const database = new Database(createPool(service.databaseConfig, silentLogger), silentLogger);
    await database.asTenant(tenant, (client) => client.query("select 1"));
    expect(trace.getActiveSpan()).toBeUndefined();
    await database.close();
  });
});

describe("the collector", () => {
  /** Its own process-wide start is done already: what is tested is the exporter that would be used. */
  async function stopped(url: string): Promise<number> {
    const own = startTracing({ url, sampleRatio: 1 }, "groundwork-app");
    const start = performance.now();
    await own.stop();
    return performance.now() - start;
  }

  it("that is dead or mute delays the end of the process by two seconds at most, and fails nothing", async () => {
    const mute: Server = createServer(() => undefined).listen(0, "127.0.0.1");
    await eventually(() => {
      expect(mute.listening).toBe(true);
    });
    const { port } = mute.address() as AddressInfo;
    for (const url of [`http://127.0.0.1:${port}/v1/traces`, "http://127.0.0.1:1/v1/traces"]) {
      expect(await stopped(url)).toBeLessThan(2500);
    }
    mute.closeAllConnections();
    mute.close();
  });
});
