import { readFileSync } from "node:fs";
import { z } from "zod";

const feedUrl = z
  .string()
  .max(1000)
  .refine((value) => {
    const url = URL.parse(value);
    return (url?.protocol === "https:" || url?.protocol === "http:") && !url.username && !url.password;
  });

const feedsFile = z.record(z.string().min(1), z.array(feedUrl).max(200));

/**
 * Which feeds are collected for which tenant, by its name. Addresses come from here alone: were callers to name them,
 * they could have the worker reach into the network.
 * @throws when the file cannot be read or is malformed.
 */
export function readFeeds(path: string): ReadonlyMap<string, readonly string[]> {
  return new Map(Object.entries(feedsFile.parse(JSON.parse(readFileSync(path, "utf8")))));
}
