import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { createRedis } from "../src/cache/redis.ts";
import { RateLimits } from "../src/http/rateLimit.ts";
import { ActiveUsers } from "../src/observability/activeUsers.ts";
import { silentLogger } from "./support/logs.ts";
import { newDatabase } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import { Redis } from "./support/redis.ts";
import { jwt, newTenant, startTestService, type TestService, writeKeyFile } from "./support/service.ts";
import { SocketClient } from "./support/stream.ts";

let queue: Redis;
let database: string;
let replicas: TestService[];
beforeAll(async () => {
  queue = await Redis.create();
  database = await newDatabase(inject("postgres"));
  const overrides = {
    queue: queue.config,
    jwt: { ...jwt, keysFile: await writeKeyFile() },
    limits: { chatPerMinute: 3, tenantPerMinute: 8 },
  };
  replicas = await Promise.all(
    [1, 2].map(() => startTestService(inject("postgres"), database, inject("redis"), overrides)),
  );
  await ready();
});
afterAll(async () => {
  await Promise.all(replicas.map((replica) => replica.stop()));
  await queue.remove();
});

const first = () => replicas[0] ?? raise();
const second = () => replicas[1] ?? raise();

function raise(): never {
  throw new Error("no replica");
}

async function ready(): Promise<void> {
  await eventually(async () => {
    for (const replica of replicas) {
      expect((await replica.call("GET", "/ready")).status).toBe(200);
    }
  });
}

async function newUser(tenant?: string): Promise<string> {
  return first().token("viewer", tenant ?? (await newTenant(inject("postgres"), database)));
}

/** The statuses of as many requests, by turns at both replicas. */
async function statuses(count: number, ask: (replica: TestService) => Promise<{ status: number }>) {
  const seen: number[] = [];
  for (let i = 0; i < count; i++) {
    seen.push((await ask(i % 2 === 0 ? first() : second())).status);
  }
  return seen;
}

const speak = (token: string) => (replica: TestService) =>
  replica.call("POST", "/api/v2/speech", { token, body: { text: "t" } });
const list = (token: string) => (replica: TestService) => replica.call("GET", "/api/v1/documents", { token });

describe("the limits", () => {
  it("of a user are shared by the replicas, and answered with 429 and Retry-After", async () => {
    const token = await newUser();
    expect(await statuses(3, speak(token))).toEqual([200, 200, 200]);
    for (const replica of replicas) {
      const refused = await speak(token)(replica);
      expect(refused).toMatchObject({ status: 429, body: { title: "Too Many Requests", status: 429 } });
      expect(refused.headers.get("content-type")).toContain("application/problem+json");
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(50);
      expect(Number(refused.headers.get("retry-after"))).toBeLessThanOrEqual(60);
    }
    expect(await statuses(2, list(token))).toEqual([200, 200]);
  });

  it("of a user count both ways of asking", async () => {
    const token = await newUser();
    expect(await statuses(2, speak(token))).toEqual([200, 200]);
    const client = new SocketClient(`${first().url}/api/v2/chat/ws`, {
      headers: { authorization: `Bearer ${token}` },
    });
    for (const type of ["done", "problem"]) {
      await client.send({ type: "ask", message: "q" });
      await eventually(() => {
        expect(client.types()).toContain(type);
      });
    }
    expect(client.frames.at(-1)).toMatchObject({ type: "problem", data: { status: 429 } });
    client.socket.terminate();
  });

  it("of a tenant are shared by its users and the replicas, and are that tenant's alone", async () => {
    const tenant = await newTenant(inject("postgres"), database);
    const viewer = await first().token("viewer", tenant);
    const editor = await first().token("editor", tenant);
    expect(await statuses(5, list(viewer))).toEqual(Array(5).fill(200));
    expect(await statuses(5, list(editor))).toEqual([200, 200, 200, 429, 429]);
    expect(await statuses(1, list(await newUser()))).toEqual([200]);
    expect((await first().call("GET", "/ready")).status).toBe(200);
  });

  it("of a tenant count what is refused, too, so that nobody fills the audit log", async () => {
    const tenant = await newTenant(inject("postgres"), database);
    const viewer = await first().token("viewer", tenant);
    const administer = (replica: TestService) =>
      replica.call("GET", "/api/v2/admin/users", { token: viewer });
    expect(await statuses(10, administer)).toEqual([...Array<number>(8).fill(403), 429, 429]);
  });

  it("of thousands are taken from Redis by the thousandth, and never exceeded by the replicas together", async () => {
    const clients = [1, 2].map((n) => createRedis(queue.config, `lease-${n}`, silentLogger));
    const limits = clients.map((redis) => new RateLimits(redis, { chatPerMinute: 1, tenantPerMinute: 5000 }));
    await eventually(() => {
      expect(clients.map((redis) => redis.status)).toEqual(["ready", "ready"]);
    });
    const principal = { subject: "s", role: "viewer", tenantId: randomUUID() } as const;
    let [admitted, refused] = [0, 0];
    const take = async (limit: RateLimits | undefined) => {
      await limit?.take(principal, undefined).then(
        () => admitted++,
        () => refused++,
      );
    };
    const asked = async () =>
      Number(
        /cmdstat_(?:eval|evalsha):calls=(\d+)/.exec((await clients[0]?.info("commandstats")) ?? "")?.[1] ?? 0,
      );
    const before = await asked();
    await Promise.all(Array.from({ length: 2500 }, (_, n) => take(limits[n % 2])));
    expect({ admitted, refused }).toEqual({ admitted: 2500, refused: 0 });
    expect((await asked()) - before).toBeLessThanOrEqual(2500 / 5 + 2);
    await Promise.all(Array.from({ length: 2600 }, (_, n) => take(limits[n % 2])));
    expect(admitted).toBeLessThanOrEqual(5000);
    // What is left of a block is the only loss.
    expect(admitted).toBeGreaterThan(5000 - 2 * 5);
    clients.forEach((redis) => {
      redis.disconnect();
    });
  });

  it("are each replica's own while Redis is away or hangs, and nothing fails for it", async () => {
    await queue.stop();
    const token = await newUser();
    expect(await statuses(8, speak(token))).toEqual([200, 200, 200, 200, 200, 200, 429, 429]);
    await queue.start();
    await ready();
    await queue.freeze();
    const start = performance.now();
    expect(await statuses(2, list(await newUser()))).toEqual([200, 200]);
    expect(performance.now() - start).toBeLessThan(1000);
    queue.thaw();
  });
});

describe("users seen lately", () => {
  it("are counted once each, for five minutes", () => {
    const users = new ActiveUsers();
    users.seen("a", 0);
    users.seen("b", 0);
    users.seen("a", 200_000);
    expect(users.count(299_000)).toBe(2);
    expect(users.count(301_000)).toBe(1);
    for (let user = 0; user < 100_010; user++) {
      users.seen(String(user), 301_000);
    }
    expect(users.count(301_000)).toBe(100_000);
  });
});
