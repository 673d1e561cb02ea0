import type { Logger } from "pino";
import { z } from "zod";
import { contentFiltered, ProviderFailure, tooLong } from "../ai/failure.ts";
import { createClient } from "../ai/openai.ts";
import { Provider } from "../ai/provider.ts";
import type { OcrConfig } from "../config/settings.ts";
import type { Metrics } from "../observability/metrics.ts";

/** Longer than what can stand on a picture. */
const mostCharacters = 64 * 1024;
const instruction = "Give the text on this picture, exactly as it stands there, and nothing else.";
const answer = z.object({
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }).optional(),
        finish_reason: z.string().nullish(),
      }),
    )
    .min(1),
});

export interface Recognized {
  text: string;
  /** Nobody read the picture: there is no provider, it does not answer, or it withholds the text. */
  degraded: boolean;
}

export interface Ocr {
  /** @param image a data URL. @throws the signal's reason. */
  recognize(image: string, signal: AbortSignal): Promise<Recognized>;
  /** Undefined without a provider. Rejects while the provider does not answer. */
  check: (() => Promise<void>) | undefined;
}

/** Has a model that sees read the text on pictures. */
export function createOcr(config: OcrConfig, metrics: Metrics, logger: Logger): Ocr {
  const log = logger.child({ module: "ocr" });
  const provider = config.url === undefined ? undefined : new Provider("ocr", config, metrics, logger);
  return {
    async recognize(image, signal) {
      try {
        const attempt = (key: string, limit: AbortSignal) => ask(config, key, image, limit);
        let recognized: Recognized | undefined;
        // To its end: an attempt that is left before counts as cancelled, and failures before it would go on being counted.
        for await (const text of provider?.run(attempt, signal) ?? []) {
          recognized = { text, degraded: false };
        }
        if (recognized) {
          return recognized;
        }
      } catch (error) {
        signal.throwIfAborted();
        log.warn({ error }, "a picture stays unread");
      }
      return { text: "", degraded: true };
    },
    check: provider && (() => provider.check()),
  };
}

async function* ask(
  { url, model }: OcrConfig,
  apiKey: string,
  image: string,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const client = await createClient(url, apiKey);
  const content = [
    { type: "text" as const, text: instruction },
    { type: "image_url" as const, image_url: { url: image } },
  ];
  const received = await client.chat.completions.create(
    { model, messages: [{ role: "user", content }] },
    { signal },
  );
  const { data } = answer.safeParse(received);
  const [choice] = data?.choices ?? [];
  const text = choice?.message?.content ?? undefined;
  if (choice?.finish_reason === "content_filter" || (text === undefined && choice?.message?.refusal)) {
    throw contentFiltered();
  }
  if (text === undefined) {
    throw new ProviderFailure("rubbish");
  }
  if (text.length > mostCharacters) {
    throw tooLong(`over ${mostCharacters} characters`);
  }
  yield text;
}
