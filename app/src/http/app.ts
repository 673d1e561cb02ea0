import express, { type Express } from "express";
import helmet from "helmet";
import type { Logger } from "pino";
import { type Admission, guard } from "../auth/guard.ts";
import type { Refusals } from "../auth/refusals.ts";
import { type Rule, rules as allRules } from "../auth/rules.ts";
import type { Sessions } from "../auth/sessions.ts";
import type { Tokens } from "../auth/tokens.ts";
import type { Config } from "../config/settings.ts";
import type { Metrics } from "../observability/metrics.ts";
import { readBodies } from "./body.ts";
import { allowOrigins } from "./cors.ts";
import { answerErrors } from "./errors.ts";
import { observeRequests } from "./observe.ts";
import { json } from "./json.ts";
import { probeRoutes } from "./probes.ts";
import { notFound } from "./problem.ts";
import type { Readiness } from "./readiness.ts";

export interface AppArgs {
  config: Config;
  logger: Logger;
  metrics: Metrics;
  readiness: Readiness;
  tokens: Tokens;
  sessions: Sessions;
  refusals: Refusals;
  admit: Admission;
  /** The resources' routes, each by its whole path. */
  routes: express.Router[];
  /** Who may call which route. Default: the table in auth/rules.ts. */
  rules?: readonly Rule[];
}

/** The HTTP application. Without CORS_ORIGINS no CORS headers are sent: browsers keep other origins' pages out. */
export function createApp({
  config,
  logger,
  metrics,
  readiness,
  tokens,
  sessions,
  refusals,
  admit,
  routes,
  rules = allRules,
}: AppArgs): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.response.json = json;
  app.set("trust proxy", config.trustedProxies);
  app.use(observeRequests(logger, metrics));
  app.use(
    helmet({
      // The edge alone sends these two: it knows the nonce and the public name.
      contentSecurityPolicy: false,
      strictTransportSecurity: false,
      // For browsers and plug-ins that are gone, or pages of several origins, at a twentieth of a read's time.
      originAgentCluster: false,
      xDnsPrefetchControl: false,
      xDownloadOptions: false,
      xPermittedCrossDomainPolicies: false,
      xXssProtection: false,
    }),
  );
  app.use((_request, response, next) => {
    response.set("Cache-Control", "no-store");
    if (readiness.shuttingDown) {
      response.set("Connection", "close");
    }
    next();
  });
  if (config.corsOrigins.length > 0) {
    app.use(allowOrigins(config.corsOrigins));
  }
  app.use(guard(rules, { tokens, sessions, refusals, admit }));
  app.use(probeRoutes(readiness));
  app.use(readBodies(config.bodyLimitKiB));
  for (const router of routes) {
    app.use(router);
  }
  app.use(() => {
    throw notFound();
  });
  app.use(answerErrors(logger));
  return app;
}
