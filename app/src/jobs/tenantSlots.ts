import type { Redis } from "ioredis";
import { postponedKey, prefix } from "./queues.ts";

/** By Redis' own clock, as workers' clocks differ. */
const take = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`;

/** How many jobs of a tenant run at once in one queue, counted in Redis over all workers. */
export class TenantSlots {
  readonly #redis: Redis;

  readonly #leaseMs: number;

  /** @param leaseMs how long a slot is held without being renewed: those of a killed worker are free again after it. */
  constructor(redis: Redis, leaseMs = 30_000) {
    this.#redis = redis;
    this.#leaseMs = leaseMs;
  }

  /**
   * @returns what gives the slot back; undefined when the tenant has none left: the job is to be postponed, and is one
   * of the queue's postponed ones from then on.
   */
  async take(
    queue: string,
    tenantId: string,
    job: { id: string; timestamp: number },
    most: number,
  ): Promise<(() => Promise<void>) | undefined> {
    const key = `${prefix}:tenant-slots:${queue}:${tenantId}`;
    const attempt = () =>
      this.#redis.eval(take, 2, key, postponedKey(queue), job.id, most, this.#leaseMs, job.timestamp);
    if ((await attempt()) !== 1) {
      return undefined;
    }
    const renewal = setInterval(() => {
      // One that fails leaves the slot to run out: the limit is then exceeded by one, which does no harm.
      attempt().catch(() => undefined);
    }, this.#leaseMs / 3);
    return async () => {
      clearInterval(renewal);
      await this.#redis.zrem(key, job.id).catch(() => undefined);
    };
  }
}
