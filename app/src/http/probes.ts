import { Router } from "express";
import type { Readiness } from "./readiness.ts";

/** Paths that orchestrators ask again and again: left out of metrics, and logged only when debugging. */
export const probePaths: readonly string[] = ["/health", "/api/health", "/ready"];

/** `/health` says that the process runs and touches nothing else; `/ready` says whether to send it traffic. */
export function probeRoutes(readiness: Readiness): Router {
  const router = Router();
  for (const path of ["/health", "/api/health"]) {
    router.get(path, (_request, response) => {
      response.json({ status: "ok" });
    });
  }
  router.get("/ready", async (_request, response) => {
    const report = await readiness.report();
    response.status(report.status === "ready" ? 200 : 503).json(report);
  });
  return router;
}
