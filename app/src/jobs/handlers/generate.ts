import type { LanguageModel } from "../../ai/languageModel.ts";
import type { Handler } from "./handler.ts";

/** Answers a prompt; the answer is the job's result. */
export function generate(model: LanguageModel): Handler<"generate"> {
  return async (_tenantId, { prompt }, signal) => {
    const answer = await model.complete([{ role: "user", content: prompt }], { signal, whenDown: "fail" });
    signal.throwIfAborted();
    return { effect: () => Promise.resolve(answer) };
  };
}
