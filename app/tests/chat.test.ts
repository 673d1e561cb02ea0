import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import type { Config } from "../src/config/config.ts";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import { answers, cutsOffAfter, fails, FakeProvider, hangs, says, saysSlowly } from "./support/provider.ts";
import {
  newTenant,
  startTestService,
  testConfig,
  type TestService,
  writeKeyFile,
} from "./support/service.ts";
import { openStream, type StreamEvent, textOf } from "./support/stream.ts";

let provider: FakeProvider;
let database: string;
let service: TestService;
let other: TestService;
let tenant: string;
let token: string;
let ids = 0;
beforeAll(async () => {
  provider = await FakeProvider.start();
  const postgres = inject("postgres");
  database = await newDatabase(postgres);
  const keysFile = await writeKeyFile();
  const fieldKeysFile = await writeKeyFile();
  const { ai, speech, chat, jwt } = testConfig();
  const overrides: Partial<Config> = {
    jwt: { ...jwt, keysFile },
    fieldKeysFile,
    ai: { ...ai, url: provider.url },
    speech: { ...speech, url: provider.url },
    chat: { ...chat, resumeSeconds: 1, heartbeatSeconds: 0.2 },
  };
  service = await startTestService(postgres, database, inject("redis"), overrides);
  other = await startTestService(postgres, database, inject("redis"), overrides);
  tenant = await newTenant(postgres, database);
  token = await service.token("viewer", tenant);
});
afterAll(async () => {
  await Promise.all([service.stop(), other.stop()]);
  await provider.stop();
});
afterEach(() => {
  provider.next.length = 0;
  provider.requests.length = 0;
  provider.otherwise = says("Hello", " world");
});

/** A question that is in no cache. */
function question(): string {
  return `Question ${++ids}`;
}

function ask(message = question(), options: { at?: TestService; token?: string; sessionId?: string } = {}) {
  const { at = service, sessionId } = options;
  const body = { message, ...(sessionId !== undefined && { sessionId }) };
  return openStream(`${at.url}/api/v2/chat`, options.token ?? token, { body });
}

async function askWhole(...asked: Parameters<typeof ask>): Promise<StreamEvent[]> {
  return (await ask(...asked)).rest();
}

function resume(answerId: unknown, after: number, options: { at?: TestService; token?: string } = {}) {
  const { at = service } = options;
  return openStream(`${at.url}/api/v2/chat/${String(answerId)}/events`, options.token ?? token, {
    headers: { "last-event-id": String(after) },
  });
}

