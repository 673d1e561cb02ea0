import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLanguageModel, type ServiceLanguageModel } from "../src/ai/createLanguageModel.ts";
import type { ChatMessage, CompletionPart } from "../src/ai/languageModel.ts";
import type { LanguageModelConfig } from "../src/config/settings.ts";
import { Unavailable } from "../src/http/problem.ts";
import { Metrics } from "../src/observability/metrics.ts";
import { silentLogger } from "./support/logs.ts";
import { eventually } from "./support/processes.ts";
import { answers, cutsOffAfter, fails, FakeProvider, hangs, says, saysSlowly } from "./support/provider.ts";
import { testConfig } from "./support/service.ts";

let provider: FakeProvider;
let metrics: Metrics;
let directory: string;
beforeEach(async () => {
  provider = await FakeProvider.start();
  metrics = new Metrics();
  directory = await mkdtemp(join(tmpdir(), "groundwork-ai-"));
});
afterEach(async () => {
  vi.useRealTimers();
  await provider.stop();
});

async function model(overrides: Partial<LanguageModelConfig> = {}, keys = "key-1\nkey-2\n") {
  const keysFile = join(directory, "keys");
  await writeFile(keysFile, keys);
  const config = { ...testConfig().ai, url: provider.url, keysFile, timeoutSeconds: 0.3, ...overrides };
  return createLanguageModel(config, metrics, silentLogger);
}

const messages: ChatMessage[] = [{ role: "user", content: "What is it?" }];
const degraded = { model: "stub", degraded: true };
const good = { text: "Hello world", model: "small", degraded: false };

async function parts(from: AsyncIterable<CompletionPart>): Promise<CompletionPart[]> {
  const all: CompletionPart[] = [];
  for await (const part of from) {
    all.push(part);
  }
  return all;
}

function ask(languageModel: ServiceLanguageModel, whenDown: "stub" | "fail" = "stub") {
  return languageModel.complete(messages, { whenDown });
}

async function requests(outcome: string): Promise<number> {
  const text = await metrics.registry.getSingleMetricAsString("app_ai_requests_total");
  return Number(new RegExp(`outcome="${outcome}"} (\\d+)`).exec(text)?.[1] ?? 0);
}

const keysUsed = () => provider.requests.map(({ key }) => key);

