import { z } from "zod";
import { type JobsConfig, toJobsConfig } from "./jobVariables.ts";
import { type DatabaseAddress, type RedisAddress, type VariableName, variables } from "./variables.ts";

export interface DatabaseConfig extends DatabaseAddress {
  passwordFile: string | undefined;
  /** Connections kept open. */
  poolSize: number;
  /** Connections beyond `poolSize` that load may open. */
  poolOverflow: number;
  acquireTimeoutSeconds: number;
  statementTimeoutSeconds: number;
}

export interface RedisConfig extends RedisAddress {
  passwordFile: string | undefined;
}

export interface JwtConfig {
  keysFile: string | undefined;
  issuer: string;
  audience: string;
}

export interface Config {
  environment: "development" | "test" | "production";
  logLevel: "debug" | "info" | "warn" | "error";
  port: number;
  metricsPort: number;
  trustedProxies: string[];
  bodyLimitKiB: number;
  shutdownDelaySeconds: number;
  /** Undefined while DATABASE_URL is missing: everything that needs it answers 503. */
  database: DatabaseConfig | undefined;
  /** Undefined while REDIS_CACHE_URL is missing: every read goes to Postgres. */
  cache: RedisConfig | undefined;
  cacheTtlSeconds: number;
  queue: RedisConfig | undefined;
  jwt: JwtConfig;
  /** Keys of the encrypted columns. */
  fieldKeysFile: string | undefined;
  jobs: JobsConfig;
}

/** One variable that is missing or malformed. Never carries the value: it may be a secret. */
export interface ConfigProblem {
  variable: VariableName;
  problem: "missing" | "malformed";
  purpose: string;
  detail: string;
}

export interface ConfigResult {
  /** Undefined when the service must not start. */
  config: Config | undefined;
  problems: ConfigProblem[];
}

const schema = z.object(variables);
const names = Object.keys(variables) as VariableName[];

export function purposeOf(name: VariableName): string {
  return variables[name].meta()?.description ?? "";
}

/**
 * Reads the environment once, whole. A malformed value is always fatal; a missing credential is so only under
 * REQUIRE_CREDENTIALS=true. `needed` limits the missing ones to what a command uses.
 */
export function readConfig(env: NodeJS.ProcessEnv, needed: readonly VariableName[] = names): ConfigResult {
  const values = Object.fromEntries(names.map((name) => [name, env[name]?.trim() || undefined]));
  const missing = needed
    .filter((name) => variables[name].meta()?.["credential"] === true && values[name] === undefined)
    .map((name) => problem(name, "missing", "not set"));
  const parsed = schema.safeParse(values);
  if (!parsed.success) {
    const malformed = parsed.error.issues.map((issue) =>
      problem(issue.path[0] as VariableName, "malformed", issue.message),
    );
    return { config: undefined, problems: [...malformed, ...missing] };
  }
  const fatal = parsed.data.REQUIRE_CREDENTIALS && missing.length > 0;
  return { config: fatal ? undefined : toConfig(parsed.data), problems: missing };
}

function problem(variable: VariableName, kind: ConfigProblem["problem"], detail: string): ConfigProblem {
  return { variable, problem: kind, purpose: purposeOf(variable), detail };
}

function toConfig(env: z.infer<typeof schema>): Config {
  return {
    environment: env.ENVIRONMENT,
    logLevel: env.LOG_LEVEL,
    port: env.PORT,
    metricsPort: env.METRICS_PORT,
    trustedProxies: env.TRUSTED_PROXIES,
    bodyLimitKiB: env.BODY_LIMIT_KIB,
    shutdownDelaySeconds: env.SHUTDOWN_DELAY_SECONDS,
    database: env.DATABASE_URL && {
      ...env.DATABASE_URL,
      passwordFile: env.DATABASE_PASSWORD_FILE,
      poolSize: env.DATABASE_POOL_SIZE,
      poolOverflow: env.DATABASE_POOL_OVERFLOW,
      acquireTimeoutSeconds: env.DATABASE_ACQUIRE_TIMEOUT_SECONDS,
      statementTimeoutSeconds: env.DATABASE_STATEMENT_TIMEOUT_SECONDS,
    },
    cache: env.REDIS_CACHE_URL && { ...env.REDIS_CACHE_URL, passwordFile: env.REDIS_CACHE_PASSWORD_FILE },
    cacheTtlSeconds: env.CACHE_TTL_SECONDS,
    queue: env.REDIS_QUEUE_URL && { ...env.REDIS_QUEUE_URL, passwordFile: env.REDIS_QUEUE_PASSWORD_FILE },
    jwt: { keysFile: env.JWT_KEYS_FILE, issuer: env.JWT_ISSUER, audience: env.JWT_AUDIENCE },
    fieldKeysFile: env.FIELD_KEYS_FILE,
    jobs: toJobsConfig(env),
  };
}
