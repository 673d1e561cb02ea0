import { once } from "node:events";
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as http2 from "node:http2";
import * as https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import {
  certificate,
  generous,
  hungUp,
  logged,
  seenByApp,
  send,
  setUp,
  startEdge,
  tearDown,
  type Edge,
} from "./edgeSupport.ts";

beforeAll(setUp);
afterAll(tearDown);

describe("the edge, with real nginx", () => {
  let edge: Edge;
  beforeAll(async () => {
    edge = await startEdge();
  });

  test("speaks TLS 1.2, 1.3 and HTTP/2, and nothing older", async () => {
    const handshake = async (version: "TLSv1.1" | "TLSv1.2" | "TLSv1.3"): Promise<string | null> => {
      const socket = connect({
        host: "127.0.0.1",
        port: edge.httpsPort,
        servername: "localhost",
        ca: readFileSync(certificate),
        minVersion: version,
        maxVersion: version,
        ciphers: "ALL:@SECLEVEL=0",
        ALPNProtocols: ["h2"],
      });
      await once(socket, "secureConnect");
      const { alpnProtocol } = socket;
      socket.destroy();
      return alpnProtocol === false ? null : alpnProtocol;
    };
    await expect(handshake("TLSv1.3")).resolves.toBe("h2");
    await expect(handshake("TLSv1.2")).resolves.toBe("h2");
    await expect(handshake("TLSv1.1")).rejects.toThrow();
  });

  test("answers by HTTP/2", async () => {
    const client = http2.connect(`https://localhost:${edge.httpsPort}`, { ca: readFileSync(certificate) });
    const [headers] = (await once(client.request({ ":path": "/ready" }), "response")) as [
      http2.IncomingHttpHeaders,
    ];
    client.destroy();
    expect(headers[":status"]).toBe(200);
  });

  test("sends every security header once, even where the app sends its own", async () => {
    const { rawHeaders, headers } = await edge.get("/api/v1/documents");
    const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
    const expected = [
      "strict-transport-security",
      "content-security-policy",
      "x-content-type-options",
      "x-frame-options",
    ];
    for (const name of [...expected, "referrer-policy", "permissions-policy", "x-request-id"]) {
      expect(names.filter((sent) => sent === name)).toEqual([name]);
    }
    expect(headers).toMatchObject({ "x-frame-options": "DENY", server: "nginx" });
    expect(headers["x-powered-by"]).toBeUndefined();
  });

  test("sends the same headers with its own errors", async () => {
    const { headers } = await edge.get("/nothing");
    expect(headers["strict-transport-security"]).toBe("max-age=63072000");
    expect(headers["content-security-policy"]).toContain("default-src 'none'");
  });

  test("makes a new nonce for every response and hands it to the app", async () => {
    const answers = [
      await edge.get("/api/v1/a"),
      await edge.get("/api/v1/a", { headers: { "X-CSP-Nonce": "guessed" } }),
    ];
    const nonces = answers.map((answer) => seenByApp(answer)["x-csp-nonce"]);
    expect(new Set(nonces).size).toBe(2);
    for (const [index, { headers }] of answers.entries()) {
      expect(headers["content-security-policy"]).toContain(`script-src 'nonce-${String(nonces[index])}'`);
    }
  });

  test("believes nothing that a client says about itself", async () => {
    const spoofed = {
      "X-Forwarded-For": "9.9.9.9",
      "X-Forwarded-Proto": "http",
      "X-Real-IP": "9.9.9.9",
      Forwarded: "for=9",
    };
    const seen = seenByApp(await edge.get("/api/v1/a", { headers: { ...spoofed, "X-Request-Id": "mine" } }));
    expect(seen).toMatchObject({
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": "https",
      "x-real-ip": "127.0.0.1",
    });
    expect(seen["forwarded"]).toBeUndefined();
    expect(seen["x-request-id"]).toMatch(/^[0-9a-f]{32}$/);
  });

  test("takes the client's address from a trusted proxy", async () => {
    const behindProxy = await startEdge({ trustedProxies: ["127.0.0.0/8"] });
    const answer = await behindProxy.get("/api/v1/a", { headers: { "X-Forwarded-For": "6.6.6.6, 9.9.9.9" } });
    expect(seenByApp(answer)["x-forwarded-for"]).toBe("9.9.9.9");
  });

  test("counts the addresses of one IPv6 /64 as one client, and of IPv4 each", async () => {
    const strict = await startEdge({
      trustedProxies: ["127.0.0.0/8"],
      limits: { ...generous, requestsPerSecond: 1, burst: 0 },
    });
    const statusFor = async (address: string): Promise<number> =>
      (await strict.get("/api/v1/a", { headers: { "X-Forwarded-For": address } })).status;
    // With a byte of 10, which is a line's end to a regular expression.
    expect(await statusFor("2001:db8:0:a0a::1")).toBe(200);
    expect(await statusFor("2001:db8:0:a0a:ffff:ffff:ffff:a")).toBe(429);
    for (const other of [
      "2001:db8:0:a0b::1",
      "192.0.2.1",
      "192.0.2.2",
      "::ffff:192.0.2.3",
      "::ffff:192.0.2.4",
    ]) {
      expect(await statusFor(other), other).toBe(200);
    }
  });

  test("continues a trace that is well formed, and starts one otherwise", async () => {
    const traceparent = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`;
    expect(seenByApp(await edge.get("/api/v1/a", { headers: { traceparent } }))["traceparent"]).toBe(
      traceparent,
    );
    for (const wrong of ["nonsense", `00-${"0".repeat(32)}-${"2".repeat(16)}-01`, `${traceparent}\t"`]) {
      const seen = seenByApp(await edge.get("/api/v1/a", { headers: { traceparent: wrong } }))["traceparent"];
      expect(seen).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
      expect(seen).not.toContain("0".repeat(32));
    }
  });

  test("writes one JSON line per request, with the ids that the app and the client got, and without the query", async () => {
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    const agent = 'quoted " agent';
    const answer = await edge.get("/api/v1/logged?token=hidden", {
      headers: { traceparent, "User-Agent": agent },
    });
    await expect
      .poll(() => edge.log().find(({ path }) => path === "/api/v1/logged"), logged)
      .toMatchObject({
        module: "edge",
        level: "info",
        status: 200,
        method: "GET",
        request_id: answer.headers["x-request-id"],
        trace_id: "a".repeat(32),
        job_id: null,
        user_agent: agent,
      });
    expect(JSON.stringify(edge.log())).not.toContain("hidden");
  });

  test("lets through to the app's health and readiness, and answers for its own health itself", async () => {
    for (const url of ["/api/docs", "/api/openapi.json"]) {
      expect(JSON.parse((await edge.get(url)).body)).toMatchObject({ url });
    }
    expect(JSON.parse((await edge.get("/api/health")).body)).toMatchObject({ url: "/health" });
    expect(JSON.parse((await edge.get("/ready")).body)).toMatchObject({ url: "/ready" });
    expect((await edge.get("/health")).body).toBe('{"status":"ok"}');
  });

  test.each([
    "/metrics",
    "/",
    "/api/v3/a",
    "/page.html",
    "/api/v1/..%2f..%2fmetrics",
    "/api/v1/%2e%2e/%2e%2e/metrics",
    "/stub_status",
  ])("does not reach %s from outside, and says so as problem+json without a version", async (path) => {
    const { status, headers, body } = await edge.get(path);
    expect(status).toBe(404);
    expect(headers["content-type"]).toBe("application/problem+json");
    expect(JSON.parse(body)).toMatchObject({
      status: 404,
      title: "Not Found",
      request_id: headers["x-request-id"],
    });
    expect(headers["server"]).toBe("nginx");
  });

  test("serves only its own host names", async () => {
    expect((await edge.get("/ready", { headers: { Host: "api.example.com" } })).status).toBe(200);
    expect((await edge.get("/ready", { headers: { Host: "evil.example" } })).status).toBe(421);
  });

  test("redirects plain http to https by its own names only, with method and query kept", async () => {
    const plain = (host: string) =>
      send(http, { port: edge.httpPort, path: "/a?b=c", headers: { Host: host } });
    const { status, headers } = await plain("localhost");
    expect([status, headers.location]).toEqual([308, `https://localhost:${edge.httpsPort}/a?b=c`]);
    expect(headers["strict-transport-security"]).toBeUndefined();
    expect((await plain("evil.example")).status).toBe(421);
  });

  test("refuses bodies and headers that are too large", async () => {
    const body = "x".repeat(1_100_000);
    const tooLong = await edge.get("/api/v1/a", {
      method: "POST",
      headers: { "Content-Length": body.length },
    });
    expect(JSON.parse(tooLong.body)).toMatchObject({ status: 413 });
    const { status } = await edge.get("/api/v1/a", { headers: { "X-Large": "x".repeat(20_000) } });
    expect(status).toBe(431);
  });

  test("tries again what may be sent twice, and nothing else", async () => {
    expect((await edge.get("/api/v1/hang-up")).status).toBe(502);
    expect((await edge.get("/api/v1/hang-up", { method: "POST", body: "x" })).status).toBe(502);
    expect(hungUp).toEqual(["GET", "GET", "POST"]);
  });

  test("passes events on as they happen", async () => {
    const start = performance.now();
    const [first, last] = await new Promise<[number, number]>((resolve, reject) => {
      const options = {
        host: "127.0.0.1",
        port: edge.httpsPort,
        path: "/api/v2/chat/events",
        servername: "localhost",
      };
      const request = https.get({
        ...options,
        ca: readFileSync(certificate),
        agent: false,
        headers: { Host: "localhost" },
      });
      request.on("error", reject).on("response", (response) => {
        let firstAt = 0;
        response.on("data", () => (firstAt ||= performance.now() - start));
        response.on("end", () => {
          resolve([firstAt, performance.now() - start]);
        });
      });
    });
    expect(last - first).toBeGreaterThan(700);
  });

  test("upgrades to WebSocket for chat, and nowhere else", async () => {
    const upgrade = { Connection: "Upgrade", Upgrade: "websocket", Host: "localhost" };
    const options = {
      host: "127.0.0.1",
      port: edge.httpsPort,
      servername: "localhost",
      ca: readFileSync(certificate),
      agent: false,
    };
    const chat = https.get({ ...options, path: "/api/v2/chat/ws", headers: upgrade });
    const [response] = (await once(chat, "upgrade")) as [http.IncomingMessage];
    expect(response.statusCode).toBe(101);
    response.socket.destroy();
    const elsewhere = seenByApp(await edge.get("/api/v1/ws", { headers: upgrade }));
    expect(elsewhere.upgrade).toBeUndefined();
  });

  test("passes the app's own 429 on with the app's Retry-After", async () => {
    const { status, headers } = await edge.get("/api/v1/busy");
    expect([status, headers["retry-after"]]).toEqual([429, "77"]);
  });

  test("answers 429 problem+json with Retry-After beyond the rate", async () => {
    const strict = await startEdge({ limits: { ...generous, requestsPerSecond: 1, burst: 2 } });
    const answers = await Promise.all(Array.from({ length: 8 }, () => strict.get("/api/v1/a")));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3);
    const refused = answers.find(({ status }) => status === 429);
    expect(refused?.headers).toMatchObject({
      "retry-after": "1",
      "content-type": "application/problem+json",
    });
    expect(JSON.parse(refused?.body ?? "")).toMatchObject({ title: "Too Many Requests", status: 429 });
  });

  test("limits what it answers itself, on both ports", async () => {
    const strict = await startEdge({
      trustedProxies: ["127.0.0.0/8"],
      limits: { ...generous, requestsPerSecond: 1, burst: 0 },
    });
    let client = 0;
    for (const [protocol, path, host, ...expected] of [
      [https, "/health", "localhost", 200, 429],
      [https, "/nothing", "localhost", 404, 429],
      [https, "/", "evil.example", 421, 429],
      [http, "/a?b=c", "localhost", 308, 429],
      [http, "/", "other.example", 421, 429],
      // The kubelet asks often.
      [http, "/health", "10.0.0.1", 200, 200],
    ] as const) {
      const port = protocol === http ? strict.httpPort : strict.httpsPort;
      const headers = { Host: host, "X-Forwarded-For": `192.0.2.${++client}` };
      const first = await send(protocol, { port, path, headers });
      const second = await send(protocol, { port, path, headers });
      expect([first.status, second.status], host + path).toEqual(expected);
    }
  });

  test("limits sign-in more, however its path is spelt", async () => {
    const spellings = [
      "/api/v1/auth/sign-in",
      "/api/v2/auth/session",
      "/api/v1/AUTH/sign-in/",
      "/api/v1/auth/sign%2Din",
      "/api/v2//auth/login",
    ];
    for (const path of spellings) expect((await edge.get(path, { method: "POST" })).status).toBe(200);
    for (const path of spellings) {
      const { status, headers } = await edge.get(path, { method: "POST" });
      expect([status, headers["retry-after"]]).toEqual([429, "12"]);
    }
    expect((await edge.get("/api/v1/documents")).status).toBe(200);
    expect((await edge.get("/api/v2/auth/session", { method: "DELETE" })).status).toBe(200);
    expect((await edge.get("/api/v2/auth/refresh", { method: "POST" })).status).toBe(200);
    expect((await edge.get("/api/v2/auth/sign-in", { method: "OPTIONS" })).status).toBe(200);
  });

  test("limits requests under way per address", async () => {
    const narrow = await startEdge({ limits: { ...generous, connectionsPerAddress: 2 } });
    const answers = await Promise.all(Array.from({ length: 4 }, () => narrow.get("/api/v1/slow")));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 429, 429]);
  });

  test("finishes what it is serving when it is told to quit", async () => {
    const leaving = await startEdge();
    const underWay = leaving.get("/api/v1/slow");
    await sleep(300);
    leaving.process.kill("SIGQUIT");
    expect((await underWay).body).toBe("finished");
    await expect(leaving.get("/health")).rejects.toThrow("ECONNREFUSED");
  });
});
