import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { createRedis } from "../src/cache/redis.ts";
import { TenantSlots } from "../src/jobs/tenantSlots.ts";
import { JobsBench } from "./support/jobs.ts";
import { silentLogger } from "./support/logs.ts";
import { eventually } from "./support/processes.ts";
import { newTenant } from "./support/service.ts";

// Workers share the machine with every other test.
vi.setConfig({ testTimeout: 60_000 });

let bench: JobsBench;
let other: string;
beforeAll(async () => {
  bench = await JobsBench.create(inject("postgres"));
  other = await newTenant(inject("postgres"), bench.name);
});
afterEach(() => bench.clear());
afterAll(() => bench.remove());

/** Jobs that take a while, and the most that were under way at once: for each tenant, and in all. */
function counted(milliseconds: number) {
  const running = new Map<string, number>();
  const most = new Map<string, number>();
  const change = (key: string, by: number) => {
    const now = (running.get(key) ?? 0) + by;
    running.set(key, now);
    most.set(key, Math.max(now, most.get(key) ?? 0));
  };
  const generate = async (tenant: string) => {
    change(tenant, 1);
    change("all", 1);
    await sleep(milliseconds);
    change(tenant, -1);
    change("all", -1);
    return { effect: () => Promise.resolve({}) };
  };
  return { generate, most };
}

const limits = (concurrency: number, perTenant: number, timeLimitSeconds = 10) => {
  const each = { concurrency, perTenant, timeLimitSeconds };
  return { limits: { collect: each, summarize: each, generate: each } };
};

