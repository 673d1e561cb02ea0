import { Router } from "express";
import type { SwitchFile } from "../files/switchFile.ts";

/** What everybody who uses the service is to be told, as whoever runs it has written it. */
export function noticeRoutes(file: SwitchFile): Router {
  const router = Router();
  router.get("/api/v2/notice", async (_request, response) => {
    const notice = await file.current();
    response.json({ notice: notice === "" ? null : notice });
  });
  return router;
}
