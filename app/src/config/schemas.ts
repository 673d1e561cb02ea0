import { readFileSync } from "node:fs";
import { z } from "zod";

export function wholeNumber(least: number, most: number) {
  const message = `expected a whole number from ${least} to ${most}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, message)
    .transform(Number)
    .refine((value) => value >= least && value <= most, message);
}

export function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

export const secretFile = z
  .string()
  .refine(
    (path) => Boolean(readOrUndefined(path)?.trim()),
    "expected the path of a readable file that is not empty",
  );
