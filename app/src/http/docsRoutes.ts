import { Router } from "express";
import { openApiDocument } from "./openapi.ts";
import { toHtml } from "./reference.ts";

/** The API's reference: for programs at /api/openapi.json, for people at /api/docs. */
export function docsRoutes(): Router {
  const router = Router();
  let made: ReturnType<typeof openApiDocument> | undefined;
  const document = () => (made ??= openApiDocument());

  router.get("/api/openapi.json", (_request, response) => {
    response.json(document());
  });

  router.get("/api/docs", (request, response) => {
    response.type("html").send(toHtml(document(), request.get("x-csp-nonce") ?? ""));
  });

  return router;
}
