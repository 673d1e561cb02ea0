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

/** Form of the file, as text. */
export const keyFile = z
  .string()
  .refine(isKeyFile, 'must be {"active":"1","keys":{"1":"<32 bytes in base64>"}}');

/**
 * Makes the keys of these generations; `protect` refuses to make another in a key's place, and to take one out. Passwords of
 * base64's letters: the id of random bytes is those bytes, and an id lies in the state as plain text
 * (https://github.com/pulumi/pulumi/issues/8946). Fields are encrypted with `givenFields` where another stack's data is read.
 */
export function keepKeys(
  secrets: SecretStore,
  { signing, fields }: z.output<typeof keysSchema>,
  protect: boolean,
  givenFields?: pulumi.Input<string>,
): Keys {
  const file = (name: string, bytes: number, numbers: readonly number[]): pulumi.Output<string> => {
    const length = Math.ceil((bytes * 8) / 6);
    const keys = numbers.map((number) => {
      const key = new random.RandomPassword(
        generationName(name, number),
        { length, overrideSpecial: "+/" },
        { protect },
      );
      return [String(number), key.result.apply(padded)] as const;
    });
    return pulumi.jsonStringify({ active: String(numbers[0]), keys: Object.fromEntries(keys) });
  };
  return {
    signing: secrets.keep("jwt-keys", file("jwt-signing-key", 48, signing)),
    fields: secrets.keep("field-keys", givenFields ?? file("field-key", 32, fields)),
  };
}

/** As base64 is written: padded, and without bits that belong to no byte. */
function padded(letters: string): string {
  return Buffer.from(letters, "base64").toString("base64");
}

const keyFileShape = z.strictObject({
  active: z.string(),
  keys: z.record(z.string(), z.base64().length(44)),
});

function isKeyFile(text: string): boolean {
  try {
    const { active, keys } = keyFileShape.parse(JSON.parse(text));
    return active in keys;
  } catch {
    return false;
  }
}
