import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";

/** Where one Sentinel answers. */
export interface SentinelAddress {
  host: string;
  port: number;
}

export const sentinels = z.string().transform((value, context): SentinelAddress[] =>
  value.split(",").map((entry) => {
    const [, host, port] = /^([a-z0-9.-]{1,253}):(\d{1,5})$/i.exec(entry.trim()) ?? [];
    if (host === undefined || Number(port) < 1 || Number(port) > 65535) {
      context.addIssue("expected host:port of each Sentinel, comma-separated");
      return z.NEVER;
    }
    return { host, port: Number(port) };
  }),
);

/** The text of a file; undefined when it cannot be read. */
export function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function isCertificate(text: string | undefined): boolean {
  try {
    return text !== undefined && new X509Certificate(text).ca;
  } catch {
    return false;
  }
}

export const caFile = z
  .string()
  .refine(
    (path) => isCertificate(readOrUndefined(path)),
    "expected the path of a readable PEM file with the certificate of an authority",
  );
