import type { Logger } from "pino";
import { z } from "zod";
import type { LanguageModelConfig } from "../config/settings.ts";
import { SwitchFile } from "../files/switchFile.ts";
import { Unanswerable, Unavailable } from "../http/problem.ts";
import type { Metrics } from "../observability/metrics.ts";
import { chooseModel } from "./chooseModel.ts";
import { contentFiltered, type Outcome, ProviderFailure, tooLong } from "./failure.ts";
import type {
  ChatMessage,
  Completion,
  CompletionOptions,
  CompletionPart,
  LanguageModel,
} from "./languageModel.ts";
import { createClient } from "./openai.ts";
import { Provider } from "./provider.ts";
import { pieces, stubCompletion, stubModel } from "./stub.ts";

/** What comes of the request itself, for whom to tell: neither a stand-in nor another try helps. */
const ofTheRequest: Partial<Record<Outcome, string>> = {
  content_filtered: "the language model's provider withholds the answer to this: ask otherwise",
  too_long: "the answer is too long: ask for less",
};

/** Bounds what an answer takes in memory. */
const mostCharacters = 64 * 1024;

const chunk = z.object({
  choices: z.array(
    z.object({
      delta: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }).optional(),
      finish_reason: z.string().nullish(),
    }),
  ),
});

/** What the service's own parts need beyond the interface. */
export interface ServiceLanguageModel extends LanguageModel {
  /** The model that would be asked. */
  modelFor(messages: readonly ChatMessage[]): string;
  /** Undefined without a provider. Rejects while the provider does not answer or is switched off. */
  check: (() => Promise<void>) | undefined;
}

export function createLanguageModel(
  config: LanguageModelConfig,
  metrics: Metrics,
  logger: Logger,
): ServiceLanguageModel {
  return new OpenAiLanguageModel(config, metrics, logger);
}

class OpenAiLanguageModel implements ServiceLanguageModel {
  readonly #config: LanguageModelConfig;
  readonly #provider: Provider | undefined;
  readonly #mode: SwitchFile;
  readonly #logger: Logger;

  constructor(config: LanguageModelConfig, metrics: Metrics, logger: Logger) {
    this.#config = config;
    this.#logger = logger.child({ module: "ai" });
    this.#provider =
      config.url === undefined ? undefined : new Provider("language_model", config, metrics, logger);
    this.#mode = new SwitchFile(config.modeFile, logger);
  }

  get check(): (() => Promise<void>) | undefined {
    const provider = this.#provider;
    return (
      provider &&
      (async () => {
        if (await this.#switchedOff()) {
          throw new Error("the file named by AI_MODE_FILE says stub");
        }
        await provider.check();
      })
    );
  }

  modelFor(messages: readonly ChatMessage[]): string {
    return this.#provider ? chooseModel(messages, this.#config) : stubModel;
  }

  async complete(messages: readonly ChatMessage[], options: CompletionOptions): Promise<Completion> {
    return whole(this.#answer(messages, options, true));
  }

  stream(messages: readonly ChatMessage[], options: CompletionOptions): AsyncIterable<CompletionPart> {
    return this.#answer(messages, options, false);
  }

  async *#answer(
    messages: readonly ChatMessage[],
    { signal = new AbortController().signal, whenDown }: CompletionOptions,
    restartable: boolean,
  ): AsyncGenerator<CompletionPart> {
    if (!this.#provider) {
      yield* stubParts(messages, false);
      return;
    }
    let sent = false;
    try {
      if (await this.#switchedOff()) {
        throw new ProviderFailure("refused", { cause: new Error("switched off by AI_MODE_FILE") });
      }
      const attempt = (key: string, limit: AbortSignal, alive: () => void) =>
        this.#ask(messages, key, limit, alive);
      for await (const part of this.#provider.run(attempt, signal, { restartable })) {
        sent ||= !restartable;
        yield part;
      }
    } catch (error) {
      signal.throwIfAborted();
      const reason = error instanceof ProviderFailure ? ofTheRequest[error.outcome] : undefined;
      if (reason !== undefined) {
        throw new Unanswerable(reason, error);
      }
      if (sent || whenDown === "fail") {
        throw new Unavailable("the language model does not answer", error);
      }
      this.#logger.warn({ error }, "answered by the stub in the language model's place");
      yield* stubParts(messages, true);
    }
  }

  async *#ask(
    messages: readonly ChatMessage[],
    apiKey: string,
    signal: AbortSignal,
    alive: () => void,
  ): AsyncGenerator<CompletionPart> {
    const model = this.modelFor(messages);
    const client = await createClient(this.#config.url, apiKey);
    const request = { model, messages: [...messages], stream: true as const };
    let text = "";
    let finish: string | null | undefined;
    let declined = false;
    for await (const received of await client.chat.completions.create(request, { signal })) {
      // Also of what has no text: a model may think for long before its first word.
      alive();
      const parsed = chunk.safeParse(received);
      if (!parsed.success) {
        throw new ProviderFailure("rubbish");
      }
      if (text.length > mostCharacters) {
        throw tooLong(`over ${mostCharacters} characters`);
      }
      const [choice] = parsed.data.choices;
      finish ??= choice?.finish_reason;
      if (finish === "content_filter") {
        throw contentFiltered();
      }
      const delta = choice?.delta?.content ?? "";
      text += delta;
      declined ||= Boolean(choice?.delta?.refusal);
      if (delta !== "") {
        yield { delta };
      }
    }
    if (typeof finish !== "string" && text !== "") {
      throw new ProviderFailure("cut_off");
    }
    if (text.trim() === "") {
      throw whyEmpty(finish, declined);
    }
    yield { done: { text, model, degraded: false } };
  }

  async #switchedOff(): Promise<boolean> {
    return (await this.#mode.current()) === "stub";
  }
}

/** Where nothing says why there is no answer, it is the provider's fault, as far as can be told. */
function whyEmpty(finish: string | null | undefined, declined: boolean): ProviderFailure {
  if (declined) {
    return contentFiltered();
  }
  // A model that thinks may have used up what it is given before its first word.
  return finish === "length" ? tooLong("at the model's own limit") : new ProviderFailure("rubbish");
}

/** Reads to the end, handing on each piece. Who stops earlier looks to the provider like one who gave up. */
export async function whole(
  parts: AsyncIterable<CompletionPart>,
  onDelta: (text: string) => void = () => undefined,
): Promise<Completion> {
  let completion: Completion | undefined;
  for await (const part of parts) {
    if ("done" in part) {
      completion = part.done;
    } else {
      onDelta(part.delta);
    }
  }
  if (!completion) {
    throw new Error("an answer without an end");
  }
  return completion;
}

function* stubParts(messages: readonly ChatMessage[], degraded: boolean): Generator<CompletionPart> {
  const done = stubCompletion(messages, degraded);
  for (const delta of pieces(done.text)) {
    yield { delta };
  }
  yield { done };
}
