/** Which generations of its passwords the dev stack has: kept beside its state, as an `up` makes its settings anew each time. */
import { join } from "node:path";
import { stateDirectory } from "./stack.ts";
import { readIfPresent, replaceFile } from "./system.ts";

export const rotated = ["postgres", "redis"] as const;
export type Rotated = (typeof rotated)[number];
/** Those that the server takes, the one that clients use first. */
export type Generations = readonly [number] | readonly [number, number];
export type AllGenerations = Readonly<Record<Rotated, Generations>>;

const file = (): string => join(stateDirectory(), "dev-passwords.json");

export async function passwordGenerations(): Promise<AllGenerations> {
  const kept = JSON.parse((await readIfPresent(file())) ?? "{}") as Partial<AllGenerations>;
  return { postgres: [1], redis: [1], ...kept };
}

export async function keepGenerations(generations: AllGenerations): Promise<void> {
  await replaceFile(file(), JSON.stringify(generations));
}

/** As settings of the stack. */
export async function passwordSettings(): Promise<Record<string, object>> {
  const { postgres, redis } = await passwordGenerations();
  return { "groundwork:postgres": { passwords: postgres }, "groundwork:redis": { passwords: redis } };
}

/** One step of a rotation: a new one beside the old, then the new one for clients, then the new one alone. */
export function next([first, second]: Generations): Generations {
  if (second === undefined) return [first, first + 1];
  return first < second ? [second, first] : [first];
}
