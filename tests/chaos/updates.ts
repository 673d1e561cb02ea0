/** `pulumi up` with versions that cannot run: it says why and ends, and users stay with the version that they have. */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { V1Deployment } from "@kubernetes/client-node";
import { expect } from "vitest";
import { parseDocument } from "yaml";
import { projectDirectory, stackFile } from "../../local/stack.ts";
import { knownEngine } from "../../local/up.ts";
import { environment, get } from "../cluster/support.ts";
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

async function appImage(): Promise<string> {
  const { spec } = (await get("deployment", "--namespace=app", "app")) as V1Deployment;
  return spec?.template.spec?.containers[0]?.image ?? "";
}

/** With another image of the app; the stack's file is left as it was. */
async function up(image: string): Promise<{ failed: boolean; text: string }> {
  const { pulumi, env } = await knownEngine();
  const file = stackFile("dev");
  const before = await readFile(file, "utf8");
  const changed = parseDocument(before);
  changed.setIn(["config", "groundwork:images", "app"], image);
  const args = ["up", "--stack", "dev", "--yes", "--skip-preview", "--non-interactive", "--color=never"];
  try {
    await writeFile(file, changed.toString());
    const { stdout } = await promisify(execFile)(pulumi, args, {
      cwd: projectDirectory(),
      env: { ...env, KUBECONFIG: environment("KUBECONFIG") },
      maxBuffer: 64 << 20,
    });
    return { failed: false, text: stdout };
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    return { failed: true, text: stdout + stderr };
  } finally {
    await writeFile(file, before);
  }
}
