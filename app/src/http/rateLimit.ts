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

/** What was taken from the count at once, to be spent here without asking again. */
interface Lease {
  left: number;
  /** When the window ends that it was taken from. */
  readonly until: number;
}

const mostLeases = 10_000;

/**
 * Counts in Redis, for all replicas together; by itself, for this one, while Redis is away. A thousandth of the limit is
 * taken at once: of a limit of thousands, asking Redis for each request would cost more than most requests do. What
 * another replica holds and does not spend is lost to the rest, so that a caller gets at worst so much less.
 */
class Limiter {
  readonly #shared: RateLimiterRedis | undefined;
  readonly #own: RateLimiterMemory;
  readonly #what: string;
  readonly #block: number;
  readonly #leases = new Map<string, Promise<Lease>>();

  constructor(redis: Redis | undefined, keyPrefix: string, points: number, what: string) {
    const options = { keyPrefix, points, duration: windowSeconds };
    this.#shared =
      redis && new RateLimiterRedis({ ...options, storeClient: redis, rejectIfRedisNotReady: true });
    this.#own = new RateLimiterMemory(options);
    this.#what = what;
    this.#block = Math.max(1, Math.floor(points / 1000));
  }

  async take(key: string): Promise<void> {
    for (;;) {
      const taken = this.#leases.get(key) ?? this.#take(key);
      const lease = await taken;
      if (lease.left > 0 && Date.now() < lease.until) {
        lease.left -= 1;
        return;
      }
      this.#drop(key, taken);
    }
  }

  /** One at a time for a key: those who come meanwhile spend of the same. */
  #take(key: string): Promise<Lease> {
    const taken = this.#consume(key);
    if (this.#leases.size >= mostLeases) {
      this.#leases.clear();
    }
    this.#leases.set(key, taken);
    taken.catch(() => {
      this.#drop(key, taken);
    });
    return taken;
  }

  #drop(key: string, taken: Promise<Lease>): void {
    if (this.#leases.get(key) === taken) {
      this.#leases.delete(key);
    }
  }

  async #consume(key: string): Promise<Lease> {
    try {
      const { msBeforeNext } = await this.#consumeShared(key);
      return { left: this.#block, until: Date.now() + msBeforeNext };
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

  async #consumeShared(key: string): Promise<RateLimiterRes> {
    try {
      if (this.#shared) {
        return await within(timeoutMs, this.#shared.consume(key, this.#block));
      }
    } catch (error) {
      if (error instanceof RateLimiterRes) {
        throw error;
      }
    }
    return this.#own.consume(key, this.#block);
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