describe("the limits of a queue", () => {
  it("hold for one tenant over all workers, without a job lost or counted as failed, and leave room for others", async () => {
    const { generate, most } = counted(300);
    const ids = await Promise.all(Array.from({ length: 8 }, (_, n) => bench.prompt(`ours ${n}`)));
    const theirs = await bench.prompt("theirs", other);
    const workers = await Promise.all(
      [1, 2].map(() => bench.worker({ handlers: { generate } }, limits(6, 2))),
    );
    await bench.until(theirs, "done");
    const open = await bench.sql("select 1 from jobs where state <> 'done'");
    expect(open.length).toBeGreaterThan(0);
    await Promise.all(ids.map((id) => bench.until(id, "done", 30_000)));
    expect(most.get(bench.tenant)).toBe(2);
    expect(await bench.sql("select 1 from jobs where attempts > 0")).toEqual([]);
    const postponed = await Promise.all(
      workers.map((worker) => worker.metric('app_jobs_total{queue="generate",outcome="postponed"}')),
    );
    expect(postponed.some((count) => (count ?? 0) > 0)).toBe(true);
  }, 40_000);

  it("hold for all tenants in each worker, so that more workers do more at once", async () => {
    const { generate, most } = counted(200);
    const tenants = await Promise.all([1, 2, 3, 4].map(() => newTenant(bench.postgres, bench.name)));
    await Promise.all([1, 2, 3].map(() => bench.worker({ handlers: { generate } }, limits(2, 2))));
    // Time for what workers write to Redis when they begin.
    await sleep(500);
    const ids = await Promise.all(
      [...tenants, ...tenants].map((tenant, n) => bench.prompt(`of all ${n}`, tenant)),
    );
    await Promise.all(ids.map((id) => bench.until(id, "done")));
    expect(most.get("all")).toBeGreaterThan(2);
    expect(most.get("all")).toBeLessThanOrEqual(6);
  });

  it("show how many jobs wait and for how long", async () => {
    const { generate } = counted(1500);
    const ids = await Promise.all([1, 2, 3].map((n) => bench.prompt(`waits ${n}`)));
    await bench.sql("update jobs set created_at = now() - interval '70 s'");
    const worker = await bench.worker({ handlers: { generate } }, limits(1, 1));
    await eventually(async () => {
      expect(await worker.metric('app_jobs_waiting{queue="generate"}')).toBeGreaterThan(0);
      expect(await worker.metric('app_job_age_seconds{queue="generate"}')).toBeGreaterThanOrEqual(70);
    });
    await Promise.all(ids.map((id) => bench.until(id, "done")));
  });

  it("postpone what is beyond a tenant's for longer each time, without asking Postgres, and tell its age", async () => {
    let goOn: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    const generate = () => held.then(() => ({ effect: () => Promise.resolve({}) }));
    const worker = await bench.worker({ handlers: { generate } }, limits(4, 1, 60));
    const running = await bench.prompt("holds the tenant's slot");
    const slots = createRedis(bench.redis.config, "slots", silentLogger);
    await eventually(async () => {
      expect(await slots.exists(`groundwork:tenant-slots:generate:${bench.tenant}`)).toBe(1);
    });
    const waiting = await bench.prompts(["waits", "waits, too"]);
    const postponed = async () =>
      (await worker.metric('app_jobs_total{queue="generate",outcome="postponed"}')) ?? 0;
    await eventually(async () => {
      expect(await postponed()).toBeGreaterThanOrEqual(2);
    });
    await bench.sql("revoke select on jobs from app_user");
    try {
      await eventually(async () => {
        expect(await postponed()).toBeGreaterThanOrEqual(6);
      }, 20_000);
    } finally {
      await bench.sql("grant select on jobs to app_user");
    }
    const delays = await Promise.all(waiting.map((id) => slots.hget(`groundwork:generate:${id}`, "delay")));
    expect(Math.min(...delays.map(Number))).toBeGreaterThanOrEqual(4000);
    await eventually(async () => {
      expect(await worker.metric('app_jobs_waiting{queue="generate"}')).toBe(0);
      expect(await worker.metric('app_job_age_seconds{queue="generate"}')).toBeGreaterThan(3);
    });
    goOn();
    await Promise.all([running, ...waiting].map((id) => bench.until(id, "done", 40_000)));
    await eventually(async () => {
      expect(await worker.metric('app_jobs_waiting{queue="generate"}')).toBe(0);
      expect(await worker.metric('app_job_age_seconds{queue="generate"}')).toBe(0);
    });
    slots.disconnect();
  });

  it("give a killed worker's slots to others, but not before its lease is over", async () => {
    const [killed, alive] = [1, 2].map(() => createRedis(bench.redis.config, "slots", silentLogger));
    if (!killed || !alive) {
      throw new Error("no clients");
    }
    await Promise.all([once(killed, "ready"), once(alive, "ready")]);
    const take = (redis: Redis, job: string) =>
      new TenantSlots(redis, 600).take("generate", "t", { id: job, timestamp: 0 }, 1);
    expect(await take(killed, "a")).toBeDefined();
    await sleep(900);
    // It is renewed while its worker lives.
    expect(await take(alive, "b")).toBeUndefined();
    killed.disconnect();
    await eventually(async () => {
      expect(await take(alive, "b")).toBeDefined();
    });
    alive.disconnect();
  });
});

describe("a job beyond its time limit", () => {
  it("is told to stop, tried again and then a dead letter that says why", async () => {
    const worker = await bench.worker(
      {
        handlers: {
          generate: async (_tenant, _payload, signal) => {
            await sleep(60_000, undefined, { signal });
            return { effect: () => Promise.resolve({}) };
          },
        },
      },
      { ...limits(4, 4, 1), retries: 1 },
    );
    const id = await bench.prompt("too slow");
    await bench.until(id, "dead");
    expect(await bench.job(id)).toMatchObject({ attempts: 2, error: "stopped at the queue's time limit" });
    expect(await worker.metric('app_jobs_total{queue="generate",outcome="overdue"}')).toBe(1);
    expect(await worker.metric('app_jobs_total{queue="generate",outcome="dead"}')).toBe(1);
  });

  it("is flagged for as long as it goes on all the same, and its effect still counts", async () => {
    let goOn: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    const worker = await bench.worker(
      { handlers: { generate: () => held.then(() => ({ effect: () => Promise.resolve({}) })) } },
      limits(4, 4, 1),
    );
    const id = await bench.prompt("deaf");
    const overdue = () => worker.metric('app_jobs_overdue{queue="generate"}');
    expect(await overdue()).toBe(0);
    await eventually(async () => {
      expect(await overdue()).toBe(1);
    });
    goOn();
    await bench.until(id, "done");
    await eventually(async () => {
      expect(await overdue()).toBe(0);
    });
  });
});
