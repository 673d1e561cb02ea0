import type { ChatMessage, Completion } from "./languageModel.ts";

export const stubModel = "stub";

/** The built-in answer: the same for the same question, so that tests and demonstrations can rely on it. */
export function stubCompletion(messages: readonly ChatMessage[], degraded: boolean): Completion {
  const question = messages.findLast(({ role }) => role === "user")?.content ?? "";
  const text = degraded
    ? "The language model cannot be reached at the moment. Please ask again later."
    : `This is the built-in answer; no language model is configured. You asked: ${question}`;
  return { text, model: stubModel, degraded };
}

/** A text in pieces of about a word each, as a model would give it. */
export function pieces(text: string): string[] {
  return text.match(/\s*\S{1,40}|\s+$/gu) ?? [];
}
