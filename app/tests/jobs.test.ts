import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { Queue } from "bullmq";
import { createLanguageModel } from "../src/ai/createLanguageModel.ts";
import { createRedis } from "../src/cache/redis.ts";
import type { JobAnswer } from "../src/jobs/job.ts";
import { enqueue } from "../src/jobs/outbox.ts";
import { type OutboxRow, prefix, type Queues } from "../src/jobs/queues.ts";
import { Relay } from "../src/jobs/relay.ts";
import { Metrics } from "../src/observability/metrics.ts";
import { JobsBench } from "./support/jobs.ts";
import { silentLogger } from "./support/logs.ts";
import { asRole } from "./support/postgres.ts";
import { eventually } from "./support/processes.ts";
import { FakeProvider, finishes, says, saysSlowly } from "./support/provider.ts";
import { newTenant, startTestService, testConfig, type TestService } from "./support/service.ts";
import { auditOf } from "./support/users.ts";

const postgres = inject("postgres");
// Workers share the machine with every other test.
vi.setConfig({ testTimeout: 60_000 });

let bench: JobsBench;
let service: TestService;
let theirs: string;
let editor: string;
let admin: string;
beforeAll(async () => {
  bench = await JobsBench.create(postgres);
  const { fieldKeysFile } = bench;
  const queue = bench.redis.config;
  service = await startTestService(postgres, bench.name, inject("redis"), { queue, fieldKeysFile });
  theirs = await newTenant(postgres, bench.name);
  [editor, admin] = [await service.token("editor", bench.tenant), await service.token("admin", bench.tenant)];
});
afterEach(() => bench.clear());
afterAll(async () => {
  await service.stop();
  await bench.remove();
});

const body = { kind: "generate", prompt: "Say hello" };
const ask = async (headers: Record<string, string> = {}, asked: unknown = body, token = editor) =>
  service.call("POST", "/api/v2/jobs", { token, body: asked, headers });
const unavailable = () => Promise.reject(new Error("secret-key-123 refused"));

