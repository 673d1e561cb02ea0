import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { z } from "zod";

/** What a variable is for; `credential` marks those without which a part of the service stays switched off. */
interface VariableMeta {
  description: string;
  credential?: true;
  example?: string;
}

export function wholeNumber(least: number, most: number) {
  const message = `expected a whole number from ${least} to ${most}`;
  return z
    .string()
    .regex(/^\d{1,10}$/, message)
    .transform(Number)
    .refine((value) => value >= least && value <= most, message);
}

export function yesOrNo() {
  return z.stringbool({ truthy: ["true"], falsy: ["false"], error: "expected true or false" });
}

export function parseUrl(value: string): URL | undefined {
  try {
    const url = new URL(value);
    // So that decoding them later cannot fail.
    decodeURIComponent(url.pathname);
    decodeURIComponent(url.username);
    return url;
  } catch {
    return undefined;
  }
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

/** A file of keys in the form that `parse` reads. */
export function keyFile(parse: (text: string) => object | string) {
  return z.string().superRefine((path, context) => {
    const text = readOrUndefined(path);
    const keys = text === undefined ? "expected the path of a readable file" : parse(text);
    if (typeof keys === "string") {
      context.addIssue(keys);
    }
  });
}

function isProxy(entry: string): boolean {
  const [address = "", prefix, ...rest] = entry.split("/");
  const family = isIP(address);
  const bits = family === 6 ? 128 : 32;
  return (
    ["loopback", "linklocal", "uniquelocal"].includes(entry) ||
    (family > 0 &&
      rest.length === 0 &&
      (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) >= 1 && Number(prefix) <= bits)))
  );
}

export const proxyList = z
  .string()
  .transform((value) => value.split(",").map((entry) => entry.trim()))
  .refine(
    (entries) => entries.every(isProxy),
    "expected addresses or ranges (10.0.0.0/8), loopback, linklocal or uniquelocal, comma-separated",
  );

export function described<T extends z.ZodType>(schema: T, meta: VariableMeta): T {
  return schema.meta({ ...meta });
}

export function credential<T extends z.ZodType>(schema: T, example: string, description: string) {
  return described(schema.optional(), { description, credential: true, example });
}

const httpUrlMessage =
  "expected http://host/path or https://host/path, without user, password, query or fragment";

/** An external API's base URL, without a slash at the end. */
export const httpUrl = z.string().transform((value, context): string => {
  const url = parseUrl(value);
  if (
    !url ||
    !["http:", "https:"].includes(url.protocol) ||
    url.username ||
    url.password ||
    url.search ||
    url.hash
  ) {
    context.addIssue(httpUrlMessage);
    return z.NEVER;
  }
  return url.href.replace(/\/+$/, "");
});

/** A variable whose absence is an ordinary way to run, unlike a credential's. */
export function optional<T extends z.ZodType>(schema: T, example: string, description: string) {
  return described(schema.optional(), { description, example });
}

/** The URL, when it is one of these schemes and carries no user or password, which do not belong into configuration. */
function urlOf(value: string, schemes: readonly string[]): URL | undefined {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  return url && schemes.includes(url.protocol) && !url.username && !url.password ? url : undefined;
}

export const collectorUrl = z
  .string()
  .refine(
    (value) => urlOf(value, ["http:", "https:"]) !== undefined,
    "expected http(s)://host:port/v1/traces without user and password",
  );

/** Compared letter by letter with what a browser sends: an origin in any other form would never match. */
export const originList = z
  .string()
  .transform((value) => value.split(",").map((entry) => entry.trim()))
  .refine(
    (entries) => entries.every((entry) => urlOf(entry, ["https:"])?.origin === entry),
    "expected https://host or https://host:port, comma-separated, without path, wildcard or default port",
  );

export const ratio = z
  .string()
  .regex(/^(?:0(?:\.\d{1,6})?|1(?:\.0{1,6})?)$/, "expected a number from 0 to 1")
  .transform(Number);
