import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLanguageModel } from "../src/ai/createLanguageModel.ts";
import type { ProviderConfig } from "../src/config/settings.ts";
import { Unanswerable } from "../src/http/problem.ts";
import type { Metrics } from "../src/observability/metrics.ts";
import { createOcr } from "../src/ocr/ocr.ts";
import { createSpeech } from "../src/speech/speech.ts";
import { outcomesOf, startAi } from "./support/ai.ts";
import { silentLogger } from "./support/logs.ts";
import { answers, answersSlowly, FakeProvider, hangs, says, saysSlowly } from "./support/provider.ts";
import { testConfig } from "./support/service.ts";

let provider: FakeProvider;
let metrics: Metrics;
let calls: Partial<ProviderConfig>;
beforeEach(async () => {
  ({ provider, metrics, calls } = await startAi());
});
afterEach(() => provider.stop());

/** Asks for something, and tells how it ended: given, something else given in its place, or told that it is not to be had. */
type Ask = (about: string) => Promise<"given" | "stand-in" | "told">;
const given = ({ degraded }: { degraded: boolean }) => (degraded ? "stand-in" : "given");

const { signal } = new AbortController();

function languageModel(overrides: Partial<ProviderConfig> = {}): Ask {
  const model = createLanguageModel({ ...testConfig().ai, ...calls, ...overrides }, metrics, silentLogger);
  return (content) =>
    model.complete([{ role: "user", content }], { whenDown: "stub" }).then(given, (error: unknown) => {
      if (error instanceof Unanswerable) {
        return "told";
      }
      throw error;
    });
}

function speech(overrides: Partial<ProviderConfig> = {}): Ask {
  const config = testConfig();
  const voice = createSpeech(
    { ...config, speech: { ...config.speech, ...calls, ...overrides } },
    undefined,
    metrics,
    silentLogger,
  );
  return async (text) => given(await voice.speak("tenant", text, "alloy", signal));
}

function ocr(): Ask {
  const reader = createOcr({ ...testConfig().ocr, ...calls }, metrics, silentLogger);
  return async () => given(await reader.recognize("data:image/png;base64,AA==", signal));
}

const reads = (content: string) =>
  answers("application/json", JSON.stringify({ choices: [{ message: { content } }] }));

/** One more than what opens the circuit. */
const enough = ["1", "2", "3", "4", "5", "6"];

describe("what is too long", () => {
  it.each([
    ["an answer", languageModel, says("x".repeat(70_000), "y"), says("short"), "told"],
    [
      "a spoken text",
      speech,
      answers("audio/mpeg", "x".repeat(9 * 1024 * 1024)),
      answers("audio/mpeg", "x"),
      "stand-in",
    ],
    ["the text on a picture", ocr, reads("x".repeat(70_000)), reads("short"), "stand-in"],
  ] as const)(
    "is asked for once, and others are given theirs afterwards: %s",
    async (_what, feature, long, short, end) => {
      const ask = feature();
      provider.otherwise = long;
      for (const about of enough) {
        expect(await ask(about)).toBe(end);
      }
      expect(await outcomesOf(metrics)).toEqual({ too_long: enough.length });
      provider.otherwise = short;
      expect(await ask("another's")).toBe("given");
    },
  );

  const pieces = Array<string>(40).fill("x");
  it.each([
    ["an answer", languageModel, saysSlowly(100, ...pieces), says("short")],
    ["a spoken text", speech, answersSlowly(100, "audio/mpeg", ...pieces), answers("audio/mpeg", "x")],
  ] as const)(
    "is not what is still coming at the deadline, and others are given theirs afterwards, too: %s",
    async (_what, feature, slow, short) => {
      const ask = feature({ deadlineSeconds: 2 });
      provider.otherwise = slow;
      expect(await Promise.all(enough.map(ask))).toEqual(enough.map(() => "stand-in"));
      expect(await outcomesOf(metrics)).toEqual({ too_slow: enough.length });
      provider.otherwise = short;
      expect(await ask("another's")).toBe("given");
    },
  );
});

describe("what is the provider's fault", () => {
  it("is that nothing comes until the deadline", async () => {
    const ask = languageModel({ deadlineSeconds: 0.5 });
    provider.otherwise = hangs;
    await Promise.all(enough.map(ask));
    expect(await outcomesOf(metrics)).toMatchObject({ timeout: enough.length });
    provider.otherwise = says("short");
    expect(await ask("another's")).toBe("stand-in");
  });

  it("is what is no audio, however long it is", async () => {
    const ask = speech();
    provider.otherwise = answers("text/html", "x".repeat(9 * 1024 * 1024));
    expect(await ask("text")).toBe("stand-in");
    expect(await outcomesOf(metrics)).toEqual({ rubbish: 2 + 1 });
  });
});
