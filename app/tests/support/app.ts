import type { Express, Router } from "express";
import type { Tokens } from "../../src/auth/tokens.ts";
import { Database } from "../../src/db/database.ts";
import { createFeatures } from "../../src/features.ts";
import { createApp } from "../../src/http/app.ts";
import { type Dependency, Readiness } from "../../src/http/readiness.ts";
import { Metrics } from "../../src/observability/metrics.ts";
import { silentLogger as logger } from "./logs.ts";
import { testConfig, writeKeyFile, jwt } from "./service.ts";

interface AppWithout {
  app: Express;
  tokens: Tokens;
  metrics: Metrics;
}

/** The application without a database or a Redis, for what can be asked of it without. */
export async function appWithout(
  options: { dependencies?: Record<string, Dependency>; extraRoutes?: Router[] } = {},
): Promise<AppWithout> {
  const { dependencies = {}, extraRoutes = [] } = options;
  const config = testConfig({ jwt: { keysFile: await writeKeyFile(), ...jwt } });
  const metrics = new Metrics();
  const database = new Database(undefined, logger);
  const features = createFeatures({
    config,
    logger,
    metrics,
    database,
    cacheRedis: undefined,
    queueRedis: undefined,
  });
  const readiness = new Readiness(dependencies, logger);
  const routes = [...features.routes, ...extraRoutes];
  const app = createApp({ config, logger, metrics, readiness, ...features, routes });
  return { app, tokens: features.tokens, metrics };
}