describe("an answer", () => {
  it("is streamed as events that a proxy does not hold back, and kept encrypted", async () => {
    const stream = await ask("What is the secret question?");
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
    const { rows } = await asSuperuser(inject("postgres"), database, (client) =>
      client.query<Record<string, unknown>>("select * from chat_answers where id = $1", [
        events[0]?.data["answerId"],
      ]),
    );
    expect(rows).toMatchObject([
      { tenant_id: tenant, subject: "user-viewer", model: "small", feedback: null },
    ]);
    expect(JSON.stringify(rows)).not.toMatch(/secret question|Hello world/);
  });

  it("comes with signs of life while the model thinks", async () => {
    provider.next.push(saysSlowly(700, "Hello"));
    const stream = await ask();
    expect(textOf(await stream.rest())).toBe("Hello");
    expect(stream.comments.length).toBeGreaterThanOrEqual(2);
  });

  it("counts its time to the first piece, and the whole stream apart", async () => {
    const before = await service.metricsText();
    provider.next.push(saysSlowly(400, "a", "b", "c"));
    await askWhole();
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
  ])("is the stub's, marked degraded, while the provider %s, and not cached", async (_case, fault) => {
    // Of a service of its own: the others' circuits stay closed.
    const postgres = inject("postgres");
    const ai = { ...testConfig().ai, url: provider.url, maxRetries: 0, timeoutSeconds: 0.3 };
    const lonely = await startTestService(postgres, database, inject("redis"), { ai });
    try {
      const message = question();
      provider.otherwise = fault;
      const lonelyToken = await lonely.token("viewer", tenant);
      const events = await askWhole(message, { at: lonely, token: lonelyToken });
      expect(events.at(-1)).toMatchObject({ type: "done", data: { degraded: true, model: "stub" } });
      expect((await lonely.call("GET", "/health")).status).toBe(200);
      provider.otherwise = says("Better");
      const later = await askWhole(message);
      expect(later.at(-1)).toMatchObject({ data: { degraded: false, cached: false } });
    } finally {
      await lonely.stop();
    }
  });

  it("ends with an error event when the provider is cut off in the middle", async () => {
    provider.next.push(cutsOffAfter("broken", "Hel"));
    const events = await askWhole();
    expect(textOf(events)).toBe("Hel");
    expect(events.at(-1)).toMatchObject({ type: "error", data: { status: 503 } });
  });

  it("knows what the session said before, and nothing of other sessions", async () => {
    const [start] = await askWhole("My name is Ada");
    const sessionId = String(start?.data["sessionId"]);
    await askWhole("What is my name?", { sessionId });
    await askWhole("Who am I?");
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

describe("a cached answer", () => {
  it("is given again for the same question, however it is spelt, without asking the provider", async () => {
    await askWhole("What  is\tＡ?");
    const events = await askWhole("What is A?", { at: other });
    expect(textOf(events)).toBe("Hello world");
    expect(events.at(-1)?.data).toMatchObject({ cached: true, degraded: false });
    expect(provider.requests).toHaveLength(1);
    expect(await other.metricsText()).toMatch(/family="ai_cache",result="hit"} [1-9]/);
  });

  it("is another tenant's business only", async () => {
    await askWhole("Shared question");
    const theirs = await service.token("viewer", await newTenant(inject("postgres"), database));
    const events = await askWhole("Shared question", { token: theirs });
    expect(events.at(-1)?.data).toMatchObject({ cached: false });
    expect(provider.requests).toHaveLength(2);
  });

  it("is made once however many ask at the same time, here and at another replica", async () => {
    provider.otherwise = saysSlowly(150, "one", " answer");
    const message = question();
    const all = await Promise.all([
      askWhole(message),
      askWhole(message),
      askWhole(message, { at: other }),
      askWhole(message, { at: other }),
    ]);
    expect(all.map(textOf)).toEqual(Array(4).fill("one answer"));
    expect(provider.requests).toHaveLength(1);
  });
});

describe("a reader who is cut off", () => {
  const slowly = saysSlowly(150, "a", "b", "c", "d", "e", "f");

  it.each(["the same replica", "another replica"])("goes on at %s where it stopped", async (where) => {
    const at = where === "another replica" ? other : service;
    provider.next.push(slowly);
    const stream = await ask();
    const first = [await stream.next(), await stream.next()].filter((event) => event !== undefined);
    stream.close();
    const resumed = await resume(first[0]?.data["answerId"], 2, { at });
    const rest = await resumed.rest();
    expect(textOf([...first, ...rest])).toBe("abcdef");
    expect(rest[0]?.id).toBe(3);
    expect(rest.at(-1)?.type).toBe("done");
    expect(provider.requests).toHaveLength(1);
  });

  it("keeps an answer going that takes longer than the time to come back, at another replica too", async () => {
    provider.next.push(saysSlowly(400, "a", "b", "c", "d", "e", "f"));
    const stream = await ask();
    const start = await stream.next();
    stream.close();
    const rest = await (await resume(start?.data["answerId"], 1, { at: other })).rest();
    expect(textOf(rest)).toBe("abcdef");
  });

  it("and does not come back: the provider's work is stopped", async () => {
    provider.next.push(hangs);
    const stream = await ask();
    await stream.next();
    await eventually(() => {
      expect(provider.requests).toHaveLength(1);
    });
    stream.close();
    await sleep(300);
    expect(provider.requests[0]?.aborted).toBe(false);
    await eventually(() => {
      expect(provider.requests[0]?.aborted).toBe(true);
    }, 3000);
  });

  it("finds nothing as another user, another tenant, or too late", async () => {
    const events = await askWhole();
    const answerId = events[0]?.data["answerId"];
    const foreign = await service.token("viewer", await newTenant(inject("postgres"), database));
    const colleague = await service.token("editor", tenant);
    for (const at of [service, other]) {
      expect(textOf(await (await resume(answerId, 0, { at })).rest())).toBe("Hello world");
      expect((await resume(answerId, 0, { at, token: foreign })).response.statusCode).toBe(404);
      expect((await resume(answerId, 0, { at, token: colleague })).response.statusCode).toBe(404);
    }
    await sleep(1500);
    expect((await resume(answerId, 0)).response.statusCode).toBe(404);
    expect((await resume(answerId, 0, { at: other })).response.statusCode).toBe(404);
  });

  it("is told which header is wrong", async () => {
    const path = "/api/v2/chat/7d444840-9dc0-41d8-b245-1ef6a4d4fc9a/events";
    const answer = await service.call("GET", path, { token, headers: { "last-event-id": "-1" } });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "last-event-id" }] } });
  });
});

