import { z } from "zod";
import { checkAuth } from "./authVariables.ts";
import { toJobsConfig } from "./jobVariables.ts";
import type { Config, LdapConfig } from "./settings.ts";
import { type VariableName, variables } from "./variables.ts";

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
    tlsFile: env.TLS_FILE,
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
    noticeFile: env.NOTICE_FILE,
    probePasswordFile: env.PROBE_PASSWORD_FILE,
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
    ocr: {
      url: env.OCR_URL,
      keysFile: env.OCR_KEYS_FILE,
      model: env.OCR_MODEL,
      timeoutSeconds: env.OCR_TIMEOUT_SECONDS,
      maxRetries: env.OCR_MAX_RETRIES,
      deadlineSeconds: env.OCR_DEADLINE_SECONDS,
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
    jobs: toJobsConfig(env),
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
