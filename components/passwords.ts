import { z } from "zod";

import type { StoredSecret } from "./secrets/secretStore.ts";

/** What a client signs in by, as it is mounted. */
export interface Password extends StoredSecret {
  /** End of its file's name. It changes with the password, so that who reads the file of before is not given another. */
  readonly suffix?: string;
  /** What the server takes besides. */
  readonly other?: Password;
}

/** The first one has the name that the secret had before it was ever changed. */
export const generationName = (name: string, number: number): string =>
  number === 1 ? name : `${name}-${number}`;

/**
 * The passwords of one account that the server takes, by their generations; the one that clients use is given, with the other
 * one in it. Odd and even ones take turns in the two places that the server has. `keep` makes one, or finds it, by its name.
 */
export function rotatedPassword(
  keep: (name: string, generation: number) => StoredSecret,
  name: string,
  [first, second]: readonly number[] = [1],
): Password {
  const generation = (number: number): Password => ({
    ...keep(generationName(name, number), number),
    suffix: number % 2 === 0 ? "-2" : "",
  });
  if (first === undefined) throw new Error(`${name} has no generation`);
  return { ...generation(first), ...(second !== undefined && { other: generation(second) }) };
}

/** File name → secret, of every password that the server takes. */
export function passwordFiles(file: string, password: Password): Record<string, StoredSecret> {
  const { suffix = "", other, ...secret } = password;
  return { [`${file}${suffix}`]: secret, ...(other && passwordFiles(file, other)) };
}

/** Which generations of a secret are valid, the one in use first. A rotation makes four settings of it, each with an `up`. */
export const generations = (what: string) =>
  z
    .array(z.int().min(1))
    .min(1)
    .max(2)
    .refine(
      ([first = 0, second]) => second === undefined || Math.abs(first - second) === 1,
      "must be one generation, or two that follow each other",
    )
    .default([1])
    .describe(`${what}; a rotation goes from [1] by [1, 2] and [2, 1] to [2], with an \`up\` at each`);

/** `passwords` of `groundwork:postgres` and `groundwork:redis`. */
export const passwordGenerations = generations(
  "generations of the passwords that the server takes, the one that clients use first",
);
