import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { z } from "zod";
import { ProviderFailure, tooLong } from "../ai/failure.ts";
import { createClient } from "../ai/openai.ts";
import { Provider } from "../ai/provider.ts";
import { Cache } from "../cache/cache.ts";
import { promptHash } from "../cache/promptHash.ts";
import type { Config, SpeechConfig } from "../config/settings.ts";
import type { Metrics } from "../observability/metrics.ts";

const mostAudioBytes = 8 * 1024 * 1024;
/** So many take 400 s at five a second, as Japanese is read; MP3 at 24 kHz, of 160 kbit/s at most, is then 8 MB. */
export const mostSpokenCharacters = 2000;

const spoken = z.object({ audioBase64: z.string(), contentType: z.string(), degraded: z.boolean() });
export type Spoken = z.infer<typeof spoken>;

export interface Speech {
  /** @throws the signal's reason. */
  speak(tenantId: string, text: string, voice: string, signal: AbortSignal): Promise<Spoken>;
  /** Undefined without a provider. Rejects while the provider does not answer. */
  check: (() => Promise<void>) | undefined;
}

/** Has texts spoken, each once per tenant and voice for as long as the cache keeps it. */
export function createSpeech(
  { speech, chat }: Config,
  redis: Redis | undefined,
  metrics: Metrics,
  logger: Logger,
): Speech {
  const log = logger.child({ module: "speech" });
  const provider = speech.url === undefined ? undefined : new Provider("speech", speech, metrics, logger);
  const cache = new Cache({
    family: "tts_cache",
    schema: spoken,
    redis,
    ttlSeconds: chat.speechTtlSeconds,
    metrics,
    logger,
  });

  async function make(text: string, voice: string, signal: AbortSignal): Promise<Spoken> {
    if (!provider) {
      return silence(false);
    }
    try {
      const attempt = (key: string, limit: AbortSignal, alive: () => void) =>
        ask(speech, key, text, voice, limit, alive);
      let whole: Spoken | undefined;
      for await (const received of provider.run(attempt, signal)) {
        whole = received;
      }
      return whole ?? silence(true);
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ error }, "silence is spoken in the provider's place");
      return silence(true);
    }
  }

  return {
    async speak(tenantId, text, voice, signal) {
      const hash = promptHash(tenantId, provider ? speech.model : "stub", [voice, text]);
      const { value } = await cache.getOrMake(
        hash,
        async () => {
          const value = await make(text, voice, signal);
          return { value, keep: !value.degraded };
        },
        speech.deadlineSeconds * 1000,
        signal,
      );
      return value;
    },
    check: provider && (() => provider.check()),
  };
}

async function* ask(
  { url, model }: SpeechConfig,
  apiKey: string,
  text: string,
  voice: string,
  signal: AbortSignal,
  alive: () => void,
): AsyncGenerator<Spoken> {
  const client = await createClient(url, apiKey);
  const response = await client.audio.speech.create(
    { model, voice, input: text, response_format: "mp3" },
    { signal },
  );
  const contentType = response.headers.get("content-type") ?? "";
  // Before its length is looked at: what is no audio is the provider's fault however long it is.
  if (!/^audio\/[\w.+-]+$/.test(contentType)) {
    throw new ProviderFailure("rubbish");
  }
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    alive();
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > mostAudioBytes) {
      throw tooLong(`over ${mostAudioBytes} bytes`);
    }
  }
  if (bytes === 0) {
    throw new ProviderFailure("rubbish");
  }
  yield { audioBase64: Buffer.concat(pieces).toString("base64"), contentType, degraded: false };
}

/** A tenth of a second of nothing: WAV, 8 kHz, one channel of 8 bits. */
function silence(degraded: boolean): Spoken {
  const rate = 8000;
  const samples = Buffer.alloc(rate / 10, 0x80);
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + samples.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate, 28);
  header.writeUInt16LE(1, 32);
  header.writeUInt16LE(8, 34);
  header.write("data", 36);
  header.writeUInt32LE(samples.length, 40);
  return {
    audioBase64: Buffer.concat([header, samples]).toString("base64"),
    contentType: "audio/wav",
    degraded,
  };
}
