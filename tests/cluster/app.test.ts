/** What a person does with the app, from signing in to reading who did what, through the edge. */
import { randomBytes } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { ca, Client, edge, kubectl, kubectlWith, waitFor, type Answer } from "./support.ts";

const tenant = `cluster-tests-${randomBytes(4).toString("hex")}`;
const person = { tenant, username: "ada", password: randomBytes(12).toString("hex") };
const tokensShape = z.object({ accessToken: z.string(), refreshToken: z.string(), role: z.string() });
const jobShape = z.object({ id: z.string(), state: z.string(), result: z.unknown() });
const eventShape = z.looseObject({ type: z.string() });

const client = new Client();
let tokens: z.infer<typeof tokensShape>;
const read = <T extends z.ZodType>(shape: T, { body }: Answer): z.infer<T> => shape.parse(JSON.parse(body));
// Each from another address: the edge lets nobody sign in often.
const signIn = (body = person) => new Client().send("POST", "/api/v2/auth/sign-in", { body });

beforeAll(async () => {
  const command = ["node", "/app/dist/cli/user.js", "--tenant", tenant, "--username", person.username];
  await kubectlWith(person.password, "exec", "--stdin", "--namespace=app", "deploy/app", "--", ...command);
  const answer = await signIn();
  expect(answer.status, answer.body).toBe(200);
  tokens = read(tokensShape, answer);
});

describe("a person", () => {
  test("signs in as what the command line made them, and not with another password", async () => {
    expect(tokens.role).toBe("admin");
    const wrong = { ...person, password: "not this one" };
    expect((await signIn(wrong)).status).toBe(401);
  });

  test("is signed out everywhere when an old refresh token comes again", async () => {
    const refresh = (refreshToken: string) =>
      new Client().send("POST", "/api/v2/auth/refresh", { body: { refreshToken } });
    const first = read(tokensShape, await signIn()).refreshToken;
    const second = read(tokensShape, await refresh(first)).refreshToken;
    expect((await refresh(first)).status).toBe(401);
    expect((await refresh(second)).status).toBe(401);
  });

  test("is answered piece by piece by Server-Sent Events", async () => {
    const { accessToken: token } = tokens;
    const answer = await client.send("POST", "/api/v2/chat", {
      token,
      body: { message: "京都はどこですか" },
    });
    expect(answer.headers["content-type"]).toContain("text/event-stream");
    const names = [...answer.body.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name);
    expect(names[0]).toBe("start");
    expect(names.filter((name) => name === "delta").length).toBeGreaterThan(1);
    expect(names.at(-1)).toBe("done");
    expect(answer.body).toContain("京都はどこですか");
  });

  test("is answered with the same events over a WebSocket", async () => {
    const socket = new WebSocket(new URL("/api/v2/chat/ws", edge.href.replace("https:", "wss:")), {
      ca,
      headers: { Authorization: `Bearer ${tokens.accessToken}` },
    });
    const types: string[] = [];
    try {
      await new Promise<void>((resolve, reject) => {
        socket.on("error", reject);
        socket.on("open", () => {
          socket.send(JSON.stringify({ type: "ask", message: "Where is Kyoto?" }));
        });
        socket.on("message", (data: Buffer) => {
          types.push(eventShape.parse(JSON.parse(data.toString())).type);
          if (types.at(-1) === "done") resolve();
        });
      });
    } finally {
      socket.close();
    }
    expect(types[0]).toBe("start");
    expect(types).toContain("delta");
  });

  test("has a job done by a worker, found in the logs of edge, app and worker by one trace id", async () => {
    const { accessToken: token } = tokens;
    const asked = await client.send("POST", "/api/v2/jobs", {
      token,
      body: { kind: "generate", prompt: "Say hello" },
    });
    expect(asked.status, asked.body).toBe(202);
    const { id } = read(jobShape, asked);
    await waitFor("the job's end", 30, async () => {
      expect(read(jobShape, await client.get(`/api/v2/jobs/${id}`, { token }))).toMatchObject({
        state: "done",
      });
    });
    const workerLines = await kubectl("logs", "--namespace=app", "deploy/worker", "--since=2m");
    const line = workerLines.split("\n").find((text) => text.includes(id));
    expect(line, "a line of the worker about the job").toBeDefined();
    const { trace_id: trace, tenant_id: tenantId } = z
      .object({ trace_id: z.string(), tenant_id: z.string() })
      .parse(JSON.parse(line ?? ""));
    expect(tenantId).not.toBe("");
    for (const [namespace, workload] of [
      ["app", "app"],
      ["edge", "edge"],
    ] as const) {
      await waitFor(`the trace in the log of ${workload}`, 10, async () => {
        expect(
          await kubectl("logs", `--namespace=${namespace}`, `deploy/${workload}`, "--since=2m"),
        ).toContain(trace);
      });
    }
  });

  test("reads in the audit log who signed in and who was refused", async () => {
    const { body } = await client.get("/api/v2/admin/audit?limit=100", { token: tokens.accessToken });
    const { items } = z
      .object({ items: z.array(z.object({ action: z.string(), outcome: z.string() })) })
      .parse(JSON.parse(body));
    const outcomes = items.filter(({ action }) => action.includes("sign_in")).map(({ outcome }) => outcome);
    expect(outcomes).toContain("success");
    expect(outcomes).toContain("failure");
  });
});

test("the API's reference is a page that runs no script and loads nothing", async () => {
  const page = await client.get("/api/docs");
  expect(page.status).toBe(200);
  expect(page.headers["content-type"]).toContain("text/html");
  expect(page.body).not.toMatch(/<script|src=/);
});
