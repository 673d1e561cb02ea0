import { z } from "zod";
import { ocrInput } from "./routes.ts";

export const paths = {
  "/api/v2/ocr": {
    post: {
      summary: "Have the text on a picture read",
      requestBody: { content: { "application/json": { schema: ocrInput } }, required: true },
      responses: {
        "200": {
          description: "The text",
          content: {
            "application/json": {
              schema: z.strictObject({
                text: z.string(),
                degraded: z.boolean().meta({
                  description:
                    "true: the picture was not read, because no provider answers, or its content filter withholds the text",
                }),
              }),
            },
          },
        },
      },
    },
  },
};
