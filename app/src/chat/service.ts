import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { z } from "zod";
import { type ServiceLanguageModel, whole } from "../ai/createLanguageModel.ts";
import type { ChatMessage, Completion } from "../ai/languageModel.ts";
import { pieces } from "../ai/stub.ts";
import type { Principal } from "../auth/tokens.ts";
import type { Cache } from "../cache/cache.ts";
import { promptHash } from "../cache/promptHash.ts";
import { notFound, Unanswerable } from "../http/problem.ts";
import type { Metrics } from "../observability/metrics.ts";
import { Answer } from "./answer.ts";
import { type ChatEvent, interrupted, type Question, unanswerable } from "./chat.ts";
import type { EventLog } from "./eventLog.ts";
import type { AnswerRepository } from "./repository.ts";
import type { Sessions } from "./sessions.ts";

export const completion = z.object({ text: z.string(), model: z.string(), degraded: z.boolean() });

export interface ChatServiceArgs {
  languageModel: ServiceLanguageModel;
  cache: Cache<Completion>;
  sessions: Sessions;
  events: EventLog;
  answers: AnswerRepository;
  /** How long an answer goes on without a reader, and can be had after its end. */
  resumeSeconds: number;
  /** How long the language model may take, all attempts together. */
  deadlineSeconds: number;
  metrics: Metrics;
  logger: Logger;
}

/** Answers questions, whatever carries question and answer. An answer belongs to the user who asked. */
export class ChatService {
  readonly #args: ChatServiceArgs;
  readonly #logger: Logger;
  /** By user and id, until shortly after their end. */
  readonly #answers = new Map<string, Answer>();
  readonly #running = new Set<Promise<void>>();

  constructor(args: ChatServiceArgs) {
    this.#args = args;
    this.#logger = args.logger.child({ module: "chat" });
  }

  /** Begins an answer. It goes on by itself; read it from the beginning. */
  ask(principal: Principal, question: Question): Answer {
    const { events, resumeSeconds } = this.#args;
    const id = randomUUID();
    const key = answerKey(principal, id);
    const answer = new Answer(id, resumeSeconds * 1000, () => events.wanted(key));
    this.#answers.set(key, answer);
    const running = Promise.all([this.#run(principal, answer, question), events.mirror(key, answer)]).then(
      () => {
        this.#running.delete(running);
        setTimeout(() => this.#answers.delete(key), resumeSeconds * 1000).unref();
      },
    );
    this.#running.add(running);
    return answer;
  }

  /** The events of an answer after the one with this id. @throws 404 when this user has no such answer any more. */
  async resume(
    principal: Principal,
    answerId: string,
    after: number,
    signal: AbortSignal,
  ): Promise<AsyncIterable<ChatEvent>> {
    const key = answerKey(principal, answerId);
    const events =
      this.#answers.get(key)?.read(after, signal) ?? (await this.#args.events.open(key, after, signal));
    if (!events) {
      throw notFound();
    }
    return events;
  }

  /** @returns false for an answer that is made elsewhere: it ends for want of a reader. */
  cancel(principal: Principal, answerId: string): boolean {
    const answer = this.#answers.get(answerKey(principal, answerId));
    answer?.cancel();
    return answer !== undefined;
  }

  /** @throws 404 when this user has no such answer. */
  async setFeedback(principal: Principal, answerId: string, value: 1 | -1): Promise<void> {
    if (!(await this.#args.answers.setFeedback(principal, answerId, value))) {
      throw notFound();
    }
    this.#args.metrics.feedbackGiven(value);
  }

  /** Waits for the answers being made; those that take longer are cancelled. */
  async close(graceSeconds: number): Promise<void> {
    const waiting = new AbortController();
    const grace = sleep(graceSeconds * 1000, undefined, { signal: waiting.signal }).catch(() => undefined);
    await Promise.race([Promise.all(this.#running), grace]);
    waiting.abort();
    for (const answer of this.#answers.values()) {
      answer.cancel(interrupted);
    }
    await Promise.all(this.#running);
  }

  /** Never rejects: whatever goes wrong is the answer's last event. */
  async #run(principal: Principal, answer: Answer, { message, sessionId }: Question): Promise<void> {
    const { metrics, sessions } = this.#args;
    const session = sessionId ?? randomUUID();
    answer.append({ type: "start", data: { answerId: answer.id, sessionId: session } });
    try {
      const past = sessionId === undefined ? [] : await sessions.recall(principal, session);
      const { value, made } = await this.#answer(principal, answer, [
        ...past,
        { role: "user", content: message },
      ]);
      if (!made) {
        for (const text of pieces(value.text)) {
          answer.append({ type: "delta", data: { text } });
        }
      }
      const { text, model, degraded } = value;
      const finished = {
        id: answer.id,
        sessionId: session,
        question: message,
        answer: text,
        model,
        degraded,
      };
      await Promise.all([
        this.#save(principal, finished),
        // What the stub says in the model's place is nothing that later questions refer to.
        degraded || sessions.remember(principal, finished),
      ]);
      const cached = !made && !degraded;
      metrics.chatEnded(degraded ? "degraded" : cached ? "cached" : "ok");
      answer.append({ type: "done", data: { degraded, model, cached } });
    } catch (error) {
      if (error instanceof Unanswerable && !answer.signal.aborted) {
        metrics.chatEnded("unanswerable");
        answer.append(unanswerable(error));
        return;
      }
      metrics.chatEnded(answer.signal.aborted ? "cancelled" : "error");
      if (!answer.signal.aborted) {
        this.#logger.error({ error }, "answer cut off");
      }
      answer.append(answer.lastWord);
    }
  }

  async #answer(
    { tenantId }: Principal,
    answer: Answer,
    messages: ChatMessage[],
  ): Promise<{ value: Completion; made: boolean }> {
    const { cache, languageModel, deadlineSeconds } = this.#args;
    const { signal } = answer;
    const texts = messages.map(({ content }) => content);
    const hash = promptHash(tenantId, languageModel.modelFor(messages), texts);
    const make = async () => {
      const value = await whole(languageModel.stream(messages, { signal, whenDown: "stub" }), (text) => {
        answer.append({ type: "delta", data: { text } });
      });
      return { value, keep: !value.degraded };
    };
    return cache.getOrMake(hash, make, deadlineSeconds * 1000, signal);
  }

  /** A user who has the answer is not to lose it because it cannot be kept; feedback on it is then not possible. */
  async #save(principal: Principal, finished: Parameters<AnswerRepository["save"]>[1]): Promise<void> {
    try {
      await this.#args.answers.save(principal, finished);
    } catch (error) {
      this.#logger.error({ error }, "an answer was given but cannot be kept");
    }
  }
}

function answerKey({ tenantId, subject }: Principal, answerId: string): string {
  return `chat_events:${tenantId}:${subject}:${answerId}`;
}
