import type { LanguageModelConfig } from "../config/settings.ts";
import type { ChatMessage } from "./languageModel.ts";

/**
 * The rule by which a model is chosen: a conversation of no more characters than AI_SMALL_MODEL_CHARACTERS, all its
 * messages together, goes to the small model, a longer one to the large.
 */
export function chooseModel(
  messages: readonly ChatMessage[],
  {
    model,
    smallModel,
    smallModelCharacters,
  }: Pick<LanguageModelConfig, "model" | "smallModel" | "smallModelCharacters">,
): string {
  const characters = messages.reduce((sum, { content }) => sum + content.length, 0);
  return characters <= smallModelCharacters ? smallModel : model;
}
