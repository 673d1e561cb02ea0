/** What the last `make up` was asked for (HA=1, LOGS=1), which commands that change a part of the stack leave as it is. */
import { join } from "node:path";
import { stateDirectory } from "./stack.ts";
import { readIfPresent, replaceFile } from "./system.ts";

const names = ["HA", "LOGS"] as const;

const path = (): string => join(stateDirectory(), "choices.json");

export async function keepChoices(): Promise<void> {
  const chosen = names.map((name) => [name, process.env[name] ?? ""]);
  await replaceFile(path(), JSON.stringify(Object.fromEntries(chosen)));
}

/** Puts them into the environment, where it does not say otherwise. */
export async function resumeChoices(): Promise<void> {
  const kept = JSON.parse((await readIfPresent(path())) ?? "{}") as Partial<Record<string, string>>;
  for (const name of names) process.env[name] ??= kept[name] ?? "";
}
