import { isOwn } from "./appContainer.ts";
import type { StackValues } from "./configSchema.ts";

/** What variables of the app may be at most, so that the edge lets through what they allow: its limits are in nginx.conf. */
export const largestVariables = {
  BODY_LIMIT_KIB: 1024,
  // Another replica may be waited for that fails, and then this one speaks.
  SPEECH_DEADLINE_SECONDS: 35,
  OCR_DEADLINE_SECONDS: 70,
  // One wait for a connection and one statement come together.
  DATABASE_ACQUIRE_TIMEOUT_SECONDS: 8,
  DATABASE_STATEMENT_TIMEOUT_SECONDS: 20,
} as const;

/** Variables of the app with which the edge would give up before the app does. Those of another container mean something else. */
export function variableProblems({ app }: Partial<StackValues>): string[] {
  if (!app || !isOwn(app.container)) return [];
  return Object.entries(largestVariables).flatMap(([name, largest]) => {
    const value = app.variables[name] ?? "0";
    // What is no number is not less than any.
    return Number(value) <= largest
      ? []
      : [
          `groundwork:app.variables.${name}: must be a number up to ${largest}, which the edge lets through (found ${value})`,
        ];
  });
}
