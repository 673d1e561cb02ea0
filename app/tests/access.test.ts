import { randomUUID } from "node:crypto";
import express, { type Router } from "express";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { KeyStore } from "../src/auth/keyStore.ts";
import { type Role, rules } from "../src/auth/rules.ts";
import { Tokens } from "../src/auth/tokens.ts";
import { createLanguageModel } from "../src/ai/createLanguageModel.ts";
import { DocumentCache } from "../src/cache/documentCache.ts";
import { createChat } from "../src/chat/createChat.ts";
import { FieldCipher } from "../src/crypto/fieldCipher.ts";
import { Database } from "../src/db/database.ts";
import { DocumentRepository } from "../src/documents/repository.ts";
import { documentRoutes } from "../src/documents/routes.ts";
import { createApp } from "../src/http/app.ts";
import { listen, type Listener } from "../src/http/listen.ts";
import { Readiness } from "../src/http/readiness.ts";
import { Metrics } from "../src/observability/metrics.ts";
import { speechRoutes } from "../src/speech/routes.ts";
import { createSpeech } from "../src/speech/speech.ts";
import { silentLogger } from "./support/logs.ts";
import { newDatabase } from "./support/postgres.ts";
import {
  call,
  newTenant,
  startTestService,
  testConfig,
  type TestService,
  writeKeyFile,
} from "./support/service.ts";

interface Layer {
  route?: { path: string; methods: Record<string, boolean> };
  handle: { stack?: Layer[] };
}

/** Every route that Express knows, as "method path". */
function registeredRoutes(layers: Layer[]): string[] {
  return layers.flatMap(({ route, handle }) =>
    route
      ? Object.keys(route.methods).map((method) => `${method} ${route.path}`)
      : registeredRoutes(handle.stack ?? []),
  );
}

async function appWith(extraRoutes: Router[]) {
  const metrics = new Metrics();
  const keysFile = await writeKeyFile();
  const config = testConfig();
  const tokens = new Tokens(new KeyStore(keysFile, silentLogger), config.jwt);
  const logger = silentLogger;
  const database = new Database(undefined, logger);
  const repository = new DocumentRepository(database);
  const cache = new DocumentCache(undefined, 60, metrics, silentLogger);
  const readiness = new Readiness({}, silentLogger);
  const admit = async () => Promise.resolve();
  const chat = createChat({
    config,
    cache: undefined,
    queue: undefined,
    database,
    cipher: new FieldCipher(new KeyStore(undefined, logger)),
    languageModel: createLanguageModel(config.ai, metrics, logger),
    tokens,
    admit,
    metrics,
    logger,
  });
  const speech = speechRoutes(createSpeech(config, undefined, metrics, logger));
  const routes = [documentRoutes(repository, cache), chat.routes, speech, ...extraRoutes];
  return { app: createApp({ config, logger, metrics, readiness, tokens, admit, routes }), tokens };
}

const tenantOfNobody = "7d444840-9dc0-41d8-b245-1ef6a4d4fc9a";
const roles = ["admin", "editor", "viewer"] as const;

/** The requirement itself, written apart from the table in src/auth/rules.ts. */
const expected: Record<string, { allowed: readonly string[]; success: number }> = {
  "get /health": { allowed: ["nobody", ...roles], success: 200 },
  "get /api/health": { allowed: ["nobody", ...roles], success: 200 },
  "get /ready": { allowed: ["nobody", ...roles], success: 200 },
  "post /api/v1/documents": { allowed: ["admin", "editor"], success: 201 },
  "get /api/v1/documents": { allowed: roles, success: 200 },
  "get /api/v1/documents/:id": { allowed: roles, success: 200 },
  "put /api/v1/documents/:id": { allowed: ["admin", "editor"], success: 200 },
  "delete /api/v1/documents/:id": { allowed: ["admin"], success: 204 },
  "post /api/v2/chat": { allowed: roles, success: 200 },
  "get /api/v2/chat/ws": { allowed: roles, success: 426 },
  "get /api/v2/chat/:answerId/events": { allowed: roles, success: 200 },
  "post /api/v2/chat/:answerId/feedback": { allowed: roles, success: 204 },
  "post /api/v2/speech": { allowed: roles, success: 200 },
};

