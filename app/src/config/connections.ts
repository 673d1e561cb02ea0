import { X509Certificate } from "node:crypto";
import { z } from "zod";
import { parseUrl, readOrUndefined } from "./forms.ts";

/** Where a Postgres listens and who connects to which of its databases. */
export interface DatabaseAddress {
  host: string;
  port: number;
  user: string;
  database: string;
}

/** Where a Redis listens; `tls` comes from the scheme `rediss`. */
export interface RedisAddress {
  /** ACL user; undefined is the default user. */
  user: string | undefined;
  host: string;
  port: number;
  tls: boolean;
  databaseIndex: number;
}

/** Secrets reach the process as mounted files: a URL is configuration, and may be printed. */
export const databaseUrl = z.string().transform((value, context): DatabaseAddress => {
  const url = parseUrl(value);
  const database = url ? decodeURIComponent(url.pathname.slice(1)) : "";
  if (
    !url ||
    !["postgres:", "postgresql:"].includes(url.protocol) ||
    !url.hostname ||
    !url.username ||
    url.password ||
    url.search ||
    !/^[^/]+$/.test(database)
  ) {
    context.addIssue("expected postgres://user@host:port/database, the password in DATABASE_PASSWORD_FILE");
    return z.NEVER;
  }
  const user = decodeURIComponent(url.username);
  return { host: url.hostname, port: Number(url.port || 5432), user, database };
});

export function redisUrl(passwordVariable: string) {
  return z.string().transform((value, context): RedisAddress => {
    const url = parseUrl(value);
    if (
      !url ||
      !["redis:", "rediss:"].includes(url.protocol) ||
      !url.hostname ||
      url.password ||
      url.search ||
      !/^\/?\d{0,2}$/.test(url.pathname)
    ) {
      context.addIssue(
        `expected redis://user@host:port or rediss://user@host:port, the password in ${passwordVariable}`,
      );
      return z.NEVER;
    }
    return {
      user: decodeURIComponent(url.username) || undefined,
      host: url.hostname,
      port: Number(url.port || 6379),
      tls: url.protocol === "rediss:",
      databaseIndex: Number(url.pathname.slice(1)),
    };
  });
}

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
