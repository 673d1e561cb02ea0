import { z } from "zod";

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
