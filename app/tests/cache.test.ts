import { setTimeout as sleep } from "node:timers/promises";
import type { Redis as Client } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { Cache } from "../src/cache/cache.ts";
import { promptHash } from "../src/cache/promptHash.ts";
import { createRedis } from "../src/cache/redis.ts";
import { Metrics } from "../src/observability/metrics.ts";
import { silentLogger } from "./support/logs.ts";
import { eventually } from "./support/processes.ts";
import { Redis } from "./support/redis.ts";

let server: Redis;
let clients: Client[];
beforeAll(async () => {
  server = await Redis.create();
  clients = [1, 2].map(() => createRedis(server.config, "cache", silentLogger));
  await connected();
});
afterAll(async () => {
  for (const client of clients) {
    client.disconnect();
  }
  await server.remove();
});

async function connected(): Promise<void> {
  await eventually(async () => {
    for (const client of clients) {
      expect(await client.ping()).toBe("PONG");
    }
  });
}

/** The same family in as many processes. */
function caches(): [Cache<string>, Cache<string>] {
  const [a, b] = clients.map(
    (redis) =>
      new Cache({
        family: "test",
        schema: z.string(),
        redis,
        ttlSeconds: 60,
        metrics: new Metrics(),
        logger: silentLogger,
      }),
  );
  if (!a || !b) {
    throw new Error("no clients");
  }
  return [a, b];
}

let ids = 0;
const newId = () => `id-${++ids}`;
const never = new AbortController().signal;

describe("a value made for the cache", () => {
  it("is made once by two processes at the same time", async () => {
    const [a, b] = caches();
    const id = newId();
    let made = 0;
    const make = async () => {
      made++;
      await sleep(200);
      return { value: "v", keep: true };
    };
    const all = await Promise.all([a, a, b, b].map((cache) => cache.getOrMake(id, make, 5000, never)));
    expect(all.map(({ value }) => value)).toEqual(["v", "v", "v", "v"]);
    expect(made).toBe(1);
    expect(all.filter((one) => one.made)).toHaveLength(1);
  });

  it("is not kept when it should not be, and the lock is free again", async () => {
    const [a, b] = caches();
    const id = newId();
    const make = (value: string, keep: boolean) => async () => Promise.resolve({ value, keep });
    expect(await a.getOrMake(id, make("bad", false), 5000, never)).toEqual({ value: "bad", made: true });
    expect(await clients[0]?.exists(`test:${id}:lock`)).toBe(0);
    expect(await b.getOrMake(id, make("good", true), 5000, never)).toEqual({ value: "good", made: true });
    expect(await a.get(id)).toBe("good");
  });

  it("is made by the others when who was at it fails", async () => {
    const [a] = caches();
    const id = newId();
    const failing = a.getOrMake(
      id,
      async () => {
        await sleep(100);
        throw new Error("failed");
      },
      5000,
      never,
    );
    const next = a.getOrMake(id, async () => Promise.resolve({ value: "v", keep: true }), 5000, never);
    await expect(failing).rejects.toThrow("failed");
    expect((await next).value).toBe("v");
  });

  it("is not waited for longer than it may take, when who was at it died", async () => {
    const [a] = caches();
    const id = newId();
    await clients[1]?.set(`test:${id}:lock`, "another", "PX", 60_000);
    const start = performance.now();
    const { made } = await a.getOrMake(
      id,
      async () => Promise.resolve({ value: "v", keep: true }),
      400,
      never,
    );
    expect(made).toBe(true);
    expect(performance.now() - start).toBeLessThan(1500);
    expect(await clients[1]?.get(`test:${id}:lock`)).toBe("another");
  });

  it("is no longer waited for by who gave up", async () => {
    const [a] = caches();
    const id = newId();
    const giveUp = new AbortController();
    const slow = async () => {
      await sleep(500);
      return { value: "v", keep: true };
    };
    const first = a.getOrMake(id, slow, 5000, never);
    const second = a.getOrMake(id, slow, 5000, giveUp.signal);
    giveUp.abort(new Error("enough"));
    await expect(second).rejects.toThrow("enough");
    expect((await first).value).toBe("v");
  });

  it("is made all the same while the cache is away or hangs", async () => {
    const [a] = caches();
    const make = async () => Promise.resolve({ value: "v", keep: true });
    await server.stop();
    expect((await a.getOrMake(newId(), make, 5000, never)).value).toBe("v");
    await server.start();
    await connected();
    await server.freeze();
    const start = performance.now();
    expect((await a.getOrMake(newId(), make, 5000, never)).value).toBe("v");
    expect(performance.now() - start).toBeLessThan(1500);
    server.thaw();
    await connected();
  });

  it("is made again when what the cache holds has another shape", async () => {
    const [a] = caches();
    const id = newId();
    await clients[1]?.set(`test:${id}`, '{"not":"text"}');
    const { value } = await a.getOrMake(
      id,
      async () => Promise.resolve({ value: "v", keep: true }),
      1000,
      never,
    );
    expect(value).toBe("v");
    expect(await a.get(id)).toBe("v");
  });
});

describe("a prompt's name in the cache", () => {
  const nameOf = (text: string) => promptHash("t", "m", [text]);

  it("is another for each tenant, model and text", () => {
    const name = nameOf("What is it?");
    for (const other of [
      promptHash("u", "m", ["What is it?"]),
      promptHash("t", "n", ["What is it?"]),
      promptHash("t", "m", ["what is it?"]),
      promptHash("t", "m", ["What is", "it?"]),
    ]) {
      expect(other).not.toBe(name);
    }
  });

  it.each([
    ["in full-width letters, with ideographic spaces", "Ｗｈａｔ　ｉｓ　ｉｔ？～", "What is it?~"],
    ["with more spaces and tabs inside a line", "What  is\t \tit?", "What is it?"],
    ["with white space at the end", "What is it? \n", "What is it?"],
    ["with characters decomposed", "\u304b\u3099 \uff41\u0308", "\u304c \u00e4"],
    ["with the line ends of Windows", "one\r\ntwo", "one\ntwo"],
  ])("is the same for a text %s", (_, text, same) => {
    expect(nameOf(text)).toBe(nameOf(same));
  });

  it.each([
    ["5²", "52"],
    ["10⁶", "106"],
    ["x₁", "x1"],
    ["½", "1\u20442"],
    ["①", "1"],
    ["㎡", "m2"],
    ["if a:\n    b()\nc()", "if a:\n    b()\n    c()"],
    ["if a:\n  b()", "if a:\n\tb()"],
    ["  a\nb", "a\nb"],
    ["　段落", "段落"],
    ["one\ntwo", "one two"],
    ["one\n\ntwo", "one\ntwo"],
  ])("is not the same for %j and %j", (text, other) => {
    expect(nameOf(text)).not.toBe(nameOf(other));
  });
});
