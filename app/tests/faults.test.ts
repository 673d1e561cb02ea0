import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ReadinessReport } from "../src/http/readiness.ts";
import { eventually } from "./support/processes.ts";
import { asSuperuser, newDatabase, Postgres } from "./support/postgres.ts";
import { Redis } from "./support/redis.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";

let postgres: Postgres;
let redis: Redis;
let queue: Redis;
let service: TestService;
let token: string;
let path: string;
beforeAll(async () => {
  [postgres, redis, queue] = await Promise.all([Postgres.create(), Redis.create(), Redis.create()]);
  const database = await newDatabase(postgres.address);
  service = await startTestService(postgres.address, database, redis.config, { queue: queue.config });
  token = await service.token("admin", await newTenant(postgres.address, database));
  const body = { title: "t", content: "c" };
  const created = await service.call("POST", "/api/v1/documents", { token, body });
  path = created.headers.get("location") ?? "";
});
afterAll(async () => {
  await service.stop();
  await Promise.all([postgres.remove(), redis.remove(), queue.remove()]);
});

async function ready(): Promise<{ status: number; body: ReadinessReport }> {
  const { status, body } = await service.call("GET", "/ready");
  return { status, body: body as ReadinessReport };
}

/** How long until /ready answers with the status. */
async function millisecondsUntil(status: number): Promise<number> {
  const start = performance.now();
  await eventually(async () => {
    expect((await ready()).status).toBe(status);
  }, 15_000);
  return performance.now() - start;
}

/** Reads until the cache has answered: on a busy machine it may be too slow for a while, and is done without. */
async function readFromCache(): Promise<void> {
  const hits = async () => {
    const [, count] = /family="document",result="hit"\} (\d+)/.exec(await service.metricsText()) ?? [];
    return Number(count ?? 0);
  };
  await eventually(async () => {
    const before = await hits();
    expect((await service.call("GET", path, { token })).status).toBe(200);
    expect(await hits()).toBe(before + 1);
  });
}

const faults: [string, () => Promise<void> | void, () => Promise<void> | void, string[]][] = [
  ["Postgres stops", () => postgres.stop(), () => postgres.start(), ["postgres", "migrations"]],
  ["the queue stops", () => queue.stop(), () => queue.start(), ["redis-queue"]],
];

const cacheFaults: [string, () => Promise<void> | void, () => Promise<void> | void][] = [
  ["stops", () => redis.stop(), () => redis.start()],
  [
    "hangs",
    () => redis.freeze(),
    () => {
      redis.thaw();
    },
  ],
];

describe("readiness", () => {
  it("names every dependency with its state and latency", async () => {
    await millisecondsUntil(200);
    const { body } = await ready();
    expect(Object.keys(body.dependencies).sort()).toEqual([
      "migrations",
      "postgres",
      "redis-cache",
      "redis-queue",
    ]);
    for (const { state, latencyMs } of Object.values(body.dependencies)) {
      expect(state).toBe("up");
      expect(latencyMs).toBeGreaterThanOrEqual(0);
    }
  });

  it.each(faults)(
    "is lost within 5 s when %s, comes back with it, and health stays",
    async (_fault, break_, mend, down) => {
      await millisecondsUntil(200);
      await break_();
      expect(await millisecondsUntil(503)).toBeLessThan(5000);
      const { body } = await ready();
      const states = Object.entries(body.dependencies).filter(([, { state }]) => state === "down");
      expect(states.map(([name]) => name).sort()).toEqual(down.toSorted());
      expect((await service.call("GET", "/health")).status).toBe(200);
      await mend();
      expect(await millisecondsUntil(200)).toBeLessThan(10_000);
    },
  );

  it.each(cacheFaults)(
    "is kept when the cache %s, which is shown as degraded",
    async (_fault, break_, mend) => {
      await millisecondsUntil(200);
      await break_();
      await eventually(async () => {
        const { status, body } = await ready();
        expect(body.dependencies["redis-cache"]?.state).toBe("degraded");
        expect(status).toBe(200);
      });
      await mend();
      await eventually(async () => {
        expect((await ready()).body.dependencies["redis-cache"]?.state).toBe("up");
      });
    },
  );

  it("is lost while a migration is missing", async () => {
    await millisecondsUntil(200);
    const { database } = service.databaseConfig;
    await asSuperuser(postgres.address, database, (client) =>
      client.query("update pgmigrations set name = 'x' || name"),
    );
    await millisecondsUntil(503);
    expect((await ready()).body.dependencies).toMatchObject({
      migrations: { state: "down" },
      postgres: { state: "up" },
    });
    await asSuperuser(postgres.address, database, (client) =>
      client.query("update pgmigrations set name = substr(name, 2)"),
    );
    await millisecondsUntil(200);
  });
});

describe("a request", () => {
  it("is answered from Postgres, and quickly, while the cache is gone", async () => {
    await redis.stop();
    const start = performance.now();
    expect((await service.call("GET", path, { token })).status).toBe(200);
    expect((await service.call("GET", path, { token })).status).toBe(200);
    expect(performance.now() - start).toBeLessThan(1000);
    await redis.start();
  });

  it("is answered from Postgres while the cache hangs", async () => {
    await millisecondsUntil(200);
    await redis.freeze();
    const start = performance.now();
    expect((await service.call("GET", path, { token })).status).toBe(200);
    expect(performance.now() - start).toBeLessThan(1500);
    redis.thaw();
  });

  it("is answered with 503 and Retry-After while Postgres is gone, and served again when it is back", async () => {
    await millisecondsUntil(200);
    await readFromCache();
    await postgres.stop();
    await readFromCache();
    const refused = await service.call("GET", "/api/v1/documents", { token });
    expect(refused).toMatchObject({ status: 503, body: { title: "Service Unavailable" } });
    expect(refused.headers.get("retry-after")).toBe("2");
    expect(JSON.stringify(refused.body)).not.toContain("ECONNREFUSED");
    await postgres.start();
    expect((await service.call("GET", "/api/v1/documents", { token })).status).toBe(200);
  });

  it("uses the cache again after its password was rotated, without a restart", async () => {
    await redis.stop();
    await redis.setPassword("second-password");
    await redis.start();
    await millisecondsUntil(200);
    await readFromCache();
  });
});
