import cors from "cors";
import { type RequestHandler, Router } from "express";

/**
 * Lets the pages of these origins call the API from a browser: with bearer tokens, never with cookies. Stands before
 * the guard: a preflight carries no token.
 */
export function allowOrigins(origins: readonly string[]): RequestHandler {
  const allow = cors({
    origin: [...origins],
    credentials: false,
    methods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
    allowedHeaders: [
      "Authorization",
      "Content-Type",
      "Idempotency-Key",
      "If-Match",
      "If-None-Match",
      "Last-Event-ID",
      "Traceparent",
      "X-Request-Id",
    ],
    exposedHeaders: ["ETag", "Location", "Retry-After", "X-Degraded", "X-Request-Id"],
    maxAge: 600,
  });
  const router = Router();
  router.use((request, response, next) => {
    // An OPTIONS request that is no preflight is one like any other.
    if (request.method === "OPTIONS" && request.get("access-control-request-method") === undefined) {
      next();
      return;
    }
    allow(request, response, next);
  });
  return router;
}
