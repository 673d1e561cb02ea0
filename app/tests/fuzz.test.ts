import fc from "fast-check";
import { Agent, type IncomingMessage, request as send } from "node:http";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Conformance, type Exchange } from "./support/conformance.ts";
import { databaseConfig, newDatabase } from "./support/postgres.ts";
import { type Caller, type GeneratedRequest, requestOf, tenantCount } from "./support/requestArbitrary.ts";
import { newTenant, startTestService, type TestService } from "./support/service.ts";

const runs = Number(process.env["FUZZ_RUNS"] ?? "10000");
/** Connections, each with a sequence of its own: fast-check runs one request after the other. */
const lanes = 16;
/** The same requests for everyone who tests this version; others by another seed, which a failure prints. */
const seed = Number(process.env["FUZZ_SEED"] ?? "1");
/** Streams are read so far, then left. */
const readFor = { milliseconds: 100, bytes: 4096 };

const conformance = new Conformance();
const agent = new Agent({ keepAlive: true, maxSockets: lanes });
const mismatches = new Set<string>();
const ids: string[] = ["7d444840-9dc0-41d8-b245-1ef6a4d4fc9a"];
const statuses = new Map<number, number>();
let answered = 0;
let sent = 0;

let service: TestService;
let tokenOf: (caller: Caller) => string | undefined;
beforeAll(async () => {
  const postgres = inject("postgres");
  const database = await newDatabase(postgres);
  service = await startTestService(postgres, database, inject("redis"), {
    // Every request comes from an address of its own, or limits by address would be all that is tested.
    trustedProxies: ["loopback"],
    logLevel: "info",
    database: {
      ...(await databaseConfig(postgres, database)),
      poolSize: 10,
      poolOverflow: 20,
      acquireTimeoutSeconds: 10,
    },
  });
  const tokens = new Map<string, string>();
  for (let tenant = 0; tenant < tenantCount; tenant++) {
    const id = await newTenant(postgres, database);
    for (const role of ["admin", "editor", "viewer"] as const) {
      tokens.set(`${role} ${tenant}`, await service.token(role, id));
    }
  }
  tokenOf = ({ role, tenant }) =>
    role === "impostor"
      ? (tokens.get("admin 0") ?? "").slice(0, -4) + "AAAA"
      : tokens.get(`${role} ${tenant}`);
});
afterAll(async () => {
  agent.destroy();
  await service.stop();
});

/** The answer; nothing when the client went away before it. */
async function exchange(generated: GeneratedRequest): Promise<Exchange | undefined> {
  const { method, headers, caller, abortAfterMs } = generated;
  const known = (text: string) =>
    text.replaceAll(/@known-(\d+)/g, (_all, place: string) => ids[Number(place) % ids.length] ?? "");
  const path = known(generated.path);
  const body = generated.body === undefined ? undefined : Buffer.from(known(generated.body));
  const token = tokenOf(caller);
  const outgoing = send({
    ...{ agent, method, path, port: service.port, host: "127.0.0.1" },
    headers: {
      ...headers,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body && { "content-length": body.length }),
    },
  });
  const left = new Promise<undefined>((resolve) => {
    if (abortAfterMs !== null) {
      setTimeout(() => {
        outgoing.destroy();
        resolve(undefined);
      }, abortAfterMs);
    }
  });
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once("response", resolve);
    outgoing.once("error", reject);
    outgoing.setTimeout(15_000, () => outgoing.destroy(new Error(`no answer to ${method} ${path} in 15 s`)));
    outgoing.end(body);
  }).then(async (incoming) => {
    const text = await textOf(incoming);
    const contentType = incoming.headers["content-type"] ?? null;
    const isJson = contentType?.includes("json") === true && text !== "";
    return {
      ...{ method, path, contentType, status: incoming.statusCode ?? 0 },
      body: isJson ? (JSON.parse(text) as unknown) : text,
    };
  });
  return Promise.race([answer, left]).catch((error: unknown) => {
    if (abortAfterMs === null) {
      throw error;
    }
    return undefined;
  });
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  const isStream = incoming.headers["content-type"]?.startsWith("text/event-stream") === true;
  const timer = isStream ? setTimeout(() => incoming.destroy(), readFor.milliseconds) : undefined;
  let text = "";
  try {
    for await (const chunk of incoming) {
      text += String(chunk);
      if (isStream && text.length > readFor.bytes) {
        incoming.destroy();
      }
    }
  } catch (error) {
    if (!isStream) {
      throw error;
    }
  } finally {
    clearTimeout(timer);
  }
  return text;
}

function remember(body: unknown): void {
  const { id, items } = (typeof body === "object" && body !== null ? body : {}) as {
    id?: unknown;
    items?: unknown;
  };
  if (typeof id === "string" && !ids.includes(id)) {
    ids[ids.length < 200 ? ids.length : sent % 200] = id;
  }
  if (Array.isArray(items)) {
    items.slice(0, 3).forEach(remember);
  }
}

function judge({ method, status, contentType, body }: Exchange): void {
  const isProblem = contentType?.startsWith("application/problem+json") === true;
  // Something that a route needs may be away or not configured; that it says so is not a failure of the service.
  expect(status === 503 || status < 500, "no unexpected error").toBe(true);
  if (status < 400 || method === "HEAD") {
    return;
  }
  expect(isProblem || status === 503, "an error is a problem").toBe(true);
  if (isProblem) {
    expect(body).toMatchObject({ status });
  }
  if (status === 400) {
    const { errors } = body as { errors?: { field: string; message: string }[] };
    expect(errors?.length, "what is wrong is named").toBeGreaterThan(0);
    expect(errors?.every(({ field, message }) => field !== "" && message !== "")).toBe(true);
  }
}

describe(`${runs} generated requests of every role to every route`, () => {
  it(
    "never make it fail, and are refused with a problem that names the field",
    async () => {
      const property = fc.asyncProperty(requestOf(conformance.document), async (generated) => {
        sent++;
        const answer = await exchange(generated);
        if (!answer) {
          return;
        }
        answered++;
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        judge(answer);
        remember(answer.body);
        const mismatch = conformance.mismatch(answer);
        if (mismatch !== undefined) {
          mismatches.add(mismatch);
        }
      });
      const numRuns = Math.ceil(runs / lanes);
      await Promise.all(
        Array.from({ length: lanes }, (_, lane) => fc.assert(property, { seed: seed + lane, numRuns })),
      );
      console.log(`seed ${seed}: ${sent} requests, ${answered} answered:`, Object.fromEntries(statuses));
      expect(sent).toBeGreaterThanOrEqual(runs);
    },
    Math.max(60_000, runs * 12),
  );

  it("were answered as the OpenAPI document says", () => {
    expect([...mismatches]).toEqual([]);
  });

  it("reached past the checks: some succeeded, and what they made was found again", () => {
    for (const status of [200, 201, 204, 400, 401, 403, 404]) {
      expect([...statuses.keys()]).toContain(status);
    }
    expect(ids.length).toBeGreaterThan(10);
  });

  it("left no unexpected error in the log, and a service that works", async () => {
    const failures = service
      .logs()
      .filter(
        ({ level, error }) =>
          level !== "info" && (error as { type?: string } | undefined)?.type !== "Unavailable",
      );
    expect(failures.filter(({ level }) => level === "error" || level === "fatal")).toEqual([]);
    expect((await service.call("GET", "/ready")).status).toBe(200);
  });
});
