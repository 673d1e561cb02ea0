import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLanguageModel } from "../src/ai/createLanguageModel.ts";
import type { ProviderConfig } from "../src/config/settings.ts";
import { Unanswerable, Unavailable } from "../src/http/problem.ts";
import type { Metrics } from "../src/observability/metrics.ts";
import { createOcr } from "../src/ocr/ocr.ts";
import { createSpeech } from "../src/speech/speech.ts";
import { outcomesOf, startAi } from "./support/ai.ts";
import { silentLogger } from "./support/logs.ts";
import { answers, type Behaviour, FakeProvider, finishes, says } from "./support/provider.ts";
import { testConfig } from "./support/service.ts";

let provider: FakeProvider;
let metrics: Metrics;
let calls: Partial<ProviderConfig>;
beforeEach(async () => {
  ({ provider, metrics, calls } = await startAi());
});
afterEach(() => provider.stop());

/** One more than what opens the circuit. */
const times = 6;

const error = { message: "The response was filtered", code: "content_filter" };
const filteredPrompt: Behaviour = (response) => {
  response.writeHead(400, { "Content-Type": "application/json" }).end(JSON.stringify({ error }));
};
const declines =
  `data: ${JSON.stringify({ choices: [{ delta: { refusal: "I cannot help with that." } }] })}\n\n` +
  `data: ${JSON.stringify({ choices: [{ delta: {}, finish_reason: "stop" }] })}\n\n`;
const picture = (choice: object) => answers("application/json", JSON.stringify({ choices: [choice] }));

describe("an answer that is withheld", () => {
  it.each([
    ["before its first word", finishes("content_filter")],
    ["in the middle", finishes("content_filter", "Hel", "lo")],
    ["by refusing the prompt", filteredPrompt],
    ["by an error within the stream", answers("text/event-stream", `data: ${JSON.stringify({ error })}\n\n`)],
    ["by the model itself, which says so", answers("text/event-stream", declines)],
  ])("%s is asked for once, told as what it is, and leaves others the provider", async (_how, withholds) => {
    const model = createLanguageModel({ ...testConfig().ai, ...calls }, metrics, silentLogger);
    const ask = (content: string, whenDown: "stub" | "fail") =>
      model.complete([{ role: "user", content }], { whenDown });
    provider.otherwise = withholds;
    for (let time = 0; time < times; time++) {
      const asked = ask(`${time}`, time % 2 === 0 ? "stub" : "fail");
      await expect(asked).rejects.toThrow(Unanswerable);
    }
    expect(await outcomesOf(metrics)).toEqual({ content_filtered: times });
    provider.otherwise = says("short");
    expect(await ask("another's", "fail")).toMatchObject({ text: "short", degraded: false });
  });

  it.each([
    ["the text on a picture", picture({ finish_reason: "content_filter", message: { content: "42" } })],
    ["a picture without an answer", picture({ finish_reason: "content_filter" })],
    ["a picture that the model declines", picture({ message: { content: null, refusal: "No." } })],
    ["a picture that is refused", filteredPrompt],
  ])("leaves a picture unread, and others the provider: %s", async (_what, withholds) => {
    const ocr = createOcr({ ...testConfig().ocr, ...calls }, metrics, silentLogger);
    const ask = () => ocr.recognize("data:image/png;base64,AA==", new AbortController().signal);
    provider.otherwise = withholds;
    for (let time = 0; time < times; time++) {
      expect(await ask()).toEqual({ text: "", degraded: true });
    }
    expect(await outcomesOf(metrics)).toEqual({ content_filtered: times });
    provider.otherwise = picture({ message: { content: "read" } });
    expect(await ask()).toEqual({ text: "read", degraded: false });
  });

  it("is silence where a text was to be spoken, and leaves others the provider", async () => {
    const config = testConfig();
    const speech = createSpeech(
      { ...config, speech: { ...config.speech, ...calls } },
      undefined,
      metrics,
      silentLogger,
    );
    const ask = (text: string) => speech.speak("tenant", text, "alloy", new AbortController().signal);
    provider.otherwise = filteredPrompt;
    for (let time = 0; time < times; time++) {
      expect(await ask(`${time}`)).toMatchObject({ degraded: true });
    }
    expect(await outcomesOf(metrics)).toEqual({ content_filtered: times });
    provider.otherwise = answers("audio/mpeg", "x");
    expect(await ask("another's")).toMatchObject({ degraded: false });
  });
});

describe("an empty answer", () => {
  const languageModel = () =>
    createLanguageModel({ ...testConfig().ai, ...calls, maxRetries: 4 }, metrics, silentLogger);

  it("for which nothing gives a reason is the provider's fault", async () => {
    const model = languageModel();
    provider.otherwise = finishes("stop");
    const asked = model.complete([{ role: "user", content: "?" }], { whenDown: "fail" });
    await expect(asked).rejects.toThrow(Unavailable);
    expect(await outcomesOf(metrics)).toEqual({ rubbish: 5 });
    await expect(model.check?.()).rejects.toThrow("5 times");
  });

  it("at the model's own limit is one that is too long", async () => {
    const model = languageModel();
    provider.otherwise = finishes("length");
    for (let time = 0; time < times; time++) {
      const asked = model.complete([{ role: "user", content: "?" }], { whenDown: "stub" });
      await expect(asked).rejects.toThrow(Unanswerable);
    }
    expect(await outcomesOf(metrics)).toEqual({ too_long: times });
    await expect(model.check?.()).resolves.toBeUndefined();
  });
});