describe("a job asked for by the API", () => {
  it("is accepted at once, done by a worker, and its result can be read", async () => {
    const asked = await ask();
    const path = asked.headers.get("location") ?? "";
    expect(asked).toMatchObject({
      status: 202,
      body: { kind: "generate", state: "pending", createdBy: "user-editor" },
    });
    await bench.worker();
    const token = await service.token("viewer", bench.tenant);
    await eventually(async () => {
      const { body } = await service.call("GET", path, { token });
      expect(body).toMatchObject({
        state: "done",
        attempts: 0,
        error: null,
        result: { text: expect.stringContaining("Say hello") as string, model: "stub" },
        finishedAt: expect.any(String) as string,
      });
    });
  });

  it("is the same job for the same Idempotency-Key of the same user, however many ask at once", async () => {
    const key = { "Idempotency-Key": randomUUID() };
    const answers = await Promise.all([1, 2, 3, 4].map(() => ask(key)));
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202]);
    expect(new Set(answers.map(({ headers }) => headers.get("location"))).size).toBe(1);
    expect(await auditOf(service, bench.tenant, "job.create")).toMatchObject([
      {
        subject: "user-editor",
        target: answers[0]?.headers.get("location")?.replace("/api/v2/jobs/", "job/"),
        detail: { kind: "generate" },
      },
    ]);
    const others = [admin, await service.token("editor", theirs)];
    const locations = await Promise.all(
      others.map(async (token) => (await ask(key, body, token)).headers.get("location")),
    );
    expect(new Set([...locations, answers[0]?.headers.get("location")]).size).toBe(3);
    expect((await ask(key, { ...body, prompt: "Something else" })).status).toBe(422);
  });

  it("is for the app alone to read, in what is asked and in what is answered", async () => {
    const prompt = "Why does tanaka@example.jp not answer?";
    const { id } = (await ask({}, { ...body, prompt })).body as JobAnswer;
    await bench.worker();
    await bench.until(id, "done");
    const [row] = await bench.sql<{ text: string }>("select jobs::text as text from jobs where id = $1", [
      id,
    ]);
    expect(row?.text).toContain("eyJ");
    expect(row?.text).not.toMatch(/tanaka|degraded/);
    const { body: answer } = await service.call("GET", `/api/v2/jobs/${id}`, { token: editor });
    expect(answer).toMatchObject({ result: { text: expect.stringContaining(prompt) as string } });
  });

  it("becomes a dead letter where no key opens what it is to do", async () => {
    const { id } = (await ask()).body as JobAnswer;
    await bench.sql("update jobs set sealed_payload = left(sealed_payload, -4) || 'AAAA' where id = $1", [
      id,
    ]);
    await bench.worker({}, { retries: 1 });
    await bench.until(id, "dead");
    expect(await bench.job(id)).toMatchObject({
      attempts: 2,
      error: "unexpected error, logged under this job's id",
    });
  });

  it("is done and answered as before where the version before has written it", async () => {
    const id = await bench.enqueue({ kind: "generate", payload: { prompt: "Say hello" } });
    await bench.worker();
    await bench.until(id, "done");
    await bench.sql('update jobs set result = \'{"text":"plain"}\', sealed_result = null where id = $1', [
      id,
    ]);
    const { body: answer } = await service.call("GET", `/api/v2/jobs/${id}`, { token: editor });
    expect(answer).toMatchObject({ state: "done", result: { text: "plain" } });
  });

  it.each([
    [{ ...body, kind: "collect" }, {}, "kind"],
    [{ ...body, url: "http://localhost/" }, {}, "url"],
    [{ ...body, tenantId: randomUUID() }, {}, "tenantId"],
    [{ kind: "generate" }, {}, "prompt"],
    [{ ...body, prompt: "a\u0000b" }, {}, "prompt"],
    [{ ...body, prompt: "x".repeat(8001) }, {}, "prompt"],
    [body, { "Idempotency-Key": "two words" }, "idempotency-key"],
    [body, { "Idempotency-Key": "x".repeat(201) }, "idempotency-key"],
  ])("is refused when it asks for %j with %j, naming %s", async (asked, headers, field) => {
    const answer = await ask(headers, asked);
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field }] } });
  });

  it("follows the request into the worker: its log lines have the job's id, tenant, request and trace", async () => {
    const worker = await bench.worker();
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const asked = await ask({
      "X-Request-Id": "from-the-edge",
      traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
    });
    const { id } = asked.body as JobAnswer;
    await bench.until(id, "done");
    await eventually(() => {
      expect(
        worker.logs().find(({ message, job_id }) => message === "job ended" && job_id === id),
      ).toMatchObject({
        tenant_id: bench.tenant,
        request_id: "from-the-edge",
        trace_id: traceId,
        outcome: "done",
      });
    });
    expect(await worker.metric('app_jobs_total{queue="generate",outcome="done"}')).toBeGreaterThan(0);
  });
});

describe("the outbox", () => {
  it("loses a job together with the transaction that asked for it", async () => {
    await bench.worker();
    let id = "";
    const rolledBack = bench.database.asTenant(bench.tenant, async (client) => {
      ({ id } = await enqueue(client, { kind: "generate", payload: { prompt: "x" }, subject: "tester" }));
      throw new Error("changed my mind");
    });
    await expect(rolledBack).rejects.toThrow("changed my mind");
    await bench.until(await bench.prompt("a later one"), "done");
    await expect(bench.job(id)).rejects.toThrow("no such job");
  });

  it("is shared by several workers, and each of many jobs is done once", async () => {
    const done: string[] = [];
    const handlers = {
      generate: (_tenant: string, { prompt }: { prompt: string }) =>
        Promise.resolve({ effect: () => Promise.resolve({}), recorded: () => done.push(prompt) }),
    };
    const prompts = Array.from({ length: 40 }, (_, index) => `prompt ${index}`);
    const ids = await bench.prompts(prompts);
    await Promise.all([bench.worker({ handlers }), bench.worker({ handlers }), bench.worker({ handlers })]);
    await Promise.all(ids.map((id) => bench.until(id, "done")));
    expect(done.sort()).toEqual(prompts.sort());
  });

  it("hands over first what was asked for first", async () => {
    const ids = await bench.prompts(Array.from({ length: 20 }, (_, n) => `number ${n}`));
    // The last was asked for first.
    await bench.sql("update jobs set created_at = now() - array_position($1::uuid[], id) * interval '1 s'", [
      ids,
    ]);
    const redis = createRedis(bench.redis.config, "queue", silentLogger);
    await eventually(() => redis.ping());
    const handedOver: string[] = [];
    const add = (rows: OutboxRow[]) => Promise.resolve(handedOver.push(...rows.map(({ id }) => id)));
    await new Relay(bench.database, redis, { add } as unknown as Queues, 1).relay();
    redis.disconnect();
    expect(handedOver).toEqual(ids.toReversed());
  });
});

