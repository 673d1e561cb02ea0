import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { Answer } from "./answer.ts";
import { type ChatEvent, chatEvent, interrupted, isLast } from "./chat.ts";

const pollMs = 250;

/**
 * The events of running and just finished answers in Redis, so that a reader who was cut off can go on at another
 * replica. Without Redis an answer can be taken up again only where it is made.
 */
export class EventLog {
  readonly #redis: Redis | undefined;
  readonly #resumeSeconds: number;
  readonly #logger: Logger;
  readonly #leaseMs: number;

  /** @param leaseMs how long the log of a running answer stays unless it is renewed: then its replica is gone. */
  constructor(redis: Redis | undefined, resumeSeconds: number, logger: Logger, leaseMs = 30_000) {
    this.#redis = redis;
    this.#resumeSeconds = resumeSeconds;
    this.#logger = logger.child({ module: "chat" });
    this.#leaseMs = leaseMs;
  }

  /** Writes the answer's events as they come, many at once when Redis is the slower one. Never rejects. */
  async mirror(key: string, answer: Answer): Promise<void> {
    const redis = this.#redis;
    if (!redis) {
      return;
    }
    const never = new AbortController().signal;
    // The answer may be silent for long, while it waits for the model or for another replica that asks the same.
    const renewal = setInterval(() => {
      redis.pexpire(key, this.#leaseMs).catch(() => undefined);
    }, this.#leaseMs / 3);
    try {
      for (let written = 0, ended = false; !ended;) {
        const events = answer.eventsAfter(written);
        const [first, ...rest] = events.map((event) => JSON.stringify(event));
        if (first === undefined) {
          await answer.changed(never);
          continue;
        }
        ended = events.some(isLast);
        // A log that was lost is not begun anew: an event's place in it is its id.
        const push = written === 0 ? "rpush" : "rpushx";
        const done = await redis
          .multi()
          [push](key, first, ...rest)
          .pexpire(key, ended ? this.#resumeSeconds * 1000 : this.#leaseMs)
          .exec();
        written += events.length;
        if (done?.[0]?.[1] !== written) {
          throw new Error("Redis has lost the events before");
        }
      }
    } catch (error) {
      this.#logger.warn({ error }, "an answer's events cannot be kept: it can only be resumed here");
      // Half a log would end in a wait for what never comes.
      await redis.del(key).catch(() => undefined);
    } finally {
      clearInterval(renewal);
    }
  }

  /** The events after the one with this id, from wherever the answer is made; undefined when there is none. */
  async open(
    key: string,
    after: number,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<ChatEvent> | undefined> {
    const redis = this.#redis;
    if (!redis || (await redis.exists(key).catch(() => 0)) === 0) {
      return undefined;
    }
    return this.#follow(redis, key, after, signal);
  }

  async *#follow(redis: Redis, key: string, after: number, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    let next = after;
    try {
      for (;;) {
        const [texts] = await Promise.all([
          redis.lrange(key, next, -1),
          redis.set(wantedKey(key), "1", "EX", this.#resumeSeconds),
        ]);
        for (const text of texts) {
          const event = chatEvent.parse(JSON.parse(text));
          next = event.id;
          yield event;
          if (isLast(event)) {
            return;
          }
        }
        if (texts.length === 0) {
          const [last] = await redis.lrange(key, -1, -1);
          if (last === undefined) {
            break;
          }
          if (isLast(chatEvent.parse(JSON.parse(last)))) {
            return;
          }
        }
        await sleep(pollMs, undefined, { signal });
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      this.#logger.warn({ error }, "an answer's events cannot be read");
    }
    yield { ...interrupted, id: next + 1 };
  }

  /** Whether somebody reads the answer at another replica. */
  async wanted(key: string): Promise<boolean> {
    try {
      return (await this.#redis?.exists(wantedKey(key))) === 1;
    } catch {
      return false;
    }
  }
}

function wantedKey(key: string): string {
  return `${key}:wanted`;
}