describe("a slow reader", () => {
  it("does not make the service hold more than the answer itself", async () => {
    provider.next.push(says(...Array.from({ length: 60 }, () => "x".repeat(1000))));
    const readers = [];
    const before = process.memoryUsage().arrayBuffers;
    const first = await ask();
    const start = await first.next();
    for (let i = 0; i < 20; i++) {
      readers.push(await resume(start?.data["answerId"], 0));
    }
    await sleep(500);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
    expect(textOf(await (readers[7] ?? first).rest())).toHaveLength(60_000);
    for (const reader of [first, ...readers]) {
      reader.close();
    }
  });
});

describe("feedback", () => {
  it("is kept, counted, and can be changed", async () => {
    const [start] = await askWhole();
    const path = `/api/v2/chat/${String(start?.data["answerId"])}/feedback`;
    for (const value of [1, -1]) {
      expect((await service.call("POST", path, { token, body: { value } })).status).toBe(204);
    }
    const { rows } = await asSuperuser(inject("postgres"), database, (client) =>
      client.query("select feedback from chat_answers where id = $1", [start?.data["answerId"]]),
    );
    expect(rows).toEqual([{ feedback: -1 }]);
    expect(await service.metricsText()).toContain('app_feedback_total{value="down"} 1');
  });

  it("is not to be given on another's answer, nor other than 1 or -1", async () => {
    const [start] = await askWhole();
    const path = `/api/v2/chat/${String(start?.data["answerId"])}/feedback`;
    const foreign = await service.token("admin", await newTenant(inject("postgres"), database));
    const colleague = await service.token("admin", tenant);
    for (const wrong of [foreign, colleague]) {
      expect((await service.call("POST", path, { token: wrong, body: { value: 1 } })).status).toBe(404);
    }
    expect((await service.call("POST", path, { token, body: { value: 2 } })).status).toBe(400);
  });
});

describe("speech", () => {
  const speak = (body: object, at = service) =>
    fetch(`${at.url}/api/v2/speech`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });

  it("is the provider's audio, asked for once", async () => {
    provider.otherwise = answers("audio/wav", "RIFF sound");
    for (const at of [service, other]) {
      const response = await speak({ text: "Hello there" }, at);
      expect(response.headers.get("content-type")).toBe("audio/wav");
      expect(response.headers.get("x-degraded")).toBe("false");
      expect(await response.text()).toBe("RIFF sound");
    }
    expect(provider.requests).toMatchObject([
      { path: "/v1/audio/speech", body: { model: "voice", voice: "alloy", input: "Hello there" } },
    ]);
  });

  it("is valid silence, marked and not cached, when the provider answers rubbish", async () => {
    provider.otherwise = answers("text/html", "<html>");
    const response = await speak({ text: "Goodbye" });
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(response.headers.get("x-degraded")).toBe("true");
    expect(bytes.toString("latin1", 0, 4)).toBe("RIFF");
    expect(bytes.readUInt32LE(4)).toBe(bytes.length - 8);
    expect(bytes.readUInt32LE(40)).toBe(bytes.length - 44);
    provider.otherwise = answers("audio/mpeg", "sound");
    expect(await (await speak({ text: "Goodbye" })).text()).toBe("sound");
  });
});
