import { setTimeout as sleep } from "node:timers/promises";
import { SpanKind } from "@opentelemetry/api";
import { circuitBreaker, CircuitState, ConsecutiveBreaker, handleWhen } from "cockatiel";
import type { Logger } from "pino";
import type { ProviderConfig } from "../config/settings.ts";
import type { Metrics } from "../observability/metrics.ts";
import { traced } from "../observability/tracing.ts";
import { ApiKeys } from "./apiKeys.ts";
import { type Outcome, ProviderFailure, toFailure, tooSlow } from "./failure.ts";

const firstBackoffMs = 250;
const longestBackoffMs = 8000;
/** So many failures in a row, and the API is left alone for a while; then one attempt decides. */
const failuresUntilOpen = 5;
const leftAloneMs = 15_000;
/** The request may have brought it about: counted, one user's could have the API left alone for everybody. */
const requestsOwn: readonly Outcome[] = ["refused", "too_long", "too_slow", "content_filtered"];

/**
 * One attempt, with the API key to use; its items are handed on as they come. It calls `alive` for whatever else arrives,
 * which shows that the API is not silent.
 */
export type Attempt<T> = (apiKey: string, signal: AbortSignal, alive: () => void) => AsyncIterable<T>;

interface RunOptions {
  /** Whether an attempt may be repeated after it has given items: the caller then forgets what it had. */
  restartable?: boolean;
}

interface AttemptEnd {
  /** Whether it is the one that decides if the API is asked again. */
  decides: boolean;
  resolve(): void;
  reject(error: Error): void;
}

