import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { newDatabase } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import { Redis } from "./support/redis.ts";
import { jwt, newTenant, startTestService, type TestService, writeKeyFile } from "./support/service.ts";

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

  it("of a tenant are shared by its users and the replicas, and are that tenant's alone", async () => {
    const tenant = await newTenant(inject("postgres"), database);
    const viewer = await first().token("viewer", tenant);
    const editor = await first().token("editor", tenant);
    expect(await statuses(5, list(viewer))).toEqual(Array(5).fill(200));
    expect(await statuses(5, list(editor))).toEqual([200, 200, 200, 429, 429]);
    expect(await statuses(1, list(await newUser()))).toEqual([200]);
    expect((await first().call("GET", "/ready")).status).toBe(200);
  });

  it("are each replica's own while Redis is away or hangs, and nothing fails for it", async () => {
    await queue.stop();
    const token = await newUser();
    expect(await statuses(8, speak(token))).toEqual([200, 200, 200, 200, 200, 200, 429, 429]);
    await queue.start();
    await ready();
    queue.freeze();
    const start = performance.now();
    expect(await statuses(2, list(await newUser()))).toEqual([200, 200]);
    expect(performance.now() - start).toBeLessThan(1000);
    queue.thaw();
  });
});
