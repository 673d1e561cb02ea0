import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Response } from "express";
import { describe, expect, it } from "vitest";
import type { Principal, Tokens } from "../src/auth/tokens.ts";
import { ChatSockets, type SocketsArgs } from "../src/chat/sockets.ts";
import { closedSignal } from "../src/chat/sse.ts";
import { listen } from "../src/http/listen.ts";
import { Unavailable, unauthorized } from "../src/http/problem.ts";
import { Metrics } from "../src/observability/metrics.ts";
import { silentLogger } from "./support/logs.ts";
import { SocketClient } from "./support/stream.ts";

/** The WebSocket's door, with nothing behind it. */
function sockets(verify: Tokens["verify"] = () => Promise.resolve(principal)): ChatSockets {
  return new ChatSockets({
    tokens: { verify },
    allowedOrigins: [],
    heartbeatSeconds: 0.1,
    refusals: { record: () => Promise.resolve() },
    metrics: new Metrics(),
    logger: silentLogger,
  } as unknown as SocketsArgs);
}
const principal: Principal = { subject: "s", role: "viewer", tenantId: randomUUID() };
const authorized = { headers: { authorization: "Bearer t" } };

const upgrade = [
  "GET /api/v2/chat/ws HTTP/1.1",
  "Host: a",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
];

describe("a client that does not hang up", () => {
  it.each([
    ["sent no HTTP", "Nonsense\r\n\r\n", 400],
    ["sent its headers too slowly", "GET / HTTP/1.1\r\nHost: a\r\n", 408],
    ["may not open a WebSocket", [...upgrade, "Origin: https://evil.example", "", ""].join("\r\n"), 403],
  ])("and %s is hung up on, so that the service can stop", async (_case, sent, status) => {
    const listener = await listen(() => undefined, 0, {
      upgrades: sockets(),
      headersTimeout: 200,
      connectionsCheckingInterval: 100,
    });
    const client = connect({ port: listener.port, host: "127.0.0.1", allowHalfOpen: true });
    client.write(sent);
    const [answer] = (await once(client, "data")) as [Buffer];
    expect(answer.toString()).toContain(`HTTP/1.1 ${status} `);
    const closed = listener.close(60).then(() => "closed");
    expect(await Promise.race([closed, sleep(4000)])).toBe("closed");
    client.destroy();
  });
});

it("a reader who left while it was looked at who they are is known to be gone", async () => {
  const gone = Promise.withResolvers<boolean>();
  const listener = await listen((_request, response) => {
    response.once("close", () => {
      setTimeout(() => {
        gone.resolve(closedSignal(response as Response).aborted);
      });
    });
    reader.destroy();
  }, 0);
  const reader = connect(listener.port, "127.0.0.1").on("error", () => undefined);
  reader.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(await gone.promise).toBe(true);
  await listener.close(0);
});

describe("a WebSocket", () => {
  it("whose token was being looked at when the service began to stop is refused", async () => {
    const verified = Promise.withResolvers<Principal>();
    const asked = Promise.withResolvers<true>();
    const door = sockets(() => {
      asked.resolve(true);
      return verified.promise;
    });
    const listener = await listen(() => undefined, 0, { upgrades: door });
    const client = new SocketClient(`http://127.0.0.1:${listener.port}/api/v2/chat/ws`, authorized);
    await asked.promise;
    await door.close();
    verified.resolve(principal);
    expect(await client.refusal()).toBe(503);
    await listener.close(60);
  });

  it("stays open while its token cannot be looked at, and is closed when it is no longer valid", async () => {
    const answers = [
      () => Promise.resolve(principal),
      () => Promise.reject(new Unavailable("the OIDC issuer does not answer")),
      () => Promise.resolve(principal),
      () => Promise.reject(unauthorized("the token has expired")),
    ];
    const door = sockets(() => answers.shift()?.() ?? Promise.resolve(principal));
    const listener = await listen(() => undefined, 0, { upgrades: door });
    const client = new SocketClient(`http://127.0.0.1:${listener.port}/api/v2/chat/ws`, authorized);
    expect((await client.closed)[0]).toBe(1008);
    expect(answers).toHaveLength(0);
    await listener.close(60);
  });
});
