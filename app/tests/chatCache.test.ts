import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { type ChatHarness, question, startChat } from "./support/chat.ts";
import { answers, type FakeProvider, saysSlowly } from "./support/provider.ts";
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

describe("a cached answer", () => {
  it("is given again for the same question, however it is spelt, without asking the provider", async () => {
    await chat.askWhole("What  is\tＡ?");
    const events = await chat.askWhole("What is A?", { at: chat.other });
    expect(textOf(events)).toBe("Hello world");
    expect(events.at(-1)?.data).toMatchObject({ cached: true, degraded: false });
    expect(provider.requests).toHaveLength(1);
    expect(await chat.other.metricsText()).toMatch(/family="ai_cache",result="hit"} [1-9]/);
  });

  it("is not given for a question that only looks alike", async () => {
    await chat.askWhole("How much is 5²?");
    const events = await chat.askWhole("How much is 52?");
    expect(events.at(-1)?.data).toMatchObject({ cached: false });
    expect(provider.requests).toHaveLength(2);
  });

  it("is another tenant's business only", async () => {
    await chat.askWhole("Shared question");
    const theirs = await chat.foreignToken();
    const events = await chat.askWhole("Shared question", { token: theirs });
    expect(events.at(-1)?.data).toMatchObject({ cached: false });
    expect(provider.requests).toHaveLength(2);
  });

  it("is made once however many ask at the same time, here and at another replica", async () => {
    provider.otherwise = saysSlowly(150, "one", " answer");
    const message = question();
    const all = await Promise.all([
      chat.askWhole(message),
      chat.askWhole(message),
      chat.askWhole(message, { at: chat.other }),
      chat.askWhole(message, { at: chat.other }),
    ]);
    expect(all.map(textOf)).toEqual(Array(4).fill("one answer"));
    expect(provider.requests).toHaveLength(1);
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
    provider.otherwise = answers("audio/mpeg", "ID3 sound");
    for (const at of [service, chat.other]) {
      const response = await speak({ text: "Hello there" }, at);
      expect(response.headers.get("content-type")).toBe("audio/mpeg");
      expect(response.headers.get("x-degraded")).toBe("false");
      expect(await response.text()).toBe("ID3 sound");
    }
    expect(provider.requests).toMatchObject([
      {
        path: "/v1/audio/speech",
        body: { model: "voice", voice: "alloy", input: "Hello there", response_format: "mp3" },
      },
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
