import type { Router } from "express";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { auditRoutes } from "./audit/routes.ts";
import { Directory } from "./auth/directory.ts";
import { FallbackSwitch } from "./auth/fallbackSwitch.ts";
import { KeyStore } from "./auth/keyStore.ts";
import { OidcIssuer } from "./auth/oidc.ts";
import { Passwords } from "./auth/passwords.ts";
import { RefreshTokens } from "./auth/refreshTokens.ts";
import { Refusals } from "./auth/refusals.ts";
import { authRoutes } from "./auth/routes.ts";
import { Sessions } from "./auth/sessions.ts";
import { SignIn } from "./auth/signIn.ts";
import { SignInLimit } from "./auth/signInLimit.ts";
import type { Tokens } from "./auth/tokens.ts";
import { VerifiedTokens } from "./auth/verifiedTokens.ts";
import { DocumentCache } from "./cache/documentCache.ts";
import type { Config } from "./config/config.ts";
import { FieldCipher } from "./crypto/fieldCipher.ts";
import type { Database } from "./db/database.ts";
import { findTenant } from "./db/tenants.ts";
import { DocumentRepository } from "./documents/repository.ts";
import { documentRoutes } from "./documents/routes.ts";
import { docsRoutes } from "./http/docsRoutes.ts";
import type { Metrics } from "./observability/metrics.ts";
import { UserRepository } from "./users/repository.ts";
import { userRoutes } from "./users/routes.ts";

/** What the features stand on. A Redis is undefined while it is not configured. */
export interface Foundations {
  config: Config;
  logger: Logger;
  metrics: Metrics;
  database: Database;
  cacheRedis: Redis | undefined;
  queueRedis: Redis | undefined;
}

export interface Features {
  tokens: Tokens;
  sessions: Sessions;
  refusals: Refusals;
  /** The resources' routes, each by its whole path. */
  routes: Router[];
}

/** Everything the API offers, wired together. */
export function createFeatures(foundations: Foundations): Features {
  const { config, logger, metrics, database, cacheRedis, queueRedis } = foundations;
  const oidc = config.oidc && new OidcIssuer(config.oidc, (name) => findTenant(database, name));
  const tokens = new VerifiedTokens(new KeyStore(config.jwt.keysFile, logger), config.jwt, oidc);
  const cipher = new FieldCipher(new KeyStore(config.fieldKeysFile, logger));

  const fallback = new FallbackSwitch(config.fallbackSignInFile, logger);
  const sessions = new Sessions(queueRedis, fallback, config.userSessionTtlSeconds);
  const refusals = new Refusals(database, metrics, logger);
  const users = new UserRepository(database, cipher);
  const passwords = new Passwords();
  const refreshTokens = new RefreshTokens(database, users, metrics);
  const signIn = new SignIn({
    database,
    users,
    passwords,
    limit: new SignInLimit(queueRedis),
    directory: config.ldap && new Directory(config.ldap, logger),
    metrics,
    logger,
  });
  const cache = new DocumentCache(cacheRedis, config.cacheTtlSeconds, metrics, logger);

  const routes = [
    docsRoutes(),
    documentRoutes({ repository: new DocumentRepository(database), cache, metrics }),
    authRoutes({ signIn, tokens, refreshTokens, sessions, refusals, users }),
    userRoutes({ database, users, passwords, refreshTokens, sessions }),
    auditRoutes(database),
  ];
  return { tokens, sessions, refusals, routes };
}
