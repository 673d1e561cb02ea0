import { isIP } from "node:net";
import { z } from "zod";
import { parseKeyFile } from "../auth/keyFile.ts";
import { jobVariables } from "./jobVariables.ts";
import { readOrUndefined, secretFile, wholeNumber } from "./schemas.ts";

/** Where a Postgres listens and who connects to which of its databases. */
export interface DatabaseAddress {
  host: string;
  port: number;
  user: string;
  database: string;
}

/** Where a Redis listens; `tls` comes from the scheme `rediss`. */
export interface RedisAddress {
  host: string;
  port: number;
  tls: boolean;
  databaseIndex: number;
}

/** What a variable is for; `credential` marks those without which a part of the service stays switched off. */
interface VariableMeta {
  description: string;
  credential?: true;
  example?: string;
}

function yesOrNo() {
  return z.stringbool({ truthy: ["true"], falsy: ["false"], error: "expected true or false" });
}

function parseUrl(value: string): URL | undefined {
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

/** Secrets reach the process as mounted files: a URL is configuration, and may be printed. */
const databaseUrl = z.string().transform((value, context): DatabaseAddress => {
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

function redisUrl(passwordVariable: string) {
  return z.string().transform((value, context): RedisAddress => {
    const url = parseUrl(value);
    if (
      !url ||
      !["redis:", "rediss:"].includes(url.protocol) ||
      !url.hostname ||
      url.username ||
      url.password ||
      url.search ||
      !/^\/?\d{0,2}$/.test(url.pathname)
    ) {
      context.addIssue(
        `expected redis://host:port or rediss://host:port, the password in ${passwordVariable}`,
      );
      return z.NEVER;
    }
    return {
      host: url.hostname,
      port: Number(url.port || 6379),
      tls: url.protocol === "rediss:",
      databaseIndex: Number(url.pathname.slice(1)),
    };
  });
}

const keyFile = z.string().superRefine((path, context) => {
  const text = readOrUndefined(path);
  const keys = text === undefined ? "expected the path of a readable file" : parseKeyFile(text);
  if (typeof keys === "string") {
    context.addIssue(keys);
  }
});

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

const proxyList = z
  .string()
  .transform((value) => value.split(",").map((entry) => entry.trim()))
  .refine(
    (entries) => entries.every(isProxy),
    "expected addresses or ranges (10.0.0.0/8), loopback, linklocal or uniquelocal, comma-separated",
  );

function described<T extends z.ZodType>(schema: T, meta: VariableMeta): T {
  return schema.meta({ ...meta });
}

function credential<T extends z.ZodType>(schema: T, example: string, description: string) {
  return described(schema.optional(), { description, credential: true, example });
}

/** Every variable the service reads: its form, its default and what it is for. Nothing else reads the environment. */
export const variables = {
  ENVIRONMENT: described(z.enum(["development", "test", "production"]).default("production"), {
    description: "Kind of environment; only development hands out tokens from the command line",
    example: "development",
  }),
  LOG_LEVEL: described(z.enum(["debug", "info", "warn", "error"]).default("info"), {
    description: "Least severe log line that is written",
  }),
  REQUIRE_CREDENTIALS: described(yesOrNo().default(false), {
    description:
      "Refuse to start while a variable below is missing, instead of starting with that part switched off",
  }),
  PORT: described(wholeNumber(0, 65535).default(3000), {
    description: "Port of the API, /health and /ready",
  }),
  METRICS_PORT: described(wholeNumber(0, 65535).default(9464), {
    description: "Port of /metrics, kept apart so that it is never reachable through the edge",
  }),
  TRUSTED_PROXIES: described(proxyList.default([]), {
    description: "Proxies whose X-Forwarded-* headers are believed (comma-separated addresses or ranges)",
  }),
  BODY_LIMIT_KIB: described(wholeNumber(1, 10240).default(256), {
    description: "Largest request body in KiB",
  }),
  SHUTDOWN_DELAY_SECONDS: described(wholeNumber(0, 300).default(5), {
    description:
      "Seconds between answering not ready and closing the listener, so that traffic has moved on by then",
  }),
  DATABASE_URL: credential(
    databaseUrl,
    "postgres://app_user@localhost:5432/app",
    "Postgres: where documents are kept",
  ),
  DATABASE_PASSWORD_FILE: credential(
    secretFile,
    "/run/secrets/groundwork/database-password",
    "File with the Postgres password, read again for every new connection",
  ),
  DATABASE_POOL_SIZE: described(wholeNumber(1, 200).default(10), {
    description: "Postgres connections kept open",
  }),
  DATABASE_POOL_OVERFLOW: described(wholeNumber(0, 200).default(20), {
    description: "Postgres connections opened beyond those under load, and closed after use",
  }),
  DATABASE_ACQUIRE_TIMEOUT_SECONDS: described(wholeNumber(1, 60).default(2), {
    description: "Seconds to wait for a Postgres connection before answering 503",
  }),
  DATABASE_STATEMENT_TIMEOUT_SECONDS: described(wholeNumber(1, 300).default(5), {
    description: "Seconds after which Postgres gives a statement up",
  }),
  REDIS_CACHE_URL: credential(
    redisUrl("REDIS_CACHE_PASSWORD_FILE"),
    "redis://localhost:6379",
    "Redis that caches document reads and may be lost",
  ),
  REDIS_CACHE_PASSWORD_FILE: credential(
    secretFile,
    "/run/secrets/groundwork/redis-cache-password",
    "File with the cache's password, read again for every new connection",
  ),
  CACHE_TTL_SECONDS: described(wholeNumber(1, 86400).default(60), {
    description: "Seconds a document stays in the cache",
  }),
  REDIS_QUEUE_URL: credential(
    redisUrl("REDIS_QUEUE_PASSWORD_FILE"),
    "redis://localhost:6380",
    "Redis that keeps the job queue and never evicts",
  ),
  REDIS_QUEUE_PASSWORD_FILE: credential(
    secretFile,
    "/run/secrets/groundwork/redis-queue-password",
    "File with the queue's password, read again for every new connection",
  ),
  JWT_KEYS_FILE: credential(
    keyFile,
    "/run/secrets/groundwork/jwt-keys.json",
    "File with the keys that sign tokens, read again when it changes",
  ),
  FIELD_KEYS_FILE: credential(
    keyFile,
    "/run/secrets/groundwork/field-keys.json",
    "File with the 32-byte keys that encrypt sensitive columns, read again when it changes",
  ),
  JWT_ISSUER: described(z.string().default("groundwork"), { description: "Issuer that tokens must name" }),
  JWT_AUDIENCE: described(z.string().default("groundwork-api"), {
    description: "Audience that tokens must name",
  }),
  ...jobVariables,
};

export type VariableName = keyof typeof variables;
