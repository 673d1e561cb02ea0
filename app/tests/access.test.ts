import express, { type Router } from "express";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { KeyStore } from "../src/auth/keyStore.ts";
import { rules } from "../src/auth/rules.ts";
import { Tokens } from "../src/auth/tokens.ts";
import { DocumentCache } from "../src/cache/documentCache.ts";
import { Database } from "../src/db/database.ts";
import { DocumentRepository } from "../src/documents/repository.ts";
import { documentRoutes } from "../src/documents/routes.ts";
import { createApp } from "../src/http/app.ts";
import { listen, type Listener } from "../src/http/listen.ts";
import { Readiness } from "../src/http/readiness.ts";
import { JobRepository } from "../src/jobs/repository.ts";
import { jobRoutes } from "../src/jobs/routes.ts";
import { Metrics } from "../src/observability/metrics.ts";
import { silentLogger } from "./support/logs.ts";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
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
  const repository = new DocumentRepository(new Database(undefined, silentLogger));
  const cache = new DocumentCache(undefined, 60, metrics, silentLogger);
  const readiness = new Readiness({}, silentLogger);
  const jobs = jobRoutes(new JobRepository(new Database(undefined, silentLogger)));
  const routes = [documentRoutes(repository, cache), jobs, ...extraRoutes];
  return { app: createApp({ config, logger: silentLogger, metrics, readiness, tokens, routes }), tokens };
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
  "post /api/v2/jobs": { allowed: ["admin", "editor"], success: 202 },
  "get /api/v2/jobs/:id": { allowed: roles, success: 200 },
  "get /api/v2/admin/dead-letters": { allowed: ["admin"], success: 200 },
  "post /api/v2/admin/dead-letters/:id/redrive": { allowed: ["admin"], success: 202 },
};

const jobBody = { kind: "generate", prompt: "Say hello" };

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

  async function newJob(state: "pending" | "dead"): Promise<string> {
    const token = await service.token("editor", ours);
    const { body } = await service.call("POST", "/api/v2/jobs", { token, body: jobBody });
    const { id } = body as { id: string };
    await asSuperuser(inject("postgres"), service.databaseConfig.database, (client) =>
      client.query("update jobs set state = $2 where id = $1", [id, state]),
    );
    return id;
  }

  /** Something of our tenant that the route can be asked about, and a body that it takes. */
  async function target(method: string, path: string): Promise<{ id?: string; body?: unknown }> {
    switch (path) {
      case "/api/v1/documents":
      case "/api/v1/documents/:id":
        return {
          id: await newDocument(),
          ...(["post", "put"].includes(method) && { body: { title: "new", content: "new" } }),
        };
      case "/api/v2/jobs":
        return { body: jobBody };
      case "/api/v2/jobs/:id":
        return { id: await newJob("pending") };
      case "/api/v2/admin/dead-letters/:id/redrive":
        return { id: await newJob("dead") };
      default:
        return {};
    }
  }

  const cases = Object.keys(expected).flatMap((route) =>
    ["nobody", ...roles].map((caller) => [route, caller] as const),
  );
  it.each(cases)("%s is answered to %s as the matrix says", async (route, caller) => {
    const [method = "", path = ""] = route.split(" ");
    const { id = "", body } = await target(method, path);
    const role = roles.find((known) => known === caller);
    const request = async (tenant: string | undefined) =>
      service.call(method.toUpperCase(), path.replace(":id", id), {
        ...(role && tenant !== undefined && { token: await service.token(role, tenant) }),
        ...(body !== undefined && { body }),
      });
    const { allowed = [], success } = expected[route] ?? {};

    if (!allowed.includes(caller)) {
      expect((await request(ours)).status).toBe(role ? 403 : 401);
      expect((await request(theirs)).status).toBe(role ? 403 : 401);
      return;
    }
    if (path.includes(":id")) {
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