describe("a dead letter", () => {
  it("is what a job becomes after its retries; it is listed, tried again on request, and that is audited", async () => {
    const failing = await bench.worker({ handlers: { generate: unavailable } }, { retries: 2 });
    const { id } = (await ask()).body as JobAnswer;
    await bench.until(id, "dead");
    await eventually(async () => {
      expect(await failing.metric('app_dead_letters{queue="generate"}')).toBe(1);
    });
    expect(await failing.metric('app_jobs_total{queue="generate",outcome="failed"}')).toBe(2);
    expect(await failing.metric('app_jobs_total{queue="generate",outcome="dead"}')).toBe(1);

    const listed = await service.call("GET", "/api/v2/admin/dead-letters?limit=1", { token: admin });
    expect(listed.body).toMatchObject({ items: [{ id, state: "dead", attempts: 3 }], nextCursor: null });
    expect(JSON.stringify(listed.body)).not.toContain("secret-key-123");

    await bench.stopWorkers();
    const redrive = () => service.call("POST", `/api/v2/admin/dead-letters/${id}/redrive`, { token: admin });
    expect(await redrive()).toMatchObject({ status: 202, body: { state: "pending", attempts: 0 } });
    expect((await redrive()).status).toBe(409);
    await bench.worker();
    await bench.until(id, "done");
    expect(await bench.sql("select subject, action, target from audit_events order by id")).toEqual([
      { subject: "user-editor", action: "job.create", target: `job/${id}` },
      { subject: "user-admin", action: "job.redrive", target: `job/${id}` },
    ]);
  });

  it("is listed page by page", async () => {
    const ids = await Promise.all([1, 2, 3].map((n) => bench.prompt(`page ${n}`)));
    await bench.sql("update jobs set state = 'dead' where id = any ($1)", [ids]);
    const seen: string[] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const query = cursor === "" ? "" : `&cursor=${cursor}`;
      const page = await service.call("GET", `/api/v2/admin/dead-letters?limit=2${query}`, { token: admin });
      const { items, nextCursor } = page.body as { items: JobAnswer[]; nextCursor: string | null };
      seen.push(...items.map(({ id }) => id));
      cursor = nextCursor;
    }
    expect(seen.sort()).toEqual(ids.sort());
    expect((await service.call("GET", "/api/v2/admin/dead-letters?limit=0", { token: admin })).status).toBe(
      400,
    );
  });

  it.each([
    ["is withheld", finishes("content_filter", "Hel"), "withholds"],
    ["is too long", says("x".repeat(70_000), "y"), "too long"],
  ])("comes at once for a prompt whose answer %s, with the reason", async (_case, behaviour, reason) => {
    const provider = await FakeProvider.start();
    provider.otherwise = behaviour;
    const ai = { ...testConfig().ai, url: provider.url, deadlineSeconds: 1, maxRetries: 2 };
    const model = createLanguageModel(ai, new Metrics(), silentLogger);
    await bench.worker({ model }, { retries: 5, backoffSeconds: 0 });
    const { id } = (await ask()).body as JobAnswer;
    await bench.until(id, "dead");
    expect(await bench.job(id)).toMatchObject({
      attempts: 1,
      error: expect.stringContaining(reason) as string,
    });
    expect(provider.requests).toHaveLength(1);
    await bench.stopWorkers();
    await provider.stop();
  });

  it("does not come of an answer that was still under way at the deadline: the provider may be faster later", async () => {
    const provider = await FakeProvider.start();
    provider.next.push(saysSlowly(100, ...Array<string>(30).fill("x")));
    provider.otherwise = says("in time");
    const ai = { ...testConfig().ai, url: provider.url, deadlineSeconds: 1, maxRetries: 2 };
    const model = createLanguageModel(ai, new Metrics(), silentLogger);
    await bench.worker({ model }, { retries: 5, backoffSeconds: 0 });
    const { id } = (await ask()).body as JobAnswer;
    await bench.until(id, "done");
    expect(await bench.job(id)).toMatchObject({ attempts: 1 });
    await bench.stopWorkers();
    await provider.stop();
  });

  it("comes at once for what no retry can mend", async () => {
    await bench.worker();
    const id = await bench.enqueue({ kind: "summarize", payload: { itemId: randomUUID() } });
    await bench.until(id, "dead");
    expect(await bench.job(id)).toMatchObject({ attempts: 1, error: "there is no such item" });
  });
});

