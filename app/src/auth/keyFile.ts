import { z } from "zod";

/** The keys that sign and verify tokens, by key id, and which of them signs new ones. */
export interface SigningKeys {
  active: string;
  keys: ReadonlyMap<string, Uint8Array>;
}

/** HS256 is as strong as its key: RFC 7518 (3.2) asks for at least the hash's own length. */
const leastKeyBytes = 32;

/** AES-256, which encrypts the columns, takes keys of this size and no other. */
const fieldKeyBytes = 32;

function fileSchema(isLongEnough: (bytes: number) => boolean) {
  return z.strictObject({
    active: z.string().min(1),
    keys: z.record(
      z.string().regex(/^[\w.-]{1,64}$/),
      z.base64().refine((text) => isLongEnough(Buffer.from(text, "base64").length)),
    ),
  });
}

const signingKeys = fileSchema((bytes) => bytes >= leastKeyBytes);
const fieldKeys = fileSchema((bytes) => bytes === fieldKeyBytes);

/** The signing keys in the file's text, or what is wrong with it (never quoting it: it holds secrets). */
export function parseKeyFile(text: string): SigningKeys | string {
  return parse(signingKeys, `at least ${leastKeyBytes}`, text);
}

/** The same for the keys that encrypt columns. */
export function parseFieldKeyFile(text: string): SigningKeys | string {
  return parse(fieldKeys, `exactly ${fieldKeyBytes}`, text);
}

function parse(schema: typeof signingKeys, size: string, text: string): SigningKeys | string {
  const expected = `expected {"active":"<key id>","keys":{"<key id>":"<base64 of ${size} bytes>"}}`;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return `${expected}, found no JSON`;
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    return expected;
  }
  const { active, keys } = parsed.data;
  if (!Object.hasOwn(keys, active)) {
    return `${expected}: "active" names no key of the file`;
  }
  return {
    active,
    keys: new Map(Object.entries(keys).map(([id, key]) => [id, Buffer.from(key, "base64")])),
  };
}
