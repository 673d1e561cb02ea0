import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import type { ReadinessReport } from "../src/http/readiness.ts";
import { type ChatHarness, question, startChat } from "./support/chat.ts";
import { asSuperuser } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import {
  answers,
  cutsOffAfter,
  fails,
  type FakeProvider,
  finishes,
  hangs,
  says,
  saysSlowly,
} from "./support/provider.ts";
import { testConfig, type TestService } from "./support/service.ts";
import { textOf } from "./support/stream.ts";
import { auditOf } from "./support/users.ts";

let chat: ChatHarness;
let provider: FakeProvider;
let service: TestService;
let token: string;
beforeAll(async () => {
  chat = await startChat(inject("postgres"), inject("redis"));
  ({ provider, service, token } = chat);
});
afterEach(() => {
  provider.reset();
});
afterAll(() => chat.stop());

describe("an answer", () => {
  it("is streamed as events that a proxy does not hold back, and kept encrypted", async () => {
    const stream = await chat.ask("What is the secret question?");
    expect(stream.response.headers).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "x-accel-buffering": "no",
      "cache-control": "no-store",
    });
    const events = await stream.rest();
    expect(events.map(({ id, type }) => `${id} ${type}`)).toEqual([
      "1 start",
      "2 delta",
      "3 delta",
      "4 done",
    ]);
    expect(textOf(events)).toBe("Hello world");
    expect(events.at(-1)?.data).toEqual({ degraded: false, model: "small", cached: false });
    const { rows } = await asSuperuser(inject("postgres"), chat.database, (client) =>
      client.query<Record<string, unknown>>("select * from chat_answers where id = $1", [
        events[0]?.data["answerId"],
      ]),
    );
    expect(rows).toMatchObject([
      { tenant_id: chat.tenant, subject: "user-viewer", model: "small", feedback: null },
    ]);
    expect(JSON.stringify(rows)).not.toMatch(/secret question|Hello world/);
  });

  it("comes with signs of life while the model thinks", async () => {
    provider.next.push(saysSlowly(700, "Hello"));
    const stream = await chat.ask();
    expect(textOf(await stream.rest())).toBe("Hello");
    expect(stream.comments.length).toBeGreaterThanOrEqual(2);
  });

  it("counts its time to the first piece, and the whole stream apart", async () => {
    const before = await service.metricsText();
    provider.next.push(saysSlowly(400, "a", "b", "c"));
    await chat.askWhole();
    const after = await service.metricsText();
    const sum = (text: string, name: string) =>
      Number(new RegExp(`^${name}{[^}]*(?:"/api/v2/chat"|sse)[^}]*} (.*)$`, "m").exec(text)?.[1] ?? 0);
    const grown = (name: string) => sum(after, name) - sum(before, name);
    expect(grown("app_response_time_seconds_sum")).toBeGreaterThan(0.35);
    expect(grown("app_response_time_seconds_sum")).toBeLessThan(1);
    expect(grown("app_stream_duration_seconds_sum")).toBeGreaterThan(1.1);
    expect(after).toContain("app_active_users 1");
    expect(after).toMatch(/app_active_streams{transport="sse"} 0/);
  });

  it.each([
    ["is down", fails(500)],
    ["is too slow", hangs],
    ["limits the rate", fails(429, { "Retry-After": "60" })],
    ["answers rubbish", answers("text/html", "<html>")],
  ])("is the stub's, marked degraded, while the provider %s, and not kept", async (_case, fault) => {
    // A replica of its own: the others' circuits stay closed.
    const { ai } = testConfig();
    const lonely = await chat.startReplica({
      ai: { ...ai, url: provider.url, maxRetries: 0, timeoutSeconds: 0.3 },
    });
    try {
      const message = question();
      provider.otherwise = fault;
      const events = await chat.askWhole(message, { at: lonely });
      expect(events.at(-1)).toMatchObject({ type: "done", data: { degraded: true, model: "stub" } });
      expect((await lonely.call("GET", "/health")).status).toBe(200);
      provider.otherwise = says("Better");
      const sessionId = String(events[0]?.data["sessionId"]);
      const later = await chat.askWhole(message, { sessionId });
      expect(later.at(-1)).toMatchObject({ data: { degraded: false, cached: false } });
      expect(provider.requests.at(-1)?.body["messages"]).toEqual([{ role: "user", content: message }]);
    } finally {
      await lonely.stop();
    }
  });

  it("ends with an error event when the provider is cut off in the middle", async () => {
    provider.next.push(cutsOffAfter("broken", "Hel"));
    const events = await chat.askWhole();
    expect(textOf(events)).toBe("Hel");
    expect(events.at(-1)).toMatchObject({ type: "error", data: { status: 503 } });
  });

  it.each([
    ["is withheld before its first word", finishes("content_filter"), "", "withholds"],
    ["is withheld in the middle", finishes("content_filter", "Hel"), "Hel", "withholds"],
    ["is too long", says("x".repeat(70_000), "y"), "x".repeat(70_000), "too long"],
  ])("ends by saying so when it %s, and is not remembered", async (_case, behaviour, given, reason) => {
    provider.next.push(behaviour);
    const events = await chat.askWhole();
    expect(textOf(events)).toBe(given);
    expect(events.at(-1)).toMatchObject({
      type: "error",
      data: { status: 422, detail: expect.stringContaining(reason) as string },
    });
    expect(provider.requests).toHaveLength(1);
    expect(await service.metricsText()).toMatch(/app_chats_total{outcome="unanswerable"} [1-9]/);
    const sessionId = String(events[0]?.data["sessionId"]);
    const content = question();
    expect((await chat.askWhole(content, { sessionId })).at(-1)).toMatchObject({ type: "done" });
    expect(provider.requests.at(-1)?.body["messages"]).toEqual([{ role: "user", content }]);
  });

  it("knows what the session said before, and nothing of other sessions", async () => {
    const [start] = await chat.askWhole("My name is Ada");
    const sessionId = String(start?.data["sessionId"]);
    await chat.askWhole("What is my name?", { sessionId });
    await chat.askWhole("Who am I?");
    expect(provider.requests.at(-2)?.body["messages"]).toEqual([
      { role: "user", content: "My name is Ada" },
      { role: "assistant", content: "Hello world" },
      { role: "user", content: "What is my name?" },
    ]);
    expect(provider.requests.at(-1)?.body["messages"]).toHaveLength(1);
  });

  it.each([
    [{}, "message"],
    [{ message: " " }, "message"],
    [{ message: "a\u0000b" }, "message"],
    [{ message: "x".repeat(8001) }, "message"],
    [{ message: "q", sessionId: "mine" }, "sessionId"],
    [{ message: "q", model: "expensive" }, "model"],
  ])("is refused for %j, naming the field", async (body, field) => {
    const answer = await service.call("POST", "/api/v2/chat", { token, body });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
  });
});

