import { z } from "zod";
import { checkAuth } from "./authVariables.ts";
import type { Role } from "../auth/rules.ts";
import type { DatabaseAddress, RedisAddress, SentinelAddress } from "./connections.ts";
import { type VariableName, variables } from "./variables.ts";

export interface DatabaseConfig extends DatabaseAddress {
  passwordFile: string | undefined;
  /** Authority that the server's certificate is checked against; undefined: the connection is not encrypted. */
  caFile: string | undefined;
  /** Connections kept open. */
  poolSize: number;
  /** Connections beyond `poolSize` that load may open. */
  poolOverflow: number;
  acquireTimeoutSeconds: number;
  statementTimeoutSeconds: number;
}

export interface RedisConfig extends RedisAddress {
  /** Where the primary's name is asked for; empty: `host` and `port` are it. */
  sentinels: SentinelAddress[];
  passwordFile: string | undefined;
  /** Authority that the server's certificate is checked against; undefined: those that the system trusts. */
  caFile: string | undefined;
}

export interface JwtConfig {
  keysFile: string | undefined;
  issuer: string;
  audience: string;
}

export interface LdapConfig {
  /** ldaps, or ldap, which is upgraded by StartTLS before anything else is said. */
  url: string;
  /** Certificates to trust instead of the system's. */
  caFile: string | undefined;
  /** Name of the tenant whose users the directory has: no other's can sign in through it. */
  tenant: string;
  /** Template of users' names, or where and by which filter to search for them. */
  user: { dn: string } | { base: string; filter: string };
  /** Who searches and reads groups: by default the user that signs in. */
  reader: { dn: string; passwordFile: string } | undefined;
  /** Group → role. */
  groupRoles: Record<string, Role>;
}

export interface OidcConfig {
  issuer: string;
  audience: string;
  /** Claim with the tenant's name. */
  tenantClaim: string;
  /** Claim with a role, or a list with one in it. */
  roleClaim: string;
}

export interface TracingConfig {
  /** Undefined while OTLP_TRACES_URL is missing: ids are made and handed on, no span is recorded. */
  url: string | undefined;
  /** Share of the traces that begin here, 0 to 1. */
  sampleRatio: number;
}

/** How an external API is called; the stub stands in where `url` is undefined. */
export interface ProviderConfig {
  url: string | undefined;
  keysFile: string | undefined;
  /** Longest silence of one attempt. */
  timeoutSeconds: number;
  maxRetries: number;
  /** All attempts together. */
  deadlineSeconds: number;
}

export interface LanguageModelConfig extends ProviderConfig {
  model: string;
  smallModel: string;
  /** Conversations up to this length in characters go to the small model. */
  smallModelCharacters: number;
  modeFile: string | undefined;
}

export interface SpeechConfig extends ProviderConfig {
  model: string;
}

export interface ChatConfig {
  answerTtlSeconds: number;
  speechTtlSeconds: number;
  sessionTtlSeconds: number;
  sessionTurns: number;
  resumeSeconds: number;
  heartbeatSeconds: number;
}

