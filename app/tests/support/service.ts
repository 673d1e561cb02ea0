import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeyStore } from "../../src/auth/keyStore.ts";
import type { Role } from "../../src/auth/rules.ts";
import { Tokens } from "../../src/auth/tokens.ts";
import type { Config, DatabaseConfig, RedisConfig } from "../../src/config/settings.ts";
import type { JobsConfig } from "../../src/config/jobVariables.ts";
import { type Service, startService } from "../../src/service.ts";
import { capturedLogger, silentLogger } from "./logs.ts";
import { asSuperuser, databaseConfig, type PostgresAddress } from "./postgres.ts";

export const jwt = { issuer: "groundwork", audience: "groundwork-api" };

/** A key file with these key ids, the first of which signs. */
export async function writeKeyFile(ids: string[] = ["k1"], path?: string): Promise<string> {
  const file = path ?? join(await mkdtemp(join(tmpdir(), "groundwork-keys-")), "jwt-keys.json");
  const keys = Object.fromEntries(ids.map((id) => [id, randomBytes(32).toString("base64")]));
  await writeFile(file, JSON.stringify({ active: ids[0], keys }));
  return file;
}

/** Retries at once, and a schedule that does not come round while a test runs. */
export function testJobs(overrides: Partial<JobsConfig> = {}): JobsConfig {
  const limits = { concurrency: 4, perTenant: 4, timeLimitSeconds: 10 };
  return {
    limits: { collect: limits, summarize: limits, generate: limits },
    retries: 5,
    backoffSeconds: 0,
    feedsFile: undefined,
    schedules: { collection: "0 0 1 1 *", summaries: "0 0 1 1 *", "clean-up": "0 0 1 1 *" },
    timeZone: "Asia/Tokyo",
    graceSeconds: 5,
    ...overrides,
  };
}

export function testConfig(overrides: Partial<Config> = {}): Config {
  return {
    environment: "test",
    logLevel: "debug",
    port: 0,
    tlsFile: undefined,
    metricsPort: 0,
    trustedProxies: [],
    bodyLimitKiB: 640,
    shutdownDelaySeconds: 0,
    database: undefined,
    cache: undefined,
    cacheTtlSeconds: 60,
    queue: undefined,
    jwt: { keysFile: undefined, ...jwt },
    fieldKeysFile: undefined,
    fallbackSignInFile: undefined,
    noticeFile: undefined,
    probePasswordFile: undefined,
    userSessionTtlSeconds: 3600,
    ldap: undefined,
    oidc: undefined,
    corsOrigins: [],
    tracing: { url: undefined, sampleRatio: 0 },
    ai: {
      url: undefined,
      keysFile: undefined,
      model: "large",
      smallModel: "small",
      smallModelCharacters: 400,
      timeoutSeconds: 1,
      maxRetries: 1,
      deadlineSeconds: 5,
      modeFile: undefined,
    },
    speech: {
      url: undefined,
      keysFile: undefined,
      model: "voice",
      timeoutSeconds: 1,
      maxRetries: 1,
      deadlineSeconds: 5,
    },
    ocr: {
      url: undefined,
      keysFile: undefined,
      model: "eyes",
      timeoutSeconds: 1,
      maxRetries: 1,
      deadlineSeconds: 5,
    },
    chat: {
      answerTtlSeconds: 60,
      speechTtlSeconds: 60,
      sessionTtlSeconds: 60,
      sessionTurns: 10,
      resumeSeconds: 5,
      heartbeatSeconds: 15,
    },
    limits: { chatPerMinute: 1000, tenantPerMinute: 100_000 },
    jobs: testJobs(),
    ...overrides,
  };
}

/** A running service with a client that knows how to sign in. */
export interface TestService extends Service {
  config: Config;
  databaseConfig: DatabaseConfig & { passwordFile: string };
  logs: () => Record<string, unknown>[];
  url: string;
  token: (role: Role, tenantId: string) => Promise<string>;
  call: (method: string, path: string, options?: CallOptions) => Promise<Answer>;
  metricsText: () => Promise<string>;
}

export interface CallOptions {
  token?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Answer {
  status: number;
  headers: Headers;
  body: unknown;
}

export async function startTestService(
  postgres: PostgresAddress,
  databaseName: string,
  redis: RedisConfig | undefined,
  overrides: Partial<Config> = {},
): Promise<TestService> {
  const keysFile = overrides.jwt?.keysFile ?? (await writeKeyFile());
  const database = await databaseConfig(postgres, databaseName);
  const config = testConfig({
    database,
    cache: redis,
    queue: redis,
    jwt: { keysFile, ...jwt },
    fieldKeysFile: await writeKeyFile(),
    ...overrides,
  });
  const { logger, entries } = capturedLogger();
  const service = await startService(config, logger);
  const tokens = new Tokens(new KeyStore(keysFile, silentLogger), config.jwt);
  const url = `http://127.0.0.1:${service.port}`;
  return {
    ...service,
    config,
    databaseConfig: database,
    logs: entries,
    url,
    token: (role, tenantId) => tokens.sign({ subject: `user-${role}`, role, tenantId }),
    call: (method, path, options) => call(url + path, method, options),
    metricsText: async () => (await fetch(`http://127.0.0.1:${service.metricsPort}/metrics`)).text(),
  };
}

export async function call(url: string, method: string, options: CallOptions = {}): Promise<Answer> {
  const { token, body, headers } = options;
  const response = await fetch(url, {
    method,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json") ?? false;
  return {
    status: response.status,
    headers: response.headers,
    body: isJson && text ? (JSON.parse(text) as unknown) : text,
  };
}

/** A tenant that exists. */
export async function newTenant(postgres: PostgresAddress, database: string): Promise<string> {
  const id = randomUUID();
  await asSuperuser(postgres, database, (client) =>
    client.query("insert into tenants (id, name) values ($1, $2)", [id, `tenant ${id}`]),
  );
  return id;
}
