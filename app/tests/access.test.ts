import express from "express";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type Role, rules } from "../src/auth/rules.ts";
import { listen, type Listener } from "../src/http/listen.ts";
import { appWithout } from "./support/app.ts";
import { conforming } from "./support/conformance.ts";
import { createUser, newUserBody, signIn, signInBody, switchFile, type TestUser } from "./support/users.ts";
import { asSuperuser, newDatabase } from "./support/postgres.ts";
import { call, newTenant, startTestService, type TestService } from "./support/service.ts";

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

const tenantOfNobody = "7d444840-9dc0-41d8-b245-1ef6a4d4fc9a";
const roles = ["admin", "editor", "viewer"] as const;

function documents(version: string) {
  return {
    [`post /api/${version}/documents`]: { allowed: ["admin", "editor"], success: 201 },
    [`get /api/${version}/documents`]: { allowed: roles, success: 200 },
    [`get /api/${version}/documents/:id`]: { allowed: roles, success: 200 },
    [`put /api/${version}/documents/:id`]: { allowed: ["admin", "editor"], success: 200 },
    [`delete /api/${version}/documents/:id`]: { allowed: ["admin"], success: 204 },
  };
}

/** The requirement itself, written apart from the table in src/auth/rules.ts. */
const expected: Record<string, { allowed: readonly string[]; success: number }> = {
  "get /api/v2/notice": { allowed: ["nobody", ...roles], success: 200 },
  "get /health": { allowed: ["nobody", ...roles], success: 200 },
  "get /api/health": { allowed: ["nobody", ...roles], success: 200 },
  "get /ready": { allowed: ["nobody", ...roles], success: 200 },
  "get /api/openapi.json": { allowed: ["nobody", ...roles], success: 200 },
  "get /api/docs": { allowed: ["nobody", ...roles], success: 200 },
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
  ...documents("v1"),
  ...documents("v2"),
  "patch /api/v2/documents/:id": { allowed: ["admin", "editor"], success: 200 },
  "post /api/v2/chat": { allowed: roles, success: 200 },
  "get /api/v2/chat/ws": { allowed: roles, success: 426 },
  "get /api/v2/chat/:answerId/events": { allowed: roles, success: 200 },
  "post /api/v2/chat/:answerId/feedback": { allowed: roles, success: 204 },
  "post /api/v2/speech": { allowed: roles, success: 200 },
  "post /api/v2/ocr": { allowed: roles, success: 200 },
  "post /api/v2/jobs": { allowed: ["admin", "editor"], success: 202 },
  "get /api/v2/jobs/:id": { allowed: roles, success: 200 },
  "get /api/v2/admin/dead-letters": { allowed: ["admin"], success: 200 },
  "post /api/v2/admin/dead-letters/:id/redrive": { allowed: ["admin"], success: 202 },
};

/** The smallest beginning of a PNG that says what it is. */
const onePixel = Buffer.from("\x89PNG\r\n\x1a\n", "latin1").toString("base64");
const jobBody = { kind: "generate", prompt: "Say hello" };

describe("access to the routes", () => {
  let service: TestService;
  let ours: string;
  let theirs: string;
  beforeAll(async () => {
    const postgres = inject("postgres");
    const database = await newDatabase(postgres);
    const fallbackSignInFile = await switchFile("on");
    service = conforming(await startTestService(postgres, database, inject("redis"), { fallbackSignInFile }));
    [ours, theirs] = [await newTenant(postgres, database), await newTenant(postgres, database)];
  });
  afterAll(() => service.stop());

  it("is decided for every registered route, and for no other", async () => {
    const { app } = await appWithout();
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
  async function target(
    method: string,
    path: string,
    role: Role = "viewer",
  ): Promise<{ id?: string; body?: unknown }> {
    switch (path) {
      case "/api/v1/documents":
      case "/api/v1/documents/:id":
      case "/api/v2/documents":
      case "/api/v2/documents/:id":
        return {
          id: await newDocument(),
          ...(["post", "put", "patch"].includes(method) && { body: { title: "new", content: "new" } }),
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
      case "/api/v2/chat":
        return { body: { message: "q" } };
      case "/api/v2/chat/:answerId/events":
        return { id: await newAnswer(role) };
      case "/api/v2/chat/:answerId/feedback":
        return { id: await newAnswer(role), body: { value: 1 } };
      case "/api/v2/speech":
        return { body: { text: "t" } };
      case "/api/v2/ocr":
        return { body: { image: onePixel } };
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

  async function newAnswer(role: Role): Promise<string> {
    const { body } = await service.call("POST", "/api/v2/chat", {
      token: await service.token(role, ours),
      body: { message: "q" },
    });
    return /"answerId":"([^"]+)"/.exec(String(body))?.[1] ?? "";
  }

  const cases = Object.keys(expected).flatMap((route) =>
    ["nobody", ...roles].map((caller) => [route, caller] as const),
  );
  it.each(cases)("%s is answered to %s as the matrix says", async (route, caller) => {
    const [method = "", path = ""] = route.split(" ");
    const role = roles.find((known) => known === caller);
    const { id = "", body } = await target(method, path, role);
    const request = async (tenant: string | undefined) =>
      service.call(method.toUpperCase(), path.replace(/:\w+/, id), {
        ...(role && tenant !== undefined && { token: await service.token(role, tenant) }),
        ...(body !== undefined && { body }),
      });
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
    const { app, tokens } = await appWithout({ extraRoutes: [forgotten] });
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
