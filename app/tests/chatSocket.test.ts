import { readFile } from "node:fs/promises";
import { SignJWT } from "jose";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { newDatabase } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import { fails, FakeProvider, says, saysSlowly } from "./support/provider.ts";
import {
  jwt,
  newTenant,
  startTestService,
  testConfig,
  type TestService,
  writeKeyFile,
} from "./support/service.ts";
import { SocketClient, textOf } from "./support/stream.ts";
import { auditOf } from "./support/users.ts";

let provider: FakeProvider;
let database: string;
let service: TestService;
let tenant: string;
let token: string;
let keysFile: string;
let url: string;
const clients: SocketClient[] = [];
const origin = "https://console.example.org";

async function start(): Promise<TestService> {
  const { ai, chat } = testConfig();
  return startTestService(inject("postgres"), database, inject("redis"), {
    jwt: { ...jwt, keysFile },
    corsOrigins: [origin],
    ai: { ...ai, url: provider.url },
    chat: { ...chat, resumeSeconds: 1, heartbeatSeconds: 1 },
    limits: { chatPerMinute: 100, tenantPerMinute: 1000 },
  });
}

beforeAll(async () => {
  provider = await FakeProvider.start();
  database = await newDatabase(inject("postgres"));
  keysFile = await writeKeyFile();
  service = await start();
  tenant = await newTenant(inject("postgres"), database);
  token = await service.token("viewer", tenant);
  url = `${service.url}/api/v2/chat/ws`;
});
afterEach(() => {
  for (const client of clients.splice(0)) {
    client.socket.terminate();
  }
  provider.requests.length = 0;
  provider.next.length = 0;
  provider.otherwise = says("Hello", " world");
});
afterAll(async () => {
  await service.stop();
  await provider.stop();
});

function connect(options: ConstructorParameters<typeof SocketClient>[1] = {}, to = url): SocketClient {
  const client = new SocketClient(to, options);
  clients.push(client);
  return client;
}

const authorized = () => connect({ headers: { authorization: `Bearer ${token}` } });

async function until(client: SocketClient, type: string, count = 1): Promise<void> {
  await eventually(() => {
    expect(client.types().filter((seen) => seen === type)).toHaveLength(count);
  }, 5000);
}

let ids = 0;
const question = () => ({ type: "ask", message: `Socket question ${++ids}` });