/** Both are shared by all replicas. */
export interface LimitsConfig {
  chatPerMinute: number;
  tenantPerMinute: number;
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
  /** While this file says `on`, people can sign in for a session cookie. */
  fallbackSignInFile: string | undefined;
  userSessionTtlSeconds: number;
  ldap: LdapConfig | undefined;
  oidc: OidcConfig | undefined;
  /** As browsers send them: scheme, host and port. */
  corsOrigins: string[];
  tracing: TracingConfig;
  ai: LanguageModelConfig;
  speech: SpeechConfig;
  chat: ChatConfig;
  limits: LimitsConfig;
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

const schema = z.object(variables).superRefine(checkAuth);
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
      caFile: env.DATABASE_CA_FILE,
      poolSize: env.DATABASE_POOL_SIZE,
      poolOverflow: env.DATABASE_POOL_OVERFLOW,
      acquireTimeoutSeconds: env.DATABASE_ACQUIRE_TIMEOUT_SECONDS,
      statementTimeoutSeconds: env.DATABASE_STATEMENT_TIMEOUT_SECONDS,
    },
    cache: env.REDIS_CACHE_URL && {
      ...env.REDIS_CACHE_URL,
      sentinels: [],
      passwordFile: env.REDIS_CACHE_PASSWORD_FILE,
      caFile: env.REDIS_CACHE_CA_FILE,
    },
    cacheTtlSeconds: env.CACHE_TTL_SECONDS,
    queue: env.REDIS_QUEUE_URL && {
      ...env.REDIS_QUEUE_URL,
      sentinels: env.REDIS_QUEUE_SENTINELS ?? [],
      passwordFile: env.REDIS_QUEUE_PASSWORD_FILE,
      caFile: env.REDIS_QUEUE_CA_FILE,
    },
    jwt: { keysFile: env.JWT_KEYS_FILE, issuer: env.JWT_ISSUER, audience: env.JWT_AUDIENCE },
    fieldKeysFile: env.FIELD_KEYS_FILE,
    fallbackSignInFile: env.FALLBACK_SIGN_IN_FILE,
    userSessionTtlSeconds: env.USER_SESSION_TTL_SECONDS,
    ldap: toLdapConfig(env),
    oidc:
      env.OIDC_ISSUER === undefined || env.OIDC_AUDIENCE === undefined
        ? undefined
        : {
            issuer: env.OIDC_ISSUER,
            audience: env.OIDC_AUDIENCE,
            tenantClaim: env.OIDC_TENANT_CLAIM,
            roleClaim: env.OIDC_ROLE_CLAIM,
          },
    corsOrigins: env.CORS_ORIGINS,
    tracing: { url: env.OTLP_TRACES_URL, sampleRatio: env.TRACE_SAMPLE_RATIO },
    ai: {
      url: env.AI_URL,
      keysFile: env.AI_KEYS_FILE,
      model: env.AI_MODEL,
      smallModel: env.AI_SMALL_MODEL,
      smallModelCharacters: env.AI_SMALL_MODEL_CHARACTERS,
      timeoutSeconds: env.AI_TIMEOUT_SECONDS,
      maxRetries: env.AI_MAX_RETRIES,
      deadlineSeconds: env.AI_DEADLINE_SECONDS,
      modeFile: env.AI_MODE_FILE,
    },
    speech: {
      url: env.SPEECH_URL,
      keysFile: env.SPEECH_KEYS_FILE,
      model: env.SPEECH_MODEL,
      timeoutSeconds: env.SPEECH_TIMEOUT_SECONDS,
      maxRetries: env.SPEECH_MAX_RETRIES,
      deadlineSeconds: env.SPEECH_DEADLINE_SECONDS,
    },
    chat: {
      answerTtlSeconds: env.AI_CACHE_TTL_SECONDS,
      speechTtlSeconds: env.SPEECH_CACHE_TTL_SECONDS,
      sessionTtlSeconds: env.SESSION_TTL_SECONDS,
      sessionTurns: env.SESSION_TURNS,
      resumeSeconds: env.CHAT_RESUME_SECONDS,
      heartbeatSeconds: env.CHAT_HEARTBEAT_SECONDS,
    },
    limits: { chatPerMinute: env.CHAT_LIMIT_PER_MINUTE, tenantPerMinute: env.TENANT_LIMIT_PER_MINUTE },
  };
}

function toLdapConfig(env: z.infer<typeof schema>): LdapConfig | undefined {
  const { LDAP_URL: url, LDAP_TENANT: tenant, LDAP_BIND_DN: dn, LDAP_BIND_PASSWORD_FILE: passwordFile } = env;
  if (url === undefined || tenant === undefined) {
    return undefined;
  }
  return {
    url,
    tenant,
    caFile: env.LDAP_CA_FILE,
    user:
      env.LDAP_SEARCH_BASE === undefined
        ? { dn: env.LDAP_USER_DN ?? "" }
        : { base: env.LDAP_SEARCH_BASE, filter: env.LDAP_SEARCH_FILTER },
    reader: dn === undefined || passwordFile === undefined ? undefined : { dn, passwordFile },
    groupRoles: env.LDAP_GROUP_ROLES ?? {},
  };
}
