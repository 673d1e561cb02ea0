import express, { type Express } from "express";
import helmet from "helmet";
import type { Logger } from "pino";
import { type Admission, guard } from "../auth/guard.ts";
import { type Rule, rules as allRules } from "../auth/rules.ts";
import type { Tokens } from "../auth/tokens.ts";
import type { Config } from "../config/config.ts";
import type { Metrics } from "../observability/metrics.ts";
import { answerErrors } from "./errors.ts";
import { observeRequests } from "./observe.ts";
import { probeRoutes } from "./probes.ts";
import { notFound } from "./problem.ts";
import type { Readiness } from "./readiness.ts";

export interface AppArgs {
  config: Config;
  logger: Logger;
  metrics: Metrics;
  readiness: Readiness;
  tokens: Tokens;
  admit: Admission;
  /** The resources' routes, each by its whole path. */
  routes: express.Router[];
  /** Who may call which route. Default: the table in auth/rules.ts. */
  rules?: readonly Rule[];
}

/** The HTTP application. No CORS headers are sent: browsers of other origins are kept out. */
export function createApp({
  config,
  logger,
  metrics,
  readiness,
  tokens,
  admit,
  routes,
  rules = allRules,
}: AppArgs): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.set("trust proxy", config.trustedProxies);
  app.use(observeRequests(logger, metrics));
  // The edge alone sends these two: it knows the nonce and the public name.
  app.use(helmet({ contentSecurityPolicy: false, strictTransportSecurity: false }));
  app.use((_request, response, next) => {
    response.set("Cache-Control", "no-store");
    if (readiness.shuttingDown) {
      response.set("Connection", "close");
    }
    next();
  });
  app.use(guard(rules, tokens, admit));
  app.use(probeRoutes(readiness));
  app.use(express.json({ limit: `${config.bodyLimitKiB}kb`, strict: true }));
  for (const router of routes) {
    app.use(router);
  }
  app.use(() => {
    throw notFound();
  });
  app.use(answerErrors(logger));
  return app;
}
