import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { createLogger, isPretty } from "../src/observability/logger.ts";
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

  it.each([
    ["an escape sequence", "\u001b[2J\u001b]0;owned\u0007"],
    ["a one-byte escape sequence", "\u009b31m"],
    ["Unicode's line ends", 'x\u2028{"level":"fatal"}\u2029y\u0085z'],
    ["text shown backwards", "\u202eevil\u2066"],
    ["control characters", "\u0000\u0008\u007f\u001b"],
    ["half a surrogate pair", "\ud800"],
  ])("hands %s to no reader as it is, wherever it stands", (_what, text) => {
    const { logger, lines } = capturedLogger();
    logger
      .child({ module: "test", [text]: text })
      .error({ error: new Error(text), value: [text], nested: { [text]: text } }, text);
    expect(lines).toHaveLength(1);
    expect(lines[0]?.trimEnd()).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Surrogate}]/u);
    expect(line.parse(JSON.parse(lines[0] ?? ""))).toMatchObject({ message: text, value: [text] });
  });

  it("has a message even when none was given", () => {
    const { logger, entries } = capturedLogger();
    const log = logger.child({ module: "test" });
    log.info({ value: 1 });
    log.error(new Error("alone"));
    for (const entry of entries()) {
      line.parse(entry);
    }
    expect(entries().map(({ message }) => message)).toEqual(["", "alone"]);
  });

  it("survives values that cannot be written as they are", () => {
    const { logger, entries } = capturedLogger();
    const cycle: Record<string, unknown> = {
      big: 1n,
      bytes: Buffer.from("secret bytes"),
      when: new Date(NaN),
    };
    cycle["self"] = cycle;
    logger.child({ module: "test" }).info({ cycle, list: Array.from({ length: 500 }, () => 1) }, "odd");
    const [entry] = entries();
    expect(line.parse(entry)).toMatchObject({ cycle: { big: "1", bytes: "[12 bytes]", when: null } });
    expect(JSON.stringify(entry).length).toBeLessThan(2000);
  });

  it("keeps Japanese text readable", () => {
    const { logger, lines } = capturedLogger();
    logger.child({ module: "test" }).info({ title: "議事録（案）" }, "文書を保存しました");
    expect(lines[0]).toContain("文書を保存しました");
    expect(lines[0]).toContain("議事録（案）");
  });

  it("hides what Postgres tells about a row, however deep the error is", () => {
    const { logger, lines } = capturedLogger();
    const error = Object.assign(new Error("duplicate key"), { code: "23505", detail: "Key (email)=(a@b.c)" });
    const log = logger.child({ module: "test" });
    log.error(
      { error: new Error("outer", { cause: new AggregateError([error]) }), problems: [{ error }] },
      "failed",
    );
    expect(lines[0]).toContain("23505");
    expect(lines[0]).toContain('"error":{"type":"Error","message":"outer"');
    expect(lines[0]).not.toContain("a@b.c");
  });

  it.each([
    "authorization",
    "Authorization",
    "cookie",
    "set-cookie",
    "password",
    "db_password",
    "token",
    "refreshToken",
    "access_token",
    "accessToken",
    "secret",
    "clientSecret",
    "apiKey",
    "x-api-key",
    "private_key",
  ])("hides the value of %s at any depth", (key) => {
    const { logger, lines } = capturedLogger();
    const secret = { [key]: "hunter2" };
    logger.child({ module: "test", ...secret }).info(
      {
        ...secret,
        a: { b: [{ c: { d: { e: secret } } }] },
        list: { [key]: ["hunter2", { x: "hunter2" }] },
      },
      "x",
    );
    expect(lines[0]).not.toContain("hunter2");
    expect(lines[0]).toContain(key);
  });

  it.each([
    ["a bearer token", "Authorization: Bearer hunter2-hunter2.hunter2 was refused", "was refused"],
    ["a JWT", "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2_sig-x is bad", "is bad"],
    ["a JWE", "eyJhbGciOiJkaXIifQ..aGh1bnRlcjI.hunter2.x end", "end"],
    ["an age key", "read AGE-SECRET-KEY-1HUNTER2QQQQ from", "from"],
    ["a password in a URL", "connect postgres://app:hunter2%40@db:5432/app failed", "db:5432/app failed"],
    ["a password without user", "redis://:hunter2@cache:6379", "cache:6379"],
    ["a password in a query", "GET /x?page=2&api_key=hunter2&y=1", "page=2"],
    ["a provider's key", "Incorrect API key: sk-hunter2hunter2hunter2.", "Incorrect"],
  ])("hides %s in a message, in an error and in a value", (_what, text, kept) => {
    const { logger, lines } = capturedLogger();
    const error = new Error(text, { cause: new Error(text) });
    logger.child({ module: "test" }).error({ error, deep: { value: [text] } }, text);
    expect(lines[0]?.toLowerCase()).not.toContain("hunter2");
    expect(lines[0]).toContain(kept);
    JSON.parse(lines[0] ?? "");
  });
});

describe("on a developer's terminal, a line", () => {
  it("is for reading, and commands the terminal nothing but its own colours", () => {
    const lines: string[] = [];
    const logger = createLogger("info", { write: (text: string) => lines.push(text) }, { pretty: true });
    const log = logger.child({ module: "http" });
    log.warn({ status: 503, error: new Error("lost \u001b[2J"), token: "hunter2" }, "要求 \u001b[2J\nfailed");
    expect(lines[0]).toContain("WARN ");
    expect(lines[0]).toContain("[http] 要求 \\u001b[2J\\nfailed status=503");
    expect(lines[0]).toMatch(/\n {2}Error: lost .*\n {6}at /);
    expect(lines[0]).not.toContain("hunter2");
    // Two escape sequences: our own colour, and its end.
    expect(lines[0]?.split("\u001b")).toHaveLength(3);
  });

  it("is JSON all the same when standard output is no terminal, or the environment is another", () => {
    const { stdout } = process;
    const original = stdout.isTTY;
    try {
      for (const [isTTY, environment] of [
        [true, "production"],
        [false, "development"],
      ] as const) {
        stdout.isTTY = isTTY;
        expect(isPretty({ ENVIRONMENT: environment })).toBe(false);
      }
      stdout.isTTY = true;
      expect(isPretty({ ENVIRONMENT: "development" })).toBe(true);
    } finally {
      stdout.isTTY = original;
    }
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
