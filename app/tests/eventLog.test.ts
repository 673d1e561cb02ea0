import { setTimeout as sleep } from "node:timers/promises";
import type { Redis as Client } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRedis } from "../src/cache/redis.ts";
import { Answer } from "../src/chat/answer.ts";
import type { ChatEvent } from "../src/chat/chat.ts";
import { EventLog } from "../src/chat/eventLog.ts";
import { silentLogger } from "./support/logs.ts";
import { eventually } from "./support/processes.ts";
import { Redis } from "./support/redis.ts";

const leaseMs = 300;
const never = new AbortController().signal;
const id = "7d444840-9dc0-41d8-b245-1ef6a4d4fc9a";
let server: Redis;
let redis: Client;
let log: EventLog;
beforeAll(async () => {
  server = await Redis.create();
  redis = createRedis(server.config, "queue", silentLogger);
  await eventually(() => redis.ping());
  log = new EventLog(redis, 1, silentLogger, leaseMs);
});
afterAll(async () => {
  redis.disconnect();
  await server.remove();
});

/** An answer that has begun, and its log. */
async function begin(key: string) {
  const answer = new Answer(id, 60_000, () => Promise.resolve(false));
  answer.append({ type: "start", data: { answerId: id, sessionId: id } });
  const mirrored = log.mirror(key, answer);
  await eventually(async () => {
    expect(await redis.llen(key)).toBe(1);
  });
  return { answer, mirrored };
}

function say(answer: Answer, text: string): void {
  answer.append({ type: "delta", data: { text } });
}

function end(answer: Answer): void {
  answer.append({ type: "done", data: { degraded: false, model: "m", cached: false } });
}

async function rest(key: string): Promise<ChatEvent[]> {
  const events: ChatEvent[] = [];
  for await (const event of (await log.open(key, 1, never)) ?? []) {
    events.push(event);
  }
  return events;
}

describe("the log of an answer", () => {
  it("is there for as long as the answer is made, however long that is silent", async () => {
    const { answer, mirrored } = await begin("silent");
    const read = rest("silent");
    await sleep(3 * leaseMs);
    say(answer, "a");
    end(answer);
    expect((await read).map(({ type }) => type)).toEqual(["delta", "done"]);
    await mirrored;
  });

  it("that was lost is not begun anew, and its readers are told that the answer was cut off", async () => {
    const { answer, mirrored } = await begin("lost");
    const read = rest("lost");
    await redis.del("lost");
    say(answer, "a");
    say(answer, "b");
    expect(await read).toMatchObject([{ id: 2, type: "error", data: { status: 503 } }]);
    end(answer);
    await mirrored;
    expect(await log.open("lost", 1, never)).toBeUndefined();
  });

  it("ends soon after the replica that made the answer is gone", async () => {
    await redis.rpush(
      "gone",
      JSON.stringify({ id: 1, type: "start", data: { answerId: id, sessionId: id } }),
    );
    await redis.pexpire("gone", leaseMs);
    expect(await rest("gone")).toMatchObject([{ id: 2, type: "error", data: { status: 503 } }]);
  });
});
