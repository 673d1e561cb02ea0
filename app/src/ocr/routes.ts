import { Router } from "express";
import { z } from "zod";
import { closedSignal } from "../chat/sse.ts";
import { invalid, validated } from "../http/problem.ts";
import type { Ocr } from "./ocr.ts";

export const ocrInput = z.strictObject({
  image: z
    .base64()
    .min(1)
    .meta({ description: "PNG, JPEG or WebP; no larger than BODY_LIMIT_KIB lets it be" }),
});

/** How files of each type begin. */
const beginnings: readonly [string, RegExp][] = [
  ["image/png", /^\x89PNG\r\n\x1a\n/],
  ["image/jpeg", /^\xff\xd8\xff/],
  ["image/webp", /^RIFF[^]{4}WEBP/],
];

export function ocrRoutes(ocr: Ocr): Router {
  const router = Router();
  router.post("/api/v2/ocr", async (request, response) => {
    const { image } = validated(ocrInput, request.body);
    const signal = closedSignal(response);
    const recognized = await ocr
      .recognize(`data:${typeOf(image)};base64,${image}`, signal)
      .catch((error: unknown) => {
        if (!signal.aborted) {
          throw error;
        }
      });
    if (recognized) {
      response.json(recognized);
    }
  });
  return router;
}

/** By what the file holds: the caller's word for it would be handed on to the provider unchecked. */
function typeOf(image: string): string {
  const start = Buffer.from(image.slice(0, 24), "base64").toString("latin1");
  const type = beginnings.find(([, beginning]) => beginning.test(start))?.[0];
  if (type === undefined) {
    throw invalid([{ field: "image", message: "must be a PNG, JPEG or WebP file" }]);
  }
  return type;
}
