import { Router } from "express";
import { z } from "zod";
import { principalOf } from "../auth/guard.ts";
import { closedSignal } from "../chat/sse.ts";
import { validated } from "../http/problem.ts";
import { mostSpokenCharacters, type Speech } from "./speech.ts";

export const speechInput = z.strictObject({
  text: z.string().trim().min(1).max(mostSpokenCharacters),
  voice: z
    .string()
    .regex(/^[\w-]{1,64}$/, "expected a voice's name")
    .default("alloy"),
});

export function speechRoutes(speech: Speech): Router {
  const router = Router();
  router.post("/api/v2/speech", async (request, response) => {
    const { tenantId } = principalOf(request);
    const { text, voice } = validated(speechInput, request.body);
    const signal = closedSignal(response);
    const spoken = await speech.speak(tenantId, text, voice, signal).catch((error: unknown) => {
      if (!signal.aborted) {
        throw error;
      }
    });
    if (!spoken) {
      return;
    }
    const { audioBase64, contentType, degraded } = spoken;
    response
      .set({ "Content-Type": contentType, "X-Degraded": String(degraded) })
      .send(Buffer.from(audioBase64, "base64"));
  });
  return router;
}