describe("feedback", () => {
  it("is kept, counted, and can be changed", async () => {
    const [start] = await chat.askWhole();
    const path = `/api/v2/chat/${String(start?.data["answerId"])}/feedback`;
    for (const value of [1, -1]) {
      expect((await service.call("POST", path, { token, body: { value } })).status).toBe(204);
    }
    const { rows } = await asSuperuser(inject("postgres"), chat.database, (client) =>
      client.query("select feedback from chat_answers where id = $1", [start?.data["answerId"]]),
    );
    expect(rows).toEqual([{ feedback: -1 }]);
    expect(await service.metricsText()).toContain('app_feedback_total{value="down"} 1');
    const target = `answer/${String(start?.data["answerId"])}`;
    expect(await auditOf(service, chat.tenant, "answer.set_feedback")).toMatchObject(
      [-1, 1].map((value) => ({ subject: "user-viewer", target, detail: { value } })),
    );
  });

  it("is not to be given on another's answer, nor other than 1 or -1", async () => {
    const [start] = await chat.askWhole();
    const path = `/api/v2/chat/${String(start?.data["answerId"])}/feedback`;
    const foreign = await chat.foreignToken();
    const colleague = await service.token("admin", chat.tenant);
    for (const wrong of [foreign, colleague]) {
      expect((await service.call("POST", path, { token: wrong, body: { value: 1 } })).status).toBe(404);
    }
    expect((await service.call("POST", path, { token, body: { value: 2 } })).status).toBe(400);
  });
});

describe("a provider that is down", () => {
  it("shows as degraded in readiness, and traffic still comes", async () => {
    const ready = async () => {
      const { status, body } = await service.call("GET", "/ready");
      return { status, ai: (body as ReadinessReport).dependencies["ai"]?.state };
    };
    await eventually(async () => {
      expect(await ready()).toEqual({ status: 200, ai: "up" });
    });
    provider.otherwise = fails(500);
    for (let i = 0; i < 3; i++) {
      await chat.askWhole();
    }
    const requests = provider.requests.length;
    await eventually(async () => {
      expect(await ready()).toEqual({ status: 200, ai: "degraded" });
    });
    expect(provider.requests).toHaveLength(requests);
    const metrics = await service.metricsText();
    expect(metrics).toContain('app_ai_circuit_open{provider="language_model"} 1');
    expect(metrics).toMatch(/app_chats_total{outcome="degraded"} [1-9]/);
  });
});
