/** The files of keys that the app signs tokens and encrypts columns with. */
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { z } from "zod";

import { generationName, generations } from "./passwords.ts";
import type { SecretStore, StoredSecret } from "./secrets/secretStore.ts";

/** `groundwork:app.keys`. */
export const keysSchema = z
  .strictObject({
    signing: generations("keys that tokens are taken by, the one that signs new ones first"),
    fields: generations("keys that encrypted columns are read by, the one that encrypts first"),
  })
  .prefault({});

export interface Keys {
  readonly signing: StoredSecret;
  readonly fields: StoredSecret;
}

/** Makes the keys of these generations; `protect` refuses to make another in a key's place, and to take one out. */
export function keepKeys(
  secrets: SecretStore,
  { signing, fields }: z.output<typeof keysSchema>,
  protect: boolean,
): Keys {
  const file = (name: string, length: number, numbers: readonly number[]): pulumi.Output<string> => {
    const keys = numbers.map((number) => {
      const key = new random.RandomBytes(generationName(name, number), { length }, { protect });
      return [String(number), key.base64] as const;
    });
    return pulumi.jsonStringify({ active: String(numbers[0]), keys: Object.fromEntries(keys) });
  };
  return {
    signing: secrets.keep("jwt-keys", file("jwt-signing-key", 48, signing)),
    fields: secrets.keep("field-keys", file("field-key", 32, fields)),
  };
}
