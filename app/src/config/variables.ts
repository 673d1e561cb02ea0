import { z } from "zod";
import { parseFieldKeyFile, parseKeyFile } from "../auth/keyFile.ts";
import { authVariables } from "./authVariables.ts";
import { chatVariables } from "./chatVariables.ts";
import { parseBundle } from "../http/servedCertificate.ts";
import { caFile, databaseUrl, redisUrl, sentinels } from "./connections.ts";
import {
  collectorUrl,
  credential,
  described,
  keyFile,
  originList,
  proxyList,
  ratio,
  secretFile,
  wholeNumber,
  yesOrNo,
} from "./forms.ts";
import { jobVariables } from "./jobVariables.ts";

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
  TLS_FILE: described(keyFile(parseBundle).optional(), {
    description:
      "File with the certificate chain and key that PORT serves TLS with, read again when it changes; without it the API is plain HTTP",
    example: "/run/secrets/groundwork/tls.pem",
  }),
  METRICS_PORT: described(wholeNumber(0, 65535).default(9464), {
    description: "Port of /metrics, kept apart so that it is never reachable through the edge",
  }),
  TRUSTED_PROXIES: described(proxyList.default([]), {
    description: "Proxies whose X-Forwarded-* headers are believed (comma-separated addresses or ranges)",
  }),
  BODY_LIMIT_KIB: described(wholeNumber(1, 10240).default(640), {
    description: "Largest request body in KiB; the longest document takes 600,000 bytes",
  }),
  SHUTDOWN_DELAY_SECONDS: described(wholeNumber(0, 300).default(5), {
    description:
      "Seconds between answering not ready and closing the listener, so that traffic has moved on by then",
  }),
  NOTICE_FILE: described(z.string().optional(), {
    description: "File with what users are told at /api/v2/notice; read again each second",
    example: "/etc/groundwork/switches/notice",
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
  DATABASE_CA_FILE: described(caFile.optional(), {
    description:
      "File with the authority that must have signed Postgres' certificate; without it the connection is not encrypted",
    example: "/run/secrets/groundwork/database-ca.crt",
  }),
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
  REDIS_CACHE_CA_FILE: described(caFile.optional(), {
    description:
      "File with the authority that must have signed the cache's certificate, where its URL is rediss://",
    example: "/run/secrets/groundwork/redis-cache-ca.crt",
  }),
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
  REDIS_QUEUE_SENTINELS: described(sentinels.optional(), {
    description:
      'Sentinels that name the queue\'s primary (host:port, comma-separated; they call it "queue", and take its user and password); without them it is the server in REDIS_QUEUE_URL',
    example: "redis-queue-0:26379,redis-queue-1:26379",
  }),
  REDIS_QUEUE_CA_FILE: described(caFile.optional(), {
    description:
      "File with the authority that must have signed the queue's certificate, where its URL is rediss://",
    example: "/run/secrets/groundwork/redis-queue-ca.crt",
  }),
  JWT_KEYS_FILE: credential(
    keyFile(parseKeyFile),
    "/run/secrets/groundwork/jwt-keys.json",
    "File with the keys that sign tokens, read again when it changes",
  ),
  FIELD_KEYS_FILE: credential(
    keyFile(parseFieldKeyFile),
    "/run/secrets/groundwork/field-keys.json",
    "File with the 32-byte keys that encrypt sensitive columns, read again when it changes",
  ),
  PROBE_PASSWORD_FILE: described(secretFile.optional(), {
    description:
      "File with the password of the user that the stack's prober signs in as; with it that user is kept in the tenant `probe`",
    example: "/run/secrets/groundwork/probe-password",
  }),
  JWT_ISSUER: described(z.string().default("groundwork"), { description: "Issuer that tokens must name" }),
  JWT_AUDIENCE: described(z.string().default("groundwork-api"), {
    description: "Audience that tokens must name",
  }),
  ...authVariables,
  CORS_ORIGINS: described(originList.default([]), {
    description: "Origins whose pages may call the API from a browser (comma-separated); none by default",
  }),
  OTLP_TRACES_URL: described(collectorUrl.optional(), {
    description: "Where spans are sent (OTLP over HTTP); without it none are recorded",
    example: "http://localhost:4318/v1/traces",
  }),
  TRACE_SAMPLE_RATIO: described(ratio.default(0.1), {
    description:
      "Share of new traces that is recorded, 0 to 1; whoever sends a traceparent has decided already",
  }),
  ...chatVariables,
  ...jobVariables,
};

export type VariableName = keyof typeof variables;
