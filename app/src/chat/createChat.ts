import type { Router } from "express";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { ServiceLanguageModel } from "../ai/createLanguageModel.ts";
import type { Admission } from "../auth/guard.ts";
import type { Refusals } from "../auth/refusals.ts";
import type { Tokens } from "../auth/tokens.ts";
import { Cache } from "../cache/cache.ts";
import type { Config } from "../config/settings.ts";
import type { FieldCipher } from "../crypto/fieldCipher.ts";
import type { Database } from "../db/database.ts";
import type { Metrics } from "../observability/metrics.ts";
import { EventLog } from "./eventLog.ts";
import { AnswerRepository } from "./repository.ts";
import { chatRoutes } from "./routes.ts";
import { ChatService, completion } from "./service.ts";
import { Sessions } from "./sessions.ts";
import { ChatSockets } from "./sockets.ts";

export interface ChatArgs {
  config: Config;
  /** Answers that were given before; may be lost. */
  cache: Redis | undefined;
  /** Conversations and running answers; never evicts. */
  queue: Redis | undefined;
  database: Database;
  cipher: FieldCipher;
  languageModel: ServiceLanguageModel;
  tokens: Tokens;
  refusals: Refusals;
  admit: Admission;
  metrics: Metrics;
  logger: Logger;
}

export interface Chat {
  service: ChatService;
  routes: Router;
  sockets: ChatSockets;
}

/** Wires chat together: one service, spoken to by Server-Sent Events and by WebSocket. */
export function createChat(args: ChatArgs): Chat {
  const { config, cache, queue, database, cipher, languageModel, tokens, refusals, admit, metrics, logger } =
    args;
  const { answerTtlSeconds, sessionTtlSeconds, sessionTurns, resumeSeconds, heartbeatSeconds } = config.chat;
  const service = new ChatService({
    languageModel,
    cache: new Cache({
      family: "ai_cache",
      schema: completion,
      redis: cache,
      ttlSeconds: answerTtlSeconds,
      metrics,
      logger,
    }),
    sessions: new Sessions(queue, sessionTtlSeconds, sessionTurns, logger),
    events: new EventLog(queue, resumeSeconds, logger),
    answers: new AnswerRepository(database, cipher),
    resumeSeconds,
    deadlineSeconds: config.ai.deadlineSeconds,
    metrics,
    logger,
  });
  const sockets = new ChatSockets({
    chat: service,
    tokens,
    refusals,
    admit,
    allowedOrigins: config.corsOrigins,
    heartbeatSeconds,
    metrics,
    logger,
  });
  return { service, routes: chatRoutes(service, heartbeatSeconds, metrics), sockets };
}
