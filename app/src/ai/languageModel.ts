export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface CompletionOptions {
  /** Gives the call up; the promise or the iteration then rejects with the signal's reason. */
  signal?: AbortSignal;
  /**
   * What to do when no provider answers within the deadline. `stub`: answer from the built-in stub, marked degraded.
   * `fail`: reject with Unavailable, for jobs, which are tried again and then become dead letters. Either way an
   * answer that is withheld or too long is rejected with Unanswerable: a stand-in would be taken for one.
   */
  whenDown: "stub" | "fail";
}

export interface Completion {
  text: string;
  /** The model that answered; `stub` for the built-in one. */
  model: string;
  /** Whether a configured provider should have answered, and the stub did in its place. */
  degraded: boolean;
}

/** A piece of an answer as it is made; the last one carries the whole. */
export type CompletionPart = { delta: string } | { done: Completion };

/** Answers from a language model: the provider when one is configured and answers, else the built-in stub. */
export interface LanguageModel {
  complete(messages: readonly ChatMessage[], options: CompletionOptions): Promise<Completion>;
  stream(messages: readonly ChatMessage[], options: CompletionOptions): AsyncIterable<CompletionPart>;
}
