import type { Role } from "../auth/rules.ts";
import type { DatabaseAddress, RedisAddress, SentinelAddress } from "./connections.ts";
import type { JobsConfig } from "./jobVariables.ts";

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

export interface OcrConfig extends ProviderConfig {
  model: string;
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
  /** Certificate and key that the API is served with; undefined: it is plain HTTP. */
  tlsFile: string | undefined;
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
  /** What it says is what users are told. */
  noticeFile: string | undefined;
  /** Password of the user that the prober signs in as. */
  probePasswordFile: string | undefined;
  userSessionTtlSeconds: number;
  ldap: LdapConfig | undefined;
  oidc: OidcConfig | undefined;
  /** As browsers send them: scheme, host and port. */
  corsOrigins: string[];
  tracing: TracingConfig;
  ai: LanguageModelConfig;
  speech: SpeechConfig;
  ocr: OcrConfig;
  chat: ChatConfig;
  limits: LimitsConfig;
  jobs: JobsConfig;
}
