import { z } from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { speechInput } from "../speech/routes.ts";
import { answerPath, eventData, feedbackInput, question } from "./chat.ts";

const eventStream = z.string().meta({
  description: [
    "Server-Sent Events, numbered from 1 within an answer; the data of each is JSON, and lines that begin with a " +
      "colon are signs of life.",
    "`start`: " + fields(eventData.start),
    "`delta`, the next piece of the text: " + fields(eventData.delta),
    "`done`, the last: " +
      fields(eventData.done) +
      ". `degraded`: the built-in stub answered in the model's place",
    "`error`, the last instead: " +
      fields(eventData.error) +
      ". `status` is 503 for an answer that was cut off: ask again; 422 for one that is withheld or too long: ask otherwise; 499 " +
      "for one that is no longer wanted",
  ].join("\n\n"),
});

const stream = {
  description: "The answer as it is made",
  content: { "text/event-stream": { schema: eventStream } },
};

export const paths: ZodOpenApiPathsObject = {
  "/api/v2/chat": {
    post: {
      summary: "Ask a question; the answer is streamed",
      description:
        "Who is cut off may take the answer up again for CHAT_RESUME_SECONDS; without a reader for so long it is " +
        "given up.\n\nAn answer that the provider's content filter withholds, or that is too long, ends with an `error` of status 422, " +
        "whatever of it came before: the same question would end so again, and the session remembers neither.",
      requestBody: { content: { "application/json": { schema: question } }, required: true },
      responses: { "200": stream },
    },
  },
  "/api/v2/chat/{answerId}/events": {
    get: {
      summary: "Take an answer up again, at any replica",
      requestParams: {
        path: answerPath,
        header: z.object({
          "last-event-id": z
            .string()
            .regex(/^\d{1,9}$/)
            .optional()
            .meta({ description: "Number of the last event that arrived; without it, from the beginning" }),
        }),
      },
      responses: { "200": stream },
    },
  },
  "/api/v2/chat/{answerId}/feedback": {
    post: {
      summary: "Judge an answer to one's own question; a later judgement replaces it",
      requestParams: { path: answerPath },
      requestBody: { content: { "application/json": { schema: feedbackInput } }, required: true },
      responses: { "204": { description: "Noted" } },
    },
  },
  "/api/v2/chat/ws": {
    get: {
      summary: "The same over a WebSocket",
      description: [
        "The token comes in the header Authorization or, within 5 s, in the first message, never in the URL. Browsers' " +
          "origins must be listed in CORS_ORIGINS.",
        'A client sends text frames of JSON: `{type: "auth", token}`, `{type: "ask", message, sessionId?}`, ' +
          '`{type: "resume", answerId, lastEventId?}`, `{type: "cancel"}`.',
        'It receives the events of `/api/v2/chat` as `{answerId, id, type, data}`, and `{type: "problem", data}` with ' +
          "problem details for a message that is refused. One answer is given at a time.",
        "Closed with 1008 when the token is missing or no longer valid, 1001 when the replica goes away.",
      ].join("\n\n"),
      responses: {
        "101": { description: "The WebSocket is open" },
        "426": { description: "The request asked for no WebSocket" },
      },
    },
  },
  "/api/v2/speech": {
    post: {
      summary: "Have a text spoken",
      requestBody: { content: { "application/json": { schema: speechInput } }, required: true },
      responses: {
        "200": {
          description: "The audio, as MP3 unless the provider gives another format; silence is WAV",
          headers: z.object({
            "X-Degraded": z.enum(["true", "false"]).meta({
              description:
                "true: silence, because the provider does not answer or withholds it, or the audio is too long",
            }),
          }),
          content: { "audio/*": { schema: z.string().meta({ format: "binary" }) } },
        },
      },
    },
  },
};

function fields({ shape }: z.ZodObject): string {
  return `{${Object.keys(shape).join(", ")}}`;
}
