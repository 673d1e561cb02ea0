import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { listen, type Listener } from "../src/http/listen.ts";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";

const postgres = inject("postgres");
const origin = "https://console.example.com";
let service: TestService;
let closed: TestService;
let database: string;
let tenant: string;
let token: string;
beforeAll(async () => {
  database = await newDatabase(postgres);
  tenant = await newTenant(postgres, database);
  closed = await startTestService(postgres, database, undefined);
  service = await startTestService(postgres, database, inject("redis"), {
    corsOrigins: [origin],
    bodyLimitKiB: 64,
  });
  token = await service.token("admin", tenant);
});
afterAll(() => Promise.all([service.stop(), closed.stop()]));

const path = "/api/v2/documents";
const create = (body: unknown, headers: Record<string, string> = {}) =>
  service.call("POST", path, { token, body, headers });

/** Sends the bytes as they are, and gives what came back when the connection has ended. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(bytes);
  return received(socket);
}

async function received(socket: Socket): Promise<string> {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await new Promise((resolve) => socket.once("close", resolve));
  return text;
}

describe("the pages of another origin", () => {
  const preflight = (of: TestService, from: string, headers: Record<string, string> = {}) =>
    of.call("OPTIONS", `${path}/x`, {
      headers: { origin: from, "access-control-request-method": "PATCH", ...headers },
    });

  it("are kept out unless they are configured: no header of CORS, no answer to a preflight", async () => {
    const answer = await preflight(closed, origin);
    expect(answer.status).toBe(404);
    expect([...answer.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
  });

  it("may call with a bearer token and never with cookies, when their origin is configured", async () => {
    const asked = { "access-control-request-headers": "authorization,if-match" };
    const { status, headers } = await preflight(service, origin, asked);
    expect(status).toBe(204);
    expect(headers.get("access-control-allow-origin")).toBe(origin);
    expect(headers.get("access-control-allow-methods")).toContain("PATCH");
    const allowed = headers.get("access-control-allow-headers")?.toLowerCase().split(",");
    expect(allowed).toEqual(expect.arrayContaining(["if-match", "if-none-match", "idempotency-key"]));
    expect(headers.get("access-control-allow-credentials")).toBeNull();
    expect(headers.get("vary")).toContain("Origin");

    const answer = await service.call("GET", path, { token, headers: { origin } });
    expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
    const exposed = answer.headers.get("access-control-expose-headers")?.split(",");
    expect(exposed).toEqual(expect.arrayContaining(["ETag", "X-Degraded"]));
    const refused = await service.call("GET", path, { headers: { origin } });
    expect(refused).toMatchObject({ status: 401 });
    expect(refused.headers.get("access-control-allow-origin")).toBe(origin);
  });

  it.each([
    "https://evil.example",
    "https://console.example.com.evil.example",
    "https://evilconsole.example.com",
    "http://console.example.com",
    "https://console.example.com:8443",
    "null",
  ])("are kept out when they come from %s", async (from) => {
    expect((await preflight(service, from)).headers.get("access-control-allow-origin")).toBeNull();
    const answer = await service.call("GET", path, { token, headers: { origin: from } });
    expect(answer.headers.get("access-control-allow-origin")).toBeNull();
  });

  it("an OPTIONS request that is no preflight is refused like any route that is not listed", async () => {
    expect((await service.call("OPTIONS", path, { headers: { origin } })).status).toBe(404);
  });
});

describe("every answer", () => {
  it.each([
    ["GET", path, 200],
    ["GET", "/nowhere", 404],
    ["GET", "/health", 200],
    ["GET", `${path}/%E0%A4%A`, 400],
    ["POST", path, 400],
  ])(
    "to %s %s carries the protective headers, and leaves CSP and HSTS to the edge",
    async (method, to, status) => {
      const answer = await service.call(method, to, { token });
      expect(answer.status).toBe(status);
      expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      expect(answer.headers.get("x-frame-options")).toBe("SAMEORIGIN");
      expect(answer.headers.get("referrer-policy")).toBe("no-referrer");
      expect(answer.headers.get("cache-control")).toBe("no-store");
      for (const name of [
        "content-security-policy",
        "strict-transport-security",
        "x-powered-by",
        "set-cookie",
      ]) {
        expect(answer.headers.get(name), name).toBeNull();
      }
    },
  );
});

describe("a body", () => {
  it.each<[string, string]>([
    ["__proto__", '{"title":"t","content":"c","__proto__":{"isAdmin":true}}'],
    ["title.__proto__", '{"title":{"__proto__":{"isAdmin":true}},"content":"c"}'],
    ["constructor", '{"title":"t","content":"c","constructor":{"prototype":{"isAdmin":true}}}'],
    ["title", '{"title":"\\u0000","content":"c"}'],
    ["content", '{"title":"t","content":"\\ud800"}'],
    ["content", '{"title":"t","content":"\\udc00\\ud800"}'],
    ["title", '{"title":1e999,"content":"c"}'],
    ["extra.0.deep", '{"title":"t","content":"c","extra":[{"deep":"\\u0000"}]}'],
  ])("with something unusable in %s is refused with a problem that names it", async (field, body) => {
    const answer = await create(body);
    expect(answer).toMatchObject({ status: 400, body: { status: 400, errors: [{ field }] } });
    expect(({} as { isAdmin?: unknown }).isAdmin).toBeUndefined();
  });

  it.each([
    ["objects", `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`],
    ["lists", `{"title":${"[".repeat(30_000)}${"]".repeat(30_000)}}`],
  ])("of %s nested thousands deep is refused", async (_what, body) => {
    const answer = await create(body);
    expect(answer).toMatchObject({ status: 400 });
    expect(JSON.stringify(answer.body)).toContain("nested deeper than 32 levels");
  });

  it.each(["id", "tenant_id", "tenantId", "createdBy", "created_by", "createdAt", "role", "search"])(
    "cannot say what is not the caller's to say: %s",
    async (field) => {
      const answer = await create({ title: "t", content: "c", [field]: tenant });
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
    },
  );

  it("beyond the limit is refused, also when it is small only until unpacked", async () => {
    const body = JSON.stringify({ title: "t", content: "x".repeat(70_000) });
    expect((await create(body)).status).toBe(413);
    const packed = await fetch(service.url + path, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "content-encoding": "gzip",
      },
      body: gzipSync(body),
    });
    expect(packed.status).toBe(413);
    expect(packed.headers.get("content-type")).toContain("application/problem+json");
  });

  it.each<[string, Record<string, string>, number]>([
    ["of another type", { "content-type": "text/plain" }, 400],
    ["of a form", { "content-type": "application/x-www-form-urlencoded" }, 400],
    ["in an unknown charset", { "content-type": "application/json; charset=klingon" }, 415],
    ["in an unknown packing", { "content-encoding": "lzma" }, 415],
  ])("%s is refused as a problem", async (_what, headers, status) => {
    const answer = await create({ title: "t", content: "c" }, headers);
    expect(answer).toMatchObject({ status, body: { status } });
  });
});

describe("a path", () => {
  it.each([
    `${path}/../documents`,
    `${path}/..%2f..%2f..%2fetc%2fpasswd`,
    `${path}/%2e%2e/%2e%2e/health`,
    `${path}/%5c..%5c`,
    `${path};jsessionid=1`,
    `/api/v2//documents`,
    `//api/v2/documents`,
    `/api/v2/documents%00`,
    "/API/V2/DOCUMENTS/%2e",
    "/static/../../etc/passwd",
  ])("written as %s reaches nothing without a token", async (target) => {
    const answer = await raw(service.port, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 (400|401|404) /);
  });

  it("with another method in a header or the query is what its own method makes it", async () => {
    const { headers } = await create({ title: "t", content: "c" });
    const location = headers.get("location") ?? "";
    for (const name of ["x-http-method-override", "x-http-method", "x-method-override"]) {
      const answer = await service.call("GET", location, { token, headers: { [name]: "DELETE" } });
      expect(answer.status).toBe(200);
    }
    await service.call("POST", `${location}?_method=DELETE`, { token, body: {} });
    expect((await service.call("GET", location, { token })).status).toBe(200);
  });

  it.each(["TRACE", "CONNECT", "PROPFIND"])("cannot be had by %s", async (method) => {
    const answer = await raw(
      service.port,
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).not.toMatch(/^HTTP\/1\.1 (2|5)/);
  });
});

describe("a connection", () => {
  it("with more headers than 16 KiB is refused", async () => {
    const answer = await raw(
      service.port,
      `GET /health HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(17_000)}\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
  });

  it.each([
    ["two lengths", "Content-Length: 4\r\nContent-Length: 5"],
    ["a length and chunks", "Content-Length: 4\r\nTransfer-Encoding: chunked"],
    ["an unknown transfer", "Transfer-Encoding: chunked, identity"],
    ["a header that is none", "Bad Header"],
  ])("with %s in its request is refused, so that no other request hides in it", async (_what, header) => {
    const answer = await raw(
      service.port,
      `POST ${path} HTTP/1.1\r\nHost: x\r\n${header}\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  describe("that is slow", () => {
    let slow: Listener;
    beforeAll(async () => {
      const limits = { headersTimeout: 300, requestTimeout: 500, connectionsCheckingInterval: 100 };
      const handler = (_request: unknown, response: { end: (text: string) => void }) => {
        response.end("reached");
      };
      slow = await listen(handler, 0, limits);
    });
    afterAll(() => slow.close(0));

    it.each([
      ["headers", "GET / HTTP/1.1\r\nHost: x\r\nX: "],
      ["body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"],
    ])("in sending its %s is cut off", async (_part, start) => {
      const socket = connect(slow.port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(start);
      const drip = setInterval(() => socket.write("a"), 50);
      const begin = performance.now();
      await received(socket);
      clearInterval(drip);
      expect(performance.now() - begin).toBeLessThan(3000);
    });
  });
});

describe("what Postgres refuses", () => {
  it.each<[string, number]>([
    ["23505", 409],
    ["23503", 409],
    ["22001", 400],
    ["22003", 400],
    ["54000", 413],
    ["40001", 503],
    ["40P01", 503],
    ["XX000", 500],
  ])("with %s is answered with %i, without its words", async (code, status) => {
    const message = `secret-${randomBytes(4).toString("hex")}`;
    await asSuperuser(postgres, database, (client) =>
      client.query(
        `create or replace function refuse() returns trigger language plpgsql as
           $$ begin raise exception '${message}' using errcode = '${code}'; end $$;
         create or replace trigger refuse before insert on documents for each row execute function refuse()`,
      ),
    );
    const answer = await create({ title: "t", content: "c" });
    await asSuperuser(postgres, database, (client) => client.query("drop trigger refuse on documents"));
    expect(answer).toMatchObject({ status, body: { status } });
    expect(JSON.stringify(answer.body)).not.toContain(message);
    expect(answer.headers.get("retry-after")).toBe(status === 503 ? "2" : null);
  });

  it("for a tenant that does not exist is no fault of ours", async () => {
    const stranger = await service.token("editor", "7d444840-9dc0-41d8-b245-1ef6a4d4fc9a");
    const answer = await service.call("POST", path, { token: stranger, body: { title: "t", content: "c" } });
    expect(answer.status).toBe(409);
  });
});
