/** How an attempt at an external API ended; the label of a metric. */
export type Outcome =
  | "ok"
  | "timeout"
  | "network"
  | "rate_limited"
  | "unauthorized"
  | "server_error"
  | "refused"
  | "too_long"
  | "too_slow"
  | "content_filtered"
  | "rubbish"
  | "cut_off"
  | "circuit_open"
  | "cancelled";

interface FailureOptions {
  /** What may help: another key at once, another try later, or nothing. Default: `later`. */
  remedy?: "next key" | "later" | "nothing";
  /** For how long the key should not be used. */
  restSeconds?: number;
  cause?: unknown;
}

/** An external API did not give what was asked of it. */
export class ProviderFailure extends Error {
  override readonly name = "ProviderFailure";
  readonly outcome: Outcome;
  readonly remedy: "next key" | "later" | "nothing";
  readonly restSeconds: number;

  constructor(outcome: Outcome, { remedy = "later", restSeconds = 0, cause }: FailureOptions = {}) {
    super(`the provider's outcome was ${outcome}`, { cause });
    this.outcome = outcome;
    this.remedy = remedy;
    this.restSeconds = restSeconds;
  }
}

/** Longer than is taken. What is asked for makes it so, and it would be as long again. */
export function tooLong(what: string): ProviderFailure {
  return new ProviderFailure("too_long", { remedy: "nothing", cause: new Error(what) });
}

/** Still coming at the deadline. What is asked for may make it so, or an API that is slow for a while. */
export function tooSlow(): ProviderFailure {
  return new ProviderFailure("too_slow", { remedy: "nothing" });
}

/** Withheld by the provider's filter, or declined by the model: it is about what was asked, and would be again. */
export function contentFiltered(cause?: unknown): ProviderFailure {
  return new ProviderFailure("content_filtered", { remedy: "nothing", cause });
}

/** A key that is refused may have been revoked by mistake, or not be active yet. */
const refusedKeyRestSeconds = 60;

/** Errors with a status are the API's answers; what is malformed shows as a SyntaxError, the rest is the network's. */
export function toFailure(error: unknown): ProviderFailure {
  if (error instanceof ProviderFailure) {
    return error;
  }
  const { status, headers, code } = (typeof error === "object" && error !== null ? error : {}) as {
    status?: unknown;
    headers?: unknown;
    code?: unknown;
  };
  // Azure OpenAI's word for a prompt that its filter does not let pass; within a stream it comes without a status.
  if (code === "content_filter") {
    return contentFiltered(error);
  }
  if (typeof status !== "number") {
    return new ProviderFailure(error instanceof SyntaxError ? "rubbish" : "network", { cause: error });
  }
  const restSeconds = headers instanceof Headers ? retryAfter(headers.get("retry-after")) : undefined;
  switch (status) {
    case 401:
    case 403:
      return new ProviderFailure("unauthorized", {
        remedy: "next key",
        restSeconds: refusedKeyRestSeconds,
        cause: error,
      });
    case 429:
      return new ProviderFailure("rate_limited", {
        remedy: "next key",
        restSeconds: restSeconds ?? 1,
        cause: error,
      });
    case 503:
      return new ProviderFailure("server_error", {
        remedy: "next key",
        restSeconds: restSeconds ?? 0,
        cause: error,
      });
    default:
      return status >= 500 || status === 408
        ? new ProviderFailure("server_error", { restSeconds: restSeconds ?? 0, cause: error })
        : new ProviderFailure("refused", { remedy: "nothing", cause: error });
  }
}

/** RFC 9110 (10.2.3): seconds, or a date. */
export function retryAfter(value: string | null, now = Date.now()): number | undefined {
  if (value === null) {
    return undefined;
  }
  const seconds = /^\d{1,9}$/.test(value) ? Number(value) : (Date.parse(value) - now) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}