describe("access to the routes", () => {
  let service: TestService;
  let ours: string;
  let theirs: string;
  beforeAll(async () => {
    const postgres = inject("postgres");
    const database = await newDatabase(postgres);
    service = await startTestService(postgres, database, inject("redis"));
    [ours, theirs] = [await newTenant(postgres, database), await newTenant(postgres, database)];
  });
  afterAll(() => service.stop());

  it("is decided for every registered route, and for no other", async () => {
    const { app } = await appWith([]);
    const registered = registeredRoutes((app.router as unknown as { stack: Layer[] }).stack).sort();
    expect(registered).toEqual(Object.keys(expected).sort());
    expect(rules.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(registered);
  });

  async function newDocument(): Promise<string> {
    const token = await service.token("editor", ours);
    const { body } = await service.call("POST", "/api/v1/documents", {
      token,
      body: { title: "t", content: "c" },
    });
    return (body as { id: string }).id;
  }

  async function newAnswer(role: Role): Promise<string> {
    const { body } = await service.call("POST", "/api/v2/chat", {
      token: await service.token(role, ours),
      body: { message: "q" },
    });
    return /"answerId":"([^"]+)"/.exec(String(body))?.[1] ?? "";
  }

  const bodies: Record<string, unknown> = {
    "post /api/v2/chat": { message: "q" },
    "post /api/v2/chat/:answerId/feedback": { value: 1 },
    "post /api/v2/speech": { text: "t" },
  };

  const cases = Object.keys(expected).flatMap((route) =>
    ["nobody", ...roles].map((caller) => [route, caller] as const),
  );
  it.each(cases)("%s is answered to %s as the matrix says", async (route, caller) => {
    const [method = "", path = ""] = route.split(" ");
    const id = await newDocument();
    const role = roles.find((known) => known === caller);
    const answerId = role && path.includes(":answerId") ? await newAnswer(role) : randomUUID();
    const writes = method === "post" || method === "put";
    const request = (tenant: string | undefined) =>
      (async () =>
        service.call(method.toUpperCase(), path.replace(":id", id).replace(":answerId", answerId), {
          ...(role && tenant !== undefined && { token: await service.token(role, tenant) }),
          ...(writes && { body: bodies[route] ?? { title: "new", content: "new" } }),
        }))();
    const { allowed = [], success } = expected[route] ?? {};

    if (!allowed.includes(caller)) {
      expect((await request(ours)).status).toBe(role ? 403 : 401);
      expect((await request(theirs)).status).toBe(role ? 403 : 401);
      return;
    }
    if (path.includes(":")) {
      const foreign = await request(theirs);
      expect(foreign.status).toBe(404);
      expect(foreign.headers.get("content-type")).toContain("application/problem+json");
    }
    expect((await request(role && ours)).status).toBe(success);
  });

  it.each(["Bearer", "Bearer a b", "Basic YTpi", "Bearer ..", `Bearer ${"a".repeat(99)}`])(
    "is refused for the header Authorization: %s",
    async (authorization) => {
      const answer = await service.call("GET", "/api/v1/documents", { headers: { authorization } });
      expect(answer.status).toBe(401);
      expect(answer.headers.get("www-authenticate")).toBe("Bearer");
    },
  );

  it.each([
    "/API/V1/Documents",
    "/api/v1/documents/",
    "/api//v1/documents",
    "/api/v1/%64ocuments",
    "/x/../api/v1/documents",
  ])("cannot be had past the guard by writing the path as %s", async (path) => {
    expect([401, 404]).toContain((await service.call("GET", path)).status);
    expect([401, 404]).toContain((await service.call("HEAD", path)).status);
  });
});

describe("a route without a rule", () => {
  let listener: Listener;
  let token: string;
  let reached = false;
  beforeAll(async () => {
    const forgotten = express.Router();
    forgotten.get("/api/v1/forgotten", (_request, response) => {
      reached = true;
      response.json({});
    });
    const { app, tokens } = await appWith([forgotten]);
    token = await tokens.sign({ subject: "a", role: "admin", tenantId: tenantOfNobody });
    listener = await listen(app, 0);
  });
  afterAll(() => listener.close(0));

  it("is refused even to an admin", async () => {
    const answer = await call(`http://127.0.0.1:${listener.port}/api/v1/forgotten`, "GET", { token });
    expect(answer.status).toBe(404);
    expect(reached).toBe(false);
  });
});
