import type { Router } from "express";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { createLanguageModel } from "./ai/createLanguageModel.ts";
import { auditRoutes } from "./audit/routes.ts";
import { Directory } from "./auth/directory.ts";
import type { Admission } from "./auth/guard.ts";
import { fieldKeyStore, KeyStore } from "./auth/keyStore.ts";
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
import { type Chat, createChat } from "./chat/createChat.ts";
import type { Config } from "./config/settings.ts";
import { FieldCipher } from "./crypto/fieldCipher.ts";
import type { Database } from "./db/database.ts";
import { findTenant } from "./db/tenants.ts";
import { DocumentRepository } from "./documents/repository.ts";
import { documentRoutes } from "./documents/routes.ts";
import { SwitchFile } from "./files/switchFile.ts";
import { docsRoutes } from "./http/docsRoutes.ts";
import { noticeRoutes } from "./http/noticeRoutes.ts";
import { RateLimits } from "./http/rateLimit.ts";
import type { Dependency } from "./http/readiness.ts";
import { JobRepository } from "./jobs/repository.ts";
import { jobRoutes } from "./jobs/routes.ts";
import type { Metrics } from "./observability/metrics.ts";
import { createOcr } from "./ocr/ocr.ts";
import { ocrRoutes } from "./ocr/routes.ts";
import { createSpeech } from "./speech/speech.ts";
import { speechRoutes } from "./speech/routes.ts";
import { ProbeUser } from "./users/probeUser.ts";
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
  admit: Admission;
  chat: Chat;
  /** What the service does without while it is away, at a loss. */
  externalApis: Record<string, Dependency>;
  /** Undefined where nobody probes. */
  probeUser: ProbeUser | undefined;
  /** The resources' routes, each by its whole path. */
  routes: Router[];
}

/** Everything the API offers, wired together. */
export function createFeatures(foundations: Foundations): Features {
  const { config, logger, metrics, database, cacheRedis, queueRedis } = foundations;
  const oidc = config.oidc && new OidcIssuer(config.oidc, (name) => findTenant(database, name));
  const tokens = new VerifiedTokens(new KeyStore(config.jwt.keysFile, logger), config.jwt, oidc);
  const cipher = new FieldCipher(fieldKeyStore(config.fieldKeysFile, logger));
  const limits = new RateLimits(queueRedis, config.limits);
  const admit: Admission = async (principal, { limit }) => {
    metrics.userSeen(`${principal.tenantId}:${principal.subject}`);
    await limits.take(principal, limit);
  };

  const fallback = new SwitchFile(config.fallbackSignInFile, logger);
  const sessions = new Sessions(queueRedis, fallback, config.userSessionTtlSeconds);
  const refusals = new Refusals(database, metrics, logger);
  const users = new UserRepository(database, cipher);
  const passwords = new Passwords();
  const refreshTokens = new RefreshTokens(database, users, metrics);
  const signIn = new SignIn({
    database,
    users,
    passwords,
    refreshTokens,
    sessions,
    limit: new SignInLimit(queueRedis),
    directory: config.ldap && new Directory(config.ldap, logger),
    metrics,
    logger,
  });
  const cache = new DocumentCache(cacheRedis, config.cacheTtlSeconds, metrics, logger);

  const languageModel = createLanguageModel(config.ai, metrics, logger);
  const speech = createSpeech(config, cacheRedis, metrics, logger);
  const ocr = createOcr(config.ocr, metrics, logger);
  const stores = { cache: cacheRedis, queue: queueRedis, database, cipher };
  const chat = createChat({ config, ...stores, languageModel, tokens, refusals, admit, metrics, logger });

  const routes = [
    documentRoutes({ repository: new DocumentRepository(database), cache, metrics }),
    docsRoutes(),
    noticeRoutes(new SwitchFile(config.noticeFile, logger)),
    authRoutes({ database, signIn, tokens, refreshTokens, sessions, refusals, users }),
    userRoutes({ database, users, passwords, refreshTokens, sessions, refusals }),
    auditRoutes(database),
    chat.routes,
    jobRoutes(new JobRepository(database, cipher)),
    speechRoutes(speech),
    ocrRoutes(ocr),
  ];
  const externalApis = {
    ...(languageModel.check && { ai: { check: languageModel.check, optional: true } }),
    ...(speech.check && { speech: { check: speech.check, optional: true } }),
    ...(ocr.check && { ocr: { check: ocr.check, optional: true } }),
  };
  const passwordFile = config.probePasswordFile;
  const probeUser =
    passwordFile === undefined ? undefined : new ProbeUser({ database, users, passwords, passwordFile });
  return { tokens, sessions, refusals, admit, chat, externalApis, probeUser, routes };
}
