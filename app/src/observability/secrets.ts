const censor = "[redacted]";

/** How keys end whose values are secrets: `refreshToken`, `x-api-key`, `Set-Cookie`, `db_password`. */
const secretEnds = "authorization|cookie|password|passwd|passphrase|token|secret|api[_-]?key|private[_-]?key";
const secretKey = new RegExp(`(?:${secretEnds})$`, "i");

/** Secrets that are known by their form, wherever they stand in a text. Bounded, so that no text makes them slow. */
const secretForms: readonly [RegExp, string][] = [
  // In JSON, and in JSON within JSON.
  [new RegExp(`("[\\w-]{0,40}(?:${secretEnds})"\\s*:\\s*)"(?:[^"\\\\]|\\\\.)*"`, "gi"), `$1"${censor}"`],
  [new RegExp(`(\\\\"[\\w-]{0,40}(?:${secretEnds})\\\\"\\s*:\\s*\\\\")[^"\\\\]*`, "gi"), `$1${censor}`],
  [/\b(bearer|basic)\s+[\w.~+/-]{8,}=*/gi, `$1 ${censor}`],
  // A JWT, or a JWE of an encrypted column.
  [/\beyJ[\w-]{5,4000}(?:\.[\w-]*){2,4}/g, censor],
  [/\bAGE-SECRET-KEY-[\w-]+/gi, censor],
  [/\b([a-z][a-z\d+.-]{0,20}:\/\/[^\s:/?#@"\\]{0,200}):[^\s/?#@"\\]{1,500}@/gi, `$1:${censor}@`],
  [new RegExp(`\\b([\\w-]{0,40}(?:${secretEnds}))=[^\\s&;,"\\\\]+`, "gi"), `$1=${censor}`],
  [/\bsk-[\w-]{16,}/g, censor],
];

/** One of these is in every form: most lines have none, and are spared the search for each form. */
const suspicious = new RegExp(`${secretEnds}|bearer|basic|eyJ|://|sk-`, "i");

/** The text with every secret that can be told by its form cut out; works on JSON as well. */
export function withoutSecrets(text: string): string {
  if (!suspicious.test(text)) {
    return text;
  }
  return secretForms.reduce((rest, [form, replacement]) => rest.replace(form, replacement), text);
}

/** A cycle, or a client of something with all its innards, must not fill the log. */
const deepest = 8;
const longestList = 100;

/** A copy fit for the log: secrets by their keys left out at any depth, errors described, cycles cut. */
export function loggable(value: unknown, depth = 0): unknown {
  if (typeof value === "bigint") {
    return value.toString();
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  if (value instanceof Error) {
    return describeError(value, depth);
  }
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? null : value.toISOString();
  }
  if (ArrayBuffer.isView(value)) {
    return `[${value.byteLength} bytes]`;
  }
  if (depth >= deepest) {
    return "[too deep]";
  }
  if (Array.isArray(value)) {
    return value.slice(0, longestList).map((item) => loggable(item, depth + 1));
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      key,
      secretKey.test(key) ? censor : loggable(member, depth + 1),
    ]),
  );
}

/** An error without its other fields: Postgres puts values of the row into `detail`. */
export function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) {
    return typeof error === "string" ? error : loggable(error, depth + 1);
  }
  const { code } = error as { code?: unknown };
  return {
    type: error.name,
    message: error.message,
    stack: error.stack,
    ...(typeof code === "string" && { code }),
    ...(error.cause !== undefined && depth < deepest && { cause: describeError(error.cause, depth + 1) }),
    // Connecting to a name with several addresses fails with one error for each, and no message of its own.
    ...(error instanceof AggregateError &&
      depth < deepest && {
        errors: error.errors.slice(0, 4).map((inner) => describeError(inner, depth + 1)),
      }),
  };
}
