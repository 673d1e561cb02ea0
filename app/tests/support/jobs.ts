import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fieldKeyStore } from "../../src/auth/keyStore.ts";
import type { RedisConfig } from "../../src/config/settings.ts";
import type { JobsConfig } from "../../src/config/jobVariables.ts";
import { FieldCipher } from "../../src/crypto/fieldCipher.ts";
import { Database } from "../../src/db/database.ts";
import { createPool } from "../../src/db/pool.ts";
import type { JobAnswer, JobKind } from "../../src/jobs/job.ts";
import { enqueue, type NewJob } from "../../src/jobs/outbox.ts";
import { startWorker, type WorkerService } from "../../src/workerService.ts";
import { capturedLogger, silentLogger } from "./logs.ts";
import { asSuperuser, databaseConfig, newDatabase, type PostgresAddress } from "./postgres.ts";
import { eventually, type Running, start } from "./processes.ts";
import { Redis } from "./redis.ts";
import { newTenant, testConfig, testJobs, writeKeyFile } from "./service.ts";

type WorkerOptions = NonNullable<Parameters<typeof startWorker>[2]>;

interface TestWorker extends WorkerService {
  logs: () => Record<string, unknown>[];
  metricsText: () => Promise<string>;
  /** The value of the metric with these labels as Prometheus writes them; undefined when there is none. */
  metric: (name: string) => Promise<number | undefined>;
}

/** A database, a tenant in it and a Redis of one's own: workers of other tests must not see the queues. */
export class JobsBench {
  readonly postgres: PostgresAddress;
  readonly name: string;
  readonly redis: Redis;
  readonly tenant: string;
  readonly database: Database;
  /** By these its workers read what its jobs are to do. */
  readonly fieldKeysFile: string;
  readonly #cipher: FieldCipher;
  readonly #workers: TestWorker[] = [];
  readonly #processes: Running[] = [];

  private constructor(
    postgres: PostgresAddress,
    name: string,
    redis: Redis,
    tenant: string,
    database: Database,
    fieldKeysFile: string,
  ) {
    this.postgres = postgres;
    this.name = name;
    this.redis = redis;
    this.tenant = tenant;
    this.database = database;
    this.fieldKeysFile = fieldKeysFile;
    this.#cipher = new FieldCipher(fieldKeyStore(fieldKeysFile, silentLogger));
  }

  static async create(postgres: PostgresAddress): Promise<JobsBench> {
    const [name, redis] = await Promise.all([newDatabase(postgres), Redis.create()]);
    const database = new Database(
      createPool(await databaseConfig(postgres, name), silentLogger),
      silentLogger,
    );
    const tenant = await newTenant(postgres, name);
    return new JobsBench(postgres, name, redis, tenant, database, await writeKeyFile());
  }

  async remove(): Promise<void> {
    await this.stopWorkers();
    await this.database.close();
    await this.redis.remove();
  }

  async worker(options: WorkerOptions = {}, jobs: Partial<JobsConfig> = {}): Promise<TestWorker> {
    const database = { ...(await databaseConfig(this.postgres, this.name)), acquireTimeoutSeconds: 10 };
    const queue: RedisConfig = this.redis.config;
    const { fieldKeysFile } = this;
    const config = testConfig({ database, queue, fieldKeysFile, jobs: testJobs(jobs) });
    const { logger, entries } = capturedLogger();
    const quick = { relayEveryMs: 50, maintainEveryMs: 200, checkAfterSeconds: 1 };
    const service = await startWorker(config, logger, { ...quick, ...options });
    const metricsText = async () => (await fetch(`http://127.0.0.1:${service.metricsPort}/metrics`)).text();
    const worker = {
      ...service,
      logs: entries,
      metricsText,
      metric: async (name: string) => {
        const line = (await metricsText()).split("\n").find((line) => line.startsWith(`${name} `));
        return line === undefined ? undefined : Number(line.slice(name.length));
      },
    };
    this.#workers.push(worker);
    return worker;
  }