/** How one external API is called: limits in time, retries, keys in their order, and a circuit breaker. */
export class Provider {
  readonly #name: string;
  readonly #config: ProviderConfig;
  readonly #keys: ApiKeys;
  readonly #metrics: Metrics;
  readonly #logger: Logger;
  readonly #breaker = circuitBreaker(
    handleWhen((error) => error instanceof ProviderFailure && !requestsOwn.includes(error.outcome)),
    { halfOpenAfter: leftAloneMs, breaker: new ConsecutiveBreaker(failuresUntilOpen) },
  );

  constructor(name: string, config: ProviderConfig, metrics: Metrics, logger: Logger) {
    this.#name = name;
    this.#config = config;
    this.#metrics = metrics;
    this.#logger = logger.child({ module: "ai" });
    this.#keys = new ApiKeys(config.keysFile, this.#logger);
    metrics.aiConfigured(name, config.timeoutSeconds, config.deadlineSeconds, config.maxRetries);
    this.#breaker.onStateChange((state) => {
      // One attempt under way does not end the time of being left alone: the gauge would waver, and no alert come of it.
      metrics.aiCircuit(name, state !== CircuitState.Closed);
      this.#logger.warn({ provider: name, state: CircuitState[state] }, "circuit changed");
    });
  }

  /** For readiness: answered from what the calls met, without a call. Rejects while the API is left alone. */
  async check(): Promise<void> {
    if (this.#breaker.state !== CircuitState.Closed) {
      return Promise.reject(new Error(`${this.#name} failed ${failuresUntilOpen} times in a row`));
    }
    return Promise.resolve();
  }

  /** @throws ProviderFailure when nothing helped within the deadline; the signal's reason when the caller gave up. */
  async *run<T>(
    attempt: Attempt<T>,
    signal: AbortSignal,
    { restartable = false }: RunOptions = {},
  ): AsyncGenerator<T> {
    const endsAt = performance.now() + this.#config.deadlineSeconds * 1000;
    for (let round = 0; ; round++) {
      const failure = yield* this.#round(attempt, signal, endsAt, restartable);
      if (!failure) {
        return;
      }
      const askedFor = Math.max(failure.restSeconds * 1000, await this.#keys.untilUsable());
      // Timers may be a millisecond early, and a key is not used before its time.
      const waitMs = Math.ceil(Math.max(backoffMs(round), askedFor)) + 1;
      const tooLate = performance.now() + waitMs >= endsAt;
      if (failure.remedy === "nothing" || round >= this.#config.maxRetries || tooLate) {
        throw failure;
      }
      await sleep(waitMs, undefined, { signal });
    }
  }

  /** One attempt with every key that can be used, until one succeeds or another key would not help. */
  async *#round<T>(
    attempt: Attempt<T>,
    signal: AbortSignal,
    endsAt: number,
    restartable: boolean,
  ): AsyncGenerator<T, ProviderFailure | undefined> {
    let failure = new ProviderFailure("rate_limited");
    for (const key of await this.#keys.usable()) {
      let sent = false;
      try {
        for await (const item of this.#attempt(attempt, key, signal, endsAt)) {
          sent = true;
          yield item;
        }
        return undefined;
      } catch (error) {
        signal.throwIfAborted();
        failure = toFailure(error);
        this.#logger.warn(
          { provider: this.#name, outcome: failure.outcome, error: failure },
          "attempt failed",
        );
        if (sent && !restartable) {
          throw failure;
        }
        this.#keys.rest(key, failure.restSeconds);
        if (failure.remedy !== "next key") {
          return failure;
        }
        // Its rest is that key's alone: whether another is left decides how long to wait.
        failure = new ProviderFailure(failure.outcome, { cause: failure });
      }
    }
    return failure;
  }

  async *#attempt<T>(
    attempt: Attempt<T>,
    key: string,
    signal: AbortSignal,
    endsAt: number,
  ): AsyncGenerator<T> {
    const ended = await this.#enter();
    const limit = new AbortController();
    let flowing = false;
    const arm = () => {
      const silenceMs = this.#config.timeoutSeconds * 1000;
      const leftMs = endsAt - performance.now();
      return setTimeout(
        () => {
          const late = flowing && leftMs < silenceMs;
          limit.abort(late ? tooSlow() : new ProviderFailure("timeout"));
        },
        Math.min(silenceMs, leftMs),
      );
    };
    let outcome: Outcome = "cancelled";
    let timer = arm();
    const alive = () => {
      clearTimeout(timer);
      flowing = true;
      timer = arm();
    };
    try {
      for await (const item of attempt(key, AbortSignal.any([signal, limit.signal]), alive)) {
        // Time that the reader takes is not the provider's.
        clearTimeout(timer);
        flowing = true;
        yield item;
        timer = arm();
      }
      outcome = "ok";
      ended.resolve();
    } catch (error) {
      if (!signal.aborted) {
        const failure = toFailure(limit.signal.aborted ? limit.signal.reason : error);
        outcome = failure.outcome;
        ended.reject(failure);
        throw failure;
      }
      throw error;
    } finally {
      clearTimeout(timer);
      limit.abort();
      // A caller's giving up says nothing of the provider, and the breaker counts it neither way; but from the attempt that
      // decides, an error that is not the provider's is to it as good as a success, which it must not learn from a silence.
      ended.reject(ended.decides ? new ProviderFailure("cancelled") : new Error("the caller gave up"));
      this.#metrics.aiRequested(this.#name, outcome);
    }
  }

  /** The breaker and the span want a promise to watch: here is one, settled when the attempt has ended. */
  async #enter(): Promise<AttemptEnd> {
    // The breaker itself would have the others wait for the attempt that decides, beyond any deadline.
    if (this.#breaker.state === CircuitState.HalfOpen) {
      throw new ProviderFailure("circuit_open", { remedy: "nothing" });
    }
    return new Promise((resolve, reject) => {
      this.#breaker
        .execute(() =>
          traced(
            `${this.#name} request`,
            { kind: SpanKind.CLIENT },
            () =>
              new Promise<void>((succeeded, failed) => {
                const decides = this.#breaker.state === CircuitState.HalfOpen;
                resolve({ decides, resolve: succeeded, reject: failed });
              }),
          ),
        )
        .catch((error: unknown) => {
          // Once the attempt has begun this is its own failure come back, and the promise is settled long since.
          reject(new ProviderFailure("circuit_open", { remedy: "nothing", cause: error }));
        });
    });
  }
}

/** Exponential, with full jitter: callers that failed together do not come back together. */
function backoffMs(round: number): number {
  return Math.random() * Math.min(longestBackoffMs, firstBackoffMs * 2 ** round);
}
