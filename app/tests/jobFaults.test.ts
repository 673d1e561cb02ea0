import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { FeedServer, JobsBench, rss } from "./support/jobs.ts";
import { eventually, type Running } from "./support/processes.ts";

// Workers share the machine with every other test.
vi.setConfig({ testTimeout: 60_000 });

let bench: JobsBench;
beforeAll(async () => {
  bench = await JobsBench.create(inject("postgres"));
});
afterEach(() => bench.clear());
afterAll(() => bench.remove());

/** A job that is under way until it is told to go on, and the number of times that its effect was recorded. */
function heldJob() {
  let begun = 0;
  let recorded = 0;
  let goOn: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (goOn = resolve));
  const generate = async (_tenant: string, _payload: unknown, signal: AbortSignal) => {
    begun++;
    await Promise.race([held, once(signal, "abort")]);
    signal.throwIfAborted();
    return { effect: () => Promise.resolve({}), recorded: () => recorded++ };
  };
  return {
    generate,
    goOn: () => {
      goOn();
    },
    begun: () => begun,
    recorded: () => recorded,
  };
}

const untilBegun = (job: { begun: () => number }, times = 1) =>
  eventually(() => {
    expect(job.begun()).toBe(times);
  });

describe("a lost Redis", () => {
  it("loses no job: those that were queued in it are done once it is back", async () => {
    const ids = await Promise.all([1, 2, 3].map((n) => bench.prompt(`queued ${n}`)));
    // Relayed by a worker that does nothing else, then lost.
    await bench.sql("update jobs set state = 'queued', relayed_at = now() - interval '1 min'");
    await bench.redis.flush();
    await bench.worker();
    await Promise.all(ids.map((id) => bench.until(id, "done")));
  });

  it("in the middle of a job has the job done, and its effect recorded once", async () => {
    const job = heldJob();
    await bench.worker({ handlers: { generate: job.generate } });
    const id = await bench.prompt("held");
    await untilBegun(job);
    await bench.redis.flush();
    // The sweeper misses it and hands it over again while the first is still under way.
    await untilBegun(job, 2);
    job.goOn();
    await bench.until(id, "done");
    await sleep(500);
    expect(job.recorded()).toBe(1);
  });

  it("is waited for: jobs are counted in the outbox meanwhile, and done when it is back", async () => {
    await bench.redis.stop();
    const worker = await bench.worker();
    const id = await bench.prompt("waits for Redis");
    await bench.sql("update jobs set created_at = now() - interval '90 s'");
    await eventually(async () => {
      expect(await worker.metric("app_outbox_pending")).toBe(1);
      expect(await worker.metric("app_outbox_oldest_seconds")).toBeGreaterThanOrEqual(90);
    });
    const port = worker.metricsPort;
    expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(503);
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${port}/elsewhere`)).status).toBe(404);
    await bench.redis.start();
    await bench.until(id, "done");
    await eventually(async () => {
      expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(200);
    });
  });
});

describe("a Postgres that refuses", () => {
  const failed = 'app_jobs_total{queue="generate",outcome="failed"}';

  it("to say what a job is shows in the log and the metrics, and the job is done once it does", async () => {
    const id = await bench.prompt("not to be read");
    await bench.sql("revoke select on jobs from app_user");
    const worker = await bench.worker();
    await eventually(async () => {
      expect(worker.logs()).toContainEqual(
        expect.objectContaining({
          level: "warn",
          message: "job failed outside of an attempt, it comes round again",
          job_id: id,
          tenant_id: bench.tenant,
        }),
      );
      expect(await worker.metric(failed)).toBeGreaterThanOrEqual(1);
    });
    await bench.sql("grant select on jobs to app_user");
    await bench.until(id, "done");
  });

  it("to record a failed attempt leaves what the attempt failed with in the log, and its count", async () => {
    await bench.sql("alter table jobs add constraint refusal check (attempts = 0)");
    const generate = () => Promise.reject(new Error("of the handler"));
    const worker = await bench.worker({ handlers: { generate } });
    const id = await bench.prompt("fails");
    await eventually(async () => {
      for (const line of [
        { message: "failed attempt not recorded" },
        {
          message: "job ended",
          outcome: "failed",
          error: expect.objectContaining({ message: "of the handler" }) as unknown,
        },
      ]) {
        expect(worker.logs()).toContainEqual(expect.objectContaining({ level: "warn", job_id: id, ...line }));
      }
      expect(await worker.metric(failed)).toBeGreaterThanOrEqual(1);
    });
    expect(worker.logs().map(({ message }) => message)).not.toContain(
      "job failed outside of an attempt, it comes round again",
    );
    await bench.sql("alter table jobs drop constraint refusal");
    await bench.until(id, "dead");
  });
});

describe("connections to Redis that break while a worker starts", () => {
  it("do not keep it from working ever after", async () => {
    const breaking = bench.redis.cutOff(1500);
    await bench.worker();
    await breaking;
    await Promise.all([1, 2, 3].map(async (n) => bench.until(await bench.prompt(`after ${n}`), "done")));
  });
});

describe("a worker's process", () => {
  let server: FeedServer;
  let requests = 0;
  let answers: (response: ServerResponse, request: number) => void;
  beforeAll(async () => {
    server = await FeedServer.create((_request, response) => {
      answers(response, ++requests);
    });
  });
  afterEach(() => {
    requests = 0;
  });
  afterAll(() => server.close());

  const firstHangs = (response: ServerResponse, request: number) => {
    if (request > 1) {
      response.end(rss("a", "b"));
    }
  };
  const startWorkers = async (count: number, variables: Record<string, string> = {}): Promise<Running[]> => {
    const FEEDS_FILE = await bench.feedsFile(server.url);
    return Promise.all(Array.from({ length: count }, () => bench.process({ FEEDS_FILE, ...variables })));
  };
  const collect = () => bench.enqueue({ kind: "collect", payload: { url: server.url } });
  const untilRequested = () =>
    eventually(() => {
      expect(requests).toBe(1);
    }, 30_000);

  it(
    "that is killed in the middle of a job leaves it to another, which does it once",
    { timeout: 90_000 },
    async () => {
      answers = firstHangs;
      const [first] = await startWorkers(1);
      const id = await collect();
      await untilRequested();
      await startWorkers(1);
      first?.child.kill("SIGKILL");
      const killedAt = Date.now();
      await bench.until(id, "done", 40_000);
      console.info(`a killed worker's job was done elsewhere after ${Date.now() - killedAt} ms`);
      expect(await bench.job(id)).toMatchObject({ attempts: 0, result: { collected: 2 } });
      expect(await bench.count("items")).toBe(2);
      expect(requests).toBe(2);
    },
  );

  it("that is told to end finishes the job in hand and exits 0", async () => {
    answers = (response) => setTimeout(() => response.end(rss("a")), 1000);
    const [worker] = await startWorkers(1);
    const id = await collect();
    await untilRequested();
    worker?.child.kill("SIGTERM");
    expect(await worker?.exited, worker?.stdout()).toBe(0);
    expect((await bench.job(id)).state).toBe("done");
    expect(requests).toBe(1);
  });

  it("that is told to end hands back a job that takes longer than its grace, and exits 0", async () => {
    answers = firstHangs;
    const [worker] = await startWorkers(1, {
      WORKER_GRACE_SECONDS: "1",
      // A job that had failed instead would not be tried again before the test is over.
      JOB_BACKOFF_SECONDS: "300",
    });
    const id = await collect();
    await untilRequested();
    const toldAt = Date.now();
    worker?.child.kill("SIGTERM");
    expect(await worker?.exited, worker?.stdout()).toBe(0);
    expect(Date.now() - toldAt).toBeLessThan(5000);
    expect(worker?.stdout()).toContain('"outcome":"handed_back"');
    expect(await bench.job(id)).toMatchObject({ state: "queued", attempts: 0 });
    await startWorkers(1);
    await bench.until(id, "done");
    expect(await bench.count("items")).toBe(2);
  });

  it("ends when told to, also while there is no Redis", async () => {
    await bench.redis.stop();
    const [worker] = await startWorkers(1, { WORKER_GRACE_SECONDS: "1" });
    await eventually(() => {
      expect(worker?.stdout()).toContain('"working"');
    });
    const toldAt = Date.now();
    worker?.child.kill("SIGTERM");
    expect(await worker?.exited, worker?.stdout()).toBe(0);
    expect(Date.now() - toldAt).toBeLessThan(8000);
    await bench.redis.start();
  });

  it("refuses to start without what it needs, naming it", async () => {
    const worker = await bench.process({ REDIS_QUEUE_URL: "", FEEDS_FILE: "/nowhere", JOB_RETRIES: "many" });
    expect(await worker.exited).toBe(1);
    for (const name of ["REDIS_QUEUE_URL", "FEEDS_FILE", "JOB_RETRIES"]) {
      expect(worker.stdout()).toContain(name);
    }
  });
});
