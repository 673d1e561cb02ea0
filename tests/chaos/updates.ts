/** `pulumi up` with versions that cannot run: it says why and ends, and users stay with the version that they have. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import type { V1Deployment } from "@kubernetes/client-node";
import { expect } from "vitest";
import { parseDocument, type Document } from "yaml";
import { stackFile } from "../../local/stack.ts";
import { knownEngine, up as makeUp } from "../../local/up.ts";
import { nothingToDo } from "../cluster/stackSettings.ts";
import { environment, get } from "../cluster/support.ts";
import { postgresHealthy } from "./postgres.ts";
import { makeVersions, removeVersions } from "./versions.ts";
import { duringWrites, type Outcome } from "./writes.ts";

const bad = {
  "no such image": { reason: /ErrImagePull|ImagePullBackOff/ },
  failingStart: { reason: /CrashLoopBackOff|this version does not start/ },
  failingMigration: { reason: /this migration fails|BackoffLimitExceeded/ },
} as const;

/** One after the other; an `up` with the version that runs follows each. */
export async function badUpdates(): Promise<Outcome> {
  const stable = await appImage();
  const versions = await makeVersions(stable);
  const images: Record<keyof typeof bad, string> = {
    "no such image": "groundwork/app:does-not-exist",
    failingStart: versions.failingStart,
    failingMigration: versions.failingMigration,
  };
  try {
    return await duringWrites(async () => {
      for (const [name, { reason }] of Object.entries(bad)) {
        const outcome = await up(images[name as keyof typeof bad]);
        expect(outcome, name).toMatchObject({ failed: true });
        expect(outcome.text, name).toMatch(reason);
        const repaired = await up(stable);
        expect(repaired.failed, repaired.text).toBe(false);
      }
    });
  } finally {
    await removeVersions();
  }
}

/** What most workloads of the stack have, members of the data tier among them, and what an `up` that is killed changes of it. */
const resized = ["app", "workers", "edge", "postgres", "redis.queue", "redis.cache"];
/** How the engine says that it changes a resource, and that it has: each of them twice at least. */
const step = / updat(?:ing|ed) \(/;

/** An `up` that changes every tier dies at some step; `make up` finishes what it left, and nothing is left to do. */
export async function updateKilled(): Promise<Outcome> {
  // As the stack was made that faults are made on.
  process.env["HA"] = "1";
  return duringWrites(async () => {
    await withSettings(
      (stack) => {
        for (const name of resized) {
          const path = ["config", ...`groundwork:${name}.resources.cpuMillis`.split(".")];
          stack.setIn(path, 60);
        }
      },
      async () => {
        // Before the last, whichever comes first.
        const steps = 1 + Math.floor(Math.random() * (2 * resized.length - 1));
        const { pulumi, env, project } = await knownEngine();
        const child = spawn(pulumi, updating, {
          cwd: project,
          env: withCluster(env),
          stdio: ["ignore", "pipe", "ignore"],
        });
        const ended = once(child, "exit");
        expect(await seen(child.stdout, step, steps), "steps of the up").toBe(steps);
        expect(child.exitCode).toBeNull();
        child.kill("SIGKILL");
        await ended;
        process.stdout.write(`up killed at its step ${steps}\n`);
      },
    );
    await makeUp();
    await nothingToDo();
  });
}

/** From three members of everything to one and back, by `make up` both times: whoever is primary may be the one to leave. */
export async function membersChanged(): Promise<Outcome> {
  await postgresHealthy();
  const outcome = await duringWrites(async () => {
    for (const HA of ["0", "1"]) {
      process.env["HA"] = HA;
      await makeUp();
    }
  });
  await postgresHealthy();
  return outcome;
}

/** Reads until so many lines have matched, or to the end; gives how many have. */
async function seen(output: Readable, pattern: RegExp, count: number): Promise<number> {
  let found = 0;
  for await (const line of createInterface(output)) {
    if (pattern.test(line)) found += 1;
    if (found === count) break;
  }
  return found;
}

async function appImage(): Promise<string> {
  const { spec } = (await get("deployment", "--namespace=app", "app")) as V1Deployment;
  return spec?.template.spec?.containers[0]?.image ?? "";
}

const updating = ["up", "--stack", "dev", "--yes", "--skip-preview", "--non-interactive", "--color=never"];

/** With another image of the app. */
function up(image: string): Promise<{ failed: boolean; text: string }> {
  return withSettings(
    (stack) => {
      stack.setIn(["config", "groundwork:images", "app"], image);
    },
    async () => {
      const { pulumi, env, project } = await knownEngine();
      try {
        const { stdout } = await promisify(execFile)(pulumi, updating, {
          cwd: project,
          env: withCluster(env),
          maxBuffer: 64 << 20,
        });
        return { failed: false, text: stdout };
      } catch (error) {
        const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
        return { failed: true, text: stdout + stderr };
      }
    },
  );
}

const withCluster = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
  ...env,
  KUBECONFIG: environment("KUBECONFIG"),
});

/** Changes the stack's file for as long as `work` takes; afterwards it is as it was. */
async function withSettings<T>(change: (stack: Document) => void, work: () => Promise<T>): Promise<T> {
  const file = stackFile("dev");
  const before = await readFile(file, "utf8");
  const changed = parseDocument(before);
  change(changed);
  try {
    await writeFile(file, changed.toString());
    return await work();
  } finally {
    await writeFile(file, before);
  }
}
