import type { ChatMessage, Completion, LanguageModel } from "./languageModel.ts";

/** A model that makes no request: the same question always has the same short answer. */
export const stubModel: LanguageModel = {
  complete: (messages) => Promise.resolve(answer(messages)),
  async *stream(messages) {
    const done = await Promise.resolve(answer(messages));
    yield { delta: done.text };
    yield { done };
  },
};

function answer(messages: readonly ChatMessage[]): Completion {
  const asked = messages.findLast(({ role }) => role === "user")?.content ?? "";
  return { text: `Stub answer to: ${asked.slice(0, 200).toWellFormed()}`, model: "stub", degraded: false };
}
