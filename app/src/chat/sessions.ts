import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { z } from "zod";
import type { ChatMessage } from "../ai/languageModel.ts";
import type { Principal } from "../auth/tokens.ts";

const turn = z.object({ sessionId: z.uuid(), question: z.string(), answer: z.string() });
export type Turn = z.infer<typeof turn>;

/** Characters of an answer: what goes with every later question, and lies in a Redis that never evicts, is bounded. */
const longestRemembered = 8000;

/**
 * What a user's conversations said last, in the Redis that never evicts. Without it, each question stands alone: a
 * failure is logged and treated as an empty memory.
 */
export class Sessions {
  readonly #redis: Redis | undefined;
  readonly #ttlSeconds: number;
  readonly #turns: number;
  readonly #logger: Logger;

  constructor(redis: Redis | undefined, ttlSeconds: number, turns: number, logger: Logger) {
    this.#redis = redis;
    this.#ttlSeconds = ttlSeconds;
    this.#turns = turns;
    this.#logger = logger.child({ module: "chat" });
  }

  /** The session's turns as messages, oldest first. */
  async recall(principal: Principal, sessionId: string): Promise<ChatMessage[]> {
    try {
      const texts = (await this.#redis?.lrange(sessionKey(principal), 0, -1)) ?? [];
      return texts
        .map((text) => turn.parse(JSON.parse(text)))
        .filter((past) => past.sessionId === sessionId)
        .flatMap(({ question, answer }): ChatMessage[] => [
          { role: "user", content: question },
          { role: "assistant", content: answer },
        ]);
    } catch (error) {
      this.#logger.warn({ error }, "a session cannot be read, the question stands alone");
      return [];
    }
  }

  async remember(principal: Principal, { sessionId, question, answer }: Turn): Promise<void> {
    const key = sessionKey(principal);
    const said: Turn = { sessionId, question, answer: answer.slice(0, longestRemembered) };
    try {
      await this.#redis
        ?.multi()
        .rpush(key, JSON.stringify(said))
        .ltrim(key, -this.#turns, -1)
        .expire(key, this.#ttlSeconds)
        .exec();
    } catch (error) {
      this.#logger.warn({ error }, "a session cannot be written");
    }
  }
}

/** A subject is unique only within its tenant. */
function sessionKey({ tenantId, subject }: Principal): string {
  return `user_session:${tenantId}:${subject}`;
}