describe("the language model", () => {
  it("is the built-in stub, not degraded, while no provider is configured", async () => {
    const answer = await ask(await model({ url: undefined }), "fail");
    expect(answer).toMatchObject({ model: "stub", degraded: false });
    expect(answer.text).toContain("What is it?");
  });

  it("gives the provider's answer, in pieces and whole", async () => {
    const languageModel = await model();
    expect(await parts(languageModel.stream(messages, { whenDown: "fail" }))).toEqual([
      { delta: "Hello" },
      { delta: " world" },
      { done: good },
    ]);
    expect(await ask(languageModel)).toEqual(good);
    expect(await requests("ok")).toBe(2);
    expect(provider.requests[0]).toMatchObject({
      path: "/v1/chat/completions",
      key: "key-1",
      body: { model: "small", messages },
    });
  });

  it("takes the next key when one is refused or rate-limited, and leaves that one alone", async () => {
    const languageModel = await model({}, "key-1\nkey-2\nkey-3");
    provider.next.push(fails(401), fails(429, { "Retry-After": "30" }));
    expect(await ask(languageModel)).toEqual(good);
    expect(await ask(languageModel)).toEqual(good);
    expect(keysUsed()).toEqual(["key-1", "key-2", "key-3", "key-3"]);
  });

  it("takes the next key after a 503 at once", async () => {
    const languageModel = await model({ maxRetries: 0 });
    provider.next.push(fails(503));
    expect(await ask(languageModel)).toEqual(good);
    expect(keysUsed()).toEqual(["key-1", "key-2"]);
  });

  it("waits as long as Retry-After says when it has no other key", async () => {
    const languageModel = await model({}, "only-key");
    provider.next.push(fails(429, { "Retry-After": "1" }));
    const start = performance.now();
    expect(await ask(languageModel)).toEqual(good);
    expect(performance.now() - start).toBeGreaterThan(990);
    expect(provider.requests).toHaveLength(2);
  });

  it("gives up at once when Retry-After is beyond the deadline", async () => {
    const languageModel = await model({}, "only-key");
    provider.otherwise = fails(429, { "Retry-After": "60" });
    const start = performance.now();
    expect(await ask(languageModel)).toMatchObject(degraded);
    await expect(ask(languageModel, "fail")).rejects.toThrow(Unavailable);
    expect(performance.now() - start).toBeLessThan(1000);
    expect(provider.requests).toHaveLength(1);
  });

  it("reads the keys again when their file changes", async () => {
    const languageModel = await model({}, "old-key");
    await ask(languageModel);
    await writeFile(join(directory, "keys"), "newer-key");
    await eventually(async () => {
      await ask(languageModel);
      expect(keysUsed().at(-1)).toBe("newer-key");
    });
  });

  it.each([
    ["hangs", hangs, "timeout"],
    ["stops in the middle and is silent", saysSlowly(600, "Hel", "lo"), "timeout"],
    ["answers 500", fails(500), "server_error"],
    ["breaks the connection", cutsOffAfter("broken"), "network"],
    ["answers nothing", says(), "rubbish"],
    ["answers white space", says(" ", "\n"), "rubbish"],
    ["answers a page of HTML", answers("text/html", "<html>maintenance</html>"), "rubbish"],
    ["answers what is no JSON", answers("text/event-stream", "data: {oops\n\n"), "rubbish"],
    ["answers in another shape", answers("text/event-stream", 'data: {"choices":"x"}\n\n'), "rubbish"],
    ["is cut off in the middle", cutsOffAfter("broken", "Hel"), "network"],
    ["ends in the middle", cutsOffAfter("ended", "Hel"), "cut_off"],
  ] as const)(
    "asks again when the provider %s, and falls back when it goes on so",
    async (_case, fault, outcome) => {
      const languageModel = await model();
      provider.next.push(fault);
      expect(await ask(languageModel)).toEqual(good);
      expect(await requests(outcome)).toBe(1);
      provider.otherwise = fault;
      expect(await ask(languageModel)).toMatchObject(degraded);
      await expect(ask(languageModel, "fail")).rejects.toThrow(Unavailable);
    },
  );

  it("does not ask again when the request itself is refused", async () => {
    const languageModel = await model();
    provider.otherwise = fails(400);
    expect(await ask(languageModel)).toMatchObject(degraded);
    expect(provider.requests).toHaveLength(1);
  });

  it("never repeats what was already given: a stream that breaks then fails", async () => {
    const languageModel = await model();
    provider.next.push(cutsOffAfter("broken", "Hel"));
    const received: CompletionPart[] = [];
    const read = async () => {
      for await (const part of languageModel.stream(messages, { whenDown: "stub" })) {
        received.push(part);
      }
    };
    await expect(read()).rejects.toThrow(Unavailable);
    expect(received).toEqual([{ delta: "Hel" }]);
    expect(provider.requests).toHaveLength(1);
  });

  it("keeps to its deadline, all attempts together", async () => {
    const languageModel = await model({ timeoutSeconds: 0.4, deadlineSeconds: 1, maxRetries: 9 });
    provider.otherwise = hangs;
    const start = performance.now();
    expect(await ask(languageModel)).toMatchObject(degraded);
    expect(performance.now() - start).toBeLessThan(1500);
  });

  it("stops the provider's work when the caller gives up", async () => {
    const languageModel = await model({ timeoutSeconds: 5 });
    provider.otherwise = hangs;
    const giveUp = new AbortController();
    const answer = languageModel.complete(messages, { whenDown: "stub", signal: giveUp.signal });
    await eventually(() => {
      expect(provider.requests).toHaveLength(1);
    });
    giveUp.abort(new Error("enough"));
    await expect(answer).rejects.toThrow("enough");
    await eventually(() => {
      expect(provider.requests[0]?.aborted).toBe(true);
    });
    expect(await requests("cancelled")).toBe(1);
  });

  it("leaves the provider alone after five failures in a row, and says so", async () => {
    const languageModel = await model({ maxRetries: 4 });
    await expect(languageModel.check?.()).resolves.toBeUndefined();
    provider.otherwise = fails(500);
    expect(await ask(languageModel)).toMatchObject(degraded);
    expect(provider.requests).toHaveLength(5);
    provider.otherwise = says("well again");
    expect(await ask(languageModel)).toMatchObject(degraded);
    expect(provider.requests).toHaveLength(5);
    await expect(languageModel.check?.()).rejects.toThrow("5 times");
    expect(await metrics.registry.getSingleMetricAsString("app_ai_circuit_open")).toContain("} 1");
  });

  it("has nobody wait for the one attempt that decides afterwards", async () => {
    const languageModel = await model({ maxRetries: 4, timeoutSeconds: 2 });
    provider.otherwise = fails(500);
    expect(await ask(languageModel)).toMatchObject(degraded);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 16_000 });
    provider.otherwise = hangs;
    const deciding = ask(languageModel);
    await eventually(() => {
      expect(provider.requests).toHaveLength(6);
    });
    expect(await metrics.registry.getSingleMetricAsString("app_ai_circuit_open")).toContain("} 1");
    const start = performance.now();
    expect(await ask(languageModel)).toMatchObject(degraded);
    expect(performance.now() - start).toBeLessThan(1000);
    expect(provider.requests).toHaveLength(6);
    expect(await deciding).toMatchObject(degraded);
  });

  it("learns nothing from a deciding attempt whose caller gave up, and goes on leaving the provider alone", async () => {
    const languageModel = await model({ maxRetries: 4, timeoutSeconds: 2 });
    provider.otherwise = fails(500);
    expect(await ask(languageModel)).toMatchObject(degraded);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 16_000 });
    provider.otherwise = hangs;
    const giveUp = new AbortController();
    const deciding = languageModel.complete(messages, { whenDown: "stub", signal: giveUp.signal });
    await eventually(() => {
      expect(provider.requests).toHaveLength(6);
    });
    giveUp.abort(new Error("enough"));
    await expect(deciding).rejects.toThrow("enough");
    expect(await requests("cancelled")).toBe(1);
    await expect(languageModel.check?.()).rejects.toThrow("5 times");
    expect(await ask(languageModel)).toMatchObject(degraded);
    expect(provider.requests).toHaveLength(6);
  });

  it("answers by the stub while the mode file says so, without a restart", async () => {
    const modeFile = join(directory, "mode");
    await writeFile(modeFile, "");
    const languageModel = await model({ modeFile });
    expect(await ask(languageModel)).toEqual(good);
    await writeFile(modeFile, "stub\n");
    await eventually(async () => {
      expect(await ask(languageModel)).toMatchObject(degraded);
      await expect(languageModel.check?.()).rejects.toThrow("AI_MODE_FILE");
      await expect(ask(languageModel, "fail")).rejects.toThrow(Unavailable);
    });
    await writeFile(modeFile, "provider\n");
    await eventually(async () => {
      expect(await ask(languageModel)).toEqual(good);
    });
  });

  it("shows its limits as metrics", async () => {
    await model({ timeoutSeconds: 7, deadlineSeconds: 33, maxRetries: 4 });
    const text = await metrics.registry.metrics();
    expect(text).toContain('app_ai_limit_seconds{provider="language_model",limit="timeout"} 7');
    expect(text).toContain('app_ai_limit_seconds{provider="language_model",limit="deadline"} 33');
    expect(text).toContain('app_ai_max_retries{provider="language_model"} 4');
  });

  const nothingYet = Array<string>(12).fill("");
  it("does not take a model for silent that thinks before its first word", async () => {
    const languageModel = await model({ timeoutSeconds: 0.5 });
    provider.otherwise = saysSlowly(100, ...nothingYet, "Thought");
    expect(await ask(languageModel, "fail")).toMatchObject({ text: "Thought" });
    expect(await requests("ok")).toBe(1);
  });

  it("counts it as what was asked for when it thinks beyond the deadline", async () => {
    const languageModel = await model({ timeoutSeconds: 0.5, deadlineSeconds: 0.8 });
    provider.otherwise = saysSlowly(100, ...nothingYet);
    expect(await ask(languageModel)).toMatchObject({ degraded: true });
    expect(await requests("too_slow")).toBe(1);
  });

  describe("whose caller hangs up before the first byte", () => {
    const hangUp = async (languageModel: ServiceLanguageModel) => {
      const before = provider.requests.length;
      provider.otherwise = hangs;
      const giveUp = new AbortController();
      const answer = languageModel.complete(messages, { whenDown: "stub", signal: giveUp.signal });
      await eventually(() => {
        expect(provider.requests).toHaveLength(before + 1);
      });
      giveUp.abort(new Error("enough"));
      await expect(answer).rejects.toThrow("enough");
    };

    it("is not taken to have failed", async () => {
      const languageModel = await model({ timeoutSeconds: 5 });
      for (let time = 0; time < 6; time++) {
        await hangUp(languageModel);
      }
      expect(await requests("cancelled")).toBe(6);
      await expect(languageModel.check?.()).resolves.toBeUndefined();
    });

    it("is not taken to be well either", async () => {
      const languageModel = await model({ timeoutSeconds: 5, maxRetries: 0 });
      const fail = async () => {
        provider.otherwise = fails(500);
        expect(await ask(languageModel)).toMatchObject(degraded);
      };
      for (let time = 0; time < 4; time++) {
        await fail();
      }
      await hangUp(languageModel);
      await expect(languageModel.check?.()).resolves.toBeUndefined();
      await fail();
      await expect(languageModel.check?.()).rejects.toThrow("5 times");
    });
  });

  it("does not count a slow reader's time as the provider's", async () => {
    const languageModel = await model();
    for await (const part of languageModel.stream(messages, { whenDown: "fail" })) {
      if ("delta" in part) {
        await sleep(400);
      }
    }
    expect(await requests("ok")).toBe(1);
  });
});
