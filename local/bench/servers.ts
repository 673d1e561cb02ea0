/** What is measured: the app as the image runs it, and the bare handler, on one Postgres and one Redis of their own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KeyStore } from "../../app/src/auth/keyStore.ts";
import { Tokens } from "../../app/src/auth/tokens.ts";
import { silentLogger } from "../../app/tests/support/logs.ts";
import { asSuperuser, databaseConfig, newDatabase, Postgres } from "../../app/tests/support/postgres.ts";
import { freePort } from "../../app/tests/support/processes.ts";
import { Redis } from "../../app/tests/support/redis.ts";
import { jwt, newTenant, writeKeyFile } from "../../app/tests/support/service.ts";
import { testTools } from "../debian.ts";
import { repository } from "../stack.ts";
import { run } from "../system.ts";

export interface Server {
  readonly url: string;
  /** From the start of the process to its first answer that it is ready. */
  readonly startMs: number;
  readonly memoryMiB: () => Promise<number>;
  /** Used since its start. */
  readonly cpuSeconds: () => Promise<number>;
  readonly stop: () => Promise<void>;
}

export interface Bench {
  readonly app: (options: { cache: boolean }) => Promise<Server>;
  readonly bare: () => Promise<Server>;
  /** Paths of documents that are there. */
  readonly documents: readonly string[];
  readonly token: (role: "admin" | "viewer") => Promise<string>;
}

interface Made extends Bench {
  readonly remove: () => Promise<void>;
}

/** Makes it, lends it, and removes it. */
export async function withBench<T>(work: (bench: Bench) => Promise<T>): Promise<T> {
  process.env["PATH"] = `${await testTools()}:${process.env["PATH"] ?? ""}`;
  const bench = await createBench();
  try {
    return await work(bench);
  } finally {
    await bench.remove();
  }
}

async function createBench(): Promise<Made> {
  const app = join(repository, "app");
  await run("npm", ["run", "--silent", "build", "--", "--noCheck"], { cwd: app });
  const directory = await mkdtemp(join(tmpdir(), "groundwork-bench-"));
  const [postgres, redis] = await Promise.all([Postgres.create(), Redis.create()]);
  const database = await newDatabase(postgres.address);
  const tenant = await newTenant(postgres.address, database);
  const config = await databaseConfig(postgres.address, database);
  const ids = await asSuperuser(postgres.address, database, async (client) => {
    // Others' documents, too: the policy must have something to hide.
    const other = await newTenant(postgres.address, database);
    const { rows } = await client.query<{ id: string; tenant_id: string }>(
      `insert into documents (tenant_id, title, content, created_by)
       select case n % 2 when 0 then $1::uuid else $2::uuid end, 'document ' || n, repeat('text ', 200), 'bench'
       from generate_series(1, 2000) n returning id, tenant_id`,
      [tenant, other],
    );
    await client.query("analyze documents");
    return rows.filter((row) => row.tenant_id === tenant).map(({ id }) => id);
  });
  const keysFile = await writeKeyFile();
  const tokens = new Tokens(new KeyStore(keysFile, silentLogger), { keysFile, ...jwt });
  const redisUrl = `redis://127.0.0.1:${redis.config.port}`;
  const redisOf = (name: string) => ({
    [`REDIS_${name}_URL`]: redisUrl,
    [`REDIS_${name}_PASSWORD_FILE`]: redis.config.passwordFile,
  });

  async function start(args: string[], env: Record<string, string>, probe: string): Promise<Server> {
    const [port, metricsPort] = [await freePort(), await freePort()];
    // To a file, as a container's output ends up in one.
    const log = await open(join(directory, `${port}.log`), "w");
    const begun = performance.now();
    const child = spawn(process.execPath, args, {
      cwd: app,
      env: { NODE_ENV: "production", PORT: String(port), METRICS_PORT: String(metricsPort), ...env },
      stdio: ["ignore", log.fd, log.fd],
    });
    await log.close();
    const url = `http://127.0.0.1:${port}`;
    const metric = async (name: string) => {
      const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
      return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
    };
    for (;;) {
      const answer = await fetch(url + probe).catch(() => undefined);
      await answer?.body?.cancel();
      if (answer?.status === 200) break;
      if (child.exitCode !== null || performance.now() - begun > 30_000) {
        throw new Error(`${args.join(" ")} does not become ready, see ${join(directory, `${port}.log`)}`);
      }
      await sleep(10);
    }
    return {
      url,
      startMs: performance.now() - begun,
      memoryMiB: async () => (await metric("process_resident_memory_bytes")) / 2 ** 20,
      cpuSeconds: async () =>
        probe === "/ready"
          ? metric("process_cpu_seconds_total")
          : Number(await (await fetch(`${url}/cpu`)).text()),
      stop: async () => {
        child.kill("SIGKILL");
        if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      },
    };
  }

  const { port } = postgres.address;
  return {
    documents: ids.map((id) => `/api/v1/documents/${id}`),
    token: (role) => tokens.sign({ subject: `bench-${role}`, role, tenantId: tenant }),
    app: async ({ cache }) =>
      start(
        ["dist/server.js"],
        {
          ENVIRONMENT: "production",
          DATABASE_URL: `postgres://app_user@127.0.0.1:${port}/${database}`,
          DATABASE_PASSWORD_FILE: config.passwordFile,
          JWT_KEYS_FILE: keysFile,
          FIELD_KEYS_FILE: await writeKeyFile(),
          // What is measured is what it can do, not where it stops.
          TENANT_LIMIT_PER_MINUTE: "1000000000",
          ...redisOf("QUEUE"),
          ...(cache && redisOf("CACHE")),
        },
        // Without a cache configured it is degraded, and ready all the same.
        "/ready",
      ),
    bare: () =>
      start(
        [join(repository, "local/bench/bare.ts")],
        {
          // The one role that the policies do not apply to.
          BARE_DATABASE: JSON.stringify({ ...config, user: "app_backup", poolSize: 10, poolOverflow: 20 }),
          BARE_TENANT: tenant,
        },
        `/${ids[0] ?? ""}`,
      ),
    remove: async () => {
      await Promise.all([postgres.remove(), redis.remove()]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}