describe("a job of one tenant", () => {
  it("is out of every other tenant's reach by API", async () => {
    const { id } = (await ask()).body as JobAnswer;
    const token = await service.token("admin", theirs);
    expect((await service.call("GET", `/api/v2/jobs/${id}`, { token })).status).toBe(404);
    await bench.sql("update jobs set state = 'dead' where id = $1", [id]);
    expect((await service.call("POST", `/api/v2/admin/dead-letters/${id}/redrive`, { token })).status).toBe(
      404,
    );
    const { body } = await service.call("GET", "/api/v2/admin/dead-letters", { token });
    expect(body).toEqual({ items: [], nextCursor: null });
  });

  it("sees no other tenant's rows while it runs", async () => {
    const item = async (tenant: string) => {
      const [row] = await bench.sql<{ id: string }>(
        `insert into items (tenant_id, source_url, guid, title, content) values ($1, 'u', $2, 't', 'c') returning id`,
        [tenant, randomUUID()],
      );
      return row?.id ?? "";
    };
    const foreign = await item(theirs);
    await bench.worker();
    const stolen = await bench.enqueue({ kind: "summarize", payload: { itemId: foreign } });
    await bench.until(stolen, "dead");
    expect(await bench.count("summaries")).toBe(0);
  });

  it("is not done for a tenant whose name was forged in Redis", async () => {
    const id = await bench.prompt("mine");
    await bench.sql("update jobs set state = 'queued', relayed_at = now() + interval '1 h' where id = $1", [
      id,
    ]);
    const connection = createRedis(bench.redis.config, "test", silentLogger, { blocking: true });
    const queue = new Queue("generate", { connection, prefix });
    await queue.add("generate", { tenantId: theirs }, { jobId: id, removeOnComplete: true });
    const worker = await bench.worker();
    await eventually(() => {
      expect(worker.logs()).toContainEqual(
        expect.objectContaining({
          job_id: id,
          tenant_id: theirs,
          message: expect.stringContaining("skipped") as string,
        }),
      );
    });
    expect((await bench.job(id)).state).toBe("queued");
    await queue.close();
    connection.disconnect();
  });

  it("can be handed over by the app's role through the narrow functions only", async () => {
    await asRole(postgres, bench.name, "app_user", async (client) => {
      expect((await client.query("select * from jobs")).rows).toEqual([]);
      for (const sql of [
        "delete from jobs",
        "update jobs set tenant_id = gen_random_uuid()",
        "update jobs set payload = '{}'",
        "delete from audit_events",
        "update retention_rules set days = 0",
        "delete from items",
      ]) {
        await expect(client.query(sql), sql).rejects.toThrow("permission denied");
      }
    });
    await asRole(postgres, bench.name, "app_readonly", async (client) => {
      await expect(client.query("select * from clean_up(1)")).rejects.toThrow("permission denied");
      await expect(client.query("select * from relay_jobs(1)")).rejects.toThrow("permission denied");
    });
  });
});
