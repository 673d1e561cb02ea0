import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { currentContext, requestContext, runInContext } from "../src/observability/context.ts";
import { capturedLogger } from "./support/logs.ts";

const line = z.looseObject({
  timestamp: z.iso.datetime({ precision: 3 }),
  level: z.enum(["debug", "info", "warn", "error", "fatal"]),
  severity: z.enum(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]),
  message: z.string(),
  module: z.string(),
  request_id: z.string().nullable(),
  trace_id: z.string().nullable(),
  tenant_id: z.string().nullable(),
  job_id: z.string().nullable(),
});

describe("a log line", () => {
  it("has every field of the schema, null where there is no request and no job", () => {
    const { logger, entries } = capturedLogger();
    logger.child({ module: "test" }).warn("hello");
    const [entry] = entries();
    expect(line.parse(entry)).toMatchObject({
      level: "warn",
      severity: "WARNING",
      message: "hello",
      module: "test",
      request_id: null,
      job_id: null,
    });
  });

  it("carries the context of the request or job through everything that is awaited", async () => {
    const { logger, entries } = capturedLogger();
    const log = logger.child({ module: "test" });
    const work = (jobId: string) =>
      runInContext({ requestId: null, traceId: "t", tenantId: "a", jobId }, async () => {
        await sleep(5);
        log.info(jobId);
      });
    await Promise.all([work("job-1"), work("job-2")]);
    expect(entries()).toHaveLength(2);
    for (const entry of entries()) {
      expect(entry).toMatchObject({ job_id: entry["message"], trace_id: "t", tenant_id: "a" });
    }
  });

  it("is one line of JSON, whatever is logged", () => {
    const { logger, lines } = capturedLogger();
    const log = logger.child({ module: "test" });
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (message, value) => {
        lines.length = 0;
        log.info({ value: `${value}\r\n{"level":"fatal"}` }, `${message}\r\nforged`);
        expect(lines).toHaveLength(1);
        expect(lines[0]?.trimEnd()).not.toMatch(/[\r\n]/);
        expect(line.parse(JSON.parse(lines[0] ?? ""))).toMatchObject({ level: "info" });
      }),
    );
  });

  it("keeps Japanese text readable", () => {
    const { logger, lines } = capturedLogger();
    logger.child({ module: "test" }).info("文書を保存しました");
    expect(lines[0]).toContain("文書を保存しました");
  });

  it("hides secrets and what Postgres tells about a row", () => {
    const { logger, lines } = capturedLogger();
    const error = Object.assign(new Error("duplicate key"), { code: "23505", detail: "Key (email)=(a@b.c)" });
    logger
      .child({ module: "test" })
      .error({ error, password: "hunter2", headers: { authorization: "Bearer x.y" } });
    expect(lines[0]).toContain("23505");
    expect(lines[0]).not.toMatch(/hunter2|Bearer|a@b\.c/);
  });
});

describe("the context of a request", () => {
  it("takes over well-formed ids of the edge", () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    expect(requestContext("edge-1", `00-${traceId}-b7ad6b7169203331-01`)).toMatchObject({
      requestId: "edge-1",
      traceId,
    });
  });

  it.each([
    ["a\r\nb", "rubbish"],
    ["x".repeat(65), `00-${"0".repeat(32)}-b7ad6b7169203331-01`],
    [undefined, "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
  ])("replaces the ids %j and %j by new ones", (requestId, traceparent) => {
    const context = requestContext(requestId, traceparent);
    expect(context.requestId).toMatch(/^[\da-f-]{36}$/);
    expect(context.traceId).toMatch(/^[\da-f]{32}$/);
    expect(traceparent).not.toContain(context.traceId);
  });

  it("is empty outside of one", () => {
    expect(currentContext()).toEqual({ requestId: null, traceId: null, tenantId: null, jobId: null });
  });
});
