import { Router } from "express";
import { principalOf } from "../auth/guard.ts";
import { Problem, validated } from "../http/problem.ts";
import type { Metrics } from "../observability/metrics.ts";
import { answerPath, feedbackInput, lastEventId, question } from "./chat.ts";
import type { ChatService } from "./service.ts";
import { closedSignal, sendEvents } from "./sse.ts";
import { z } from "zod";

const resumeHeaders = z.object({ "last-event-id": lastEventId });

/** `/api/v2/chat`, except the WebSocket itself. */
export function chatRoutes(chat: ChatService, heartbeatSeconds: number, metrics: Metrics): Router {
  const router = Router();

  router.post("/api/v2/chat", async (request, response) => {
    const answer = chat.ask(principalOf(request), validated(question, request.body));
    const signal = closedSignal(response);
    await sendEvents(response, answer.read(0, signal), { heartbeatSeconds, metrics, signal });
  });

  router.get("/api/v2/chat/ws", () => {
    throw new Problem(426, { detail: "a WebSocket is spoken here", headers: { Upgrade: "websocket" } });
  });

  router.get("/api/v2/chat/:answerId/events", async (request, response) => {
    const { answerId } = validated(answerPath, request.params);
    const { "last-event-id": after } = validated(resumeHeaders, request.headers);
    const signal = closedSignal(response);
    const events = await chat.resume(principalOf(request), answerId, after, signal);
    await sendEvents(response, events, { heartbeatSeconds, metrics, signal });
  });

  router.post("/api/v2/chat/:answerId/feedback", async (request, response) => {
    const { answerId } = validated(answerPath, request.params);
    const { value } = validated(feedbackInput, request.body);
    await chat.setFeedback(principalOf(request), answerId, value);
    response.status(204).end();
  });

  return router;
}
