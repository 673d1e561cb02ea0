import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Metrics } from "../src/observability/metrics.ts";
import { speechInput } from "../src/speech/routes.ts";
import { createSpeech, type Spoken } from "../src/speech/speech.ts";
import { silentLogger } from "./support/logs.ts";
import { answers, answersSlowly, FakeProvider } from "./support/provider.ts";
import { testConfig } from "./support/service.ts";

let provider: FakeProvider;
let keysFile: string;
// Loaded at the first use, which on a busy machine takes longer than an attempt may here.
beforeAll(async () => {
  await import("openai");
});
beforeEach(async () => {
  provider = await FakeProvider.start();
  keysFile = join(await mkdtemp(join(tmpdir(), "groundwork-speech-")), "keys");
  await writeFile(keysFile, "key");
});
afterEach(() => provider.stop());

async function speak(text: string): Promise<Spoken> {
  const config = testConfig();
  const speech = { ...config.speech, url: provider.url, keysFile, timeoutSeconds: 2, deadlineSeconds: 20 };
  const { signal } = new AbortController();
  const voice = createSpeech({ ...config, speech }, undefined, new Metrics(), silentLogger);
  return voice.speak("tenant", text, "alloy", signal);
}

const heard = ({ audioBase64 }: Spoken) => Buffer.from(audioBase64, "base64").toString();

/** What a second takes at the 24 kHz of speech: 16 bits a sample, or the highest rate that MP3 has there. */
const bytesPerSecond: Partial<Record<string, number>> = { wav: 48_000, mp3: 20_000 };
/** As Japanese is read aloud; English has three times as many. */
const charactersPerSecond = 5;

describe("a text that is spoken", () => {
  it("may be as long as is allowed, in the slowest of languages", async () => {
    const length = speechInput.shape.text.maxLength ?? Infinity;
    provider.otherwise = (response) => {
      const format = String(provider.requests.at(-1)?.body["response_format"]);
      const bytes = (bytesPerSecond[format] ?? Infinity) * (length / charactersPerSecond);
      return answers(`audio/${format}`, "x".repeat(bytes))(response);
    };
    expect(await speak("\u6587".repeat(length))).toMatchObject({ degraded: false });
  });

  it("may take longer than the provider may be silent, as long as something comes", async () => {
    provider.otherwise = answersSlowly(500, "audio/mpeg", "a", "b", "c", "d", "e");
    const spoken = await speak("text");
    expect(spoken).toMatchObject({ contentType: "audio/mpeg", degraded: false });
    expect(heard(spoken)).toBe("abcde");
    expect(provider.requests).toHaveLength(1);
  });

  it("is asked for again, and whole, when the provider falls silent within it", async () => {
    provider.next.push((response) => {
      response.writeHead(200, { "Content-Type": "audio/mpeg" }).write("a");
    });
    provider.otherwise = answers("audio/mpeg", "whole");
    expect(heard(await speak("text"))).toBe("whole");
    expect(provider.requests).toHaveLength(2);
  });
});