describe("chat over a WebSocket", () => {
  it("answers with the same events as Server-Sent Events, one question after another", async () => {
    const client = authorized();
    await client.send(question());
    await until(client, "done");
    expect(client.types()).toEqual(["start", "delta", "delta", "done"]);
    expect(client.frames.map(({ id }) => id)).toEqual([1, 2, 3, 4]);
    expect(textOf(client.frames)).toBe("Hello world");
    expect(new Set(client.frames.map(({ answerId }) => answerId)).size).toBe(1);
    await client.send(question());
    await until(client, "done", 2);
    const metrics = await service.metricsText();
    expect(metrics).toContain('app_requests_total{method="WS",endpoint="/api/v2/chat/ws",status="200"} 2');
    expect(metrics).toMatch(/app_stream_duration_seconds_count{transport="websocket"} 2/);
  });

  it("takes the token in the first message instead of a header", async () => {
    const client = connect();
    await client.send({ type: "auth", token }, question());
    await until(client, "done");
  });

  it.each([
    ["a question before the token", [{ type: "ask", message: "q" }]],
    ["a wrong token", [{ type: "auth", token: "x.y.z" }]],
  ])("is closed after %s", async (_case, messages) => {
    const client = connect();
    await client.send(...messages);
    expect((await client.closed)[0]).toBe(1008);
    expect(client.frames).toMatchObject([{ type: "problem", data: { status: 401 } }]);
    expect(provider.requests).toHaveLength(0);
  });

  it("is closed when no token comes within 5 s", async () => {
    const start = performance.now();
    expect((await connect().closed)[0]).toBe(1008);
    expect(performance.now() - start).toBeGreaterThan(4500);
  });

  it.each([
    ["a bad header", { headers: { authorization: "Bearer x.y.z" } }, 401],
    ["a page of an origin not listed", { origin: "https://evil.example" }, 403],
  ] as const)("is refused to %s", async (_case, options, status) => {
    expect(await connect(options).refusal()).toBe(status);
  });

  it("counts whom it refuses, as a refusal and as a request, and audits those that it knows", async () => {
    const counts = async () => {
      const text = await service.metricsText();
      const count = (line: string) =>
        Number(
          text
            .split("\n")
            .find((l) => l.startsWith(`${line} `))
            ?.split(" ")
            .at(-1) ?? 0,
        );
      return [
        ...["bad_token", "no_credentials", "origin", "other_user"].map((reason) =>
          count(`app_refusals_total{reason="${reason}"}`),
        ),
        ...[401, 403].map((status) =>
          count(`app_requests_total{method="WS",endpoint="/api/v2/chat/ws",status="${status}"}`),
        ),
      ];
    };
    const before = await counts();
    await connect({ headers: { authorization: "Bearer x.y.z" } }).refusal();
    await connect({ headers: { authorization: "Basic x" } }).refusal();
    await connect({ origin: "https://evil.example" }).refusal();
    const [wrong, early, another] = [connect(), connect(), authorized()];
    await wrong.send({ type: "auth", token: "x.y.z" });
    await early.send(question());
    await another.send({ type: "auth", token: await service.token("admin", tenant) });
    await Promise.all([wrong.closed, early.closed, until(another, "problem")]);
    expect((await counts()).map((count, n) => count - (before[n] ?? 0))).toEqual([2, 2, 1, 1, 4, 2]);
    expect(await auditOf(service, tenant, "access.refuse")).toContainEqual(
      expect.objectContaining({
        subject: "user-viewer",
        target: "route//api/v2/chat/ws",
        detail: { method: "WS", role: "viewer", reason: "other_user" },
      }),
    );
  });

  it("does its work in the context of the upgrade: logs and problems name its request, trace and tenant", async () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const client = connect({
      headers: {
        authorization: `Bearer ${token}`,
        "x-request-id": "of-the-upgrade",
        traceparent: `00-${traceId}-b7ad6b7169203331-01`,
      },
    });
    provider.next.push(fails(500));
    await client.send({ type: "shout" }, question());
    await until(client, "done");
    expect(client.frames[0]?.data["instance"]).toBe("urn:request:of-the-upgrade");
    expect(service.logs()).toContainEqual(
      expect.objectContaining({
        message: "attempt failed",
        request_id: "of-the-upgrade",
        trace_id: traceId,
        tenant_id: tenant,
      }),
    );
  });

  it("lets pages of a listed origin in", async () => {
    const client = connect({ origin });
    await client.send({ type: "auth", token }, question());
    await until(client, "done");
  });

  it("does not look for a token in the URL", async () => {
    const client = connect({}, `${url}?token=${token}&access_token=${token}`);
    await client.send(question());
    expect((await client.closed)[0]).toBe(1008);
  });

  it("leaves requests alone that ask for an upgrade elsewhere", async () => {
    expect(await connect({}, `${service.url}/health`).refusal()).toBe(200);
    expect(await connect({}, `${service.url}/api/v2/chat/wsx`).refusal()).toBe(404);
  });

  it("cancels: the provider's work is stopped at once, and the next question answered", async () => {
    provider.next.push(saysSlowly(200, ...Array<string>(20).fill("x")));
    const client = authorized();
    await client.send(question());
    await eventually(() => {
      expect(provider.requests).toHaveLength(1);
    });
    await client.send({ type: "cancel" });
    await until(client, "error");
    expect(client.frames.at(-1)).toMatchObject({ data: { status: 499 } });
    await eventually(() => {
      expect(provider.requests[0]?.aborted).toBe(true);
    }, 900);
    await client.send(question());
    await until(client, "done");
  });

  it("gives one answer at a time", async () => {
    provider.next.push(saysSlowly(100, "a", "b"));
    const client = authorized();
    await client.send(question(), question());
    await until(client, "done");
    expect(client.frames.filter(({ type }) => type === "problem")).toMatchObject([{ data: { status: 409 } }]);
  });

  it("resumes on a new connection", async () => {
    provider.next.push(saysSlowly(400, "a", "b", "c", "d"));
    const client = authorized();
    await client.send(question());
    await until(client, "delta");
    client.socket.terminate();
    const [start] = client.frames;
    const lastEventId = client.frames.at(-1)?.id;
    const next = authorized();
    await next.send({ type: "resume", answerId: start?.answerId, lastEventId });
    await until(next, "done");
    expect(textOf([...client.frames, ...next.frames])).toBe("abcd");
  });

  it("goes on after the resume of an answer that it has whole", async () => {
    const client = authorized();
    await client.send(question());
    await until(client, "done");
    const { answerId, id: lastEventId } = client.frames.at(-1) ?? {};
    await client.send({ type: "resume", answerId, lastEventId }, question());
    await until(client, "done", 2);
    expect(client.types()).not.toContain("problem");
  });

  it("cancels what it resumed of another replica: the work there ends, and the next question is answered", async () => {
    provider.next.push(saysSlowly(200, ...Array<string>(60).fill("x")));
    const other = await start();
    const client = connect({ headers: { authorization: `Bearer ${token}` } }, `${other.url}/api/v2/chat/ws`);
    const asked = authorized();
    await asked.send(question());
    await until(asked, "delta");
    const { answerId } = asked.frames[0] ?? {};
    asked.socket.terminate();
    await client.send({ type: "resume", answerId, lastEventId: 1 });
    await eventually(() => {
      expect(client.types()).toContain("delta");
    });
    await client.send({ type: "cancel" });
    await until(client, "error");
    expect(client.frames.at(-1)).toMatchObject({ answerId, data: { status: 499 } });
    expect(client.frames.map(({ id }) => id)).toEqual(client.frames.map((_frame, n) => n + 2));
    await client.send(question());
    await until(client, "done");
    await eventually(() => {
      expect(provider.requests[0]?.aborted).toBe(true);
    }, 5000);
    await other.stop();
  });

  it("does not resume another tenant's answer", async () => {
    const client = authorized();
    await client.send(question());
    await until(client, "done");
    const theirs = await service.token("viewer", await newTenant(inject("postgres"), database));
    const foreign = connect({ headers: { authorization: `Bearer ${theirs}` } });
    await foreign.send({ type: "resume", answerId: client.frames[0]?.answerId });
    await until(foreign, "problem");
    expect(foreign.frames).toMatchObject([{ type: "problem", data: { status: 404 } }]);
  });

  it.each([
    ["no JSON", "{oops", 400],
    ["an unknown type", '{"type":"shout"}', 400],
    ["an unknown field", '{"type":"ask","message":"q","__proto__":{"x":1},"admin":true}', 400],
    ["nothing to ask", '{"type":"ask","message":""}', 400],
  ])("says what is wrong with %s, and goes on", async (_case, text, status) => {
    const client = authorized();
    await client.send();
    client.socket.send(text);
    await until(client, "problem");
    expect(client.frames).toMatchObject([{ data: { status } }]);
    await client.send(question());
    await until(client, "done");
  });

  it("closes for a message that is too long", async () => {
    const client = authorized();
    await client.send({ type: "ask", message: "x".repeat(70_000) });
    expect((await client.closed)[0]).toBe(1009);
  });

  it("does not become another user's by a second token", async () => {
    const client = authorized();
    await client.send({ type: "auth", token: await service.token("admin", tenant) });
    await until(client, "problem");
    expect(client.frames).toMatchObject([{ data: { status: 403 } }]);
  });

  it("is closed when its token expires", async () => {
    const { active, keys } = JSON.parse(await readFile(keysFile, "utf8")) as {
      active: string;
      keys: Record<string, string>;
    };
    // Verification is patient for five seconds.
    const soon = await new SignJWT({ role: "viewer", tenant_id: tenant })
      .setProtectedHeader({ alg: "HS256", kid: active, typ: "at+jwt" })
      .setSubject("user-viewer")
      .setIssuer(jwt.issuer)
      .setAudience(jwt.audience)
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1000) - 3)
      .sign(Buffer.from(keys[active] ?? "", "base64"));
    const client = connect({ headers: { authorization: `Bearer ${soon}` } });
    await client.send(question());
    await until(client, "done");
    expect((await client.closed)[0]).toBe(1008);
  });

  it("is pinged, and dropped when it no longer answers", async () => {
    const client = authorized();
    let pings = 0;
    client.socket.on("ping", () => pings++);
    await eventually(() => {
      expect(pings).toBeGreaterThanOrEqual(2);
    });
    expect(client.socket.readyState).toBe(client.socket.OPEN);
    const mute = connect({ headers: { authorization: `Bearer ${token}` }, autoPong: false });
    expect((await mute.closed)[0]).toBe(1006);
  });

  it("is told when the service goes away", async () => {
    const leaving = await start();
    const client = connect(
      { headers: { authorization: `Bearer ${token}` } },
      `${leaving.url}/api/v2/chat/ws`,
    );
    await client.send(question());
    await until(client, "done");
    const stopped = leaving.stop();
    expect((await client.closed)[0]).toBe(1001);
    await stopped;
  });
});
