import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { afterEach, describe, expect, it } from "vitest";
import { KeyStore } from "../src/auth/keyStore.ts";
import { Refusals } from "../src/auth/refusals.ts";
import { Tokens } from "../src/auth/tokens.ts";
import type { ChatEvent } from "../src/chat/chat.ts";
import { ChatSockets } from "../src/chat/sockets.ts";
import { closedSignal, sendEvents } from "../src/chat/sse.ts";
import { Database } from "../src/db/database.ts";
import { listen, type Listener } from "../src/http/listen.ts";
import { Metrics } from "../src/observability/metrics.ts";
import { silentLogger } from "./support/logs.ts";
import { eventually } from "./support/processes.ts";
import { jwt, writeKeyFile } from "./support/service.ts";
import { openStream, SocketClient } from "./support/stream.ts";

const pieceBytes = 64 * 1024;
/** What the system's own socket buffers, both ends', may swallow. */
const bufferedBytes = 32 * 1024 * 1024;

const answerId = "7d444840-9dc0-41d8-b245-1ef6a4d4fc9a";

let given = 0;
let ended = false;
/** An answer that never ends, as fast as it is taken. */
async function* endless(): AsyncGenerator<ChatEvent> {
  const text = "x".repeat(pieceBytes);
  try {
    for (;;) {
      // Lets everything else have its turn.
      await new Promise(setImmediate);
      given++;
      yield { id: given, type: "delta", data: { text } };
    }
  } finally {
    ended = true;
  }
}

let listener: Listener | undefined;
afterEach(async () => {
  await listener?.close(0);
});

/** That nothing more is taken from the answer once the buffers are full, and then for how much that was. */
async function settled(): Promise<number> {
  given = 0;
  ended = false;
  return eventually(async () => {
    const before = given;
    await sleep(300);
    expect(given).toBeGreaterThan(0);
    expect(given).toBe(before);
    return given * pieceBytes;
  });
}

describe("a reader who takes nothing", () => {
  it("of Server-Sent Events stops the answer instead of filling memory, and ends it by leaving", async () => {
    const app = express();
    app.get("/", async (_request, response) => {
      const signal = closedSignal(response);
      await sendEvents(response, endless(), { heartbeatSeconds: 15, metrics: new Metrics(), signal });
    });
    listener = await listen(app, 0);
    const stream = await openStream(`http://127.0.0.1:${listener.port}/`, "");
    expect(await settled()).toBeLessThan(bufferedBytes);
    stream.close();
    await eventually(() => {
      expect(ended).toBe(true);
    });
  });

  /** A WebSocket to a service of which only the door is there. */
  async function socketTo({
    answer,
    admit = () => Promise.resolve(),
    heartbeatSeconds = 60,
  }: {
    answer: () => AsyncGenerator<ChatEvent>;
    admit?: () => Promise<void>;
    heartbeatSeconds?: number;
  }): Promise<{ client: SocketClient; upgrades: ChatSockets }> {
    const tokens = new Tokens(new KeyStore(await writeKeyFile(), silentLogger), {
      ...jwt,
      keysFile: undefined,
    });
    const upgrades = new ChatSockets({
      chat: {
        ask: () => {
          throw new Error("not asked");
        },
        resume: async () => Promise.resolve(answer()),
        cancel: () => true,
      },
      tokens,
      refusals: new Refusals(new Database(undefined, silentLogger), new Metrics(), silentLogger),
      admit,
      allowedOrigins: [],
      heartbeatSeconds,
      metrics: new Metrics(),
      logger: silentLogger,
    });
    listener = await listen(express(), 0, { upgrades });
    const token = await tokens.sign({ subject: "a", role: "viewer", tenantId: answerId });
    const client = new SocketClient(`http://127.0.0.1:${listener.port}/api/v2/chat/ws`, {
      headers: { authorization: `Bearer ${token}` },
    });
    await client.send({ type: "resume", answerId });
    return { client, upgrades };
  }

  it("of a WebSocket stops the answer instead of filling memory", async () => {
    const { client, upgrades } = await socketTo({ answer: endless });
    client.socket.pause();
    expect(await settled()).toBeLessThan(bufferedBytes);
    client.socket.terminate();
    await upgrades.close();
  });

  it("of the service's own is not taken for a client's silence", async () => {
    const { client, upgrades } = await socketTo({
      admit: () => sleep(700),
      heartbeatSeconds: 0.2,
      async *answer() {
        await sleep(0);
        yield { id: 1, type: "delta", data: { text: "late" } };
      },
    });
    await eventually(() => {
      expect(client.types()).toEqual(["delta"]);
    });
    await sleep(500);
    expect(client.socket.readyState).toBe(client.socket.OPEN);
    client.socket.terminate();
    await upgrades.close();
  });
});
