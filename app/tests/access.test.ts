import express, { type Router } from "express";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { auditRoutes } from "../src/audit/routes.ts";
import { FallbackSwitch } from "../src/auth/fallbackSwitch.ts";
import { KeyStore } from "../src/auth/keyStore.ts";
import { Passwords } from "../src/auth/passwords.ts";
import { RefreshTokens } from "../src/auth/refreshTokens.ts";
import { Refusals } from "../src/auth/refusals.ts";
import { authRoutes } from "../src/auth/routes.ts";
import { rules } from "../src/auth/rules.ts";
import { Sessions } from "../src/auth/sessions.ts";
import { SignIn } from "../src/auth/signIn.ts";
import { SignInLimit } from "../src/auth/signInLimit.ts";
import { Tokens } from "../src/auth/tokens.ts";
import { DocumentCache } from "../src/cache/documentCache.ts";
import { FieldCipher } from "../src/crypto/fieldCipher.ts";
import { Database } from "../src/db/database.ts";
import { DocumentRepository } from "../src/documents/repository.ts";
import { documentRoutes } from "../src/documents/routes.ts";
import { createApp } from "../src/http/app.ts";
import { listen, type Listener } from "../src/http/listen.ts";
import { Readiness } from "../src/http/readiness.ts";
import { Metrics } from "../src/observability/metrics.ts";
import { UserRepository } from "../src/users/repository.ts";
import { userRoutes } from "../src/users/routes.ts";
import { silentLogger } from "./support/logs.ts";
import { createUser, newUserBody, signIn, signInBody, switchFile, type TestUser } from "./support/users.ts";
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
  const database = new Database(undefined, silentLogger);
  const cache = new DocumentCache(undefined, 60, metrics, silentLogger);
  const readiness = new Readiness({}, silentLogger);
  const sessions = new Sessions(undefined, new FallbackSwitch(undefined, silentLogger), 60);
  const refusals = new Refusals(database, metrics, silentLogger);
  const users = new UserRepository(database, new FieldCipher(new KeyStore(undefined, silentLogger)));
  const passwords = new Passwords();
  const refreshTokens = new RefreshTokens(database, users, metrics);
  const limit = new SignInLimit(undefined);
  const shared = { database, users, passwords, metrics, logger: silentLogger };
  const signIn = new SignIn({ ...shared, limit, directory: undefined });
  const routes = [
    documentRoutes(new DocumentRepository(database), cache),
    authRoutes({ signIn, tokens, refreshTokens, sessions, refusals, users }),
    userRoutes({ database, users, passwords, refreshTokens, sessions }),
    auditRoutes(database),
    ...extraRoutes,
  ];
  const app = createApp({
    config,
    logger: silentLogger,
    metrics,
    readiness,
    tokens,
    sessions,
    refusals,
    routes,
  });
  return { app, tokens };
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
  "post /api/v2/auth/sign-in": { allowed: ["nobody", ...roles], success: 200 },
  "post /api/v2/auth/refresh": { allowed: ["nobody", ...roles], success: 200 },
  "post /api/v2/auth/sign-out": { allowed: ["nobody", ...roles], success: 204 },
  "post /api/v2/auth/session": { allowed: ["nobody", ...roles], success: 200 },
  "delete /api/v2/auth/session": { allowed: roles, success: 204 },
  "get /api/v2/auth/me": { allowed: roles, success: 200 },
  "get /api/v2/admin/users": { allowed: ["admin"], success: 200 },
  "post /api/v2/admin/users": { allowed: ["admin"], success: 201 },
  "patch /api/v2/admin/users/:id": { allowed: ["admin"], success: 200 },
  "delete /api/v2/admin/users/:id/sessions": { allowed: ["admin"], success: 204 },
  "get /api/v2/admin/audit": { allowed: ["admin"], success: 200 },
};

describe("access to the routes", () => {
  let service: TestService;
  let ours: string;
  let theirs: string;
  beforeAll(async () => {
    const postgres = inject("postgres");
    const database = await newDatabase(postgres);
    const fallbackSignInFile = await switchFile("on");
    service = await startTestService(postgres, database, inject("redis"), { fallbackSignInFile });
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

  async function newUser(): Promise<TestUser> {
    return createUser(service, ours, "viewer");
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
      case "/api/v2/auth/sign-in":
      case "/api/v2/auth/session":
        return method === "post" ? { body: signInBody(await newUser()) } : {};
      case "/api/v2/auth/refresh":
      case "/api/v2/auth/sign-out":
        return { body: { refreshToken: (await signIn(service, await newUser())).refreshToken } };
      case "/api/v2/admin/users":
        return method === "post" ? { body: newUserBody("viewer") } : {};
      case "/api/v2/admin/users/:id":
        return { id: (await newUser()).id, body: { role: "editor" } };
      case "/api/v2/admin/users/:id/sessions":
        return { id: (await newUser()).id };
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
