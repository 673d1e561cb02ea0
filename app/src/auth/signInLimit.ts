import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import { Problem } from "../http/problem.ts";

/**
 * Failed sign-ins that one name of one tenant may have in the window. Attempts on many names are the edge's to limit,
 * by address. Anyone can use another's attempts up and so keep them from signing in: hence a window, and no lock that
 * an admin has to open.
 */
const limit = { points: 10, duration: 15 * 60, keyPrefix: "sign_in_failures" };

/** A 429 problem. */
export class TooManySignIns extends Problem {
  /** Whether it is the first of this name in the window. */
  readonly first: boolean;

  constructor({ consumedPoints, msBeforeNext }: RateLimiterRes) {
    super(429, {
      detail: "too many failed sign-ins, wait before the next",
      headers: { "Retry-After": String(Math.ceil(msBeforeNext / 1000)) },
    });
    this.first = consumedPoints === limit.points + 1;
  }
}

/** Counts in Redis for all replicas; while it is away, each replica counts for itself. */
export class SignInLimit {
  readonly #limiter: RateLimiterMemory | RateLimiterRedis;

  constructor(redis: Redis | undefined) {
    const memory = new RateLimiterMemory(limit);
    this.#limiter = redis
      ? new RateLimiterRedis({
          ...limit,
          storeClient: redis,
          insuranceLimiter: memory,
          rejectIfRedisNotReady: true,
        })
      : memory;
  }

  /**
   * Counts the attempt before it is made: counted after, attempts made at once would all get past.
   * @throws TooManySignIns.
   */
  async take(tenant: string, username: string): Promise<void> {
    try {
      await this.#limiter.consume(key(tenant, username));
    } catch (error) {
      throw error instanceof RateLimiterRes ? new TooManySignIns(error) : error;
    }
  }

  /** For an attempt that failed by no fault of the caller's. */
  async giveBack(tenant: string, username: string): Promise<void> {
    await this.#limiter.reward(key(tenant, username));
  }

  async forget(tenant: string, username: string): Promise<void> {
    await this.#limiter.delete(key(tenant, username));
  }
}

function key(tenant: string, username: string): string {
  return createHash("sha256").update(`${tenant}\u0000${username}`).digest("base64url");
}
