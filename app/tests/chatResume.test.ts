import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { type ChatHarness, startChat } from "./support/chat.ts";
import { eventually } from "./support/processes.ts";
import { type FakeProvider, saysSlowly } from "./support/provider.ts";
import type { TestService } from "./support/service.ts";
import { textOf } from "./support/stream.ts";

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

describe("a reader who is cut off", () => {
  const slowly = saysSlowly(150, "a", "b", "c", "d", "e", "f");

  it.each(["the same replica", "another replica"])("goes on at %s where it stopped", async (where) => {
    const at = where === "another replica" ? chat.other : service;
    provider.next.push(slowly);
    const stream = await chat.ask();
    const first = [await stream.next(), await stream.next()].filter((event) => event !== undefined);
    stream.close();
    const resumed = await chat.resume(first[0]?.data["answerId"], 2, { at });
    const rest = await resumed.rest();
    expect(textOf([...first, ...rest])).toBe("abcdef");
    expect(rest[0]?.id).toBe(3);
    expect(rest.at(-1)?.type).toBe("done");
    expect(provider.requests).toHaveLength(1);
  });

  it("keeps an answer going that takes longer than the time to come back, at another replica too", async () => {
    provider.next.push(saysSlowly(400, "a", "b", "c", "d", "e", "f"));
    const stream = await chat.ask();
    const start = await stream.next();
    stream.close();
    const rest = await (await chat.resume(start?.data["answerId"], 1, { at: chat.other })).rest();
    expect(textOf(rest)).toBe("abcdef");
  });

  it("and does not come back: the provider's work is stopped", async () => {
    provider.next.push(saysSlowly(200, ...Array<string>(20).fill("x")));
    const stream = await chat.ask();
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
    const events = await chat.askWhole();
    const answerId = events[0]?.data["answerId"];
    const foreign = await chat.foreignToken();
    const colleague = await service.token("editor", chat.tenant);
    for (const at of [service, chat.other]) {
      expect(textOf(await (await chat.resume(answerId, 0, { at })).rest())).toBe("Hello world");
      expect((await chat.resume(answerId, 0, { at, token: foreign })).response.statusCode).toBe(404);
      expect((await chat.resume(answerId, 0, { at, token: colleague })).response.statusCode).toBe(404);
    }
    await sleep(1500);
    expect((await chat.resume(answerId, 0)).response.statusCode).toBe(404);
    expect((await chat.resume(answerId, 0, { at: chat.other })).response.statusCode).toBe(404);
  });

  it("is told which header is wrong", async () => {
    const path = "/api/v2/chat/7d444840-9dc0-41d8-b245-1ef6a4d4fc9a/events";
    const answer = await service.call("GET", path, { token, headers: { "last-event-id": "-1" } });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: "last-event-id" }] } });
  });
});
