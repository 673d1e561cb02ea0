import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { rules } from "../src/auth/rules.ts";
import { openApiDocument, openApiPath } from "../src/http/openapi.ts";
import { Conformance, conforming } from "./support/conformance.ts";
import { newDatabase } from "./support/postgres.ts";
import { run } from "./support/processes.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";

const app = new URL("..", import.meta.url);
const printed = (format: string) => run(process.execPath, ["src/cli/openapi.ts", format], { cwd: app });
const written = (file: string) => readFile(new URL(`../docs/${file}`, app), "utf8");

describe("the OpenAPI document", () => {
  it("describes every route that has a rule, and no other", () => {
    const described = new Conformance().operations.map(({ method, template }) => `${method} ${template}`);
    const routes = rules.map(({ method, path }) => `${method} ${openApiPath(path)}`);
    expect(described.sort()).toEqual(routes.sort());
  });

  it("says of every route who may call it, and asks for a token on all but the public ones", () => {
    const { paths = {} } = openApiDocument();
    for (const { method, path, allow } of rules) {
      const operation = paths[openApiPath(path)]?.[method];
      const allowed = allow === "public" ? "everyone" : allow.join(", ");
      expect(operation?.description, path).toContain(`Allowed to: ${allowed}.`);
      expect(operation?.security?.length, path).toBe(allow === "public" ? 0 : 1);
    }
  });

  it("names every parameter of its paths", () => {
    for (const [path, item] of Object.entries(openApiDocument().paths ?? {})) {
      for (const operation of Object.values(item) as { parameters?: { in: string; name: string }[] }[]) {
        const named = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
        const wanted = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
        expect(named.map(({ name }) => name).sort(), path).toEqual(wanted.sort());
      }
    }
  });

  it("lies up to date in docs/, as JSON and to read", async () => {
    expect(await written("api/openapi.json")).toBe(await printed("json"));
    expect(await written("api.md")).toBe(await printed("markdown"));
  });
});

describe("a running service", () => {
  let service: TestService;
  let tenant: string;
  beforeAll(async () => {
    const database = await newDatabase(inject("postgres"));
    tenant = await newTenant(inject("postgres"), database);
    service = conforming(await startTestService(inject("postgres"), database, inject("redis")));
  });
  afterAll(() => service.stop());

  it("serves the document", async () => {
    const { status, body } = await service.call("GET", "/api/openapi.json");
    expect(status).toBe(200);
    expect(body).toEqual(JSON.parse(JSON.stringify(openApiDocument())));
  });

  it("serves it as a page without scripts, styled only by the edge's nonce", async () => {
    const headers = { "x-csp-nonce": 'n0nce"><script>' };
    const { status, body } = await service.call("GET", "/api/docs", { headers });
    expect(status).toBe(200);
    expect(body).toContain('<style nonce="n0nce&quot;&gt;&lt;script&gt;">');
    expect(body).toContain("<code>/api/v1/documents/{id}</code>");
    expect(body).not.toMatch(/<script|<link|<img|style=| on\w+=|http:/);
  });

  it("answers as the document says, in success and in error", async () => {
    const [admin, viewer] = [await service.token("admin", tenant), await service.token("viewer", tenant)];
    const body = { title: "t", content: "c" };
    const created = await service.call("POST", "/api/v1/documents", { token: admin, body });
    const path = created.headers.get("location") ?? "";
    const answers = await Promise.all([
      service.call("GET", "/health"),
      service.call("GET", "/ready"),
      service.call("GET", "/api/v1/documents", { token: viewer }),
      service.call("GET", path, { token: viewer }),
      service.call("GET", "/api/v1/documents?limit=no", { token: viewer }),
      service.call("GET", path),
      service.call("POST", "/api/v1/documents", { token: viewer, body }),
      service.call("GET", path.replace(/\w{4}$/, "0000"), { token: viewer }),
      service.call("POST", "/api/v1/documents", { token: admin, body: "x".repeat(700_000) }),
      service.call("POST", "/api/v1/documents", {
        token: admin,
        body,
        headers: { "content-encoding": "lzma" },
      }),
      service.call("GET", "/api/v1/documents/%E0%A4%A", { token: admin }),
      service.call("GET", "/nowhere"),
    ]);
    const expected = [200, 200, 200, 200, 400, 401, 403, 404, 413, 415, 400, 404];
    expect(answers.map(({ status }) => status)).toEqual(expected);
    expect((await service.call("DELETE", path, { token: admin })).status).toBe(204);
  });

  it.each([
    ["GET / HTTP/1.1\r\nBad Header\r\n\r\n", 400],
    [`GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431],
    ["\u0016\u0003\u0001\u0000", 400],
  ])("answers with a problem even to what is no HTTP: %.30j", async (sent, status) => {
    const socket = connect(service.port, "127.0.0.1").end(sent, "latin1");
    const [head = "", body = ""] = (await text(socket)).split("\r\n\r\n");
    expect(head).toContain(`HTTP/1.1 ${status} `);
    expect(head).toContain("application/problem+json");
    expect(JSON.parse(body)).toMatchObject({ status });
  });
});

describe("the comparison itself", () => {
  const conformance = new Conformance();
  const health = { method: "GET", path: "/health", status: 200, contentType: "application/json" };
  it.each([
    [{ ...health, body: { status: "ok" } }, undefined],
    [{ ...health, body: { status: "ok", secret: 1 } }, "must NOT have additional properties"],
    [{ ...health, status: 418, body: {} }, "not documented"],
    [{ ...health, contentType: "text/html", body: "" }, "documented is application/json"],
    [{ ...health, path: "/nowhere", body: {} }, "(no route)"],
    [{ ...health, path: "/health/.?x=/..", status: 401, body: {} }, "(no route)"],
  ])("finds what is wrong with %j", (exchange, reason) => {
    const mismatch = conformance.mismatch(exchange);
    if (reason === undefined) {
      expect(mismatch).toBeUndefined();
    } else {
      expect(mismatch).toContain(reason);
    }
  });
});
