import type { Redis } from "ioredis";
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import type { LimitsConfig } from "../config/settings.ts";
import type { Principal } from "../auth/tokens.ts";
import { within } from "../deadline.ts";
import { Problem } from "./problem.ts";

/** Limits beyond the tenant's, as the rules name them. */
export type LimitName = "chat";

const windowSeconds = 60;
/** Counting must not hold requests up: a Redis that is slower is done without. */
const timeoutMs = 100;

/** Counts in Redis, for all replicas together; by itself, for this one, while Redis is away. */
class Limiter {
  readonly #shared: RateLimiterRedis | undefined;
  readonly #own: RateLimiterMemory;
  readonly #what: string;

  constructor(redis: Redis | undefined, keyPrefix: string, points: number, what: string) {
    const options = { keyPrefix, points, duration: windowSeconds };
    this.#shared =
      redis && new RateLimiterRedis({ ...options, storeClient: redis, rejectIfRedisNotReady: true });
    this.#own = new RateLimiterMemory(options);
    this.#what = what;
  }

  async take(key: string): Promise<void> {
    try {
      await this.#takeShared(key);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) {
        throw error;
      }
      throw new Problem(429, {
        detail: `too many requests of ${this.#what}`,
        headers: { "Retry-After": String(Math.max(1, Math.ceil(error.msBeforeNext / 1000))) },
      });
    }
  }

  async #takeShared(key: string): Promise<void> {
    try {
      if (this.#shared) {
        await within(timeoutMs, this.#shared.consume(key));
        return;
      }
    } catch (error) {
      if (error instanceof RateLimiterRes) {
        throw error;
      }
    }
    await this.#own.consume(key);
  }
}

/** How often callers may ask; the edge limits by address, this by who they are. */
export class RateLimits {
  readonly #tenant: Limiter;
  readonly #named: Record<LimitName, Limiter>;

  constructor(redis: Redis | undefined, { tenantPerMinute, chatPerMinute }: LimitsConfig) {
    this.#tenant = new Limiter(redis, "limit:tenant", tenantPerMinute, "this tenant");
    this.#named = { chat: new Limiter(redis, "limit:chat", chatPerMinute, "this user") };
  }

  /** The user's own limit comes first: who is beyond it takes nothing from the tenant. @throws a 429 problem. */
  async take({ tenantId, subject }: Principal, limit: LimitName | undefined): Promise<void> {
    if (limit) {
      await this.#named[limit].take(`${tenantId}:${subject}`);
    }
    await this.#tenant.take(tenantId);
  }
}