  /** The worker as the image runs it, as a process of its own. */
  async process(variables: Record<string, string> = {}): Promise<Running> {
    const { passwordFile } = await databaseConfig(this.postgres, this.name);
    const redisUrl = `redis://127.0.0.1:${this.redis.config.port}`;
    const env = {
      NODE_COMPILE_CACHE: join(tmpdir(), "compile-cache"),
      REQUIRE_CREDENTIALS: "true",
      METRICS_PORT: "0",
      DATABASE_URL: `postgres://app_user@127.0.0.1:${this.postgres.port}/${this.name}`,
      DATABASE_PASSWORD_FILE: passwordFile,
      REDIS_CACHE_URL: redisUrl,
      REDIS_CACHE_PASSWORD_FILE: this.redis.config.passwordFile,
      REDIS_QUEUE_URL: redisUrl,
      REDIS_QUEUE_PASSWORD_FILE: this.redis.config.passwordFile,
      FIELD_KEYS_FILE: this.fieldKeysFile,
      ...variables,
    };
    const path = fileURLToPath(new URL("../../src/worker.ts", import.meta.url));
    const running = start(process.execPath, [path], { env });
    this.#processes.push(running);
    return running;
  }

  async stopWorkers(): Promise<void> {
    await Promise.all(this.#workers.splice(0).map((worker) => worker.stop()));
    for (const { child, exited } of this.#processes.splice(0)) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await exited;
      }
    }
  }

  /** Leaves no worker, no job and nothing that jobs made. */
  async clear(): Promise<void> {
    await this.stopWorkers();
    await this.sql("truncate jobs, feeds, items, summaries, batch_runs, audit_events");
    await this.redis.flush();
  }

  async enqueue<K extends JobKind>(job: Omit<NewJob<K>, "subject">, tenant = this.tenant): Promise<string> {
    return this.database.asTenant(tenant, async (client) => {
      const { id } = await enqueue(client, { subject: "tester", ...job });
      return id;
    });
  }

  /** All in one transaction. */
  prompts(texts: readonly string[], tenant = this.tenant): Promise<string[]> {
    return this.database.asTenant(tenant, async (client) => {
      const ids: string[] = [];
      for (const prompt of texts) {
        const payload = await this.#cipher.encrypt("jobs.sealed_payload", JSON.stringify({ prompt }));
        const { id } = await enqueue(client, { kind: "generate", payload, subject: "tester" });
        ids.push(id);
      }
      return ids;
    });
  }

  async prompt(text: string, tenant = this.tenant): Promise<string> {
    const [id = ""] = await this.prompts([text], tenant);
    return id;
  }

  async job(
    id: string,
  ): Promise<{ state: JobAnswer["state"]; attempts: number; error: string | null; result: unknown }> {
    const [row] = await this.sql<{
      state: JobAnswer["state"];
      attempts: number;
      error: string | null;
      result: unknown;
    }>("select state, attempts, error, result from jobs where id = $1", [id]);
    if (!row) {
      throw new Error("no such job");
    }
    return row;
  }

  /** Waits until the job is in the state. */
  async until(id: string, state: JobAnswer["state"], timeoutMs = 30_000): Promise<void> {
    await eventually(async () => {
      const job = await this.job(id);
      if (job.state !== state) {
        throw new Error(`the job is ${JSON.stringify(job)}`);
      }
    }, timeoutMs);
  }

  async sql<R extends object = Record<string, unknown>>(text: string, values: unknown[] = []): Promise<R[]> {
    return asSuperuser(
      this.postgres,
      this.name,
      async (client) => (await client.query(text, values)).rows as R[],
    );
  }

  async count(table: string): Promise<number> {
    const [row] = await this.sql<{ n: number }>(`select count(*)::int as n from ${table}`);
    return row?.n ?? 0;
  }

  /** A FEEDS_FILE that gives this bench's tenant the feeds. */
  async feedsFile(...urls: string[]): Promise<string> {
    const file = join(await mkdtemp(join(tmpdir(), "groundwork-feeds-")), "feeds.json");
    await writeFile(file, JSON.stringify({ [`tenant ${this.tenant}`]: urls }));
    return file;
  }
}

/** A local server for feeds. */
export class FeedServer {
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/feed`;
  }

  static async create(answer: RequestListener): Promise<FeedServer> {
    const server = createServer(answer).listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FeedServer(server);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

export function rss(...guids: string[]): string {
  const items = guids.map(
    (guid) =>
      `<item><title>Item ${guid}</title><link>https://example.com/${guid}</link><guid>${guid}</guid>` +
      `<description>About ${guid}</description><pubDate>Tue, 24 Nov 2026 10:00:00 GMT</pubDate></item>`,
  );
  return `<?xml version="1.0"?><rss version="2.0"><channel><title>F</title>${items.join("")}</channel></rss>`;
}
