import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { Postgres, type PostgresAddress } from "./postgres.ts";
import { Redis } from "./redis.ts";

declare module "vitest" {
  export interface ProvidedContext {
    postgres: PostgresAddress;
    redis: Redis["config"];
  }
}

/** One Postgres and one Redis for all test files; each file makes databases of its own in them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Every temporary file of the run, the workers' too, in one directory that goes at the end.
  const directory = await mkdtemp(join(tmpdir(), "groundwork-app-tests-"));
  await chmod(directory, 0o755);
  process.env["TMPDIR"] = directory;
  const [postgres, redis] = await Promise.all([Postgres.create(), Redis.create()]);
  project.provide("postgres", postgres.address);
  project.provide("redis", redis.config);
  return async () => {
    await Promise.all([postgres.stop(), redis.stop()]);
    await rm(directory, { recursive: true, force: true });
  };
}
